# Neighbour discovery for IPv6: RFC 4861.  Router solicitations teach the edge who is there and are not answered:
# stateless address configuration is not emulated.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from native.answer cimport pseudo_header
from native.hop cimport LinkSubnet
from native.neighbour cimport (
    L_DROPPED, L_PASS, L_TAKEN, LC_ANNOUNCEMENTS, LC_IGNORED, LC_INVALID, LC_REPLIES_IN, LC_REPLIES_OUT,
    LC_REQUESTS_IN, LC_REQUESTS_OUT, N_PROBE, NO_NEIGHBOUR, OUT_SEND, LinkPort, Neighbour, Neighbours, Outbox,
)
from native.neighbour_learn cimport (
    confirm, interface_id, is_mine, is_station_mac, learn, may_defend, may_take, speaks_ipv6,
)
from native.neighbour_table cimport find_neighbour, outbox_add
from native.nexthop cimport is_link_local, is_station, subnet_of
from native.program cimport ProgramData
from native.wire cimport be16, be64, fold, put16, put32, put64, sum_bytes

cdef enum:
    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOR_SOLICITATION = 135
    NEIGHBOR_ADVERTISEMENT = 136
    REDIRECT = 137
    SOURCE_ADDRESS = 1              # options
    TARGET_ADDRESS = 2
    FLAG_ROUTER = 0x80
    FLAG_SOLICITED = 0x40
    FLAG_OVERRIDE = 0x20
    ND_FRAME = 86                   # of a solicitation or advertisement with one option

cdef extern from *:
    """
    #define T1_LINK_LOCAL_NODES 0xff02000000000000ULL
    #define T1_SOLICITED_NODE 0x1ff000000ULL
    """
    const uint64_t LINK_LOCAL_NODES "T1_LINK_LOCAL_NODES"      # high half of ff02::/64
    const uint64_t SOLICITED_NODE "T1_SOLICITED_NODE"          # low half of ff02::1:ff00:0


cdef inline void begin_nd(
    uint8_t *frame, const uint8_t *mac, uint8_t nd_type, uint64_t src_hi, uint64_t src_lo, uint64_t dst_hi,
    uint64_t dst_lo, uint64_t target_hi, uint64_t target_lo
) noexcept nogil:
    # Everything but the link destination, the flags and the checksum; to a multicast address the link's, too.
    memset(frame, 0, ND_FRAME)
    if dst_hi >> 56 == 0xff:
        put16(frame, 0x3333)
        put32(frame + 2, <uint32_t>dst_lo)
    memcpy(frame + 6, mac, 6)
    put16(frame + 12, 0x86dd)
    frame[14] = 0x60
    put16(frame + 18, 32)
    frame[20] = 58
    frame[21] = 255
    put64(frame + 22, src_hi)
    put64(frame + 30, src_lo)
    put64(frame + 38, dst_hi)
    put64(frame + 46, dst_lo)
    frame[54] = nd_type
    put64(frame + 62, target_hi)
    put64(frame + 70, target_lo)
    frame[78] = TARGET_ADDRESS if nd_type == NEIGHBOR_ADVERTISEMENT else SOURCE_ADDRESS
    frame[79] = 1
    memcpy(frame + 80, mac, 6)


cdef inline void seal_nd(uint8_t *frame) noexcept nogil:
    put16(frame + 56, <uint16_t>~fold(pseudo_header(frame + 14, 6, 58, 32) + sum_bytes(frame + 54, 32)))


cdef inline void announce_by_nd(
    Neighbours *table, Outbox *outbox, uint16_t port, const uint8_t *mac, uint64_t hi, uint64_t lo
) noexcept nogil:
    # RFC 4861 7.2.6: an unsolicited advertisement to all nodes.
    cdef uint8_t *frame = outbox_add(table, outbox, port, OUT_SEND, ND_FRAME)
    if frame == NULL:
        return
    begin_nd(frame, mac, NEIGHBOR_ADVERTISEMENT, hi, lo, LINK_LOCAL_NODES, 1, hi, lo)
    frame[58] = FLAG_ROUTER | FLAG_OVERRIDE
    seal_nd(frame)
    table.ports[port].counts[<int>LC_ANNOUNCEMENTS] += 1


