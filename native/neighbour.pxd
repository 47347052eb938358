# The link layer of a served edge (RFC 826, 4861, 5227): who has which MAC address, what waits for one, what the edge
# says of itself.  No I/O and no clock of its own: the caller brings frames and nanoseconds, and sends what it finds in
# the outbox.
#
# A port has to be brought up by link_up() before anything else is said of it.  One thread at a time.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.program cimport ProgramData

cdef enum:
    NEIGHBOURS_MAX = 8192           # in all
    NEIGHBOURS_PER_PORT = 1024
    NEIGHBOUR_BUCKETS = 16384
    NO_NEIGHBOUR = 0xffff
    HELD_PER_NEIGHBOUR = 3
    HELD_MAX = 256                  # packets that wait, in all
    HELD_SIZE = 65568               # bytes of one at most
    NO_HELD = 0xffff
    OUTBOX_FRAMES = 64
    OUTBOX_BYTES = 262144
    OFFLOAD_SIZE = 12               # what a port has to know of a frame besides its bytes (struct virtio_net_hdr_v1)

cpdef enum NeighbourState:
    # RFC 4861 7.3.2; FAILED is nobody, for a while.
    N_INCOMPLETE = 0
    N_REACHABLE = 1
    N_STALE = 2
    N_DELAY = 3
    N_PROBE = 4
    N_FAILED = 5
    NEIGHBOUR_STATES = 6

cpdef enum LinkVerdict:
    L_PASS = 0                  # input: for the pipeline
    L_TAKEN = 1                 # input: it was for the link layer
    L_DROPPED = 2               # either: nothing more happens to it, a counter says why
    L_SEND = 3                  # output: both MAC addresses are written
    L_HELD = 4                  # output: copied, until its neighbour is known

cpdef enum OutKind:
    OUT_SEND = 0                # to be sent out of its port
    # An ICMP error of the edge's own about what found nobody: to be judged as if it had come in by its port, so that
    # sessions translate it, if the rate of such errors permits.
    OUT_ERROR = 1

cpdef enum LinkCount:
    LC_REQUESTS_IN = 0          # ARP requests and neighbour solicitations for an address of the edge's
    LC_REPLIES_IN = 1           # replies and advertisements from known neighbours
    LC_REQUESTS_OUT = 2
    LC_REPLIES_OUT = 3
    LC_ANNOUNCEMENTS = 4        # gratuitous ARP, unsolicited advertisements
    LC_IGNORED = 5              # of ARP and ND, what is none of the edge's business
    LC_INVALID = 6              # ARP and ND that no sane station sends
    LC_DUPLICATES = 7           # another station has an address of the edge's
    LC_LIMITED = 8              # requests, both ways, beyond what one second may have
    LC_STORMS = 9               # how often that began
    LC_OTHER_STATION = 10       # unicast to another MAC address
    LC_OTHER_VLAN = 11          # with a tag that names a VLAN
    LC_LOOPED = 12              # the edge's own MAC address is its source
    LC_LINK_BROADCAST = 13      # an IP packet to one station, broadcast on the link (RFC 1812 5.3.4)
    LC_HELD = 14
    LC_HELD_DROPPED = 15        # for newer ones, or because nobody answered
    LC_UNREACHABLE = 16         # sent to nobody: the neighbour failed
    LC_NO_NEXT_HOP = 17         # no neighbour on that port leads there
    LC_TABLE_FULL = 18          # neighbours not taken into the table
    LC_EVICTED = 19             # neighbours that made room
    LC_OUTBOX_FULL = 20         # frames of the link layer's own, or held ones, that were lost
    LC_TOO_BIG = 21             # packets that the device is too narrow for, and that may not be cut
    LINK_COUNTS = 22

