# What is limited, and how much of it is used: whoever changes one of these numbers has it looked at.

from libc.stdint cimport int32_t, uint32_t, uint64_t

from native.engine cimport State
from native.events cimport (
    LIMIT_FRAGMENTS, LIMIT_HALF_OPEN, LIMIT_PORTS, LIMIT_SESSIONS, Limits, has_room_again, note_limit, tell_limit,
)
from native.fragment cimport units_held
from native.packet cimport Key, key_family
from native.program cimport ProgramData
from native.shared cimport put_number, raise_to, shared_add, shared_add32, shared_load, take_shared
from native.wire cimport likely, unlikely


cdef inline Limits *limits_of(State *state) noexcept nogil:
    return &state.limits if likely(state.shared == NULL) else &state.shared.limits


cdef inline uint64_t *error_clock(State *state) noexcept nogil:
    return &state.next_error if likely(state.shared == NULL) else &state.shared.next_error


cdef inline uint64_t *challenge_clock(State *state) noexcept nogil:
    return &state.next_challenge if likely(state.shared == NULL) else &state.shared.next_challenge


cdef inline uint64_t sessions_open(const State *state) noexcept nogil:
    # Of all workers.
    return state.table.count if likely(state.shared == NULL) else shared_load(&state.shared.sessions)


cdef inline uint64_t half_open(const State *state) noexcept nogil:
    # Likewise.
    return state.table.half_open if likely(state.shared == NULL) else shared_load(&state.shared.half_open)


cdef inline bint take_place(State *state, const ProgramData *program, bint tcp) noexcept nogil:
    # Is there room for one session more, that of TCP half open?  Among workers it is taken now.
    if likely(state.shared == NULL):
        return state.table.count < program.max_sessions and not (
            tcp and state.table.half_open >= program.max_half_open)
    if not take_shared(&state.shared.sessions, 1, program.max_sessions):
        return False
    if tcp and not take_shared(&state.shared.half_open, 1, program.max_half_open):
        shared_add(&state.shared.sessions, -1)
        return False
    return True


cdef inline void give_place(State *state, bint tcp) noexcept nogil:
    # What take_place() took, for a session that has ended or not begun; `tcp`: it is half open.
    if unlikely(state.shared != NULL):
        shared_add(&state.shared.sessions, -1)
        if tcp:
            shared_add(&state.shared.half_open, -1)


cdef inline void not_half_open(State *state) noexcept nogil:
    # One session the less is.
    if unlikely(state.shared != NULL):
        shared_add(&state.shared.half_open, -1)


cdef inline uint64_t count_created(State *state) noexcept nogil:
    # One more has been made: its identifier.
    state.totals.created += 1
    if unlikely(state.shared != NULL):
        raise_to(&state.shared.peak, shared_load(&state.shared.sessions))
        return shared_add(&state.shared.created, 1)
    if state.table.count > state.totals.peak:
        state.totals.peak = state.table.count
    return state.totals.created


cdef inline uint32_t count_holder(State *state, uint32_t usage_slot, int32_t change) noexcept nogil:
    # So many sessions more hold an external address; how many do then.
    if unlikely(state.shared != NULL):
        return shared_add32(&state.usage[usage_slot], change)
    state.usage[usage_slot] += <uint32_t>change
    return state.usage[usage_slot]


cdef inline void note_sessions(State *state) noexcept nogil:
    cdef Limits *limits = limits_of(state)
    note_limit(&state.events, limits, LIMIT_SESSIONS, sessions_open(state), state.now)
    note_limit(&state.events, limits, LIMIT_HALF_OPEN, half_open(state), state.now)


cdef inline void note_fragments(State *state) noexcept nogil:
    note_limit(&state.events, limits_of(state), LIMIT_FRAGMENTS, units_held(&state.fragments), state.now)


cdef inline void watch_limits(State *state, const ProgramData *program) noexcept nogil:
    # Those of a program that begins to run.
    cdef Limits *limits = limits_of(state)
    limits.most[<int>LIMIT_SESSIONS] = program.max_sessions
    limits.most[<int>LIMIT_HALF_OPEN] = program.max_half_open
    limits.most[<int>LIMIT_FRAGMENTS] = program.max_fragments
    note_sessions(state)
    note_fragments(state)


cdef inline void note_exhausted(State *state, uint32_t usage_slot, const Key *leaving) noexcept nogil:
    # The source address of `leaving` has no port for it.
    if not state.exhausted[usage_slot] and put_number(
            &state.exhausted[usage_slot], max(state.usage[usage_slot], <uint32_t>1)) == 0:      # once, of all workers
        tell_limit(&state.events, state.now, LIMIT_PORTS, True, key_family(leaving), leaving.src_hi, leaving.src_lo)


cdef inline void give_back(State *state, uint32_t usage_slot, const Key *reply) noexcept nogil:
    # A session that held the destination of `reply` is over.
    cdef uint32_t used = count_holder(state, usage_slot, -1)
    if (unlikely(state.exhausted[usage_slot]) and has_room_again(used, state.exhausted[usage_slot])
            and put_number(&state.exhausted[usage_slot], 0)):
        tell_limit(&state.events, state.now, LIMIT_PORTS, False, key_family(reply), reply.dst_hi, reply.dst_lo)
