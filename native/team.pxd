# The workers of one edge: engines that share limits, and the rings between them.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.engine cimport Engine
from native.ring cimport Handed, Ring
from native.shared cimport Shared
from native.steer cimport Steerer

cdef enum:
    BUFFERS = 4                 # bursts of a worker that others may still be at work on


cdef class Team:
    cdef readonly list engines
    cdef Steerer steerer
    cdef Shared *shared
    cdef Ring *rings            # [from][to]
    cdef uint32_t workers
    cdef uint64_t random        # of process(), as are these:
    cdef uint32_t looks
    cdef uint32_t looks_each
    cdef uint32_t looks_most
    cdef uint64_t looked
    cdef uint32_t arrived       # of run(): workers that have begun, or ended
    cdef uint32_t left
    cdef uint32_t broken        # workers that have raised something

    cdef Ring *ring(self, uint32_t giver, uint32_t taker) noexcept nogil
    cdef Engine _come_to(self, uint32_t owner, uint64_t now_ns)
    cdef int _clear_up(self) except -1


cdef class Lane:
    # A worker while it runs.
    cdef Team team
    cdef Engine engine
    cdef uint32_t worker
    cdef Handed *items          # BURST: those of the burst under way
    cdef Handed *taken          # BURST: those that another has handed over
    cdef uint8_t *arenas        # BUFFERS of them
    cdef uint64_t *marks        # [buffer][worker]: how far the ring to each has to be done before it is used again
    cdef uint64_t refused
    cdef uint64_t handed

    cdef tuple _time_bursts(self, list frames, const uint16_t[::1] ports, const uint32_t[::1] order, uint32_t first,
                            uint32_t bursts, uint64_t step_ns)
    cdef bint _broken(self) noexcept nogil
    cdef void _meet(self) noexcept nogil
    cdef uint64_t _leave(self) noexcept nogil
    cdef uint64_t _wait(self) noexcept nogil
    cdef uint64_t _await_buffer(self, uint32_t buffer) noexcept nogil
    cdef void _mark(self, uint32_t buffer) noexcept nogil
    cdef void _publish(self) noexcept nogil
    cdef void _give(self, uint32_t owner, const Handed *item) noexcept nogil
    cdef uint32_t _take(self) noexcept nogil
    cdef void _serve(self, const Handed *items, uint32_t count, bint arrived) noexcept nogil
