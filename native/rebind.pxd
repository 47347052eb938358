# What becomes of sessions, and of datagrams in pieces, when another program takes over.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.account cimport end_session
from native.decide cimport is_border, is_local, is_owned
from native.engine cimport Change, State
from native.events cimport END_CONFIG
from native.fragment cimport NO_CHUNK, Fragments, forget, index_anew
from native.kinds cimport PORT_UPLINK, ROUTE_BROADCAST, ROUTE_ISOLATED, ROUTE_PRIMARY
from native.packet cimport Key, Packet, key_family
from native.program cimport ProgramData
from native.record cimport NO_PORT
from native.route cimport NOWHERE, map_lookup
from native.session cimport (
    ORIGINAL, REPLY, RW_CALLS_BACK, RW_HAIRPIN, Flow, Session, is_in, key_reversed, numbers_used,
)
from native.view cimport icmp_kind

cdef enum:
    LOOKS_A_STEP = 8            # at sessions, for each of State.looks_most
    ENDS_A_STEP = 2             # likewise, of those that end


cdef inline bint stays_called(
    const ProgramData *program, const Session *session, uint16_t in_port, uint8_t kind
) noexcept nogil:
    # A call to an uplink's own address that goes out for an ALG's sake, see calls_back() in native.decide.
    return (kind == ROUTE_PRIMARY and session.flow[ORIGINAL].rewrite & RW_CALLS_BACK != 0
            and not is_border(program, in_port))


cdef inline bint survives(const ProgramData *old, const ProgramData *new, const Session *session) noexcept nogil:
    # Do the session's route and external addresses still stand under the new program?  Its ports do.
    cdef const Key *original = &session.flow[ORIGINAL].key
    cdef const Key *reply = &session.flow[REPLY].key
    cdef uint8_t family = key_family(original)
    cdef uint16_t in_port = session.flow[REPLY].out_port
    cdef Packet packet
    cdef Key forwarded
    cdef uint32_t row
    cdef uint8_t kind
    key_reversed(reply, 0, &forwarded)
    row = map_lookup(&new.route_map[family == 6], forwarded.dst_hi, forwarded.dst_lo)
    if row == NOWHERE or new.routes[row].port != session.flow[ORIGINAL].out_port:
        return False
    packet.kind = session.kind
    packet.icmp_type = <uint8_t>icmp_kind(session)
    packet.icmp_code = 0
    kind = new.routes[row].kind
    if kind == ROUTE_ISOLATED or kind == ROUTE_BROADCAST:
        return False
    if not stays_called(new, session, in_port, kind) and is_local(new, &packet, original, in_port, kind):
        return False
    if (forwarded.src_hi != original.src_hi or forwarded.src_lo != original.src_lo) and (
            is_owned(old, family, forwarded.src_hi, forwarded.src_lo)
            and not is_owned(new, family, forwarded.src_hi, forwarded.src_lo)):
        return False
    if (forwarded.dst_hi != original.dst_hi or forwarded.dst_lo != original.dst_lo) and (
            is_owned(old, family, original.dst_hi, original.dst_lo)
            and not is_owned(new, family, original.dst_hi, original.dst_lo)):
        return False
    return True


cdef inline void foresee_hairpin(const ProgramData *program, Session *session, int direction) noexcept nogil:
    # Will packets that leave in this direction come back?  See native.hairpin.
    cdef Flow *flow = &session.flow[direction]
    cdef const Key *answers = &session.flow[1 - direction].key
    flow.rewrite &= ~RW_HAIRPIN
    if program.ports[flow.out_port].kind == PORT_UPLINK and is_owned(
            program, key_family(answers), answers.src_hi, answers.src_lo):
        flow.rewrite |= RW_HAIRPIN


cdef inline bint rebind(
    const ProgramData *old, const ProgramData *new, Session *session, uint16_t in_port, uint16_t out_port
) noexcept nogil:
    # Makes a session the new program's, where its ports have these numbers; False: it has to end.
    session.flow[ORIGINAL].out_port = out_port
    session.flow[REPLY].out_port = in_port
    if not survives(old, new, session):
        return False
    foresee_hairpin(new, session, ORIGINAL)
    foresee_hairpin(new, session, REPLY)
    return True


cdef inline bint has_followed(const Change *change, uint32_t number) noexcept nogil:
    # Is a session the present program's already?  Of a change that is made in steps.
    return number >= change.end or change.followed[number >> 6] >> (number & 63) & 1


cdef inline void note_followed(const Change *change, uint32_t number) noexcept nogil:
    if number < change.end:
        change.followed[number >> 6] |= <uint64_t>1 << (number & 63)


cdef inline bint bring_over(State *state, const Change *change, uint32_t number) noexcept nogil:
    # A session of the program before becomes the present one's; False: it has ended instead.
    cdef Session *session = &state.table.sessions[number]
    cdef uint16_t old_out = session.flow[ORIGINAL].out_port
    cdef uint16_t old_in = session.flow[REPLY].out_port
    cdef uint16_t new_out = change.port_map[old_out]
    cdef uint16_t new_in = change.port_map[old_in]
    if not change.flush and new_out != NO_PORT and new_in != NO_PORT:
        if rebind(change.old, change.new, session, new_in, new_out):
            if change.followed != NULL:
                note_followed(change, number)
            return True
        session.flow[ORIGINAL].out_port = old_out       # what is told of it is about the old program
        session.flow[REPLY].out_port = old_in
    end_session(state, number, END_CONFIG)
    return False


cdef inline void bring_all_over(State *state, const Change *change) noexcept nogil:
    # In one step.
    cdef uint32_t number
    for number in range(numbers_used(&state.table)):
        if is_in(&state.table, number):
            bring_over(state, change, number)


cdef inline uint32_t bring_some_over(State *state, uint32_t number) noexcept nogil:
    # The next sessions from `number` on, and where to go on; as many as packets may well wait for.
    cdef const Change *change = state.change
    cdef uint32_t looks = LOOKS_A_STEP * max(state.looks_most, 1)
    cdef uint32_t ends = ENDS_A_STEP * max(state.looks_most, 1)
    while number < change.end and looks and ends:
        if is_in(&state.table, number) and not has_followed(change, number):
            ends -= not bring_over(state, change, number)
        looks -= 1
        number += 1
    return number


cdef inline void renumber_fragments(Fragments *fragments, const uint16_t *port_map) noexcept nogil:
    # Datagrams that wait for pieces go with their port.
    cdef uint32_t number = fragments.oldest
    cdef uint32_t newer
    while number != NO_CHUNK:
        newer = fragments.datagrams[number].newer
        if port_map[fragments.datagrams[number].port] == NO_PORT:
            forget(fragments, number)
        number = newer
    number = fragments.oldest
    while number != NO_CHUNK:
        fragments.datagrams[number].port = port_map[fragments.datagrams[number].port]
        number = fragments.datagrams[number].newer
    index_anew(fragments)
