"""MSS clamping, as tests see it."""

from libc.stdint cimport uint8_t, uint32_t

from native.mss cimport clamp_mss


def clamped(bytes packet not None, uint32_t mtu, bint partial=False) -> bytes:
    """An IP packet as it leaves by a link that carries ``mtu`` bytes: a SYN announces no larger MSS than fits.

    ``partial``: its TCP checksum covers the pseudo-header only, and stays.
    """
    cdef bytearray copy = bytearray(packet)
    cdef uint8_t *start = copy
    clamp_mss(start, <uint32_t>len(packet), mtu, partial)
    return bytes(copy)
