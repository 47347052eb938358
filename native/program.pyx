"""A compiled configuration as native tables."""

from array import array

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.classify cimport NO_RULE, RuleTable
from native.hop cimport Link, LinkSubnet, NextHop, Reach
from native.kinds cimport TIMERS
from native.memory cimport block, breathe, rest, unset
from native.nat cimport NatRule
from native.overlay cimport OverlaidTable, Overlay
from native.program cimport FirewallRule, OwnAddress, Port, RuleAt
from native.route cimport RangeMap, Route


cdef tuple halves(address):
    return address >> 64, address & 0xffffffffffffffff


cdef object slots_of(list ids, slots):
    # The counter slot of each rule, and a 0 behind them: there is no view of nothing.
    cdef Py_ssize_t i
    found = array("I", bytes(4 * (len(ids) + 1)))
    cdef uint32_t[::1] numbers = found
    for i in range(len(ids)):
        if i & 4095 == 4095:
            rest()
        numbers[i] = slots[ids[i]]
    return found


cdef int take_slots(RuleAt *at, const uint32_t[::1] slots, list blocks) except -1:
    # `slots` are those of the rules, in their order, and one entry more.
    cdef uint32_t i
    cdef uint32_t rules = <uint32_t>(slots.shape[0] - 1)
    at.count = 0
    for i in range(rules):
        at.count = max(at.count, slots[i] + 1)
    at.rule = <uint32_t *>block(blocks, 4 * (<size_t>at.count + 1))
    for i in range(at.count):
        at.rule[i] = NO_RULE
    for i in range(rules):
        at.rule[slots[i]] = i
    return 0


cdef class FirewallPart:
    def __cinit__(self, firewall, dict slots):
        cdef uint32_t i
        cdef FirewallRule *rule
        cdef const uint8_t[::1] verdict
        cdef const uint8_t[::1] reason
        cdef const uint8_t[::1] logging
        cdef const uint32_t[::1] ftp
        cdef const uint32_t[::1] tftp
        cdef const uint32_t[::1] slot = slots_of(firewall.ids, slots)
        self.blocks = []
        self.firewall = firewall
        self.table = RuleTable(firewall.rules)
        self.rule = <FirewallRule *>block(self.blocks, sizeof(FirewallRule) * (len(firewall.ids) + 1))
        take_slots(&self.at, slot, self.blocks)
        if not firewall.ids:
            return
        verdict, reason, logging = firewall.verdict, firewall.reason, firewall.logging
        ftp, tftp = firewall.ftp, firewall.tftp
        for i in range(<uint32_t>len(firewall.ids)):
            rule = &self.rule[i]
            rule.action = verdict[i]
            rule.reason = reason[i]
            rule.logging = logging[i]
            rule.slot = slot[i]
            rule.ftp = ftp[i]
            rule.tftp = tftp[i]


