# ARP over Ethernet for IPv4: RFC 826, RFC 5227, RFC 1122 2.3.2.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from native.neighbour cimport (
    L_DROPPED, L_TAKEN, LC_ANNOUNCEMENTS, LC_IGNORED, LC_INVALID, LC_REPLIES_IN, LC_REPLIES_OUT, LC_REQUESTS_IN,
    LC_REQUESTS_OUT, N_PROBE, NO_NEIGHBOUR, OUT_SEND, LinkPort, Neighbour, Neighbours, Outbox,
)
from native.neighbour_learn cimport confirm, is_mine, is_station_mac, learn, may_defend, may_take, was_asked
from native.neighbour_table cimport find_neighbour, outbox_add
from native.nexthop cimport is_station, subnet_of
from native.hop cimport LinkSubnet
from native.program cimport ProgramData
from native.wire cimport be16, be32, be64, put16, put32, put64

cdef enum:
    ARP_FRAME = 42
    ARP_REQUEST = 1
    ARP_REPLY = 2


cdef inline bint write_arp(
    Neighbours *table, Outbox *outbox, uint16_t port, const uint8_t *mac, uint16_t operation, uint32_t sender,
    const uint8_t *target_mac, uint32_t target
) noexcept nogil:
    # `target_mac` NULL: nobody knows it, and everybody hears.
    cdef uint8_t *frame = outbox_add(table, outbox, port, OUT_SEND, ARP_FRAME)
    if frame == NULL:
        return False
    memset(frame, 0xff, 6)
    memset(frame + 32, 0, 6)
    if target_mac != NULL:
        memcpy(frame, target_mac, 6)
        if operation == ARP_REPLY:
            memcpy(frame + 32, target_mac, 6)
    memcpy(frame + 6, mac, 6)
    put16(frame + 12, 0x0806)
    put64(frame + 14, 0x0001080006040000ULL | operation)
    memcpy(frame + 22, mac, 6)
    put32(frame + 28, sender)
    put32(frame + 38, target)
    return True


cdef inline void announce_by_arp(
    Neighbours *table, Outbox *outbox, uint16_t port, const uint8_t *mac, uint32_t address
) noexcept nogil:
    # RFC 5227 2.3: a request for an address of one's own.
    if write_arp(table, outbox, port, mac, ARP_REQUEST, address, NULL, address):
        table.ports[port].counts[<int>LC_ANNOUNCEMENTS] += 1


cdef inline uint32_t arp_source(const ProgramData *program, uint16_t port, uint32_t target) noexcept nogil:
    # The edge's own address nearest to a neighbour; 0, as in a probe, where it has none.
    cdef const LinkSubnet *subnet = subnet_of(program, port, 4, 0, target)
    cdef uint32_t i
    if subnet != NULL and subnet.has_own:
        return <uint32_t>subnet.own_lo
    for i in range(program.links[port].first_subnet, program.links[port].last_subnet):
        subnet = &program.link_subnets[i]
        if subnet.family == 4 and subnet.has_own:
            return <uint32_t>subnet.own_lo
    return 0


cdef inline void ask_by_arp(
    Neighbours *table, const ProgramData *program, uint16_t number, Outbox *outbox
) noexcept nogil:
    # Everybody, or (RFC 1122 2.3.2.1) who had the address last.
    cdef Neighbour *one = &table.pool[number]
    cdef const uint8_t *known = NULL
    cdef uint32_t sender = arp_source(program, one.port, <uint32_t>one.lo)
    if one.state == N_PROBE:
        known = one.mac
    if write_arp(table, outbox, one.port, table.ports[one.port].mac, ARP_REQUEST, sender, known, <uint32_t>one.lo):
        table.ports[one.port].counts[<int>LC_REQUESTS_OUT] += 1


cdef inline bint is_sane_arp(const uint8_t *arp, uint32_t length) noexcept nogil:
    # Ethernet and IPv4, a request or a reply, from a station.
    cdef uint16_t operation
    if length < 28 or be64(arp) >> 16 != 0x000108000604ULL:
        return False
    operation = be16(arp + 6)
    return (operation == ARP_REQUEST or operation == ARP_REPLY) and is_station_mac(arp + 8)


cdef inline bint may_ask(const ProgramData *program, uint16_t port, uint32_t sender) noexcept nogil:
    # Who asks by an address of another network (Linux does, arp_announce 0) is answered, as Linux and FreeBSD do: the
    # reply needs its MAC address only.  Nobody asks by what no station is called.
    if sender == 0 or is_station(program, port, 4, 0, sender):
        return True
    if subnet_of(program, port, 4, 0, sender) != NULL:
        return False
    return sender >> 24 != 0 and sender >> 24 != 127 and sender < 0xe0000000ULL


cdef inline int answer_arp(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *arp,
    uint64_t now, Outbox *outbox
) noexcept nogil:
    # A request for an address of the edge's, from a station of the link, be it by an address of another network, of
    # which nothing is learned, or from one that has no address yet.
    cdef LinkPort *state = &table.ports[port]
    cdef uint32_t sender = be32(arp + 14)
    if not may_ask(program, port, sender):
        state.counts[<int>LC_IGNORED] += 1
        return L_TAKEN
    if not may_take(table, program, port, 4, 0, sender, now):
        return L_DROPPED
    state.counts[<int>LC_REQUESTS_IN] += 1
    if sender != 0:
        learn(table, program, port, 4, 0, sender, arp + 8, True, now, outbox)
    if write_arp(table, outbox, port, mac, ARP_REPLY, be32(arp + 24), arp + 8, sender):
        state.counts[<int>LC_REPLIES_OUT] += 1
    return L_TAKEN


cdef inline int arp_input(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *destination,
    const uint8_t *arp, uint32_t length, uint64_t now, Outbox *outbox
) noexcept nogil:
    # `length` bytes behind the Ethernet header of a frame to `destination`.
    cdef LinkPort *state = &table.ports[port]
    cdef uint32_t sender
    cdef uint16_t number
    cdef bint direct
    if not is_sane_arp(arp, length):
        state.counts[<int>LC_INVALID] += 1
        return L_DROPPED
    if memcmp(arp + 8, mac, 6) == 0:
        state.counts[<int>LC_IGNORED] += 1          # what somebody repeats of the edge's own
        return L_TAKEN
    sender = be32(arp + 14)
    if sender != 0 and is_mine(program, port, mac, 4, 0, sender):
        if may_defend(table, port, now):
            announce_by_arp(table, outbox, port, mac, sender)
        return L_TAKEN
    if be16(arp + 6) == ARP_REQUEST and is_mine(program, port, mac, 4, 0, be32(arp + 24)):
        return answer_arp(table, program, port, mac, arp, now, outbox)
    number = find_neighbour(table, port, 4, 0, sender)
    if number == NO_NEIGHBOUR:
        state.counts[<int>LC_IGNORED] += 1          # of strangers nothing is learned
    elif be16(arp + 6) == ARP_REPLY:
        direct = memcmp(destination, mac, 6) == 0 and memcmp(arp + 18, mac, 6) == 0
        state.counts[<int>LC_REPLIES_IN] += 1
        confirm(table, number, arp + 8, direct and was_asked(table, number), True, now, outbox)
    else:
        learn(table, program, port, 4, 0, sender, arp + 8, False, now, outbox)
    return L_TAKEN
