# Frames that the edge makes itself: TCP resets, ICMP errors, echo replies.  Each builder writes an Ethernet frame at
# `out` (at least ANSWER_SIZE bytes, echo replies: the request's size + 14) and returns its length, 0 for no answer.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.fragment cimport DATAGRAM_MAX
from native.packet cimport ACK, K_ICMP_ERROR, RST, Packet, end_of
from native.kinds cimport ROUTE_BROADCAST
from native.program cimport OwnAddress, ProgramData
from native.route cimport NOWHERE, is_multicast, map_lookup
from native.classify cimport not_above
from native.wire cimport be16, be32, fold, put16, put32, put64, sum_bytes

cdef enum:
    ANSWER_SIZE = 14 + 1280
    FRAME_MAX = 14 + 8 + DATAGRAM_MAX           # of what may enter, with two VLAN tags
    ANSWER_ROOM = FRAME_MAX + ANSWER_SIZE       # for any answer
    ICMP_MAX_IPV4 = 576         # RFC 1812 4.3.2.3
    ICMP_MAX_IPV6 = 1280        # RFC 4443 2.4 (c)


cdef inline void ethernet(uint8_t *frame, uint16_t port, uint8_t family) noexcept nogil:
    # The table has no neighbours: both stations' addresses are made from the port's number.
    frame[0] = 0x02
    frame[1] = 0
    frame[2] = 0
    frame[3] = 1
    put16(frame + 4, port)
    frame[6] = 0x02
    frame[7] = 0
    frame[8] = 0
    frame[9] = 0
    put16(frame + 10, port)
    put16(frame + 12, 0x0800 if family == 4 else 0x86dd)


cdef inline uint64_t pseudo_header(const uint8_t *l3, uint8_t family, uint8_t proto, uint32_t size) noexcept nogil:
    if family == 4:
        return sum_bytes(l3 + 12, 8) + proto + size
    return sum_bytes(l3 + 8, 32) + proto + size


cdef inline void ip_header(
    uint8_t *l3, uint8_t family, uint8_t tos, uint16_t ident, bint dont_fragment, uint8_t proto, uint32_t size
) noexcept nogil:
    # Everything but the addresses and the IPv4 checksum.
    if family == 4:
        memset(l3, 0, 20)
        l3[0] = 0x45
        l3[1] = tos
        put16(l3 + 2, <uint16_t>(20 + size))
        put16(l3 + 4, ident)
        l3[6] = 0x40 if dont_fragment else 0
        l3[8] = 64
        l3[9] = proto
    else:
        memset(l3, 0, 40)
        l3[0] = 0x60 | tos >> 4
        l3[1] = <uint8_t>(tos << 4)
        put16(l3 + 4, <uint16_t>size)
        l3[6] = proto
        l3[7] = 64


cdef inline void seal_ipv4(uint8_t *l3) noexcept nogil:
    put16(l3 + 10, 0)
    put16(l3 + 10, <uint16_t>~fold(sum_bytes(l3, 20)))


cdef inline void swap_addresses(uint8_t *l3, const uint8_t *received, uint8_t family) noexcept nogil:
    # `received` is another buffer.
    if family == 4:
        memcpy(l3 + 12, received + 16, 4)
        memcpy(l3 + 16, received + 12, 4)
    else:
        memcpy(l3 + 8, received + 24, 16)
        memcpy(l3 + 24, received + 8, 16)


cdef inline uint32_t segment(
    const Packet *packet, uint16_t port, uint32_t seq, uint32_t acked, uint8_t flags, uint16_t window, uint8_t *out
) noexcept nogil:
    # TCP without data, from where a segment went to where it came from.
    cdef uint32_t header = 20 if packet.family == 4 else 40
    cdef uint8_t *l3 = out + 14
    cdef uint8_t *l4 = l3 + header
    ethernet(out, port, packet.family)
    ip_header(l3, packet.family, 0, 0, True, 6, 20)
    swap_addresses(l3, packet.l3, packet.family)
    memset(l4, 0, 20)
    memcpy(l4, packet.l4 + 2, 2)
    memcpy(l4 + 2, packet.l4, 2)
    put32(l4 + 4, seq)
    put32(l4 + 8, acked)
    l4[12] = 0x50
    l4[13] = flags
    put16(l4 + 14, window)
    put16(l4 + 16, <uint16_t>~fold(pseudo_header(l3, packet.family, 6, 20) + sum_bytes(l4, 20)))
    if packet.family == 4:
        seal_ipv4(l3)
    return 14 + header + 20


cdef inline uint32_t reset(const Packet *packet, uint16_t port, uint8_t *out) noexcept nogil:
    # RFC 9293 3.10.7.1: the answer to a segment for a connection that does not exist.
    if packet.tcp_flags & RST:
        return 0
    if packet.tcp_flags & ACK:
        return segment(packet, port, be32(packet.l4 + 8), 0, RST, 0, out)
    return segment(packet, port, 0, end_of(packet), RST | ACK, 0, out)


