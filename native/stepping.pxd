# A change of the program that sessions follow in steps, between which a worker goes on: see native.rebind.

from libc.stdint cimport uint32_t, uint64_t

from native.engine cimport Change, State
from native.memory cimport release, reserve
from native.rebind cimport bring_all_over, bring_some_over
from native.session cimport numbers_used
from native.turn cimport Turn, turn_lend


cdef inline bint may_take_steps(const State *state, list port_map) except -1:
    # Where a port has another number, the devices learn of it when all is over: no frame may come in before that.
    # Endpoint-independent mappings live as long as their sessions: nobody may find one that is about to end.
    return state.mappings.table.count == 0 and port_map == list(range(len(port_map)))


cdef inline int bring_over_in_steps(State *state, Turn *turn, Change *change, between) except -1:
    # Sessions become the new program's, which runs already.  Who calls has the turn; `between` is called after each
    # step, None: nobody is.
    cdef uint32_t number = 0
    cdef size_t size
    change.end = numbers_used(&state.table)
    size = (<size_t>change.end + 63) // 64 * sizeof(uint64_t)
    change.followed = <uint64_t *>reserve(size)
    if change.followed == NULL:     # there is no session, or no memory: in one step
        with nogil:
            bring_all_over(state, change)
        return 0
    state.change = change
    try:
        while True:
            with nogil:
                number = bring_some_over(state, number)
            if number == change.end:
                break
            if between is not None:
                between()
            with nogil:
                turn_lend(turn)
    finally:
        with nogil:
            while number != change.end:     # whatever has been raised
                number = bring_some_over(state, number)
        state.change = NULL
        release(change.followed, size)
    return 0
