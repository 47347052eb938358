# What the workers of one edge have in common: all else each has for itself.  These are the numbers that limits are
# about, so that an edge with several workers admits, refuses and answers as much as one with a single worker.
#
# A place below a limit is taken before it is used and given back if it is not, so that two workers never take the last.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from native.events cimport Limits

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t t1_load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline uint64_t t1_add(uint64_t *p, int64_t n) {
        return __atomic_add_fetch(p, (uint64_t)n, __ATOMIC_RELAXED);
    }
    static inline uint32_t t1_add32(uint32_t *p, int32_t n) {
        return __atomic_add_fetch(p, (uint32_t)n, __ATOMIC_RELAXED);
    }
    static inline uint32_t t1_put_number(uint32_t *p, uint32_t n) {
        return __atomic_exchange_n(p, n, __ATOMIC_RELAXED);
    }
    static inline int t1_swap_if(uint64_t *p, uint64_t *seen, uint64_t n) {
        return __atomic_compare_exchange_n(p, seen, n, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    """
    uint64_t shared_load "t1_load"(const uint64_t *number) noexcept nogil
    uint64_t shared_add "t1_add"(uint64_t *number, int64_t change) noexcept nogil   # what it is then
    uint32_t shared_add32 "t1_add32"(uint32_t *number, int change) noexcept nogil
    uint32_t put_number "t1_put_number"(uint32_t *number, uint32_t value) noexcept nogil    # what it was
    # False, with what there is in `seen`, if that is another number.
    bint swap_if "t1_swap_if"(uint64_t *number, uint64_t *seen, uint64_t wanted) noexcept nogil

ctypedef struct Shared:
    const void *steering    # a native.steer Steering, whose module is built of this one, too
    uint64_t pad_steering[7]
    void *states[64]        # native.engine State of each worker
    uint32_t workers
    uint64_t moved_sessions     # from one worker to another
    uint64_t moved_datagrams
    uint32_t lanes          # of native.team that are being measured
    uint32_t numbers        # of sessions: those below this are some worker's
    uint64_t pad_numbers[7]
    uint64_t sessions
    uint64_t half_open
    uint64_t created
    uint64_t peak
    uint64_t fragments      # units held
    uint64_t expected       # by application layer gateways
    uint64_t next_error     # as in native.engine State
    uint64_t next_challenge
    uint64_t pad_counts[7]
    Limits limits


cdef inline bint take_shared(uint64_t *number, uint64_t wanted, uint64_t most) noexcept nogil:
    # Adds what is wanted unless that makes it more than `most`.
    cdef uint64_t seen = shared_load(number)
    while seen + wanted <= most:
        if swap_if(number, &seen, seen + wanted):
            return True
    return False


cdef inline void raise_to(uint64_t *number, uint64_t least) noexcept nogil:
    cdef uint64_t seen = shared_load(number)
    while seen < least and not swap_if(number, &seen, least):
        pass
