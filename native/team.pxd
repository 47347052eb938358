# The workers of one edge: engines that share limits, sessions' numbers and a turn, and the rings between them.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.engine cimport Engine
from native.packet cimport Packet
from native.ring cimport Hands, Ring, Sleeper
from native.shared cimport Shared
from native.steer cimport Steerer
from native.turn cimport Turn


cdef class Common:
    # What is nobody's alone; it knows no engine, so that these go when nobody has them any more.
    cdef Shared *shared
    cdef Ring *rings            # [from][to]
    cdef Sleeper *sleepers
    cdef Hands *hands           # of each
    cdef Turn turn
    cdef uint32_t workers


cdef class Team:
    cdef readonly list engines
    cdef readonly Steerer steerer
    cdef Engine first
    cdef Common common
    cdef uint32_t workers
    cdef bint one_sequence      # draws at random, and ends sessions, as one engine would
    cdef uint64_t random
    cdef uint32_t arrived       # of lanes: workers that have begun, or ended
    cdef uint32_t left
    cdef uint32_t broken        # workers that have raised something

    cdef Engine _come_to(self, uint32_t owner, uint64_t now_ns)
    cdef void _share(self)
    cdef void _renumber_rings(self, const uint16_t *port_map) noexcept nogil
    cdef void _move(self) noexcept nogil


cdef class Lane:
    # A worker while it is measured.
    cdef Team team
    cdef Engine engine
    cdef Hands *hands
    cdef uint8_t *arena
    cdef uint64_t refused

    cdef tuple _time_bursts(self, list frames, const uint16_t[::1] ports, const uint32_t[::1] order, uint32_t first,
                            uint32_t bursts, uint64_t step_ns)
    cdef bint _broken(self) noexcept nogil
    cdef void _meet(self) noexcept nogil
    cdef uint64_t _leave(self) noexcept nogil
    cdef uint64_t _wait(self) noexcept nogil
    cdef uint32_t _take(self) noexcept nogil
    cdef void _serve(self, const uint32_t *lengths, const uint16_t *ports) noexcept nogil
    cdef void _judge(self, Packet *packet, uint16_t port) noexcept nogil
