# Whether a session that was found is still one: its time may be over, or it may not outlive a change of the program.

from libc.stdint cimport uint32_t

from native.account cimport end_session
from native.engine cimport State
from native.events cimport END_EXPIRED
from native.rebind cimport bring_over, has_followed
from native.session cimport NONE, is_over
from native.wire cimport likely, unlikely


cdef inline uint32_t living(State *state, uint32_t found) noexcept nogil:
    # The flow that was found; NONE if there is none, or its session is over, which ends it.
    if unlikely(state.change != NULL) and found != NONE and not has_followed(state.change, found >> 1):
        if not bring_over(state, state.change, found >> 1):
            return NONE
    if likely(found == NONE or not is_over(&state.table, found, state.now)):
        return found
    end_session(state, found >> 1, END_EXPIRED)
    return NONE
