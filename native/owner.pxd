# Which worker a packet belongs to, see native.steer.

from libc.stdint cimport uint32_t

from native.icmp cimport parse_quote
from native.packet cimport K_ICMP_ERROR, PARSED, Packet
from native.stats cimport R_FRAGMENT_HELD
from native.steer cimport Steering, owner_of_key
from native.wire cimport unlikely


cdef inline uint32_t owner_of(const Steering *steering, const Packet *packet) noexcept nogil:
    # Of a parsed packet.  An error belongs where the packet that it quotes does; what is no packet, anywhere.
    cdef Packet quote
    if unlikely(packet.error != PARSED):
        return owner_of_key(steering, packet.family, &packet.key) if packet.error == R_FRAGMENT_HELD else 0
    if unlikely(packet.kind == K_ICMP_ERROR) and parse_quote(packet, &quote):
        return owner_of_key(steering, packet.family, &quote.key)
    return owner_of_key(steering, packet.family, &packet.key)
