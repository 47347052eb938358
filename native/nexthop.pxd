# Looking up what native/hop.pxd describes.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.classify cimport not_above
from native.hop cimport Link, LinkSubnet, NextHop, Reach
from native.kinds cimport ROUTE_BROADCAST, ROUTE_GATEWAY, ROUTE_ISOLATED
from native.program cimport ProgramData
from native.route cimport NOWHERE, is_multicast, map_lookup

cdef enum Hop:
    HOP_NONE = 0            # no neighbour on this port leads there
    HOP_NEIGHBOUR = 1
    HOP_GROUP = 2           # multicast or broadcast: the link's address follows from the packet's


cdef inline bint within(
    uint64_t first_hi, uint64_t first_lo, uint64_t last_hi, uint64_t last_lo, uint64_t hi, uint64_t lo
) noexcept nogil:
    return not_above(first_hi, first_lo, hi, lo) and not_above(hi, lo, last_hi, last_lo)


cdef inline bint is_link_local(uint8_t family, uint64_t hi) noexcept nogil:
    # fe80::/10
    return family == 6 and hi >> 54 == 0x3fa


cdef inline const LinkSubnet *subnet_of(
    const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    # The first subnet of the port that contains the address, NULL: it is not on this link.
    cdef const LinkSubnet *subnet
    cdef uint32_t i
    for i in range(program.links[port].first_subnet, program.links[port].last_subnet):
        subnet = &program.link_subnets[i]
        if subnet.family == family and within(
                subnet.first_hi, subnet.first_lo, subnet.last_hi, subnet.last_lo, hi, lo):
            return subnet
    return NULL


cdef inline bint is_station(
    const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    # Can one machine on this link have the address?
    cdef const LinkSubnet *subnet = subnet_of(program, port, family, hi, lo)
    if is_link_local(family, hi):
        return True
    if subnet == NULL:
        return False
    return not subnet.has_broadcast or (lo != subnet.first_lo and lo != subnet.last_lo)


cdef inline bint is_gateway(
    const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    # Is it a router that the program itself relies on: the provider's, or the next hop of a static route?
    cdef const Link *link = &program.links[port]
    cdef const LinkSubnet *subnet
    cdef const Reach *detour
    cdef uint32_t i
    for i in range(link.first_subnet, link.last_subnet):
        subnet = &program.link_subnets[i]
        if subnet.has_gateway and subnet.family == family and subnet.gateway_hi == hi and subnet.gateway_lo == lo:
            return True
    for i in range(link.first_detour, link.last_detour):
        detour = &program.detours[i]
        if detour.family == family and detour.hop_hi == hi and detour.hop_lo == lo:
            return True
    return False


cdef inline const Reach *answered_range(
    const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    # The range of addresses to answer for that holds this one, NULL: it is not the edge's on this link.
    cdef uint32_t low = program.links[port].first_answered
    cdef uint32_t high = program.links[port].last_answered
    cdef uint32_t middle
    cdef const Reach *reach
    while low < high:
        middle = (low + high) >> 1
        reach = &program.answered[middle]
        if reach.family < family or (reach.family == family and not not_above(hi, lo, reach.last_hi, reach.last_lo)):
            low = middle + 1
        else:
            high = middle
    if low == program.links[port].last_answered:
        return NULL
    reach = &program.answered[low]
    return reach if reach.family == family and not_above(reach.first_hi, reach.first_lo, hi, lo) else NULL


cdef inline Hop detour_of(
    const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo, NextHop *hop
) noexcept nogil:
    # For what leaves by another port than the routing table says (answers do, and sessions of an older table): the
    # link itself, a static route by this port, the provider's router of an uplink.
    cdef const Link *link = &program.links[port]
    cdef const LinkSubnet *subnet = subnet_of(program, port, family, hi, lo)
    cdef const Reach *detour
    cdef uint32_t i
    if subnet != NULL:
        return HOP_NEIGHBOUR
    for i in range(link.first_detour, link.last_detour):
        detour = &program.detours[i]
        if detour.family == family and within(
                detour.first_hi, detour.first_lo, detour.last_hi, detour.last_lo, hi, lo):
            hop.hi = detour.hop_hi
            hop.lo = detour.hop_lo
            return HOP_NEIGHBOUR
    for i in range(link.first_subnet, link.last_subnet):
        subnet = &program.link_subnets[i]
        if subnet.family == family and subnet.has_gateway:
            hop.hi = subnet.gateway_hi
            hop.lo = subnet.gateway_lo
            return HOP_NEIGHBOUR
    return HOP_NONE


cdef inline Hop next_hop(
    const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo, NextHop *hop
) noexcept nogil:
    # The neighbour on `port` that a packet to hi, lo is given to, in *hop.
    cdef uint32_t row = map_lookup(&program.route_map[family == 6], hi, lo)
    hop.hi = hi
    hop.lo = lo
    if is_multicast(family, hi, lo):
        return HOP_GROUP
    if is_link_local(family, hi):
        return HOP_NEIGHBOUR
    if row == NOWHERE or program.routes[row].port != port:
        return detour_of(program, port, family, hi, lo, hop)
    if program.routes[row].kind == ROUTE_BROADCAST:
        return HOP_GROUP
    if program.routes[row].kind == ROUTE_GATEWAY or program.routes[row].kind == ROUTE_ISOLATED:
        return HOP_NONE
    if program.next_hops[row].via:
        hop[0] = program.next_hops[row]
    return HOP_NEIGHBOUR
