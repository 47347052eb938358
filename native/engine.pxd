# One engine: what outlives programs (sessions, counters, clock, randomness) and the way of a packet through it.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.capture cimport CaptureReader
from native.expect cimport Expectations
from native.packet cimport Key, Packet
from native.program cimport Program, ProgramData
from native.session cimport Table
from native.stats cimport RuleCounter, Totals

cdef enum:
    BURST = 256
    LOG_ENTRIES = 4096

ctypedef struct LogEntry:
    uint64_t now
    uint32_t slot
    uint32_t revision
    uint8_t verdict
    uint8_t kind            # native.packet Kind of the packet
    Key saw

ctypedef struct State:
    Table table
    Expectations expectations
    uint64_t now
    uint64_t random
    uint64_t next_error     # when the ICMP errors sent so far will have had their time, each its interval
    RuleCounter *counters   # by slot
    uint32_t *usage         # sessions that hold an external address, by usage slot
    uint32_t slot_count
    uint32_t usage_count
    Totals totals
    LogEntry *log           # ring of LOG_ENTRIES
    uint64_t log_written
    uint64_t log_read
    uint64_t log_lost

ctypedef struct Result:
    uint8_t verdict
    uint8_t reason
    bint hairpin            # the provider's router sends the output back in by out_port
    uint16_t out_port       # NO_PORT: nothing leaves
    uint8_t *frame          # what leaves: inside the packet's own buffer, or in the answer buffer
    uint32_t length


cdef class Engine:
    cdef State state
    cdef Program program
    cdef uint8_t *arena         # frames of one burst, packed
    cdef uint8_t *answers       # two frames made by the edge: one may be the packet that the other answers
    cdef bint busy              # a thread is inside without the GIL
    cdef Packet *packets
    cdef uint32_t *offsets
    cdef uint32_t *lengths
    cdef uint16_t *in_ports
    cdef uint64_t *times

    cdef int _idle(self) except -1
    cdef int _port(self, port) except -1
    cdef int _load(self, const unsigned char[::1] frame, uint64_t now_ns) except -1
    cdef bint _replay_burst(
        self, CaptureReader reader, int fixed, bint map_replies, uint64_t most, uint64_t *packets, uint64_t *size
    ) noexcept nogil
    cdef void _replay_one(self, Packet *packet, uint16_t port, bint map_replies) noexcept nogil
    cdef uint32_t _burst(self, const ProgramData *program, Result *result) noexcept nogil
