# One fragment: what it says of itself, and what is wrong with it whatever else is there.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.packet cimport Key, Packet, header_size, make_meta
from native.session cimport mix
from native.wire cimport be16

cdef enum:
    HEADERS_MAX = 1280          # bytes before the Fragment header

ctypedef struct Piece:
    # One that has just come; `ip` is its first byte, the data begin `start` bytes behind it.
    const uint8_t *ip
    uint32_t ip_size
    uint32_t start
    uint32_t offset
    uint32_t size
    bint more


cdef inline void read_piece(const Packet *packet, uint64_t seed, Piece *piece, Key *key, uint64_t *hash) noexcept nogil:
    # Where it belongs, and what it says of itself.
    cdef const uint8_t *l3 = packet.l3
    cdef uint16_t flags
    key[0] = packet.key
    piece.ip = l3
    piece.ip_size = packet.ip_len
    if packet.family == 4:
        flags = be16(l3 + 6)
        piece.start = <uint32_t>(packet.l4 - l3)
        piece.offset = <uint32_t>(flags & 0x1fff) * 8
        piece.more = flags & 0x2000 != 0
        key.meta = make_meta(0, be16(l3 + 4), packet.proto, 4, 0)
    else:
        flags = be16(packet.l4 + 2)
        piece.start = <uint32_t>(packet.l4 - l3) + 8
        piece.offset = flags & 0xfff8
        piece.more = flags & 1
        key.meta = make_meta(be16(packet.l4 + 4), be16(packet.l4 + 6), 0, 6, 0)
    piece.size = piece.ip_size - piece.start
    hash[0] = mix(key.meta ^ seed, key.src_lo ^ 0xA0761D6478BD642FULL)
    hash[0] = mix(hash[0] ^ key.dst_lo, seed ^ 0xE7037ED1A0B428DBULL)
    hash[0] = mix(hash[0] ^ key.src_hi, key.dst_hi ^ seed)


cdef inline bint is_tiny(const Packet *packet, const Piece *piece) noexcept nogil:
    # A first piece that does not hold the headers by which it would be judged (RFC 1858, RFC 7112).
    cdef const uint8_t *data = piece.ip + piece.start
    cdef uint32_t left = piece.size
    cdef uint32_t size
    cdef uint8_t following = packet.proto
    if packet.family == 6:
        following = packet.l4[0]
        while following == 43 or following == 60:
            if left < 8:
                return True
            size = header_size(data, following)
            if size > left:
                return True
            following = data[0]
            data += size
            left -= size
        if following == 0 or following == 44:
            return True
    if following == 6:
        return left < 20
    return left < 8 and (following == 17 or following == (1 if packet.family == 4 else 58))


cdef inline bint is_faulty(const Packet *packet, const Piece *piece) noexcept nogil:
    # By itself, whatever else is there.
    if piece.size == 0 or (piece.more and piece.size & 7):
        return True
    if piece.offset + piece.size > <uint32_t>(65515 if packet.family == 4 else 65535):
        return True
    if packet.family == 6 and piece.start - 8 > HEADERS_MAX:
        return True
    return piece.offset == 0 and is_tiny(packet, piece)
