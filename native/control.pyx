"""What is asked of an engine between packets: sessions listed and ended, events, counters.

Every function is over in a bounded time, but for :func:`decode_sessions`, :func:`decode_events` and
:func:`decode_session_events`, which need no engine: what they make values of has been copied out of it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from native.account cimport end_session, fold_session
from native.engine cimport Engine, PortCounter, State
from native.events cimport (
    E_ENDED, E_LIMIT, E_LOGGED, E_STARTED, END_DELETED, EVENT_ENTRIES, LIMIT_PORTS, Event, Events, LoggedPacket,
    tell_limit,
)
from native.fragment cimport units_held
from native.limits cimport half_open, sessions_open
from native.listing cimport Match, NextSegment, SessionRecord, next_match, note_session
from native.packet cimport Key, key_proto
from native.session cimport ORIGINAL, REPLY, Session, key_reversed, numbers_used
from native.shared cimport shared_load
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


cdef int idle(Engine engine) except -1:
    # Nobody else is at work with it, nor with another worker of its team.
    engine._idle()
    if engine.state.shared != NULL and engine.state.shared.lanes:
        raise RuntimeError("a worker of this team is at work in another thread")
    return 0


cdef uint32_t workers_of(Engine engine) noexcept nogil:
    return 1 if engine.state.shared == NULL else engine.state.shared.workers


cdef State *worker_of(Engine engine, uint32_t worker) noexcept nogil:
    # The state of one of the workers of an edge, whichever of them is asked.
    return &engine.state if engine.state.shared == NULL else <State *>engine.state.shared.states[worker]


cdef State *holder_of(Engine engine, uint32_t number) noexcept nogil:
    # That of a live session.
    return worker_of(engine, engine.state.table.sessions[number].live - 1)


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
    idle(engine)
    read_match(&wanted, match)
    top = numbers_used(&engine.state.table)
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
            note_session(holder_of(engine, number), number, &records[found])
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
    idle(engine)
    read_match(&wanted, match)
    top = numbers_used(&engine.state.table)
    end = <uint32_t>min(<uint64_t>first + slots, <uint64_t>top)
    while True:
        number = next_match(&engine.state, &wanted, number, end)
        if number >= end:
            return ended, end if end < top else None
        end_session(holder_of(engine, number), number, END_DELETED)
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
    cdef uint32_t worker
    idle(engine)
    for worker in range(workers_of(engine)):
        worker_of(engine, worker).events.sessions = on


cdef uint64_t copy_ring(Events *events, uint64_t most, char *out) noexcept nogil:
    # The oldest events, so many at the most; how many.
    cdef uint64_t count = min(events.written - events.read, most)
    cdef uint64_t begin = events.read % EVENT_ENTRIES
    cdef uint64_t straight = min(count, EVENT_ENTRIES - begin)
    memcpy(out, &events.ring[begin], straight * sizeof(Event))
    memcpy(out + straight * sizeof(Event), events.ring, (count - straight) * sizeof(Event))
    events.read += count
    return count


cdef Events *oldest_events(Engine engine, uint64_t *run) noexcept nogil:
    # Those of the worker whose next one is the oldest of all, and how many of them are older than those of the others.
    cdef Events *found = NULL
    cdef Events *events
    cdef uint64_t others = 0xffffffffffffffffULL
    cdef uint64_t soonest = 0xffffffffffffffffULL
    cdef uint64_t now
    cdef uint32_t worker
    for worker in range(workers_of(engine)):
        events = &worker_of(engine, worker).events
        if events.written == events.read:
            continue
        now = events.ring[events.read % EVENT_ENTRIES].now
        if found == NULL or now < soonest:
            others = soonest
            soonest = now
            found = events
        elif now < others:
            others = now
    run[0] = 0
    if found != NULL:
        while found.read + run[0] != found.written and (
                found.ring[(found.read + run[0]) % EVENT_ENTRIES].now <= others):
            run[0] += 1
    return found


def copy_events(Engine engine not None, uint32_t most):
    """The oldest events of all workers, ``most`` of them at the most, for :func:`decode_events`; their number; how many
    more there are; and how many were lost behind them, told with the last: (bytes, number, left, lost)."""
    cdef uint64_t left = 0
    cdef uint64_t count
    cdef uint64_t lost = 0
    cdef uint64_t run
    cdef uint64_t done = 0
    cdef uint32_t worker
    cdef Events *events
    cdef char *out
    idle(engine)
    for worker in range(workers_of(engine)):
        events = &worker_of(engine, worker).events
        left += events.written - events.read
    count = min(left, <uint64_t>most)
    taken = PyBytes_FromStringAndSize(NULL, count * sizeof(Event))
    out = PyBytes_AS_STRING(taken)
    while done < count:
        events = oldest_events(engine, &run)
        done += copy_ring(events, min(run, count - done), out + done * sizeof(Event))
    if count == left:
        for worker in range(workers_of(engine)):
            events = &worker_of(engine, worker).events
            lost += events.lost
            events.lost = 0
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
    cdef Totals counted
    cdef const State *state
    cdef uint64_t reassembled = 0
    cdef uint64_t timed_out = 0
    cdef uint32_t worker
    cdef int i
    idle(engine)
    memset(&counted, 0, sizeof(Totals))
    for worker in range(workers_of(engine)):
        state = worker_of(engine, worker)
        for i in range(<int>VERDICTS):
            counted.verdicts[i] += state.totals.verdicts[i]
        for i in range(<int>REASONS):
            counted.reasons[i] += state.totals.reasons[i]
            counted.drops[i] += state.totals.drops[i]
        counted.drops_of_sessions += state.totals.drops_of_sessions
        counted.created += state.totals.created
        counted.answers_limited += state.totals.answers_limited
        reassembled += state.fragments.reassembled
        timed_out += state.fragments.timed_out
    state = &engine.state
    return (
        [counted.verdicts[i] for i in range(<int>VERDICTS)],
        [counted.reasons[i] for i in range(<int>REASONS)],
        [counted.drops[i] for i in range(<int>REASONS)],
        counted.drops_of_sessions,
        counted.created,
        state.totals.peak if state.shared == NULL else shared_load(&state.shared.peak),
        sessions_open(state),
        half_open(state),
        counted.answers_limited,
        reassembled,
        timed_out,
        units_held(&state.fragments),
    )


def usages(Engine engine not None) -> bytes:
    """How many sessions hold the external address of each usage slot, 32-bit numbers."""
    if engine.program is not None:
        engine._idle()
    return PyBytes_FromStringAndSize(<char *>engine.state.usage, <Py_ssize_t>engine.state.usage_count * 4)


def port_blocks(Engine engine not None) -> tuple:
    """How many blocks of 4,096 ports are known to hold many taken ones: towards remote endpoints, and of those that
    endpoint-independent mappings have."""
    cdef uint32_t worker
    cdef uint32_t taken = 0
    idle(engine)
    for worker in range(workers_of(engine)):
        taken += worker_of(engine, worker).taken.count
    return taken, worker_of(engine, 0).mappings.taken.count


def mappings(Engine engine not None) -> int:
    """How many endpoint-independent mappings there are."""
    idle(engine)
    return worker_of(engine, 0).mappings.table.count


def rule_counters(Engine engine not None) -> bytes:
    """Hits, packets and bytes by slot, three 64-bit numbers each, exact as of the last packet."""
    cdef State *state = &engine.state
    cdef RuleCounter *summed
    cdef uint32_t number
    cdef uint32_t worker
    cdef uint32_t i
    idle(engine)
    engine._enter()
    with nogil:
        for number in range(numbers_used(&state.table)):
            if state.table.sessions[number].live:
                fold_session(holder_of(engine, number), &state.table.sessions[number])
        turn_give(engine.turn)
    found = PyBytes_FromStringAndSize(<char *>state.counters, <Py_ssize_t>(state.slot_count * sizeof(RuleCounter)))
    summed = <RuleCounter *>PyBytes_AS_STRING(found)
    for worker in range(1, workers_of(engine)):
        state = worker_of(engine, worker)
        for i in range(state.slot_count):
            summed[i].hits += state.counters[i].hits
            summed[i].packets += state.counters[i].packets
            summed[i].bytes += state.counters[i].bytes
    return found


def port_counters(Engine engine not None) -> list:
    """(packets received, bytes of IP received, packets sent, bytes sent) by port."""
    cdef PortCounter found
    cdef const PortCounter *counter
    cdef uint32_t worker
    cdef uint32_t i
    idle(engine)
    counted = []
    for i in range(engine.program.data.port_count):
        memset(&found, 0, sizeof(PortCounter))
        for worker in range(workers_of(engine)):
            counter = &worker_of(engine, worker).port_counters[i]
            found.received_packets += counter.received_packets
            found.received_bytes += counter.received_bytes
            found.sent_packets += counter.sent_packets
            found.sent_bytes += counter.sent_bytes
        counted.append((found.received_packets, found.received_bytes, found.sent_packets, found.sent_bytes))
    return counted


def set_port_counters(Engine engine not None, list values) -> None:
    """What :func:`port_counters` is to say, of the program that runs: ports may have got other numbers with it."""
    cdef PortCounter *counter
    cdef uint32_t worker
    cdef uint32_t i
    idle(engine)
    if len(values) != engine.program.data.port_count:
        raise ValueError("every port of the program that runs has counters")
    for worker in range(workers_of(engine)):
        counter = worker_of(engine, worker).port_counters
        memset(counter, 0, engine.program.data.port_count * sizeof(PortCounter))
    counter = worker_of(engine, 0).port_counters
    for i in range(engine.program.data.port_count):
        (counter[i].received_packets, counter[i].received_bytes,
         counter[i].sent_packets, counter[i].sent_bytes) = values[i]
