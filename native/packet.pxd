# A frame seen as a packet: bounds are checked once, by parse(), and never again.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.stats cimport R_BAD_CHECKSUM, R_FRAGMENT_HELD, R_MALFORMED, R_NOT_IP
from native.wire cimport be16, be32, be64, change16, fold, header_sum, mask_if, put16, unlikely, updated

cdef enum:
    PARSED = 255        # Packet.error of a good packet (no Reason has this number)
    NOT_ASKED = 0xfffffffe      # of Packet.asked (no rule has this number)
    EXTENSIONS_MAX = 8  # IPv6 extension headers that are walked
    IN_PIECES = 1 << 30         # in Packet.span

cdef enum Kind:
    K_TCP = 0
    K_UDP = 1
    K_ICMP_QUERY = 2
    K_ICMP_REPLY = 3
    K_ICMP_ERROR = 4
    K_ICMP_OTHER = 5
    K_OTHER = 6

cdef enum TcpFlag:
    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16

cdef enum Role:
    # Of ICMP queries, so that an identifier which looks like a type does not turn one into its answer.
    ROLE_ASKS = 0x100
    ROLE_ANSWERS = 0x200

ctypedef struct Key:
    # What identifies one direction of a session.  IPv4 addresses stand in the low words, host order.
    # meta: sport << 48 | dport << 32 | protocol << 24 | family << 16 | role | side
    uint64_t meta
    uint64_t src_lo
    uint64_t dst_lo
    uint64_t src_hi
    uint64_t dst_hi

ctypedef struct Packet:
    Key key
    uint64_t hash
    uint8_t *l3
    uint8_t *l4
    uint32_t ip_len     # bytes of the IP packet: total length, or 40 + payload length
    uint32_t span       # the same; of what came in pieces the size of the largest, and the bit IN_PIECES
    uint32_t l4_len     # bytes from l4 on
    uint8_t family      # 4 or 6
    uint8_t proto
    uint8_t kind
    uint8_t ttl
    uint8_t tcp_flags
    uint8_t icmp_type
    uint8_t icmp_code
    uint8_t error       # PARSED, or the Reason it was refused for; FRAGMENT_HELD: l4 is the fragment's data or header
    uint8_t unsegmented     # captured before a network card cut it up: the MTU is not its limit
    uint32_t asked          # the firewall rule that the key found ahead; NOT_ASKED
    uint32_t guess          # the number of the flow that it probably belongs to, NONE: nothing is known


cdef inline uint16_t key_sport(const Key *key) noexcept nogil:
    return <uint16_t>(key.meta >> 48)


cdef inline uint16_t key_dport(const Key *key) noexcept nogil:
    return <uint16_t>(key.meta >> 32)


cdef inline uint8_t key_proto(const Key *key) noexcept nogil:
    return <uint8_t>(key.meta >> 24)


cdef inline uint8_t key_family(const Key *key) noexcept nogil:
    return <uint8_t>(key.meta >> 16)


cdef inline uint8_t key_side(const Key *key) noexcept nogil:
    return <uint8_t>key.meta


cdef inline bint came_in_pieces(const Packet *packet) noexcept nogil:
    return packet.span & IN_PIECES != 0


cdef inline uint32_t sent_size(const Packet *packet) noexcept nogil:
    # What had to fit into the MTU on its way here: bytes of IP of the whole packet, or of its largest piece.
    return packet.span & ~<uint32_t>IN_PIECES


cdef inline void set_side(Packet *packet, uint8_t side) noexcept nogil:
    packet.key.meta = packet.key.meta & 0xffffffffffffff00ULL | side


cdef inline uint64_t make_meta(
    uint16_t sport, uint16_t dport, uint8_t proto, uint8_t family, uint8_t side
) noexcept nogil:
    return (<uint64_t>sport << 48 | <uint64_t>dport << 32 | <uint64_t>proto << 24 | <uint64_t>family << 16 | side)


cdef inline void set_ports(Key *key, uint16_t sport, uint16_t dport) noexcept nogil:
    # Other ports in a key that is otherwise as it was.
    key.meta = (key.meta & 0xffffffffULL) | <uint64_t>sport << 48 | <uint64_t>dport << 32


cdef inline uint64_t role_of(uint8_t kind) noexcept nogil:
    return ROLE_ASKS if kind == K_ICMP_QUERY else ROLE_ANSWERS if kind == K_ICMP_REPLY else 0


cdef inline uint8_t query_request(uint8_t family, uint8_t icmp_type) noexcept nogil:
    # The request type that a query reply answers; 0 where the type is no query reply.  (No request has type 0.)
    if family == 4:
        if icmp_type == 0:
            return 8
        if icmp_type == 14 or icmp_type == 16 or icmp_type == 18:
            return icmp_type - 1
        return 0
    return 128 if icmp_type == 129 else 0


