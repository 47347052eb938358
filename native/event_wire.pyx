"""Events of sessions as ``edge.v1`` has them on the wire, straight from the engine's records.

Tens of thousands a second are told to each reader, and an object for each of a session's parts would take longer than
everything else about it.  What is written here is, byte for byte, what the message classes write.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from ipaddress import IPv6Address

from native.events cimport E_ENDED, E_STARTED, Event
from native.packet cimport Key, key_family, key_proto
from native.protobuf cimport Tail, make_room, put_head, put_number, put_text
from native.record cimport NO_SLOT
from native.session cimport ORIGINAL, REPLY, Session, key_reversed
from native.view cimport shown_ports

cdef enum:
    SECOND = 1000000000
    BOUND = 1024            # bytes of an event without the texts that others have made
    GROUPS = 8              # of an IPv6 address
    TCP = 6

    # Fields of proto/edge/v1/event.proto ...
    RESPONSE_EVENTS = 1
    EVENT_TIME = 1
    EVENT_STARTED = 3
    EVENT_ENDED = 4
    EVENT_SESSION = 1
    ENDED_CAUSE = 2
    # ... session.proto ...
    SESSION_ID = 1
    SESSION_PROTOCOL = 2
    SESSION_ORIGINAL = 3
    SESSION_TRANSLATED = 4
    SESSION_TEXT = 5        # and on: as Text
    SESSION_REVISION = 12
    SESSION_CREATE_TIME = 13
    SESSION_EXPIRES_IN = 14
    SESSION_TRAFFIC = 15    # forward, then reverse
    TRAFFIC_PACKETS = 1
    TRAFFIC_BYTES = 2
    # ... packet.proto ...
    ENDS_SOURCE = 1
    ENDS_SOURCE_PORT = 2
    ENDS_DESTINATION = 3
    ENDS_DESTINATION_PORT = 4
    # ... and google/protobuf/timestamp.proto, duration.proto.
    SPAN_SECONDS = 1
    SPAN_NANOS = 2

cdef enum Text:
    # Those of a session, in the order of its fields.
    T_IN_PORT = 0
    T_OUT_PORT = 1
    T_ORIGINATOR = 2
    T_RESPONDER = 3
    T_FIREWALL = 4
    T_DNAT = 5
    T_SNAT = 6
    TEXTS = 7

ctypedef struct Texts:
    const char *text[TEXTS]
    Py_ssize_t size[TEXTS]
    size_t whole            # the sum

# Does this Python write an IPv4 address inside an IPv6 address as one?  It does since 3.13, and texts are to agree.
cdef bint _mixed = str(IPv6Address(0xffff << 32)) == "::ffff:0.0.0.0"


cdef inline int digits(char *out, uint32_t number, uint32_t base) noexcept nogil:
    # How many were written.
    cdef char backward[10]
    cdef int count = 0
    cdef int i
    while True:
        backward[count] = b"0123456789abcdef"[number % base]
        count += 1
        number //= base
        if number == 0:
            break
    for i in range(count):
        out[i] = backward[count - 1 - i]
    return count


cdef inline int text4(char *out, uint32_t address) noexcept nogil:
    cdef int used = 0
    cdef int shift
    for shift in range(24, -1, -8):
        used += digits(out + used, address >> shift & 0xff, 10)
        if shift:
            out[used] = b"."
            used += 1
    return used


cdef inline int text6(char *out, uint64_t hi, uint64_t lo) noexcept nogil:
    # RFC 5952: the first of the longest runs of two groups of zeros or more is "::".
    cdef uint16_t groups[GROUPS]
    cdef int first = GROUPS
    cdef int longest = 1
    cdef int used = 0
    cdef int run = 0
    cdef int i
    for i in range(GROUPS):
        groups[i] = <uint16_t>((hi if i < 4 else lo) >> (48 - 16 * (i & 3)))
        run = run + 1 if groups[i] == 0 else 0
        if run > longest:
            longest = run
            first = i + 1 - run
    i = 0
    while i < GROUPS:
        if i == first:
            out[used], out[used + 1] = b":", b":"
            used += 2
            i += longest
            continue
        if i and i != first + longest:
            out[used] = b":"
            used += 1
        used += digits(out + used, groups[i], 16)
        i += 1
    return used


cdef inline void put_address(Tail *tail, uint32_t field, uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    cdef char text[48]
    cdef int size = 7
    if family == 4:
        size = text4(text, <uint32_t>lo)
    elif _mixed and hi == 0 and lo >> 32 == 0xffff:
        memcpy(text, b"::ffff:", size)
        size += text4(text + size, <uint32_t>lo)
    else:
        size = text6(text, hi, lo)
    put_text(tail, field, text, size)


cdef inline void put_ends(Tail *tail, uint32_t field, const Key *key, uint8_t kind) noexcept nogil:
    cdef uint8_t *end = tail.at
    cdef uint8_t family = key_family(key)
    cdef uint16_t sport
    cdef uint16_t dport
    shown_ports(key, kind, &sport, &dport)
    put_number(tail, ENDS_DESTINATION_PORT, dport)
    put_address(tail, ENDS_DESTINATION, family, key.dst_hi, key.dst_lo)
    put_number(tail, ENDS_SOURCE_PORT, sport)
    put_address(tail, ENDS_SOURCE, family, key.src_hi, key.src_lo)
    put_head(tail, field, end)


cdef inline void put_span(Tail *tail, uint32_t field, uint64_t ns) noexcept nogil:
    # A Timestamp or a Duration.
    cdef uint8_t *end = tail.at
    put_number(tail, SPAN_NANOS, ns % SECOND)
    put_number(tail, SPAN_SECONDS, ns // SECOND)
    put_head(tail, field, end)


cdef inline void put_traffic(Tail *tail, uint32_t field, uint64_t packets, uint64_t size) noexcept nogil:
    cdef uint8_t *end = tail.at
    put_number(tail, TRAFFIC_BYTES, size)
    put_number(tail, TRAFFIC_PACKETS, packets)
    put_head(tail, field, end)


cdef inline void put_session(Tail *tail, const Event *event, uint64_t wall_ns, const Texts *texts) noexcept nogil:
    cdef const Session *session = &event.body.session
    cdef uint8_t *end = tail.at
    cdef Key translated
    cdef int i
    key_reversed(&session.flow[REPLY].key, 0, &translated)
    put_traffic(tail, SESSION_TRAFFIC + 1, session.packets[1], session.bytes[1])
    put_traffic(tail, SESSION_TRAFFIC, session.packets[0], session.bytes[0])
    put_span(tail, SESSION_EXPIRES_IN, session.expires - event.now if session.expires > event.now else 0)
    put_span(tail, SESSION_CREATE_TIME, wall_ns + session.created)
    put_number(tail, SESSION_REVISION, session.revision)
    for i in range(TEXTS - 1, -1, -1):
        put_text(tail, SESSION_TEXT + i, texts.text[i], texts.size[i])
    put_ends(tail, SESSION_TRANSLATED, &translated, session.kind)
    put_ends(tail, SESSION_ORIGINAL, &session.flow[ORIGINAL].key, session.kind)
    put_number(tail, SESSION_PROTOCOL, key_proto(&translated))
    put_number(tail, SESSION_ID, event.id)
    put_head(tail, EVENT_SESSION, end)


cdef inline void put_event(Tail *tail, const Event *event, uint64_t wall_ns, const Texts *texts) noexcept nogil:
    cdef uint8_t *end = tail.at
    if event.kind == E_ENDED:
        put_number(tail, ENDED_CAUSE, event.cause)
    put_session(tail, event, wall_ns, texts)
    put_head(tail, EVENT_STARTED if event.kind == E_STARTED else EVENT_ENDED, end)
    put_span(tail, EVENT_TIME, wall_ns + event.now)
    put_head(tail, RESPONSE_EVENTS, end)


cdef inline int take_text(Texts *texts, int place, list items, uint32_t number) except -1:
    # One of the items, by its number; it stays where it is while the list has it.
    if number >= <size_t>PyList_GET_SIZE(items):
        raise IndexError(f"an event names number {number} of {len(items)}")
    texts.text[place] = PyUnicode_AsUTF8AndSize(<object>PyList_GET_ITEM(items, number), &texts.size[place])
    texts.whole += texts.size[place]
    return 0


cdef inline int take_texts(Texts *texts, const Session *session, list ports, list ids, list states) except -1:
    memset(texts, 0, sizeof(Texts))
    take_text(texts, T_IN_PORT, ports, session.flow[REPLY].out_port)
    take_text(texts, T_OUT_PORT, ports, session.flow[ORIGINAL].out_port)
    if key_proto(&session.flow[REPLY].key) == TCP:
        take_text(texts, T_ORIGINATOR, states, session.state[0])
        take_text(texts, T_RESPONDER, states, session.state[1])
    if session.fw_slot != NO_SLOT:
        take_text(texts, T_FIREWALL, ids, session.fw_slot)
    if session.dnat_slot != NO_SLOT:
        take_text(texts, T_DNAT, ids, session.dnat_slot)
    if session.snat_slot != NO_SLOT:
        take_text(texts, T_SNAT, ids, session.snat_slot)
    return 0


def encode_sessions(bytes events not None, Py_ssize_t first, Py_ssize_t count, uint64_t wall_ns, list ports not None,
                    list ids not None, list states not None, bint started=True, bint ended=True) -> bytes:
    """Beginnings (if ``started``) and ends (if ``ended``) of sessions as members of WatchEventsResponse.events.

    ``events`` are records of :func:`native.control.copy_events`; ``count`` of them from ``first`` on are meant, all of
    sessions.  ``wall_ns`` is the wall's time at 0 of the edge's, ``ports`` and ``ids`` are the names of ports and the
    ids of rules by number, ``states`` those of a side of a TCP session.  Raises IndexError for a number that none of
    them has, ValueError for records that there are not.
    """
    cdef const Event *event = <const Event *>PyBytes_AS_STRING(events)
    cdef Py_ssize_t i
    cdef Tail tail
    cdef Texts texts
    if first < 0 or count < 0 or first + count > <Py_ssize_t>(len(events) // sizeof(Event)):
        raise ValueError(f"there are no {count} events from number {first} on")
    tail.begin = tail.at = tail.end = NULL
    try:
        for i in range(first + count - 1, first - 1, -1):
            if (event[i].kind == E_STARTED and started) or (event[i].kind == E_ENDED and ended):
                take_texts(&texts, &event[i].body.session, ports, ids, states)
                if not make_room(&tail, BOUND + texts.whole):
                    raise MemoryError("no memory for events")
                put_event(&tail, &event[i], wall_ns, &texts)
        return PyBytes_FromStringAndSize(<char *>tail.at, tail.end - tail.at)
    finally:
        free(tail.begin)