cdef inline void ask_by_nd(
    Neighbours *table, const ProgramData *program, uint16_t number, Outbox *outbox
) noexcept nogil:
    # Whoever may have the address, or who had it last.
    cdef const Neighbour *one = &table.pool[number]
    cdef const uint8_t *mac = table.ports[one.port].mac
    cdef const LinkSubnet *subnet = subnet_of(program, one.port, 6, one.hi, one.lo)
    cdef uint64_t src_hi = 0xfe80000000000000ULL
    cdef uint64_t src_lo = interface_id(mac)
    cdef uint64_t dst_hi = one.hi
    cdef uint64_t dst_lo = one.lo
    cdef uint8_t *frame = outbox_add(table, outbox, one.port, OUT_SEND, ND_FRAME)
    if frame == NULL:
        return
    if subnet != NULL and subnet.has_own:
        src_hi = subnet.own_hi
        src_lo = subnet.own_lo
    if one.state != N_PROBE:
        dst_hi = LINK_LOCAL_NODES
        dst_lo = SOLICITED_NODE | (one.lo & 0xffffff)
    begin_nd(frame, mac, NEIGHBOR_SOLICITATION, src_hi, src_lo, dst_hi, dst_lo, one.hi, one.lo)
    if one.state == N_PROBE:
        memcpy(frame, one.mac, 6)
    seal_nd(frame)
    table.ports[one.port].counts[<int>LC_REQUESTS_OUT] += 1


cdef inline void answer_nd(
    Neighbours *table, uint16_t port, const uint8_t *mac, const uint8_t *l3, const uint8_t *station, Outbox *outbox
) noexcept nogil:
    # RFC 4861 7.2.4; who has no address yet (RFC 4862 5.4) is told together with everybody else.
    cdef const uint8_t *target = l3 + 48
    cdef bint nameless = be64(l3 + 8) == 0 and be64(l3 + 16) == 0
    cdef uint64_t dst_hi = LINK_LOCAL_NODES if nameless else be64(l3 + 8)
    cdef uint64_t dst_lo = 1 if nameless else be64(l3 + 16)
    cdef uint8_t *frame = outbox_add(table, outbox, port, OUT_SEND, ND_FRAME)
    if frame == NULL:
        return
    begin_nd(frame, mac, NEIGHBOR_ADVERTISEMENT, be64(target), be64(target + 8), dst_hi, dst_lo,
             be64(target), be64(target + 8))
    if not nameless:
        memcpy(frame, station, 6)
    frame[58] = FLAG_ROUTER | FLAG_OVERRIDE | (0 if nameless else FLAG_SOLICITED)
    seal_nd(frame)
    table.ports[port].counts[<int>LC_REPLIES_OUT] += 1


cdef inline bint read_options(
    const uint8_t *options, uint32_t size, uint8_t wanted, const uint8_t **found
) noexcept nogil:
    # The link-layer address option of that type, NULL without one; False: the options are not well formed.
    cdef uint32_t length
    found[0] = NULL
    while size:
        if size < 8 or options[1] == 0:
            return False
        length = <uint32_t>options[1] * 8
        if length > size:
            return False
        if options[0] == wanted and found[0] == NULL:
            found[0] = options + 2
        options += length
        size -= length
    return True


cdef inline bint is_nd(const uint8_t *l3, uint32_t length) noexcept nogil:
    # A message that never crosses a router: RFC 4861 4, ICMPv6 right behind the IPv6 header, hop limit 255.
    return (length >= 48 and l3[0] >> 4 == 6 and l3[6] == 58 and l3[7] == 255
            and ROUTER_SOLICITATION <= l3[40] <= REDIRECT)


cdef inline bint is_valid_nd(
    const uint8_t *l3, uint32_t size, uint32_t fixed, uint8_t wanted, const uint8_t *mac, const uint8_t **address
) noexcept nogil:
    # RFC 4861 6.1.1, 7.1.1, 7.1.2: `size` bytes of ICMPv6, of which `fixed` come before the options.  The link-layer
    # address that is wanted of them, if there is one, is another station's than this `mac`.
    if size < fixed or l3[41] != 0 or fold(pseudo_header(l3, 6, 58, size) + sum_bytes(l3 + 40, size)) != 0xffff:
        return False
    if not read_options(l3 + 40 + fixed, size - fixed, wanted, address):
        return False
    return address[0] == NULL or (is_station_mac(address[0]) and memcmp(address[0], mac, 6) != 0)


