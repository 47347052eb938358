# The stage before SESSION: pieces are held until they make a datagram, which goes on as one packet.

from libc.stdint cimport uint8_t, uint16_t

from native.account cimport watch_fragments
from native.engine cimport Result, State
from native.fragment cimport take_piece
from native.limits cimport note_fragments
from native.owner cimport owner_of
from native.packet cimport K_ICMP_ERROR, PARSED, Packet
from native.program cimport ProgramData, side_of
from native.record cimport NO_PORT, NO_SLOT, Recorder, note
from native.session cimport set_hash
from native.stats cimport *
from native.steer cimport Steering


cdef inline bint assemble(
    State *state, const ProgramData *program, Packet *packet, uint16_t in_port, Result *result, Recorder *recorder
) noexcept nogil:
    # What parse() did not take for a packet: True when there is one now, packet.hash set.
    cdef uint8_t outcome
    if packet.error == R_FRAGMENT_HELD:
        outcome = take_piece(
            &state.fragments, packet, in_port, side_of(program, in_port), state.now, state.table.seed[0])
        watch_fragments(state)
        note_fragments(state)
        if outcome != PARSED:
            note(recorder, S_REASSEMBLY, T_HELD if outcome == R_FRAGMENT_HELD else T_DROP, NO_SLOT, NO_PORT)
            result.verdict = V_HELD if outcome == R_FRAGMENT_HELD else V_DROP
            result.reason = outcome
            return False
        note(recorder, S_REASSEMBLY, T_COMPLETE, NO_SLOT, NO_PORT)
        if packet.error == PARSED:
            result.passed_on = (
                state.shared != NULL and packet.kind == K_ICMP_ERROR
                and owner_of(<const Steering *>state.shared.steering, packet) != state.worker)
            set_hash(&state.table, packet)
            result.verdict = V_HELD
            result.reason = R_FRAGMENT_HELD
            return not result.passed_on
    note(recorder, S_PARSE, T_DROP, NO_SLOT, NO_PORT)
    result.verdict = V_DROP
    result.reason = packet.error
    return False
