# What the compiler writes into a program, by number: mirrored in edge/routing/compile.py, edge/nat/compile.py and
# edge/compiler.py.

cpdef enum PortKind:
    PORT_UPLINK = 0
    PORT_DISTRIBUTED = 1
    PORT_SERVICE = 2
    PORT_ISOLATED = 3

cpdef enum RouteKind:
    ROUTE_CONNECTED = 0
    ROUTE_STATIC = 1
    ROUTE_DEFAULT = 2
    ROUTE_GATEWAY = 3       # the edge's own address on a network
    ROUTE_OWNED = 4         # an address allocated to the edge on an uplink
    ROUTE_PRIMARY = 5       # the edge's own address on an uplink
    ROUTE_ISOLATED = 6
    ROUTE_BROADCAST = 7

cpdef enum NatType:
    NAT_DNAT = 0
    NAT_SNAT = 1
    NAT_NO_DNAT = 2
    NAT_NO_SNAT = 3
    NAT_REFLEXIVE = 4

cpdef enum FirewallMatch:
    MATCH_INTERNAL = 0
    MATCH_EXTERNAL = 1
    MATCH_BYPASS = 2

cpdef enum PortMap:
    PORT_KEPT = 0
    PORT_ONE = 1            # to the first port of the target range
    PORT_OFFSET = 2         # a range onto a range of the same length

cpdef enum Timer:
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
