# A compiled configuration: immutable, every table by value or behind a pointer that lives as long as the program.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.classify cimport NO_RULE, Rules, RuleTable
from native.hop cimport Link, LinkSubnet, NextHop, Reach
from native.kinds cimport PORT_ISOLATED, PORT_UPLINK, TIMERS
from native.nat cimport Nat
from native.overlay cimport Overlay
from native.route cimport RangeMap, Route

ctypedef struct FirewallRule:
    uint8_t action          # a Verdict
    uint8_t reason          # FW_RULE, FW_DEFAULT or FW_SYSTEM
    uint8_t logging
    uint32_t slot
    uint32_t ftp            # list of the services of its profiles with that helper, native.classify ANY: none
    uint32_t tftp

ctypedef struct OwnAddress:
    # An address the edge answers from, and the subnet it stands in.
    uint8_t family
    uint64_t first_hi
    uint64_t first_lo
    uint64_t last_hi
    uint64_t last_lo
    uint64_t hi
    uint64_t lo

ctypedef struct Port:
    uint8_t kind            # a PortKind
    uint32_t first_address  # OwnAddress first_address .. last_address - 1
    uint32_t last_address

ctypedef struct RuleAt:
    # The rules by their counter slots.
    uint32_t count          # slots that are known: those beyond are of rules that other configurations have
    uint32_t *rule          # its number, NO_RULE: none is in force

ctypedef struct ProgramData:
    uint32_t revision
    uint32_t port_count
    Port *ports
    OwnAddress *addresses
    Route *routes
    RangeMap route_map[2]
    RangeMap ingress_map[2]     # source -> port it enters by
    NextHop *next_hops          # by route
    Link *links                 # by port
    LinkSubnet *link_subnets
    Reach *answered             # what the edge answers for on its links, sorted by port, family and address
    Reach *detours              # static routes by port, the one to prefer first
    uint16_t default_port   # where what no network contains comes in
    Rules firewall
    Overlay overlay         # over the firewall's rules
    FirewallRule *firewall_rules
    Rules dnat
    Rules snat
    Nat nat
    RuleAt firewall_at
    RuleAt nat_at
    uint64_t timers[TIMERS]     # ns
    uint64_t *blocked[2]    # provider filter, 65,536 bits each: TCP, UDP
    bint provider_filter
    bint tcp_strict
    bint east_west_firewall
    bint recheck
    uint8_t reject_code
    uint32_t mtu            # bytes of IP, of every port
    uint64_t answer_interval    # ns from one ICMP error of the edge to the next, in the long run; 0: no limit
    uint16_t snat_first
    uint32_t snat_count
    uint32_t max_sessions
    uint32_t max_half_open
    uint32_t max_sessions_per_source    # 0: no limit
    bint endpoint_independent
    bint hairpin_inside
    uint32_t max_fragments
    uint64_t fragment_timeout   # ns


cdef inline uint32_t rule_in_force(const RuleAt *at, uint32_t slot) noexcept nogil:
    # The number of the rule with a counter slot, which may be NO_SLOT or of a rule that is not there (any more).
    return at.rule[slot] if slot < at.count else NO_RULE


cdef inline uint8_t side_of(const ProgramData *program, uint16_t port) noexcept nogil:
    # Sessions are looked up by the side a packet comes from; nothing is ever found for an isolated network's.
    if program.ports[port].kind == PORT_UPLINK:
        return 1
    return 2 if program.ports[port].kind == PORT_ISOLATED else 0


cdef inline bint is_blocked(const ProgramData *program, uint8_t proto, uint16_t port) noexcept nogil:
    if proto == 6:
        return program.blocked[0][port >> 6] >> (port & 63) & 1
    if proto == 17:
        return program.blocked[1][port >> 6] >> (port & 63) & 1
    return False


cdef inline uint64_t open_ports(const ProgramData *program, uint8_t proto, uint32_t word) noexcept nogil:
    # Those of the ports 64 * word .. 64 * word + 63 that are not blocked, a bit each.
    if proto == 6:
        return ~program.blocked[0][word]
    return ~program.blocked[1][word] if proto == 17 else 0xffffffffffffffffULL


cdef class FirewallPart:
    # The firewall's rules as they were when all of them were last compiled; programs share it.
    cdef object firewall    # edge.firewall.compile.FirewallTables
    cdef RuleTable table
    cdef FirewallRule *rule
    cdef RuleAt at
    cdef list blocks


cdef class Program:
    cdef ProgramData data
    cdef object tables
    cdef FirewallPart firewall
    cdef list parts         # of this program alone; the others are those of every program that shares them
    cdef list routing_parts
    cdef list link_parts
    cdef list nat_parts
    cdef list option_parts

    cdef int _take_map(self, RangeMap *ranges, list intervals) except -1
    cdef int _take_ports(self, routing) except -1
    cdef int _take_routes(self, routing) except -1
    cdef int _take_links(self, links) except -1
    cdef Reach *_reaches(self, list rows) except NULL
    cdef int _take_firewall(self, overlay, slots) except -1
    cdef int _lay_over(self, overlay, slots) except -1
    cdef int _take_nat(self, nat, slots) except -1
    cdef int _take_pools(self, nat, usage) except -1
    cdef int _take_options(self, options) except -1
