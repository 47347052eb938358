# Replies as a capture that was taken behind the edge shows them: with private destinations.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.engine cimport State
from native.packet cimport K_ICMP_ERROR, Key, Packet, set_side
from native.program cimport ProgramData, side_of
from native.rewrite cimport rewrite_as
from native.session cimport NONE, ORIGINAL, REPLY, Session, hash_key, key_reversed, lookup


cdef inline uint16_t turn_into_reply(
    State *state, const ProgramData *program, Packet *packet, uint16_t in_port
) noexcept nogil:
    # A parsed packet that hits no session itself but reverses a session's original tuple becomes the reply to its
    # translated tuple, and enters by the session's far port.  The port where it enters now.
    cdef Key original
    cdef Session *session
    cdef uint32_t found
    cdef uint8_t side
    if packet.kind == K_ICMP_ERROR:
        return in_port
    if lookup(&state.table, &packet.key, hash_key(&state.table, &packet.key)) != NONE:
        return in_port
    for side in range(2):
        key_reversed(&packet.key, side, &original)
        found = lookup(&state.table, &original, hash_key(&state.table, &original))
        if found != NONE and found & 1 == ORIGINAL:
            session = &state.table.sessions[found >> 1]
            rewrite_as(packet, &session.flow[REPLY].key)
            set_side(packet, side_of(program, session.flow[ORIGINAL].out_port))
            packet.hash = hash_key(&state.table, &packet.key)
            return session.flow[ORIGINAL].out_port
    return in_port
