# Replies as a capture that was taken behind the edge shows them: with private destinations.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.engine cimport State
from native.icmp cimport parse_quote, quote_sequence, rewrite_error
from native.packet cimport K_ICMP_ERROR, K_TCP, Key, Packet, key_side, set_side
from native.program cimport ProgramData, side_of
from native.rewrite cimport rewrite_as
from native.session cimport NONE, ORIGINAL, REPLY, Session, key_reversed, lookup_alive, set_hash
from native.shift cimport before_shifts, told_by
from native.wire cimport be32


cdef inline bint is_known(const State *state, const Key *key) noexcept nogil:
    return lookup_alive(&state.table, key, state.now) != NONE


cdef inline Session *session_of(const State *state, const Key *original) noexcept nogil:
    # The session whose first packet had this tuple, on either side; NULL.
    cdef Key key = original[0]
    cdef uint32_t found
    cdef uint8_t side
    for side in range(2):
        key.meta = key.meta & 0xffffffffffffff00ULL | side
        found = lookup_alive(&state.table, &key, state.now)
        if found != NONE and found & 1 == ORIGINAL:
            return &state.table.sessions[found >> 1]
    return NULL


cdef inline Session *turn_answer(const State *state, Packet *packet) noexcept nogil:
    # A packet that hits no session itself but reverses one's original tuple becomes the reply to its translated tuple.
    cdef Key original
    cdef Session *session
    if is_known(state, &packet.key):
        return NULL
    key_reversed(&packet.key, 0, &original)
    session = session_of(state, &original)
    if session != NULL:
        before_shifts(state, session, packet)
        rewrite_as(packet, &session.flow[REPLY].key)
    return session


cdef inline Session *turn_error(const State *state, Packet *packet) noexcept nogil:
    # Likewise an ICMP error that quotes a session's packet as that had entered.
    cdef Packet quote
    cdef Key key
    cdef Key outer = packet.key
    cdef Session *session
    if not parse_quote(packet, &quote):
        return NULL
    if packet.key.dst_hi != quote.key.src_hi or packet.key.dst_lo != quote.key.src_lo:
        return NULL
    key_reversed(&quote.key, key_side(&packet.key), &key)
    if is_known(state, &key):
        return NULL
    session = session_of(state, &quote.key)
    if session != NULL:
        key_reversed(&session.flow[REPLY].key, 0, &key)
        outer.dst_hi = key.src_hi
        outer.dst_lo = key.src_lo
        if quote.kind == K_TCP:
            quote_sequence(packet, &quote, told_by(state, session, ORIGINAL, be32(quote.l4 + 4)))
        rewrite_error(packet, &quote, &outer, &key)
    return session


cdef inline bint turn_into_reply(
    const State *state, const ProgramData *program, Packet *packet, uint16_t *in_port
) noexcept nogil:
    # What belongs to a session as it was before the edge translated it, and enters by that session's far port; False:
    # the packet is what it seems.
    cdef Session *session = turn_error(state, packet) if packet.kind == K_ICMP_ERROR else turn_answer(state, packet)
    if session == NULL:
        return False
    in_port[0] = session.flow[ORIGINAL].out_port
    set_side(packet, side_of(program, in_port[0]))
    set_hash(&state.table, packet)
    return True