ctypedef struct Neighbour:
    uint64_t hi
    uint64_t lo
    uint64_t since              # ns: when its state began
    uint64_t deadline           # when its state ends by itself
    uint16_t port
    uint8_t family              # 0: not in use
    uint8_t state               # a NeighbourState
    uint8_t probes              # sent in this state
    uint8_t held
    bint pinned                 # the program relies on it: never evicted
    uint8_t mac[6]
    uint16_t first_held
    uint16_t next               # in its bucket, or of the unused ones
    uint16_t sooner             # in the queue of its port and state
    uint16_t later

ctypedef struct Held:
    uint32_t length
    uint16_t neighbour
    uint16_t next               # of the same neighbour, the newer one; or of the free ones
    uint16_t older              # of all
    uint16_t newer
    uint8_t offload[OFFLOAD_SIZE]

ctypedef struct LinkPort:
    uint8_t mac[6]
    bint up
    uint16_t count              # neighbours
    uint16_t head[6]            # by state: its neighbours in the order of their deadlines
    uint16_t tail[6]
    uint32_t by_state[6]
    uint64_t next_request       # when the requests taken in so far will have had their time
    uint64_t next_solicit       # the same of those sent
    uint64_t limited            # when there was one too many, 0: never
    uint64_t defended           # when an address was defended, 0: never
    uint8_t rounds              # of announcements that are still to come
    uint32_t announced          # addresses, in this round
    uint32_t announce_row
    uint64_t announce_offset
    uint64_t announce_at
    uint64_t counts[22]         # by LinkCount: LINK_COUNTS

ctypedef struct OutFrame:
    uint16_t port
    uint8_t kind                # an OutKind
    uint8_t offload[OFFLOAD_SIZE]
    uint32_t at                 # in Outbox.bytes
    uint32_t length

ctypedef struct Outbox:
    # What the caller sends, in this order, and empties by setting count and used to 0: after every packet that left
    # something in it, lest there be no room for the next.
    uint32_t count
    uint32_t used
    OutFrame frames[OUTBOX_FRAMES]
    uint8_t *bytes              # OUTBOX_BYTES

ctypedef struct Neighbours:
    Neighbour *pool             # NEIGHBOURS_MAX
    uint16_t *buckets
    LinkPort *ports             # port_room of them
    LinkPort *spare             # as many, for the next swap
    Held *held
    uint8_t *held_bytes         # HELD_MAX times HELD_SIZE of address space
    uint64_t seed
    uint64_t next_tick
    uint32_t port_room
    uint32_t count
    uint16_t unused             # first of the unused neighbours, in a list
    uint16_t free_held
    uint16_t oldest_held
    uint16_t newest_held
    uint16_t turn               # port that the next tick begins with
    bint shared                 # several workers use it: whoever changes anything, counters too, has to lock it
    uint32_t lock
    uint32_t version            # odd while it is locked
    uint64_t latest             # of the clocks of those who have locked it


cdef class NeighbourTable:
    cdef Neighbours data
    cdef Outbox outbox

    cdef int _port(self, port, mac=*) except -1
    cdef list _empty_outbox(self)


# What frames may need a call for; the quick ways through are link_input() and link_output() of native/linkway.pxd.
cdef int link_arrive(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *frame,
    uint32_t length, uint64_t now, Outbox *outbox
) noexcept nogil
cdef int link_resolve(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t *frame, uint32_t length, uint64_t now,
    Outbox *outbox, const uint8_t *offload
) noexcept nogil
cdef void neighbours_tick(Neighbours *table, const ProgramData *program, uint64_t now, Outbox *outbox) noexcept nogil

# Ports have the numbers of the program that runs.  NeighbourTable.swap() follows a new program, whose ports
# NeighbourTable.reserve() has made room for, and cannot fail.
cdef int neighbours_reserve(Neighbours *table, uint32_t ports) noexcept nogil
cdef void link_up(Neighbours *table, uint16_t port, const uint8_t *mac, uint64_t now) noexcept nogil
cdef void link_down(Neighbours *table, uint16_t port) noexcept nogil
