from enum import IntEnum

class PortKind(IntEnum):
    PORT_UPLINK = 0
    PORT_DISTRIBUTED = 1
    PORT_SERVICE = 2
    PORT_ISOLATED = 3

class RouteKind(IntEnum):
    ROUTE_CONNECTED = 0
    ROUTE_STATIC = 1
    ROUTE_DEFAULT = 2
    ROUTE_GATEWAY = 3
    ROUTE_OWNED = 4
    ROUTE_PRIMARY = 5
    ROUTE_ISOLATED = 6
    ROUTE_BROADCAST = 7

class NatType(IntEnum):
    NAT_DNAT = 0
    NAT_SNAT = 1
    NAT_NO_DNAT = 2
    NAT_NO_SNAT = 3
    NAT_REFLEXIVE = 4

class FirewallMatch(IntEnum):
    MATCH_INTERNAL = 0
    MATCH_EXTERNAL = 1
    MATCH_BYPASS = 2

class PortMap(IntEnum):
    PORT_KEPT = 0
    PORT_ONE = 1
    PORT_OFFSET = 2

class Timer(IntEnum):
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
