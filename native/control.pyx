"""What is asked of an engine between packets: sessions listed and ended, events, counters.

Every function is over in a bounded time, but for :func:`decode_sessions`, :func:`decode_events` and
:func:`decode_session_events`, which need no engine: what they make values of has been copied out of it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from native.account cimport end_session, fold_session
from native.engine cimport Engine, PortCounter, State
from native.events cimport (
    E_ENDED, E_LIMIT, E_LOGGED, E_STARTED, END_DELETED, EVENT_ENTRIES, LIMIT_PORTS, Event, LoggedPacket, tell_limit,
)
from native.listing cimport Match, NextSegment, SessionRecord, next_match, note_session
from native.packet cimport Key, key_proto
from native.session cimport ORIGINAL, REPLY, Session, key_reversed
from native.stats cimport REASONS, VERDICTS, RuleCounter, Totals
from native.turn cimport turn_give
from native.view cimport endpoints, icmp_type_of, slot_or_none, wide

EVERY = (-1, 0, 0, 0, -1, -1, -1, 0)
"""The match that every session meets; see :func:`copy_sessions`."""


cdef int read_match(Match *match, tuple wanted) except -1:
    protocol, family, first, last, port_number, port, rule_slot, before_revision = wanted
    match.protocol = protocol
    match.family = family
    match.first_hi, match.first_lo = first >> 64, first & 0xffffffffffffffffULL
    match.last_hi, match.last_lo = last >> 64, last & 0xffffffffffffffffULL
    match.port_number = port_number
    match.port = port
    match.by_rule = rule_slot >= 0
    match.rule_slot = max(rule_slot, 0)
    match.before_revision = min(before_revision, 0xffffffffULL)
    return 0


def exhausted_unheld(Engine engine not None):
    """The usage slots whose external address has been said to have no port to give, though no session holds it."""
    return [slot for slot in range(engine.state.usage_count)
            if engine.state.exhausted[slot] and not engine.state.usage[slot]]


def has_room_again(Engine engine not None, uint32_t slot, uint8_t family, number):
    """Say that the address of a usage slot, ``number`` in its family, has ports to give."""
    engine.state.exhausted[slot] = 0
    tell_limit(&engine.state.events, engine.state.now, LIMIT_PORTS, False, family, <uint64_t>(number >> 64),
               <uint64_t>(number & 0xffffffffffffffffULL))


def copy_sessions(Engine engine not None, uint32_t first, uint32_t slots, uint32_t limit, tuple match):
    """Live sessions that match among the ``slots`` slots from ``first`` on, ``limit`` at the most, for
    :func:`decode_sessions`, and the slot to go on with, None if that was the last: (bytes, next).

    ``match`` is (protocol or -1, family or 0, first and last address, port number or -1, port or -1, rule slot or -1,
    revision that it has to be older than or 0).
    """
    cdef Match wanted
    cdef uint32_t top
    cdef uint32_t end
    cdef uint32_t number
    cdef uint32_t found = 0
    cdef SessionRecord *records
    engine._idle()
    read_match(&wanted, match)
    top = engine.state.table.top
    end = <uint32_t>min(<uint64_t>first + slots, <uint64_t>top)
    records = <SessionRecord *>malloc(min(slots, limit) * sizeof(SessionRecord) + 1)
    if records == NULL:
        raise MemoryError
    number = first
    try:
        while found < limit:
            number = next_match(&engine.state, &wanted, number, end)
            if number >= end:
                break
            note_session(&engine.state, number, &records[found])
            found += 1
            number += 1
        return (PyBytes_FromStringAndSize(<char *>records, found * sizeof(SessionRecord)),
                number if number < top else None)
    finally:
        free(records)


def delete_sessions(Engine engine not None, uint32_t first, uint32_t slots, tuple match):
    """End the sessions that match among the ``slots`` slots from ``first`` on: (how many, slot to go on with or
    None)."""
    cdef Match wanted
    cdef uint32_t top
    cdef uint32_t end
    cdef uint32_t number = first
    cdef uint32_t ended = 0
    engine._idle()
    read_match(&wanted, match)
    top = engine.state.table.top
    end = <uint32_t>min(<uint64_t>first + slots, <uint64_t>top)
    while True:
        number = next_match(&engine.state, &wanted, number, end)
        if number >= end:
            return ended, end if end < top else None
        end_session(&engine.state, number, END_DELETED)
        ended += 1


cdef object next_or_none(const NextSegment *segment):
    return (segment.seq, segment.shown, segment.window) if segment.known else None


cdef tuple session_tuple(uint64_t session_id, const Session *session, tuple following):
    cdef Key translated
    key_reversed(&session.flow[REPLY].key, 0, &translated)
    return (
        session_id, key_proto(&translated), icmp_type_of(session),
        session.flow[REPLY].out_port, session.flow[ORIGINAL].out_port,
        endpoints(&session.flow[ORIGINAL].key, session.kind), endpoints(&translated, session.kind),
        session.state[0], session.state[1],
        slot_or_none(session.fw_slot), slot_or_none(session.dnat_slot), slot_or_none(session.snat_slot),
        session.revision, session.created, session.expires,
        (session.packets[0], session.packets[1]), (session.bytes[0], session.bytes[1]), following,
    )


def decode_sessions(bytes records not None):
    """One tuple a session: (id, protocol, ICMP type or None, in port, out port, original and translated endpoints, both
    states, slots of firewall, DNAT and SNAT rule or None, revision, created, expires, packets, bytes, and by side what
    it would send next: (sequence number as it counts itself, as the other side is told, window) or None)."""
    cdef const SessionRecord *record = <const SessionRecord *>PyBytes_AS_STRING(records)
    cdef Py_ssize_t count = len(records) // sizeof(SessionRecord)
    cdef Py_ssize_t i
    for i in range(count):
        following = (next_or_none(&record[i].next[ORIGINAL]), next_or_none(&record[i].next[REPLY]))
        yield session_tuple(record[i].id, &record[i].session, following)


# ------------------------------------------------------------------ events

def watch_sessions(Engine engine not None, bint on) -> None:
    """Tell of beginnings and ends of sessions from now on, or no longer."""
    engine._idle()
    engine.state.events.sessions = on


def copy_events(Engine engine not None, uint32_t most):
    """The oldest events, ``most`` of them at the most, for :func:`decode_events`; their number; how many more there
    are; and how many were lost behind them, told with the last: (bytes, number, left, lost)."""
    cdef uint64_t left
    cdef uint64_t count
    cdef uint64_t begin
    cdef uint64_t straight
    cdef char *out
    engine._idle()
    left = engine.state.events.written - engine.state.events.read
    count = min(left, <uint64_t>most)
    begin = engine.state.events.read % EVENT_ENTRIES
    straight = min(count, EVENT_ENTRIES - begin)
    taken = PyBytes_FromStringAndSize(NULL, count * sizeof(Event))
    out = PyBytes_AS_STRING(taken)
    memcpy(out, &engine.state.events.ring[begin], straight * sizeof(Event))
    memcpy(out + straight * sizeof(Event), engine.state.events.ring, (count - straight) * sizeof(Event))
    engine.state.events.read += count
    lost = 0
    if count == left:
        lost = engine.state.events.lost
        engine.state.events.lost = 0
    return taken, count, left - count, lost


cdef tuple logged_tuple(const LoggedPacket *logged):
    return (
        logged.in_port, PyBytes_FromStringAndSize(<char *>logged.head, logged.length),
        logged.verdict, logged.reason, key_proto(&logged.saw), logged.slot, logged.revision, logged.stage,
        logged.result, endpoints(&logged.saw, logged.kind),
        endpoints(&logged.after, logged.kind) if logged.has_after else None,
    )


cdef inline bint is_of_session(const Event *event) noexcept nogil:
    return event.kind == E_STARTED or event.kind == E_ENDED


def decode_events(bytes events not None):
    """One tuple an event, (kind, now, ...): LOGGED (in port, first bytes of the IP packet, verdict, reason,
    protocol, rule slot, revision, stage, result, endpoints judged, endpoints after or None), LIMIT (kind, reached,
    family, address).  Of those of sessions, which may be very many, only how many follow each other: SESSIONS (number
    of the first among all of these, how many), for :func:`decode_session_events`."""
    cdef const Event *event = <const Event *>PyBytes_AS_STRING(events)
    cdef Py_ssize_t count = len(events) // sizeof(Event)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t first
    while i < count:
        first = i
        while i < count and is_of_session(&event[i]):
            i += 1
        if i > first:
            yield SESSIONS, event[first].now, (first, i - first)
            continue
        if event[i].kind == E_LOGGED:
            yield E_LOGGED, event[i].now, logged_tuple(&event[i].body.logged)
        else:
            yield E_LIMIT, event[i].now, (
                event[i].body.limit.kind, event[i].body.limit.reached, event[i].body.limit.family,
                wide(event[i].body.limit.hi, event[i].body.limit.lo))
        i += 1


def decode_session_events(bytes events not None, Py_ssize_t first, Py_ssize_t count):
    """One tuple for each of ``count`` events of sessions from number ``first`` on: (has it begun?, now, why it ended or
    0, session as of :func:`decode_sessions`, but without what is next)."""
    cdef const Event *event = <const Event *>PyBytes_AS_STRING(events)
    cdef Py_ssize_t i
    if first < 0 or count < 0 or first + count > <Py_ssize_t>(len(events) // sizeof(Event)):
        raise ValueError(f"there are no {count} events from number {first} on")
    for i in range(first, first + count):
        yield event[i].kind == E_STARTED, event[i].now, event[i].cause if event[i].kind == E_ENDED else 0, (
            session_tuple(event[i].id, &event[i].body.session, (None, None)))


LOGGED, LIMIT, SESSIONS = E_LOGGED, E_LIMIT, -1


# ------------------------------------------------------------------ counters

def totals(Engine engine not None):
    """(packets by verdict, packets by reason, those dropped or rejected by reason, of those the TCP_STATE of sessions,
    sessions created, peak, open, half open, answers not sent for the limit, datagrams reassembled, timed out, units of
    fragments held)."""
    cdef const Totals *counted = &engine.state.totals
    cdef int i
    engine._idle()
    return (
        [counted.verdicts[i] for i in range(<int>VERDICTS)],
        [counted.reasons[i] for i in range(<int>REASONS)],
        [counted.drops[i] for i in range(<int>REASONS)],
        counted.drops_of_sessions,
        counted.created,
        counted.peak,
        engine.state.table.count,
        engine.state.table.half_open,
        counted.answers_limited,
        engine.state.fragments.reassembled,
        engine.state.fragments.timed_out,
        engine.state.fragments.units,
    )


def usages(Engine engine not None) -> bytes:
    """How many sessions hold the external address of each usage slot, 32-bit numbers."""
    if engine.program is not None:
        engine._idle()
    return PyBytes_FromStringAndSize(<char *>engine.state.usage, <Py_ssize_t>engine.state.usage_count * 4)


def port_blocks(Engine engine not None) -> tuple:
    """How many blocks of 4,096 ports are known to hold many taken ones: towards remote endpoints, and of those that
    endpoint-independent mappings have."""
    engine._idle()
    return engine.state.taken.count, engine.state.mappings.taken.count


def rule_counters(Engine engine not None) -> bytes:
    """Hits, packets and bytes by slot, three 64-bit numbers each, exact as of the last packet."""
    cdef State *state = &engine.state
    cdef uint32_t number
    engine._enter()
    with nogil:
        for number in range(state.table.top):
            if state.table.sessions[number].live:
                fold_session(state, &state.table.sessions[number])
        turn_give(&engine.turn)
    return PyBytes_FromStringAndSize(<char *>state.counters, <Py_ssize_t>(state.slot_count * sizeof(RuleCounter)))


def port_counters(Engine engine not None) -> list:
    """(packets received, bytes of IP received, packets sent, bytes sent) by port."""
    cdef const PortCounter *counter = engine.state.port_counters
    cdef uint32_t i
    engine._idle()
    return [
        (counter[i].received_packets, counter[i].received_bytes, counter[i].sent_packets, counter[i].sent_bytes)
        for i in range(engine.program.data.port_count)
    ]


def set_port_counters(Engine engine not None, list values) -> None:
    """What :func:`port_counters` is to say, of the program that runs: ports may have got other numbers with it."""
    cdef PortCounter *counter = engine.state.port_counters
    cdef uint32_t i
    engine._idle()
    if len(values) != engine.program.data.port_count:
        raise ValueError("every port of the program that runs has counters")
    for i in range(engine.program.data.port_count):
        (counter[i].received_packets, counter[i].received_bytes,
         counter[i].sent_packets, counter[i].sent_bytes) = values[i]
