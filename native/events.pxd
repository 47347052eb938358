# What happens on an edge, for whoever watches it: a bounded ring of records.  One that has no room is lost and counted.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.packet cimport Key, Packet
from native.session cimport Session
from native.wire cimport likely, unlikely

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint8_t t1_put_flag(uint8_t *p, uint8_t n) { return __atomic_exchange_n(p, n, __ATOMIC_RELAXED); }
    """
    uint8_t put_flag "t1_put_flag"(uint8_t *flag, uint8_t value) noexcept nogil     # what it was

cdef enum:
    EVENT_ENTRIES = 65536
    HEAD_MAX = 128          # bytes of a logged packet that are kept: headers with all that packet text shows of them

cdef enum EventKind:
    E_LOGGED = 0
    E_STARTED = 1
    E_ENDED = 2
    E_LIMIT = 3

cpdef enum EndCause:
    # Why a session ended, numbered as in edge/state.py.
    END_EXPIRED = 1
    END_REUSED = 2
    END_CONFIG = 3
    END_DELETED = 4

cpdef enum LimitKind:
    LIMIT_SESSIONS = 0
    LIMIT_HALF_OPEN = 1
    LIMIT_FRAGMENTS = 2
    LIMIT_PORTS = 3         # of an external address
    LIMITS = 4

ctypedef struct LoggedPacket:
    Key saw                 # the tuple that the rule judged
    Key after               # what the rule made of it
    uint32_t slot           # of the rule
    uint32_t revision
    uint32_t length         # of the head
    uint16_t in_port
    uint8_t verdict
    uint8_t reason
    uint8_t stage           # of the step
    uint8_t result
    uint8_t kind            # native.packet Kind
    uint8_t has_after
    uint8_t head[HEAD_MAX]

ctypedef struct ReachedLimit:
    uint8_t kind            # LimitKind
    uint8_t reached         # 0: there is room again
    uint8_t family          # of the address, LIMIT_PORTS
    uint64_t hi
    uint64_t lo

ctypedef union EventBody:
    LoggedPacket logged
    Session session
    ReachedLimit limit

ctypedef struct Event:
    uint64_t now
    uint64_t id             # of the session
    uint8_t kind            # EventKind
    uint8_t cause           # EndCause
    EventBody body

ctypedef struct Events:
    Event *ring             # EVENT_ENTRIES; memory is touched as they are used
    uint64_t written
    uint64_t read
    uint64_t lost           # since somebody asked
    bint sessions           # are beginnings and ends of sessions told?

ctypedef struct Limits:
    # Of the program that runs, 0: nobody watches now; and whether each is reached.
    uint32_t most[LIMITS]
    uint8_t reached[LIMITS]


cdef inline Event *new_event(Events *events, uint64_t now, uint8_t kind) noexcept nogil:
    # NULL when there is no room.
    cdef Event *event
    if unlikely(events.written - events.read == EVENT_ENTRIES):
        events.lost += 1
        return NULL
    event = &events.ring[events.written % EVENT_ENTRIES]
    events.written += 1
    event.now = now
    event.kind = kind
    return event


cdef inline void tell_session(
    Events *events, uint64_t now, uint8_t kind, uint8_t cause, const Session *session
) noexcept nogil:
    cdef Event *event
    if likely(not events.sessions):
        return
    event = new_event(events, now, kind)
    if event != NULL:
        event.id = session.id
        event.cause = cause
        event.body.session = session[0]


cdef inline void tell_limit(
    Events *events, uint64_t now, uint8_t kind, bint reached, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    cdef Event *event = new_event(events, now, E_LIMIT)
    if event != NULL:
        event.body.limit.kind = kind
        event.body.limit.reached = reached
        event.body.limit.family = family
        event.body.limit.hi = hi
        event.body.limit.lo = lo


cdef inline LoggedPacket *tell_packet(
    Events *events, uint64_t now, const Packet *packet, uint16_t in_port
) noexcept nogil:
    # The caller completes it; NULL when there is no room.
    cdef Event *event = new_event(events, now, E_LOGGED)
    cdef LoggedPacket *logged
    if event == NULL:
        return NULL
    logged = &event.body.logged
    logged.in_port = in_port
    logged.kind = packet.kind
    logged.has_after = 0
    logged.length = min(packet.ip_len, <uint32_t>HEAD_MAX)
    memcpy(logged.head, packet.l3, logged.length)
    return logged


cdef inline bint has_room_again(uint64_t used, uint64_t most) noexcept nogil:
    # Is a tenth free?
    return used * 10 <= most * 9


cdef inline void note_limit(Events *events, Limits *limits, uint8_t kind, uint64_t used, uint64_t now) noexcept nogil:
    cdef uint64_t most = limits.most[kind]
    if likely(used < most) and likely(not limits.reached[kind]):
        return
    if most == 0:
        return
    if not limits.reached[kind]:
        if put_flag(&limits.reached[kind], 1) == 0:     # of several workers one tells it
            tell_limit(events, now, kind, True, 0, 0, 0)
    elif has_room_again(used, most) and put_flag(&limits.reached[kind], 0):
        tell_limit(events, now, kind, False, 0, 0, 0)


cdef inline void watch_nothing(Limits *limits) noexcept nogil:
    # While sessions end for another configuration, whose limits are to be compared with what it leaves.
    memset(limits.most, 0, sizeof(limits.most))