cdef inline bint is_query(uint8_t family, uint8_t icmp_type) noexcept nogil:
    if family == 4:
        return icmp_type == 8 or icmp_type == 13 or icmp_type == 15 or icmp_type == 17
    return icmp_type == 128


cdef inline bint is_odd(uint8_t tcp_flags) noexcept nogil:
    # Flags that no end of a connection sends: none at all, SYN with FIN or RST, FIN without ACK.
    return (tcp_flags & (SYN | ACK | RST | FIN) == 0 or (tcp_flags & SYN and tcp_flags & (FIN | RST))
            or tcp_flags & (FIN | ACK) == FIN)


cdef inline uint32_t end_of(const Packet *packet) noexcept nogil:
    # The sequence number behind a TCP segment.
    cdef uint32_t payload = packet.l4_len - <uint32_t>(packet.l4[12] >> 4) * 4
    return be32(packet.l4 + 4) + payload + (packet.tcp_flags & FIN) + (packet.tcp_flags >> 1 & 1)


cdef inline bint is_icmp_error(uint8_t family, uint8_t icmp_type) noexcept nogil:
    if family == 4:
        return icmp_type == 3 or icmp_type == 4 or icmp_type == 5 or icmp_type == 11 or icmp_type == 12
    return icmp_type < 128


cdef inline void parse_icmp(Packet *packet, uint16_t *sport, uint16_t *dport) noexcept nogil:
    # The kind of a message and what it bears in place of ports.
    cdef const uint8_t *l4 = packet.l4
    packet.icmp_type = l4[0]
    packet.icmp_code = l4[1]
    if is_query(packet.family, l4[0]):
        packet.kind = K_ICMP_QUERY
        sport[0] = be16(l4 + 4)
        dport[0] = <uint16_t>l4[0] << 8
    elif query_request(packet.family, l4[0]):
        packet.kind = K_ICMP_REPLY
        sport[0] = <uint16_t>query_request(packet.family, l4[0]) << 8
        dport[0] = be16(l4 + 4)
    elif is_icmp_error(packet.family, l4[0]):
        packet.kind = K_ICMP_ERROR
    else:
        packet.kind = K_ICMP_OTHER
        dport[0] = <uint16_t>l4[0] << 8 | l4[1]


cdef inline bint parse_l4(Packet *packet, uint8_t family, uint8_t side, uint32_t fragment) noexcept nogil:
    # Kind and ports; False where they contradict the packet's length, which those of a fragment (all ones) may.
    cdef const uint8_t *l4 = packet.l4
    cdef uint32_t size = packet.l4_len
    cdef uint8_t proto = packet.proto
    cdef uint16_t sport = 0
    cdef uint16_t dport = 0
    cdef uint32_t header
    packet.tcp_flags = 0
    packet.icmp_type = 0
    packet.icmp_code = 0
    if proto == 6:
        if size < 20:
            return False
        header = <uint32_t>(l4[12] >> 4) * 4
        if unlikely(header - 20 > (size - 20 | fragment)):
            return False
        packet.kind = K_TCP
        packet.tcp_flags = l4[13]
        sport = be16(l4)
        dport = be16(l4 + 2)
    elif proto == 17:
        if size < 8:
            return False
        header = be16(l4 + 4)
        if unlikely(header - 8 > (size - 8 | fragment)):
            return False
        packet.kind = K_UDP
        sport = be16(l4)
        dport = be16(l4 + 2)
    elif proto == (1 if family == 4 else 58):
        if size < 8:
            return False
        parse_icmp(packet, &sport, &dport)
    else:
        packet.kind = K_OTHER
    packet.key.meta = make_meta(sport, dport, proto, family, side) | role_of(packet.kind)
    return True


cdef inline bint are_options_whole(const uint8_t *l3, uint32_t header) noexcept nogil:
    # Does every option of an IPv4 header end within it (RFC 791 3.1)?
    cdef uint32_t at = 20
    while at < header and l3[at] != 0:          # behind an end-of-list anything may stand
        if l3[at] == 1:
            at += 1
            continue
        if header - at < 2 or l3[at + 1] < 2 or l3[at + 1] > header - at:
            return False
        at += l3[at + 1]
    return True


