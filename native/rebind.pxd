# What becomes of sessions, and of datagrams in pieces, when another program takes over.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.account cimport end_session
from native.admit cimport foresee_hairpin
from native.decide cimport is_local, is_owned
from native.engine cimport State
from native.events cimport END_CONFIG
from native.fragment cimport NO_CHUNK, Fragments, forget, index_anew
from native.kinds cimport ROUTE_BROADCAST, ROUTE_ISOLATED
from native.packet cimport Key, Packet, key_family
from native.program cimport ProgramData
from native.record cimport NO_PORT
from native.route cimport NOWHERE, map_lookup
from native.session cimport ORIGINAL, REPLY, Session, is_in, key_reversed, numbers_used
from native.view cimport icmp_kind


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
    if kind == ROUTE_ISOLATED or kind == ROUTE_BROADCAST or is_local(new, &packet, original, in_port, kind):
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


cdef inline void rebind_sessions(
    State *state, const ProgramData *old, const ProgramData *new, const uint16_t *port_map, bint flush
) noexcept nogil:
    # Every session; `port_map` by old port, NO_PORT where it is gone, and `flush` as Engine.swap() has it.
    cdef uint32_t number
    cdef Session *session
    cdef uint16_t old_in
    cdef uint16_t old_out
    for number in range(numbers_used(&state.table)):
        if not is_in(&state.table, number):
            continue
        session = &state.table.sessions[number]
        old_out = session.flow[ORIGINAL].out_port
        old_in = session.flow[REPLY].out_port
        if flush or port_map[old_out] == NO_PORT or port_map[old_in] == NO_PORT:
            end_session(state, number, END_CONFIG)
        elif not rebind(old, new, session, port_map[old_in], port_map[old_out]):
            session.flow[ORIGINAL].out_port = old_out       # what is told of it is about the old program
            session.flow[REPLY].out_port = old_in
            end_session(state, number, END_CONFIG)


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
