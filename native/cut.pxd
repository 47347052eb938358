# Datagrams that leave in pieces: how large those may be, and the pieces one by one (RFC 791, RFC 8200 4.5).

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from native.engine cimport Result, State
from native.fragment cimport DATAGRAM_MAX, Pieces
from native.packet cimport Packet, came_in_pieces, last_next_header, sent_size
from native.program cimport ProgramData
from native.wire cimport be16, fold, put16, put32, sum_bytes

cdef enum:
    FRAGMENT_HEADER = 8         # bytes, RFC 8200 4.5
    OPTION_END = 0              # IPv4 options, RFC 791
    OPTION_NOP = 1
    OPTION_COPIED = 0x80        # this bit: into every fragment


cdef inline bint is_cuttable(const Packet *packet, const Pieces *pieces) noexcept nogil:
    # Can a parsed packet have come in such pieces, and be cut into such again?
    if pieces.size > DATAGRAM_MAX:
        return False
    if packet.family == 4:
        return (pieces.at == 0 and pieces.identification <= 0xffff
                and pieces.size >= <uint32_t>(packet.l4 - packet.l3) + 8)
    return (40 <= pieces.at <= packet.l4 - packet.l3 and last_next_header(packet.l3, pieces.at) != 0
            and pieces.size >= <uint32_t>pieces.at + FRAGMENT_HEADER + 8)


cdef inline void plan_cut(
    const State *state, const ProgramData *program, const Packet *packet, uint32_t size, uint16_t at, Result *result
) noexcept nogil:
    # The output, of `size` bytes of IP, is the packet or an echo reply to it: it leaves in pieces no larger than those
    # that came.  `at` is where its Fragment header is to stand.
    cdef uint32_t limit = 0xffffffffULL if packet.unsegmented else program.mtu
    result.sized = True
    result.limit = 0
    result.pieces.size = 0
    if came_in_pieces(packet):
        limit = min(limit, sent_size(packet))
        result.pieces.size = limit
        result.pieces.identification = state.fragments.came.identification
        result.pieces.at = at
    if size > limit:
        result.limit = limit


cdef inline uint32_t copied_options(const uint8_t *l3, uint32_t header, uint8_t *out) noexcept nogil:
    # Writes the IPv4 header of the later pieces: the options that go into all of them, padded; its size.
    cdef uint32_t at = 20
    cdef uint32_t size = 20
    cdef uint32_t option
    memcpy(out, l3, 20)
    while at < header and l3[at] != OPTION_END:
        if l3[at] == OPTION_NOP:
            at += 1
            continue
        if header - at < 2 or l3[at + 1] < 2 or l3[at + 1] > header - at:
            break
        option = l3[at + 1]
        if l3[at] & OPTION_COPIED:
            memcpy(out + size, l3 + at, option)
            size += option
        at += option
    while size & 3:
        out[size] = OPTION_END
        size += 1
    out[0] = 0x40 | <uint8_t>(size >> 2)
    return size


cdef inline uint32_t ipv4_piece(const Result *result, uint32_t *done, uint8_t *out) noexcept nogil:
    cdef const uint8_t *l3 = result.frame + 14
    cdef uint32_t own_header = <uint32_t>(l3[0] & 15) * 4
    cdef uint32_t header = own_header
    cdef uint32_t left = be16(l3 + 2) - own_header - done[0]
    cdef uint32_t size
    cdef uint16_t flags = <uint16_t>(done[0] >> 3) | (be16(l3 + 6) & 0x4000)
    if done[0] == 0:
        memcpy(out, l3, own_header)
    else:
        header = copied_options(l3, own_header, out)
    size = left
    if size > result.limit - header:
        size = (result.limit - header) & ~<uint32_t>7
        flags |= 0x2000
    put16(out + 2, <uint16_t>(header + size))
    put16(out + 6, flags)
    put16(out + 10, 0)
    put16(out + 10, <uint16_t>~fold(sum_bytes(out, header)))
    memcpy(out + header, l3 + own_header + done[0], size)
    done[0] += size
    return header + size


cdef inline uint32_t ipv6_piece(const Result *result, uint32_t *done, uint8_t *out) noexcept nogil:
    cdef const uint8_t *l3 = result.frame + 14
    cdef uint32_t at = result.pieces.at
    cdef uint32_t place = last_next_header(l3, at)
    cdef uint32_t header = at + FRAGMENT_HEADER
    cdef uint32_t left = 40 + <uint32_t>be16(l3 + 4) - at - done[0]
    cdef uint32_t size = left
    cdef uint16_t flags = <uint16_t>done[0]
    if size > result.limit - header:
        size = (result.limit - header) & ~<uint32_t>7
        flags |= 1
    memcpy(out, l3, at)
    put16(out + 4, <uint16_t>(header + size - 40))
    out[at] = l3[place]
    out[at + 1] = 0
    put16(out + at + 2, flags)
    put32(out + at + 4, result.pieces.identification)
    out[place] = 44
    memcpy(out + header, l3 + at + done[0], size)
    done[0] += size
    return header + size


cdef inline uint32_t next_piece(const Result *result, uint32_t *done, uint8_t *out) noexcept nogil:
    # The frame of the next piece of an output with a limit, at `out` (14 bytes more than the limit); its length, 0
    # when `done`, which counts the bytes of data and begins with 0, has reached the end.
    cdef uint32_t whole = result.length - 14
    cdef uint32_t headers = <uint32_t>(result.frame[14] & 15) * 4
    if result.frame[14] >> 4 == 6:
        headers = result.pieces.at
    if done[0] == whole - headers:
        return 0
    memcpy(out, result.frame, 14)
    if result.frame[14] >> 4 == 4:
        return 14 + ipv4_piece(result, done, out + 14)
    return 14 + ipv6_piece(result, done, out + 14)
