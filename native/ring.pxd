# Frames on their way from one worker to another: a ring of bytes that one thread writes and one reads.  What the first
# has read of a frame goes with it, so that the second need not read it again; it works on the frame where it lies.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native.fragment cimport Pieces
from native.packet cimport NOT_ASKED, Packet
from native.session cimport NONE
from native.vnet cimport Vnet
from native.wire cimport prefetch

cdef enum:
    RING_BYTES = 1 << 24        # address space: what is not used is not touched
    RING_SMALL = 1 << 18        # an empty ring begins anew behind so much: the fewer lines, the more are in a cache
    RING_FULL = 1 << 21         # so much may wait before its writer takes in no more
    LOOK_AHEAD = 192            # bytes
    LOOK_FAR = 1536
    HANDED_MAX = 128 + 65664    # of one frame
    LINE = 64

cdef enum HandedKind:
    HANDED_NOTHING = 0          # goes on at the beginning of the ring
    HANDED_FRAME = 1
    HANDED_LARGE = 2            # of many segments: with its header
    HANDED_WHOLE = 3            # was put together of pieces, and is counted: how it came

ctypedef union HandedWith:
    Vnet vnet
    Pieces pieces

ctypedef struct Handed:
    # Two cache lines, then the frame.
    uint32_t size               # with all that belongs to it
    uint32_t length             # of the frame
    uint16_t port
    uint8_t kind                # a HandedKind
    uint8_t unused
    HandedWith extra
    Packet packet
    uint64_t room

ctypedef struct Ring:
    # Counters of bytes on cache lines of their own; each is written by one side only.
    uint64_t written
    uint64_t base               # the count at the first byte; another only while the ring is empty
    uint64_t pad_written[6]
    uint64_t done
    uint64_t pad_done[7]
    uint64_t ahead              # the writer's: beyond `written` by what it has not published yet
    uint64_t done_seen
    uint64_t pad_ahead[6]
    uint64_t taken              # the reader's: beyond `done` by what it works on
    uint64_t pad_taken[7]
    uint8_t bytes[RING_BYTES]

ctypedef struct Sleeper:
    # A cache line for each worker.
    uint32_t asleep             # it will not look into its rings before somebody calls it
    int wake_fd
    uint64_t pad[7]

ctypedef struct Hands:
    # What a worker needs of the others.
    Ring *rings                 # [from][to]
    Sleeper *sleepers           # of all workers
    uint32_t workers
    uint32_t worker             # which it is
    uint64_t handed             # frames that it has handed over
    uint64_t called             # sleepers

cdef extern from *:
    """
    #include <stdint.h>
    #include <unistd.h>
    /* A line that is about to be written. */
    static inline void t1_claim_line(void *p) { __builtin_prefetch(p, 1, 3); __asm__ volatile(""); }
    static inline uint64_t t1_acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void t1_publish(uint64_t *p, uint64_t n) { __atomic_store_n(p, n, __ATOMIC_RELEASE); }
    /* The sleeper's side, before it looks into its rings for the last time, and the waker's, after it has written. */
    static inline void t1_fall_asleep(uint32_t *p) {
        __atomic_store_n(p, 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    static inline void t1_wake_up(uint32_t *p) { __atomic_store_n(p, 0, __ATOMIC_RELAXED); }
    static inline int t1_call(uint32_t *asleep, int fd) {
        uint64_t one = 1;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!__atomic_load_n(asleep, __ATOMIC_RELAXED) || !__atomic_exchange_n(asleep, 0, __ATOMIC_RELAXED)) return 0;
        if (write(fd, &one, sizeof one) < 0) { /* only where enough have called */ }
        return 1;
    }
    """
    void claim_line "t1_claim_line"(void *memory) noexcept nogil
    uint64_t acquire "t1_acquire"(const uint64_t *number) noexcept nogil
    void publish "t1_publish"(uint64_t *number, uint64_t value) noexcept nogil
    void fall_asleep "t1_fall_asleep"(uint32_t *asleep) noexcept nogil
    void wake_up "t1_wake_up"(uint32_t *asleep) noexcept nogil
    # True: it slept.
    bint call_sleeper "t1_call"(uint32_t *asleep, int wake_fd) noexcept nogil


cdef inline Ring *ring_of(const Hands *hands, uint32_t giver, uint32_t taker) noexcept nogil:
    return &hands.rings[giver * hands.workers + taker]


