# A compiled configuration: immutable, every table by value or behind a pointer that lives as long as the program.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.classify cimport Rules
from native.nat cimport Nat
from native.route cimport RangeMap, Route

cdef enum PortKind:
    PORT_UPLINK = 0
    PORT_DISTRIBUTED = 1
    PORT_SERVICE = 2
    PORT_ISOLATED = 3

cdef enum Timer:
    TM_TCP_FIRST = 0
    TM_TCP_OPENING = 1
    TM_TCP_ESTABLISHED = 2
    TM_TCP_FIN_WAIT = 3
    TM_TCP_CLOSING = 4
    TM_TCP_CLOSED = 5
    TM_UDP_FIRST = 6
    TM_UDP_SINGLE = 7
    TM_UDP_MULTIPLE = 8
    TM_ICMP_FIRST = 9
    TM_ICMP_ERROR_REPLY = 10
    TM_OTHER = 11
    TIMERS = 12

ctypedef struct FirewallRule:
    uint8_t action          # a Verdict
    uint8_t reason          # FW_RULE, FW_DEFAULT or FW_SYSTEM
    uint8_t logging
    uint32_t slot

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
    uint8_t kind
    uint32_t first_address  # OwnAddress first_address .. last_address - 1
    uint32_t last_address

ctypedef struct ProgramData:
    uint32_t revision
    uint32_t port_count
    Port *ports
    OwnAddress *addresses
    Route *routes
    RangeMap route_map[2]
    RangeMap ingress_map[2]     # source -> port it enters by
    uint16_t default_port   # where what no network contains comes in
    Rules firewall
    FirewallRule *firewall_rules
    Rules dnat
    Rules snat
    Nat nat
    uint64_t timers[TIMERS]     # ns
    uint8_t *blocked[2]     # provider filter, 65,536 bits each: TCP, UDP
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


cdef inline bint is_blocked(const ProgramData *program, uint8_t proto, uint16_t port) noexcept nogil:
    if proto == 6:
        return program.blocked[0][port >> 3] >> (port & 7) & 1
    if proto == 17:
        return program.blocked[1][port >> 3] >> (port & 7) & 1
    return False


cdef class Program:
    cdef ProgramData data
    cdef list parts

    cdef int _take_map(self, RangeMap *ranges, list intervals) except -1
    cdef int _take_ports(self, routing) except -1
    cdef int _take_routes(self, routing) except -1
    cdef int _take_firewall(self, firewall, slots) except -1
    cdef int _take_nat(self, nat, slots, usage) except -1
    cdef int _take_options(self, options) except -1
