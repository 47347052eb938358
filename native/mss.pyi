def clamped(packet: bytes, mtu: int, partial: bool = False) -> bytes:
    """An IP packet as it leaves by a link that carries ``mtu`` bytes: a SYN announces no larger MSS than fits.

    ``partial``: its TCP checksum covers the pseudo-header only, and stays.
    """
