# Frames on their way from one worker to another: a ring of references that one thread writes and one reads.  A frame
# stays where it is, and belongs to its sender again once the reader has done with it.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RING_SLOTS = 1024

ctypedef struct Handed:
    uint8_t *frame
    uint32_t length
    uint16_t port

ctypedef struct Ring:
    # Counters on cache lines of their own; each is written by one side only.
    uint64_t written
    uint64_t pad_written[7]
    uint64_t done
    uint64_t pad_done[7]
    uint64_t ahead              # the writer's: beyond `written` by what it has not published yet
    uint64_t done_seen
    uint64_t pad_ahead[6]
    Handed slots[RING_SLOTS]

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t t1_acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void t1_publish(uint64_t *p, uint64_t n) { __atomic_store_n(p, n, __ATOMIC_RELEASE); }
    """
    uint64_t acquire "t1_acquire"(const uint64_t *number) noexcept nogil
    void publish "t1_publish"(uint64_t *number, uint64_t value) noexcept nogil


cdef inline bint ring_put(Ring *ring, const Handed *handed) noexcept nogil:
    # False: it is full.  The reader sees nothing before ring_publish().
    if ring.ahead - ring.done_seen == RING_SLOTS:
        ring.done_seen = acquire(&ring.done)
        if ring.ahead - ring.done_seen == RING_SLOTS:
            return False
    ring.slots[ring.ahead % RING_SLOTS] = handed[0]
    ring.ahead += 1
    return True


cdef inline void ring_publish(Ring *ring) noexcept nogil:
    if ring.ahead != ring.written:
        publish(&ring.written, ring.ahead)


cdef inline uint32_t ring_look(const Ring *ring, Handed *handed, uint32_t most) noexcept nogil:
    # Copies of the oldest references, so many at the most; they stay until ring_done().
    cdef uint64_t first = ring.done
    cdef uint64_t there = acquire(&ring.written) - first
    cdef uint32_t count = <uint32_t>min(there, <uint64_t>most)
    cdef uint32_t i
    for i in range(count):
        handed[i] = ring.slots[(first + i) % RING_SLOTS]
    return count


cdef inline void ring_done(Ring *ring, uint32_t count) noexcept nogil:
    publish(&ring.done, ring.done + count)
