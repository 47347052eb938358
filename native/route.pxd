# Where an address belongs: one sorted map from disjoint ranges to numbers per family, longest prefixes already resolved
# by the compiler.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.classify cimport not_above

cdef enum:
    NOWHERE = 0xffffffff

ctypedef struct RangeMap:
    uint32_t count
    uint64_t *start_hi      # value i holds from start i up to start i + 1
    uint64_t *start_lo
    uint32_t *value

ctypedef struct Route:
    uint8_t kind            # a RouteKind
    uint16_t port


cdef inline uint32_t map_lookup(const RangeMap *ranges, uint64_t hi, uint64_t lo) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = ranges.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        if not_above(ranges.start_hi[middle], ranges.start_lo[middle], hi, lo):
            low = middle + 1
        else:
            high = middle
    return NOWHERE if low == 0 else ranges.value[low - 1]


cdef inline bint is_multicast(uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    if family == 4:
        return lo >> 28 == 0xe or lo == 0xffffffffULL
    return hi >> 56 == 0xff
