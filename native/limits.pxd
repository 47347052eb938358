# What is limited, and how much of it is used: whoever changes one of these numbers has it looked at.

from libc.stdint cimport uint32_t, uint64_t

from native.engine cimport State
from native.events cimport (
    LIMIT_FRAGMENTS, LIMIT_HALF_OPEN, LIMIT_PORTS, LIMIT_SESSIONS, has_room_again, note_limit, tell_limit,
)
from native.packet cimport Key, key_family
from native.program cimport ProgramData
from native.wire cimport unlikely


cdef inline void note_sessions(State *state) noexcept nogil:
    note_limit(&state.events, &state.limits, LIMIT_SESSIONS, state.table.count, state.now)
    note_limit(&state.events, &state.limits, LIMIT_HALF_OPEN, state.table.half_open, state.now)


cdef inline void note_fragments(State *state) noexcept nogil:
    note_limit(&state.events, &state.limits, LIMIT_FRAGMENTS, state.fragments.units, state.now)


cdef inline void watch_limits(State *state, const ProgramData *program) noexcept nogil:
    # Those of a program that begins to run.
    state.limits.most[<int>LIMIT_SESSIONS] = program.max_sessions
    state.limits.most[<int>LIMIT_HALF_OPEN] = program.max_half_open
    state.limits.most[<int>LIMIT_FRAGMENTS] = program.max_fragments
    note_sessions(state)
    note_fragments(state)


cdef inline void note_exhausted(State *state, uint32_t usage_slot, const Key *leaving) noexcept nogil:
    # The source address of `leaving` has no port for it.
    if not state.exhausted[usage_slot]:
        state.exhausted[usage_slot] = max(state.usage[usage_slot], <uint32_t>1)
        tell_limit(&state.events, state.now, LIMIT_PORTS, True, key_family(leaving), leaving.src_hi, leaving.src_lo)


cdef inline void give_back(State *state, uint32_t usage_slot, const Key *reply) noexcept nogil:
    # A session that held the destination of `reply` is over.
    state.usage[usage_slot] -= 1
    if unlikely(state.exhausted[usage_slot]) and has_room_again(state.usage[usage_slot], state.exhausted[usage_slot]):
        state.exhausted[usage_slot] = 0
        tell_limit(&state.events, state.now, LIMIT_PORTS, False, key_family(reply), reply.dst_hi, reply.dst_lo)