cdef inline Handed *handed_at(Ring *ring, uint64_t count) noexcept nogil:
    return <Handed *>(ring.bytes + (count - ring.base) % RING_BYTES)


# ---------------------------------------------------------------- the writer

cdef inline bint ring_has_room(Ring *ring, uint64_t size) noexcept nogil:
    if ring.ahead + size - ring.done_seen > RING_BYTES:
        ring.done_seen = acquire(&ring.done)
        if ring.ahead + size - ring.done_seen > RING_BYTES:
            return False
    return True


cdef inline Handed *ring_put(Ring *ring, uint32_t length) noexcept nogil:
    # Room for a frame of so many bytes, behind what is there; NULL: there is none.  The reader sees nothing before
    # ring_publish().
    cdef uint32_t size = (<uint32_t>sizeof(Handed) + length + LINE - 1) & ~<uint32_t>(LINE - 1)
    cdef Handed *handed
    cdef uint8_t *at
    cdef uint32_t left
    if not ring_has_room(ring, <uint64_t>size + HANDED_MAX):
        return NULL
    handed = handed_at(ring, ring.ahead)
    left = RING_BYTES - <uint32_t>(<uint8_t *>handed - ring.bytes)
    if left < size:
        handed.size = left
        handed.kind = HANDED_NOTHING
        ring.ahead += left
        handed = handed_at(ring, ring.ahead)
    handed.size = size
    handed.length = length
    ring.ahead += size
    at = <uint8_t *>handed + size + LOOK_AHEAD      # those that the next ones will take
    for left in range(4):
        claim_line(at + left * LINE)
    return handed


cdef inline void put_packet(Handed *handed, const Packet *packet, const uint8_t *frame) noexcept nogil:
    # A frame of handed.length bytes and what is known of it.
    cdef uint8_t *copy = <uint8_t *>&handed[1]
    memcpy(copy, frame, handed.length)
    handed.packet = packet[0]
    handed.packet.guess = NONE
    handed.packet.asked = NOT_ASKED
    handed.packet.l3 = copy + (packet.l3 - frame)
    handed.packet.l4 = copy + (packet.l4 - frame)


cdef inline void ring_publish(Ring *ring) noexcept nogil:
    publish(&ring.written, ring.ahead)


cdef inline void publish_all(Hands *hands) noexcept nogil:
    # Has every worker see what it has been handed, and calls those that sleep.
    cdef Ring *ring
    cdef uint32_t taker
    for taker in range(hands.workers):
        ring = ring_of(hands, hands.worker, taker)
        if ring.ahead != ring.written:
            ring_publish(ring)
            hands.called += call_sleeper(&hands.sleepers[taker].asleep, hands.sleepers[taker].wake_fd)


cdef inline bint may_take_in(Hands *hands) noexcept nogil:
    # Has every ring room for a burst?  If not the others have more to do than they can.
    cdef Ring *ring
    cdef uint32_t taker
    for taker in range(hands.workers):
        ring = ring_of(hands, hands.worker, taker)
        if ring.ahead - ring.base > RING_SMALL:
            ring.done_seen = acquire(&ring.done)
            if ring.ahead - ring.done_seen > RING_FULL:
                return False
            if ring.ahead == ring.done_seen:
                ring.base = ring.ahead
    return True


# ---------------------------------------------------------------- the reader

cdef inline Handed *ring_next(Ring *ring) noexcept nogil:
    # The oldest that has not been taken, NULL: there is none.  It stays until ring_done().
    cdef Handed *handed
    cdef uint64_t written = acquire(&ring.written)
    cdef uint8_t *at
    cdef uint32_t i
    while ring.taken != written:
        handed = handed_at(ring, ring.taken)
        if ring.taken + LOOK_FAR <= written:        # one says where the next begins: not to wait for each
            at = <uint8_t *>handed + LOOK_FAR - 4 * LINE
            for i in range(4):
                prefetch(at + i * LINE)
        ring.taken += handed.size
        if handed.kind != HANDED_NOTHING:
            return handed
    return NULL


cdef inline void ring_done(Ring *ring) noexcept nogil:
    # With all that were taken.
    if ring.done != ring.taken:
        publish(&ring.done, ring.taken)


cdef inline bint has_been_handed(const Hands *hands) noexcept nogil:
    # Is there anything for this worker?
    cdef uint32_t giver
    for giver in range(hands.workers):
        if acquire(&ring_of(hands, giver, hands.worker).written) != ring_of(hands, giver, hands.worker).taken:
            return True
    return False
