# What ARP and neighbour discovery have in common: whose address is whose, who may be learned, when the edge defends
# itself.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from native.kinds cimport PORT_ISOLATED
from native.neighbour cimport (
    LC_DUPLICATES, LC_LIMITED, LC_STORMS, N_FAILED, N_INCOMPLETE, N_PROBE, N_REACHABLE, N_STALE, NO_NEIGHBOUR, LinkPort,
    Neighbour, Neighbours, Outbox,
)
from native.neighbour_table cimport SECOND, add_neighbour, find_neighbour, release_held, set_state, within_rate
from native.nexthop cimport answered_range, is_gateway, is_link_local, is_station
from native.program cimport ProgramData
from native.wire cimport be16, be32

cdef enum:
    REQUEST_RATE = 1000         # a second and port, of those taken in and, apart, of those sent
    DEFEND_INTERVAL_S = 10      # RFC 5227 2.4


cdef inline bint speaks_ipv6(const ProgramData *program, uint16_t port) noexcept nogil:
    cdef uint32_t i
    for i in range(program.links[port].first_subnet, program.links[port].last_subnet):
        if program.link_subnets[i].family == 6:
            return True
    return False


cdef inline uint64_t interface_id(const uint8_t *mac) noexcept nogil:
    # RFC 4291 appendix A: of an EUI-48, with the universal bit turned round.
    return (<uint64_t>(mac[0] ^ 2) << 56 | <uint64_t>mac[1] << 48 | <uint64_t>mac[2] << 40 | 0xfffeULL << 24
            | <uint64_t>mac[3] << 16 | <uint64_t>mac[4] << 8 | mac[5])


cdef inline bint is_mine(
    const ProgramData *program, uint16_t port, const uint8_t *mac, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    # Does the edge answer for the address on this link?
    if program.ports[port].kind == PORT_ISOLATED:
        return False
    if is_link_local(family, hi):
        return hi == 0xfe80000000000000ULL and lo == interface_id(mac) and speaks_ipv6(program, port)
    return answered_range(program, port, family, hi, lo) != NULL


cdef inline bint is_station_mac(const uint8_t *mac) noexcept nogil:
    # One machine's address, neither a group's nor nobody's.
    return mac[0] & 1 == 0 and (be16(mac) != 0 or be32(mac + 2) != 0)


cdef inline bint may_take(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo, uint64_t now
) noexcept nogil:
    # Is there time for another request of this sender?  Routers that the program relies on are always heard.
    cdef LinkPort *state = &table.ports[port]
    if within_rate(&state.next_request, now, REQUEST_RATE) or is_gateway(program, port, family, hi, lo):
        return True
    state.counts[<int>LC_LIMITED] += 1
    if state.limited == 0 or now - state.limited > SECOND:
        state.counts[<int>LC_STORMS] += 1
    state.limited = now
    return False


cdef inline bint may_defend(Neighbours *table, uint16_t port, uint64_t now) noexcept nogil:
    # Another station has an address of the edge's: counted, and contradicted now and then.
    cdef LinkPort *state = &table.ports[port]
    state.counts[<int>LC_DUPLICATES] += 1
    if state.defended != 0 and now - state.defended < DEFEND_INTERVAL_S * <uint64_t>SECOND:
        return False
    state.defended = now
    return True


cdef inline void learn(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo,
    const uint8_t *mac, bint create, uint64_t now, Outbox *outbox
) noexcept nogil:
    # A station says who it is, unasked (RFC 826; RFC 4861 7.2.3): no proof that it hears the edge, hence STALE.
    cdef uint16_t number = find_neighbour(table, port, family, hi, lo)
    cdef Neighbour *one
    if number == NO_NEIGHBOUR:
        if not create or not is_station(program, port, family, hi, lo):
            return
        number = add_neighbour(table, program, port, family, hi, lo, N_STALE, now)
        if number != NO_NEIGHBOUR:
            memcpy(table.pool[number].mac, mac, 6)
        return
    one = &table.pool[number]
    if one.state == N_INCOMPLETE or one.state == N_FAILED or memcmp(one.mac, mac, 6) != 0:
        memcpy(one.mac, mac, 6)
        set_state(table, number, N_STALE, now)
        release_held(table, number, outbox)


cdef inline void confirm(
    Neighbours *table, uint16_t number, const uint8_t *mac, bint solicited, bint override, uint64_t now, Outbox *outbox
) noexcept nogil:
    # A known neighbour answers or announces itself, with its address or (mac NULL) without: RFC 4861 7.2.5.
    cdef Neighbour *one = &table.pool[number]
    cdef bint other
    if one.state == N_INCOMPLETE or one.state == N_FAILED:
        if mac == NULL:
            return
        memcpy(one.mac, mac, 6)
        set_state(table, number, N_REACHABLE if solicited else N_STALE, now)
        release_held(table, number, outbox)
        return
    other = mac != NULL and memcmp(one.mac, mac, 6) != 0
    if other and not override:
        if one.state == N_REACHABLE:
            set_state(table, number, N_STALE, now)
        return
    if other:
        memcpy(one.mac, mac, 6)
    if solicited:
        set_state(table, number, N_REACHABLE, now)
    elif other:
        set_state(table, number, N_STALE, now)


cdef inline bint was_asked(const Neighbours *table, uint16_t number) noexcept nogil:
    # ARP has no flag that says so: a reply is one if it comes while the edge asks.
    return table.pool[number].state == N_INCOMPLETE or table.pool[number].state == N_PROBE