cdef inline const OwnAddress *own_address(
    const ProgramData *program, const Packet *packet, uint16_t port
) noexcept nogil:
    # What the edge is called on this port by the packet's sender; NULL when it has no address of that family.
    cdef const OwnAddress *address
    cdef const OwnAddress *first = NULL
    cdef uint32_t i
    for i in range(program.ports[port].first_address, program.ports[port].last_address):
        address = &program.addresses[i]
        if address.family != packet.family:
            continue
        if first == NULL:
            first = address
        if (not_above(address.first_hi, address.first_lo, packet.key.src_hi, packet.key.src_lo)
                and not_above(packet.key.src_hi, packet.key.src_lo, address.last_hi, address.last_lo)):
            return address
    return first


cdef inline bint one_station(const ProgramData *program, uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    cdef uint32_t row
    if is_multicast(family, hi, lo):
        return False
    row = map_lookup(&program.route_map[family == 6], hi, lo)
    return row == NOWHERE or program.routes[row].kind != ROUTE_BROADCAST


cdef inline bint answerable(const ProgramData *program, const Packet *packet) noexcept nogil:
    # RFC 1122 3.2.2, RFC 4443 2.4 (e): nothing about an ICMP error, nothing where one end is not one known station.
    return (packet.kind != K_ICMP_ERROR
            and (packet.key.src_hi | packet.key.src_lo) != 0
            and one_station(program, packet.family, packet.key.src_hi, packet.key.src_lo)
            and one_station(program, packet.family, packet.key.dst_hi, packet.key.dst_lo))


cdef inline uint32_t icmp_error(
    const ProgramData *program, const Packet *packet, uint16_t port, uint8_t icmp_type, uint8_t icmp_code,
    uint32_t second_word, uint8_t *out
) noexcept nogil:
    cdef const OwnAddress *source = own_address(program, packet, port)
    cdef uint8_t *l3 = out + 14
    cdef uint8_t *l4
    cdef uint32_t header = 20 if packet.family == 4 else 40
    cdef uint32_t quoted = (ICMP_MAX_IPV4 if packet.family == 4 else ICMP_MAX_IPV6) - header - 8
    if source == NULL:
        return 0
    if packet.ip_len < quoted:
        quoted = packet.ip_len
    l4 = l3 + header
    ethernet(out, port, packet.family)
    if packet.family == 4:
        ip_header(l3, 4, 0xc0, 0, False, 1, 8 + quoted)
        put32(l3 + 12, <uint32_t>source.lo)
        memcpy(l3 + 16, packet.l3 + 12, 4)
    else:
        ip_header(l3, 6, 0, 0, False, 58, 8 + quoted)
        put64(l3 + 8, source.hi)
        put64(l3 + 16, source.lo)
        memcpy(l3 + 24, packet.l3 + 8, 16)
    l4[0] = icmp_type
    l4[1] = icmp_code
    put16(l4 + 2, 0)
    put32(l4 + 4, second_word)
    memcpy(l4 + 8, packet.l3, quoted)
    if packet.family == 4:
        put16(l4 + 2, <uint16_t>~fold(sum_bytes(l4, 8 + quoted)))
        seal_ipv4(l3)
    else:
        put16(l4 + 2, <uint16_t>~fold(pseudo_header(l3, 6, 58, 8 + quoted) + sum_bytes(l4, 8 + quoted)))
    return 14 + header + 8 + quoted


cdef inline uint32_t echo_reply(const Packet *packet, uint16_t port, uint8_t *out) noexcept nogil:
    cdef uint8_t *l3 = out + 14
    cdef uint32_t header = 20 if packet.family == 4 else 40
    cdef uint8_t *l4 = l3 + header
    ethernet(out, port, packet.family)
    if packet.family == 4:
        ip_header(l3, 4, packet.l3[1], be16(packet.l3 + 4), False, 1, packet.l4_len)
    else:
        ip_header(l3, 6, 0, 0, False, 58, packet.l4_len)
        memcpy(l3, packet.l3, 4)
    swap_addresses(l3, packet.l3, packet.family)
    memcpy(l4, packet.l4, packet.l4_len)
    l4[0] = 0 if packet.family == 4 else 129
    put16(l4 + 2, 0)
    if packet.family == 4:
        put16(l4 + 2, <uint16_t>~fold(sum_bytes(l4, packet.l4_len)))
        seal_ipv4(l3)
    else:
        put16(l4 + 2, <uint16_t>~fold(pseudo_header(l3, 6, 58, packet.l4_len) + sum_bytes(l4, packet.l4_len)))
    return 14 + header + packet.l4_len