cdef class Program:
    """Immutable after construction.

    ``tables`` is :class:`edge.compiler.Tables`; ``slots`` maps rule ids to counter slots and ``usage`` external SNAT
    addresses (integers with their family) to usage slots, both bound by the engine that will run the program.  Tables
    that are ``like``'s own, a program of the same engine, are shared with it.  ``part`` is taken where it was made of
    these very rules, with slots of the same engine.
    """

    def __cinit__(self, tables, dict slots not None, dict usage not None, uint32_t revision, Program like=None,
                  FirewallPart part=None):
        cdef bint same_ports = like is not None and tables.routing is like.tables.routing
        if like is not None:
            self.data = like.data
        self.tables = tables
        self.parts = []
        self.data.revision = revision
        if same_ports:
            self.routing_parts = like.routing_parts
        else:
            self.routing_parts = []
            self._take_ports(tables.routing)
            self._take_routes(tables.routing)
        if same_ports and tables.links is like.tables.links:
            self.link_parts = like.link_parts
        else:
            self.link_parts = []
            self._take_links(tables.links)
        if like is not None and tables.firewall is like.tables.firewall:
            self.firewall = like.firewall
        elif part is not None and part.firewall is tables.firewall:
            self.firewall = part
        else:
            self.firewall = FirewallPart(tables.firewall, slots)
        self._take_firewall(tables.overlay, slots)
        if like is not None and tables.nat is like.tables.nat:
            self.nat_parts = like.nat_parts
        else:
            self.nat_parts = []
            self._take_nat(tables.nat, slots)
        self._take_pools(tables.nat, usage)
        if like is not None and tables.options is like.tables.options:
            self.option_parts = like.option_parts
        else:
            self.option_parts = []
            self._take_options(tables.options)

    cdef int _take_map(self, RangeMap *ranges, list intervals) except -1:
        # [(start, value)], sorted.
        cdef uint32_t i
        ranges.count = len(intervals)
        ranges.start_hi = <uint64_t *>block(self.routing_parts, 8 * ranges.count + 8)
        ranges.start_lo = <uint64_t *>block(self.routing_parts, 8 * ranges.count + 8)
        ranges.value = <uint32_t *>block(self.routing_parts, 4 * ranges.count + 4)
        for i in range(ranges.count):
            breathe(i)
            start, value = intervals[i]
            ranges.start_hi[i] = start >> 64
            ranges.start_lo[i] = start & 0xffffffffffffffff
            ranges.value[i] = value
        return 0

    cdef int _take_ports(self, routing) except -1:
        cdef uint32_t i
        cdef uint32_t j = 0
        cdef OwnAddress *address
        self.data.port_count = len(routing.port_kinds)
        self.data.ports = <Port *>block(self.routing_parts, sizeof(Port) * (self.data.port_count + 1))
        cdef uint32_t total = sum(map(len, routing.own_addresses))
        self.data.addresses = <OwnAddress *>block(self.routing_parts, sizeof(OwnAddress) * (total + 1))
        for i in range(self.data.port_count):
            self.data.ports[i].kind = routing.port_kinds[i]
            self.data.ports[i].first_address = j
            for family, first, last, own in routing.own_addresses[i]:
                address = &self.data.addresses[j]
                address.family = family
                address.first_hi = first >> 64
                address.first_lo = first & 0xffffffffffffffff
                address.last_hi = last >> 64
                address.last_lo = last & 0xffffffffffffffff
                address.hi = own >> 64
                address.lo = own & 0xffffffffffffffff
                j += 1
            self.data.ports[i].last_address = j
        return 0

    cdef int _take_routes(self, routing) except -1:
        cdef uint32_t i
        self.data.routes = <Route *>block(self.routing_parts, sizeof(Route) * (len(routing.routes) + 1))
        self.data.next_hops = <NextHop *>block(self.routing_parts, sizeof(NextHop) * (len(routing.routes) + 1))
        for i in range(<uint32_t>len(routing.routes)):
            breathe(i)
            self.data.routes[i].kind, self.data.routes[i].port = routing.routes[i]
            hop = routing.next_hops[i]
            if hop is not None:
                self.data.next_hops[i].via = True
                self.data.next_hops[i].hi = hop >> 64
                self.data.next_hops[i].lo = hop & 0xffffffffffffffff
        for i in range(2):
            self._take_map(&self.data.route_map[i], routing.route_maps[i])
            self._take_map(&self.data.ingress_map[i], routing.ingress_maps[i])
        self.data.default_port = routing.default_port
        return 0

    cdef int _take_links(self, links) except -1:
        # edge.routing.links.LinkTables, whose rows are sorted by port.
        cdef uint32_t i
        cdef Link *link
        cdef LinkSubnet *subnet
        self.data.links = <Link *>block(self.link_parts, sizeof(Link) * (self.data.port_count + 1))
        self.data.link_subnets = <LinkSubnet *>block(self.link_parts, sizeof(LinkSubnet) * (len(links.subnets) + 1))
        for i in range(<uint32_t>len(links.subnets)):
            breathe(i)
            row = links.subnets[i]
            subnet = &self.data.link_subnets[i]
            subnet.family = row.family
            subnet.has_own = row.own is not None
            subnet.has_gateway = row.gateway is not None
            subnet.first_hi, subnet.first_lo = halves(row.first)
            subnet.last_hi, subnet.last_lo = halves(row.last)
            subnet.own_hi, subnet.own_lo = halves(row.own or 0)
            subnet.gateway_hi, subnet.gateway_lo = halves(row.gateway or 0)
            subnet.has_broadcast = row.has_broadcast
            self.data.links[<int>row.port].last_subnet = i + 1
        self.data.answered = self._reaches(links.answered)
        for i in range(<uint32_t>len(links.answered)):
            breathe(i)
            self.data.links[<int>links.answered[i].port].last_answered = i + 1
        self.data.detours = self._reaches(links.detours)
        for i in range(<uint32_t>len(links.detours)):
            breathe(i)
            self.data.links[<int>links.detours[i].port].last_detour = i + 1
        for i in range(self.data.port_count):
            # What a port has begins where that of the port before it ends.
            link = &self.data.links[i]
            if i:
                link.first_subnet = self.data.links[i - 1].last_subnet
                link.first_answered = self.data.links[i - 1].last_answered
                link.first_detour = self.data.links[i - 1].last_detour
            link.last_subnet = max(link.first_subnet, link.last_subnet)
            link.last_answered = max(link.first_answered, link.last_answered)
            link.last_detour = max(link.first_detour, link.last_detour)
        return 0

    cdef Reach *_reaches(self, list rows) except NULL:
        cdef uint32_t i
        cdef Reach *reaches = <Reach *>block(self.link_parts, sizeof(Reach) * (len(rows) + 1))
        for i in range(<uint32_t>len(rows)):
            breathe(i)
            reaches[i].family = rows[i].family
            reaches[i].first_hi, reaches[i].first_lo = halves(rows[i].first)
            reaches[i].last_hi, reaches[i].last_lo = halves(rows[i].last)
            reaches[i].hop_hi, reaches[i].hop_lo = halves(rows[i].hop)
        return reaches

    cdef int _take_firewall(self, overlay, slots) except -1:
        self.data.firewall = self.firewall.table.rules
        self.data.firewall_rules = self.firewall.rule
        self.data.firewall_at = self.firewall.at
        memset(&self.data.overlay, 0, sizeof(Overlay))
        if overlay is not None:
            self._lay_over(overlay, slots)
        return 0

    cdef int _lay_over(self, overlay, slots) except -1:
        # edge.firewall.overlay.FirewallOverlay: its rules stand behind those of the shared part.
        cdef FirewallPart added = FirewallPart(overlay.added, slots)
        cdef OverlaidTable table = OverlaidTable(self.firewall.table, overlay.dead, added.table, overlay.before)
        cdef uint32_t count = self.firewall.table.count
        cdef uint32_t more = added.table.count
        cdef RuleAt *at = &self.data.firewall_at
        cdef uint32_t *numbers
        cdef uint32_t i
        self.parts += [table, added]
        self.data.firewall = table.rules
        self.data.overlay = table.overlay
        self.data.firewall_rules = <FirewallRule *>unset(self.parts, sizeof(FirewallRule) * (<size_t>count + more + 1))
        memcpy(self.data.firewall_rules, self.firewall.rule, sizeof(FirewallRule) * <size_t>count)
        memcpy(self.data.firewall_rules + count, added.rule, sizeof(FirewallRule) * <size_t>more)
        at.count = max(at.count, added.at.count)
        numbers = <uint32_t *>unset(self.parts, 4 * (<size_t>at.count + 1))
        at.rule = numbers
        memcpy(numbers, self.firewall.at.rule, 4 * <size_t>self.firewall.at.count)
        for i in range(self.firewall.at.count, at.count):
            numbers[i] = NO_RULE
        for i in overlay.dead:
            numbers[self.firewall.rule[i].slot] = NO_RULE
        for i in range(more):
            numbers[added.rule[i].slot] = count + i
        return 0

    cdef int _take_nat(self, nat, slots) except -1:
        cdef uint32_t i
        cdef RuleTable dnat = RuleTable(nat.dnat)
        cdef RuleTable snat = RuleTable(nat.snat)
        cdef NatRule *rule
        cdef uint32_t j = 0
        self.nat_parts += [dnat, snat]
        self.data.dnat = dnat.rules
        self.data.snat = snat.rules
        self.data.nat.rules = <NatRule *>block(self.nat_parts, sizeof(NatRule) * (len(nat.rules) + 1))
        for i in range(<uint32_t>len(nat.rules)):
            breathe(i)
            row = nat.rules[i]
            rule = &self.data.nat.rules[i]
            rule.type = row.type
            rule.firewall_match = row.firewall_match
            rule.logging = row.logging
            rule.port_map = row.port_map
            rule.matched_port = row.matched_port
            rule.target_port = row.target_port
            rule.slot = slots[row.id]
            rule.one_to_one = row.one_to_one
            rule.external_hi = row.external >> 64
            rule.external_lo = row.external & 0xffffffffffffffff
            rule.internal_hi = row.internal >> 64
            rule.internal_lo = row.internal & 0xffffffffffffffff
            rule.pool_size = row.pool_size
            rule.pool_usage = j
            j += row.pool_size
        take_slots(&self.data.nat_at, slots_of([row.id for row in nat.rules], slots), self.nat_parts)
        return 0

    cdef int _take_pools(self, nat, usage) except -1:
        # The usage slots of pool addresses, which others may have by now even where the rules are the same.
        cdef uint32_t i
        cdef uint32_t j = 0
        self.data.nat.pool_slots = <uint32_t *>block(self.parts, 4 * sum(row.pool_size for row in nat.rules) + 4)
        for i in range(<uint32_t>len(nat.rules)):
            row = nat.rules[i]
            for address in range(row.external, row.external + row.pool_size):
                breathe(j)
                self.data.nat.pool_slots[j] = usage[row.family, address]
                j += 1
        return 0

    cdef int _take_options(self, options) except -1:
        cdef int i
        cdef uint64_t *bits
        for i in range(TIMERS):
            self.data.timers[i] = options.timers_ns[i]
        for i in range(2):
            bits = <uint64_t *>block(self.option_parts, 8192)
            self.data.blocked[i] = bits
            for first, last in options.blocked[i]:
                for port in range(first, last + 1):
                    bits[<int>port >> 6] |= <uint64_t>1 << (<int>port & 63)
        self.data.provider_filter = options.provider_filter
        self.data.tcp_strict = options.tcp_strict
        self.data.east_west_firewall = options.east_west_firewall
        self.data.recheck = options.recheck
        self.data.reject_code = options.reject_code
        self.data.mtu = options.mtu
        self.data.answer_interval = options.icmp_error_interval_ns
        self.data.snat_first = options.snat_first
        self.data.snat_count = options.snat_count
        self.data.max_sessions = options.max_sessions
        self.data.max_half_open = options.max_half_open
        self.data.max_sessions_per_source = options.max_sessions_per_source
        self.data.endpoint_independent = options.endpoint_independent
        self.data.hairpin_inside = options.hairpin_inside
        self.data.max_fragments = options.max_fragments
        self.data.fragment_timeout = options.fragment_timeout_ns
        return 0