cdef inline int solicited(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *station,
    const uint8_t *l3, uint32_t size, uint64_t now, Outbox *outbox
) noexcept nogil:
    cdef LinkPort *state = &table.ports[port]
    cdef uint64_t src_hi = be64(l3 + 8)
    cdef uint64_t src_lo = be64(l3 + 16)
    cdef bint nameless = src_hi == 0 and src_lo == 0
    cdef const uint8_t *address
    if (not is_valid_nd(l3, size, 24, SOURCE_ADDRESS, mac, &address) or l3[48] == 0xff
            or (nameless and (address != NULL or be64(l3 + 24) != LINK_LOCAL_NODES
                              or be64(l3 + 32) >> 24 != SOLICITED_NODE >> 24))):
        state.counts[<int>LC_INVALID] += 1
        return L_DROPPED
    if not nameless and is_mine(program, port, mac, 6, src_hi, src_lo):
        if may_defend(table, port, now):
            announce_by_nd(table, outbox, port, mac, src_hi, src_lo)
        return L_TAKEN
    if (not is_mine(program, port, mac, 6, be64(l3 + 48), be64(l3 + 56))
            or not (nameless or is_station(program, port, 6, src_hi, src_lo))):
        state.counts[<int>LC_IGNORED] += 1
        return L_TAKEN
    if not may_take(table, program, port, 6, src_hi, src_lo, now):
        return L_DROPPED
    state.counts[<int>LC_REQUESTS_IN] += 1
    if address != NULL:
        learn(table, program, port, 6, src_hi, src_lo, address, True, now, outbox)
    answer_nd(table, port, mac, l3, station if address == NULL else address, outbox)
    return L_TAKEN


cdef inline int advertised(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *l3, uint32_t size,
    uint64_t now, Outbox *outbox
) noexcept nogil:
    cdef LinkPort *state = &table.ports[port]
    cdef const uint8_t *address
    cdef uint16_t number
    if (not is_valid_nd(l3, size, 24, TARGET_ADDRESS, mac, &address) or l3[48] == 0xff
            or (l3[24] == 0xff and l3[44] & FLAG_SOLICITED)):
        state.counts[<int>LC_INVALID] += 1
        return L_DROPPED
    if is_mine(program, port, mac, 6, be64(l3 + 48), be64(l3 + 56)):
        if may_defend(table, port, now):
            announce_by_nd(table, outbox, port, mac, be64(l3 + 48), be64(l3 + 56))
        return L_TAKEN
    number = find_neighbour(table, port, 6, be64(l3 + 48), be64(l3 + 56))
    if number == NO_NEIGHBOUR:
        state.counts[<int>LC_IGNORED] += 1
        return L_TAKEN
    state.counts[<int>LC_REPLIES_IN] += 1
    confirm(table, number, address, l3[44] & FLAG_SOLICITED != 0, l3[44] & FLAG_OVERRIDE != 0, now, outbox)
    return L_TAKEN


cdef inline int looked_for_router(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *l3, uint32_t size,
    uint64_t now, Outbox *outbox
) noexcept nogil:
    # RFC 4861 6.2.6.
    cdef LinkPort *state = &table.ports[port]
    cdef uint64_t src_hi = be64(l3 + 8)
    cdef uint64_t src_lo = be64(l3 + 16)
    cdef bint nameless = src_hi == 0 and src_lo == 0
    cdef const uint8_t *address
    if not is_valid_nd(l3, size, 8, SOURCE_ADDRESS, mac, &address) or (nameless and address != NULL):
        state.counts[<int>LC_INVALID] += 1
        return L_DROPPED
    if address == NULL or is_mine(program, port, mac, 6, src_hi, src_lo) or not speaks_ipv6(program, port):
        state.counts[<int>LC_IGNORED] += 1
        return L_TAKEN
    if not may_take(table, program, port, 6, src_hi, src_lo, now):
        return L_DROPPED
    learn(table, program, port, 6, src_hi, src_lo, address, True, now, outbox)
    return L_TAKEN


cdef inline int nd_input(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *station,
    const uint8_t *l3, uint32_t length, uint64_t now, Outbox *outbox
) noexcept nogil:
    # A packet that is_nd(), from a station with that MAC address.  L_PASS: it is on its way to somebody else.
    cdef uint32_t size = be16(l3 + 4)
    if l3[24] != 0xff and not is_mine(program, port, mac, 6, be64(l3 + 24), be64(l3 + 32)):
        if not is_link_local(6, be64(l3 + 24)):
            return L_PASS
    if 40 + size > length or size < 8:
        table.ports[port].counts[<int>LC_INVALID] += 1
        return L_DROPPED
    if l3[40] == NEIGHBOR_SOLICITATION:
        return solicited(table, program, port, mac, station, l3, size, now, outbox)
    if l3[40] == NEIGHBOR_ADVERTISEMENT:
        return advertised(table, program, port, mac, l3, size, now, outbox)
    if l3[40] == ROUTER_SOLICITATION:
        return looked_for_router(table, program, port, mac, l3, size, now, outbox)
    table.ports[port].counts[<int>LC_IGNORED] += 1
    return L_TAKEN
