# The closed vocabulary of results (mirrored in edge/verdicts.py) and the counters that speak it.

from libc.stdint cimport uint64_t

cpdef enum Verdict:
    V_ALLOW = 0
    V_DROP = 1
    V_REJECT = 2
    V_LOCAL = 3
    V_HELD = 4
    VERDICTS = 5

cpdef enum Reason:
    R_FW_RULE = 0
    R_FW_DEFAULT = 1
    R_FW_SYSTEM = 2
    R_NAT_BYPASS = 3
    R_EAST_WEST = 4
    R_SESSION = 5
    R_RELATED = 6
    R_LOCAL_SERVICE = 7
    R_TCP_STRICT = 8
    R_TCP_WINDOW = 9
    R_TCP_STATE = 10
    R_ICMP_UNRELATED = 11
    R_PROVIDER_FILTER = 12
    R_NO_ROUTE = 13
    R_TTL_EXPIRED = 14
    R_TOO_BIG = 15
    R_ISOLATED = 16
    R_MALFORMED = 17
    R_BAD_CHECKSUM = 18
    R_FRAGMENT_HELD = 19
    R_FRAGMENT_ERROR = 20
    R_SESSION_LIMIT = 21
    R_NAT_PORTS_EXHAUSTED = 22
    R_NAT_COLLISION = 23
    R_NOT_IP = 24
    R_MULTICAST = 25
    R_MARTIAN = 26
    R_FRAGMENT_LIMIT = 27
    R_ALG = 28
    REASONS = 29

cpdef enum Stage:
    S_REASSEMBLY = 0
    S_SESSION = 1
    S_PROVIDER_FILTER = 2
    S_IPSEC = 3
    S_LOAD_BALANCER = 4
    S_NAT = 5
    S_ROUTE = 6
    S_FIREWALL = 7
    S_LOCAL = 8
    S_PARSE = 9

cpdef enum StepResult:
    T_MISS = 0
    T_HIT = 1
    T_PASS = 2
    T_DROP = 3
    T_ALLOW = 4
    T_REJECT = 5
    T_BYPASS = 6
    T_DNAT = 7
    T_SNAT = 8
    T_NO_DNAT = 9
    T_NO_SNAT = 10
    T_REFLEXIVE = 11
    T_CONNECTED = 12
    T_STATIC = 13
    T_DEFAULT = 14
    T_LOCAL = 15
    T_NO_ROUTE = 16
    T_ISOLATED = 17
    T_TTL_EXPIRED = 18
    T_ECHO_REPLY = 19
    T_RESET = 20
    T_UNREACHABLE = 21
    T_ACCEPTED = 22
    T_MULTICAST = 23
    T_MARTIAN = 24
    T_ENDED = 25
    T_TOO_BIG = 26
    T_HELD = 27
    T_COMPLETE = 28
    T_HAIRPIN = 29
    T_LIMITED = 30
    T_ALG = 31
    T_EXPECT = 32

ctypedef struct RuleCounter:
    uint64_t hits
    uint64_t packets
    uint64_t bytes

ctypedef struct Totals:
    # Packets by verdict and by reason, those dropped or rejected by reason, and of those the TCP_STATE of sessions;
    # sessions made, and the most that lived at once; answers that were not sent because there had been too many.
    uint64_t verdicts[VERDICTS]
    uint64_t reasons[REASONS]
    uint64_t drops[REASONS]
    uint64_t drops_of_sessions
    uint64_t created
    uint64_t peak
    uint64_t answers_limited