cdef inline void parse_ipv4(Packet *packet, uint8_t *l3, uint32_t remaining, uint8_t side) noexcept nogil:
    cdef uint32_t header
    cdef uint32_t total
    cdef uint32_t fragment
    packet.error = R_MALFORMED
    packet.family = 4
    if remaining < 20 or l3[0] >> 4 != 4:
        return
    header = <uint32_t>(l3[0] & 15) * 4
    total = be16(l3 + 2)
    if total == 0 and packet.unsegmented and remaining <= 0xffff:
        total = remaining       # the sender left it to a network card that cuts packets up
    if header < 20 or total < header or total > remaining:
        return
    if fold(header_sum(l3, header)) != 0xffff:
        packet.error = R_BAD_CHECKSUM
        return
    if header > 20 and not are_options_whole(l3, header):
        return
    if be16(l3 + 2) != total:
        put16(l3 + 10, updated(be16(l3 + 10), change16(0, <uint16_t>total)))
        put16(l3 + 2, <uint16_t>total)
    packet.ip_len = total
    packet.span = total
    packet.ttl = l3[8]
    packet.proto = l3[9]
    packet.key.src_hi = 0
    packet.key.dst_hi = 0
    packet.key.src_lo = be32(l3 + 12)
    packet.key.dst_lo = be32(l3 + 16)
    packet.l4 = l3 + header
    packet.l4_len = total - header
    fragment = mask_if(be16(l3 + 6) & 0x3fff)       # more fragments, or an offset
    if parse_l4(packet, 4, side, fragment):
        packet.error = <uint8_t>(R_FRAGMENT_HELD | ~fragment)       # PARSED, if it is none
    elif fragment:
        packet.error = R_FRAGMENT_HELD


cdef inline uint32_t header_size(const uint8_t *header, uint8_t protocol) noexcept nogil:
    # Bytes of an IPv6 extension header: hop-by-hop, routing and destination options say it, a Fragment header has 8.
    return 8 if protocol == 44 else (<uint32_t>header[1] + 1) * 8


cdef inline uint32_t last_next_header(const uint8_t *l3, uint32_t end) noexcept nogil:
    # Where in an IPv6 packet the next-header field stands that speaks of what begins at `end`; 0 where no header, of
    # those that parse() walks, ends there.
    cdef uint32_t place = 6
    cdef uint32_t offset = 40
    cdef uint8_t following = l3[6]
    while offset < end:
        place = offset
        offset += header_size(l3 + offset, following)
        following = l3[place]
    return place if offset == end else 0


cdef inline void parse_ipv6(Packet *packet, uint8_t *l3, uint32_t remaining, uint8_t side) noexcept nogil:
    cdef uint32_t end
    cdef uint32_t offset = 40
    cdef uint32_t size
    cdef uint8_t following
    cdef int headers = 0
    packet.error = R_MALFORMED
    packet.family = 6
    if remaining < 40 or l3[0] >> 4 != 6:
        return
    end = 40 + <uint32_t>be16(l3 + 4)
    if end > remaining:
        return
    packet.ip_len = end
    packet.span = end
    packet.ttl = l3[7]
    packet.key.src_hi = be64(l3 + 8)
    packet.key.src_lo = be64(l3 + 16)
    packet.key.dst_hi = be64(l3 + 24)
    packet.key.dst_lo = be64(l3 + 32)
    following = l3[6]
    while following == 0 or following == 43 or following == 60 or following == 44:
        if (following == 0 and offset != 40) or end - offset < 8:
            return
        if following == 44 and be16(l3 + offset + 2) & 0xfff9:
            packet.l4 = l3 + offset
            packet.l4_len = end - offset
            packet.error = R_FRAGMENT_HELD
            return
        size = header_size(l3 + offset, following)      # of an atomic fragment's, too (RFC 6946)
        if headers == EXTENSIONS_MAX or size > end - offset:
            return
        following = l3[offset]
        offset += size
        headers += 1
    packet.proto = following
    packet.l4 = l3 + offset
    packet.l4_len = end - offset
    if parse_l4(packet, 6, side, 0):
        packet.error = PARSED


cdef inline void parse_whole(Packet *packet, uint8_t side) noexcept nogil:
    # Reads a datagram that has been put together: packet.ip_len bytes from packet.l3 on.
    if packet.family == 4:
        parse_ipv4(packet, packet.l3, packet.ip_len, side)
    else:
        parse_ipv6(packet, packet.l3, packet.ip_len, side)


cdef inline void parse(
    Packet *packet, uint8_t *frame, uint32_t size, uint8_t side, bint unsegmented
) noexcept nogil:
    # Reads an Ethernet II frame with up to two VLAN tags.  Afterwards packet.error says whether the rest may be read;
    # a packet that parsed has l3 - 14 inside the frame and ip_len bytes from l3 on.
    cdef uint32_t offset = 14
    cdef uint16_t ethertype
    cdef int tags = 0
    packet.error = R_MALFORMED
    packet.unsegmented = unsegmented
    packet.ip_len = 0
    packet.family = 0
    packet.kind = K_OTHER
    if size < 14:
        return
    ethertype = be16(frame + 12)
    while (ethertype == 0x8100 or ethertype == 0x88a8) and tags < 2:
        if size < offset + 4:
            return
        ethertype = be16(frame + offset + 2)
        offset += 4
        tags += 1
    packet.l3 = frame + offset
    if ethertype == 0x0800:
        parse_ipv4(packet, packet.l3, size - offset, side)
    elif ethertype == 0x86dd:
        parse_ipv6(packet, packet.l3, size - offset, side)
    else:
        packet.error = R_NOT_IP
