"""A compiled configuration as native tables."""

from libc.stdint cimport uint32_t, uint64_t

from native.classify cimport NO_RULE, RuleTable
from native.kinds cimport TIMERS
from native.memory cimport block
from native.nat cimport NatRule
from native.program cimport FirewallRule, OwnAddress, Port
from native.route cimport RangeMap, Route


cdef class Program:
    """Immutable after construction.

    ``tables`` is :class:`edge.compiler.Tables`; ``slots`` maps rule ids to counter slots and ``usage`` external SNAT
    addresses (integers with their family) to usage slots, both bound by the engine that will run the program.
    """

    def __cinit__(self, tables, slots: dict, usage: dict, uint32_t revision):
        self.parts = []
        self.data.revision = revision
        self._take_ports(tables.routing)
        self._take_routes(tables.routing)
        self._take_firewall(tables.firewall, slots)
        self._take_nat(tables.nat, slots, usage)
        self._take_options(tables.options)

    cdef int _take_map(self, RangeMap *ranges, list intervals) except -1:
        # [(start, value)], sorted.
        cdef uint32_t i
        ranges.count = len(intervals)
        ranges.start_hi = <uint64_t *>block(self.parts, 8 * ranges.count + 8)
        ranges.start_lo = <uint64_t *>block(self.parts, 8 * ranges.count + 8)
        ranges.value = <uint32_t *>block(self.parts, 4 * ranges.count + 4)
        for i in range(ranges.count):
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
        self.data.ports = <Port *>block(self.parts, sizeof(Port) * (self.data.port_count + 1))
        cdef uint32_t total = sum(map(len, routing.own_addresses))
        self.data.addresses = <OwnAddress *>block(self.parts, sizeof(OwnAddress) * (total + 1))
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
        self.data.routes = <Route *>block(self.parts, sizeof(Route) * (len(routing.routes) + 1))
        for i in range(<uint32_t>len(routing.routes)):
            self.data.routes[i].kind, self.data.routes[i].port = routing.routes[i]
        for i in range(2):
            self._take_map(&self.data.route_map[i], routing.route_maps[i])
            self._take_map(&self.data.ingress_map[i], routing.ingress_maps[i])
        self.data.default_port = routing.default_port
        return 0

    cdef uint32_t *_by_slot(self, list ids, slots) except NULL:
        # The number of each rule by its counter slot.
        cdef uint32_t i
        cdef uint32_t size = max(slots.values(), default=0) + 1
        cdef uint32_t *numbers = <uint32_t *>block(self.parts, 4 * <size_t>size)
        for i in range(size):
            numbers[i] = NO_RULE
        for i in range(<uint32_t>len(ids)):
            numbers[<uint32_t>slots[ids[i]]] = i
        return numbers

    cdef int _take_firewall(self, firewall, slots) except -1:
        cdef uint32_t i
        cdef RuleTable table = RuleTable(firewall.rules)
        self.parts.append(table)
        self.data.firewall = table.rules
        self.data.firewall_rules = <FirewallRule *>block(self.parts, sizeof(FirewallRule) * (len(firewall.ids) + 1))
        for i in range(<uint32_t>len(firewall.ids)):
            self.data.firewall_rules[i].action = firewall.verdict[i]
            self.data.firewall_rules[i].reason = firewall.reason[i]
            self.data.firewall_rules[i].logging = firewall.logging[i]
            self.data.firewall_rules[i].slot = slots[firewall.ids[i]]
            self.data.firewall_rules[i].ftp = firewall.ftp[i]
            self.data.firewall_rules[i].tftp = firewall.tftp[i]
        self.data.firewall_at = self._by_slot(firewall.ids, slots)
        return 0

    cdef int _take_nat(self, nat, slots, usage) except -1:
        cdef uint32_t i
        cdef uint32_t j = 0
        cdef RuleTable dnat = RuleTable(nat.dnat)
        cdef RuleTable snat = RuleTable(nat.snat)
        cdef NatRule *rule
        self.parts.append(dnat)
        self.parts.append(snat)
        self.data.dnat = dnat.rules
        self.data.snat = snat.rules
        self.data.nat.rules = <NatRule *>block(self.parts, sizeof(NatRule) * (len(nat.rules) + 1))
        self.data.nat.pool_slots = <uint32_t *>block(self.parts, 4 * sum(row.pool_size for row in nat.rules) + 4)
        for i in range(<uint32_t>len(nat.rules)):
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
            for address in range(row.external, row.external + row.pool_size):
                self.data.nat.pool_slots[j] = usage[row.family, address]
                j += 1
        self.data.nat_at = self._by_slot([row.id for row in nat.rules], slots)
        return 0

    cdef int _take_options(self, options) except -1:
        cdef int i
        cdef unsigned char *bits
        for i in range(TIMERS):
            self.data.timers[i] = options.timers_ns[i]
        for i in range(2):
            bits = <unsigned char *>block(self.parts, 8192)
            self.data.blocked[i] = bits
            for first, last in options.blocked[i]:
                for port in range(first, last + 1):
                    bits[<int>port >> 3] |= 1 << (<int>port & 7)
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
