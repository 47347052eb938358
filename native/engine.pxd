# One engine: what outlives programs (sessions, counters, clock, randomness) and the way of a packet through it.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.addresses cimport AddressTable
from native.capture cimport CaptureReader
from native.events cimport Events, Limits
from native.expect cimport Expectations
from native.mapping cimport Mappings
from native.fragment cimport Fragments, Pieces
from native.neighbour cimport Neighbours, NeighbourTable, Outbox
from native.packet cimport Packet
from native.port cimport Arrival, IoTable
from native.port_blocks cimport PortBlocks
from native.program cimport Program, ProgramData
from native.ring cimport Hands
from native.session cimport Table
from native.shared cimport Shared
from native.stats cimport RuleCounter, Totals
from native.turn cimport Turn

cdef enum:
    BURST = 256
    ARENA = 1 << 20             # bytes of frames in one burst

ctypedef struct PortCounter:
    uint64_t received_packets
    uint64_t received_bytes     # of IP
    uint64_t sent_packets
    uint64_t sent_bytes

ctypedef struct Change:
    # Of the program, while sessions may still be of the one before; see native.rebind.
    const ProgramData *old
    const ProgramData *new
    const uint16_t *port_map    # by old port, NO_PORT where it is gone
    bint flush                  # every session ends
    uint32_t end                # sessions from this number on are the present program's,
    uint64_t *followed          # and those that have a bit here

ctypedef struct State:
    Table table
    Mappings mappings       # with memory once a program with endpoint_independent has run
    PortBlocks taken        # of the table: ports for replies that were met
    AddressTable sources    # live sessions by original source, with entries while a program limits them
    Expectations expectations
    uint64_t now
    const Change *change    # NULL: every session is the present program's
    uint64_t random
    uint64_t next_error     # when the ICMP errors sent so far will have had their time, each its interval
    uint64_t next_challenge     # likewise for answers to doubtful TCP segments
    RuleCounter *counters   # by slot
    uint32_t *usage         # sessions that hold an external address, by usage slot
    uint32_t *exhausted     # likewise: how many did when it had no port to give, 0 unless that is so
    uint32_t *pool_order    # room for the addresses of a pool, see native.pool
    uint32_t looks          # at sessions whose time may be over, before the next packet: saved up
    uint32_t looks_each     # more with each packet
    uint32_t looks_most     # and as many at once when none has been needed
    uint64_t looked         # when there were some last, ns
    bint paced_together     # one thread runs all workers: they have the first one's looks
    PortCounter *port_counters      # by port
    uint32_t slot_count
    uint32_t usage_count
    uint32_t port_count
    Totals totals
    Events events
    Limits limits
    Fragments fragments
    Shared *shared          # with the edge's other workers; NULL: there are none
    uint32_t worker         # which of them this is

ctypedef struct Result:
    uint8_t verdict
    uint8_t reason
    uint8_t hairpin         # the provider's router sends the output back in by out_port
    uint8_t sized           # how it came or leaves in pieces stands in the last two fields
    uint16_t out_port       # NO_PORT: nothing leaves
    bint own                # the edge made it: it answers the packet
    bint passed_on          # nothing has become of it here: an error about a packet of another worker's
    bint of_session         # it was refused as a packet of its session, not by a rule
    uint8_t *frame          # what leaves: inside the packet's own buffer, or in the answer buffer
    uint32_t length
    uint32_t limit          # bytes of IP that a piece of it may have; 0: it leaves whole
    Pieces pieces           # how it came, and no larger than it may leave: it may enter again.  size 0: it came whole


ctypedef struct Work:
    # Forwarding: all that a round needs.  The program may be another in each.
    State *state
    const ProgramData *program
    IoTable *table
    Neighbours *neighbours
    Outbox *outbox
    uint8_t *room               # the memory of what has none elsewhere
    uint8_t *arena              # ARENA_SIZE
    uint8_t *answers            # 2 * ANSWER_ROOM
    uint8_t *spare              # ANSWER_ROOM: a segment or a piece on its way out
    uint8_t *cut                # ANSWER_ROOM: a segment on its way in
    Packet *packets             # BURST
    Arrival *arrivals           # ARRIVALS
    uint64_t next_tick
    Hands *hands                # where there are other workers, else NULL


cdef class Engine:
    cdef State state
    cdef Program program
    cdef NeighbourTable links   # None: packets come and go without a link layer
    cdef uint8_t *arena         # frames of one burst, packed
    cdef uint8_t *answers       # two frames made by the edge: one may be the packet that the other answers
    cdef bint busy              # a thread is inside without the GIL
    cdef Turn *turn             # of its team, or its own
    cdef Turn own_turn
    cdef object team            # of workers, that it is one of and that holds what they share; None
    cdef Hands *hands           # its team's, NULL
    cdef bint forwards
    cdef Packet *packets
    cdef uint32_t *offsets
    cdef uint32_t *lengths
    cdef uint16_t *in_ports
    cdef uint64_t *times

    cdef int _idle(self) except -1
    cdef int _take(self) except -1
    cdef int _enter(self) except -1
    cdef int _enter_alone(self) except -1
    cdef Program _swap(self, Program program, list port_map, bint flush, bint sources, between)
    cdef uint16_t[:] _begin_swap(self, Program program, list port_map)
    cdef bint _stands_alike(self, Program program, list port_map)
    cdef void _rebind(self, const Change *change, bint look) noexcept nogil
    cdef void _settle(self, Program program, bint sources)
    cdef int _no_worker(self) except -1
    cdef uint32_t _batch_burst(self, list frames, Py_ssize_t first, bint outputs, list done) except 0
    cdef int _port(self, port) except -1
    cdef int _fits(self, Py_ssize_t size) except -1
    cdef int _load(self, const unsigned char[::1] frame, uint64_t now_ns) except -1
    cdef bint _replay_burst(
        self, CaptureReader reader, int fixed, bint map_replies, uint64_t most, uint64_t *packets, uint64_t *size
    ) noexcept nogil
    cdef uint8_t *_room(self, const Result *result) noexcept nogil
    cdef void _pass_through(
        self, Packet *packet, uint32_t length, uint16_t port, bint map_replies, Result *result
    ) noexcept nogil
