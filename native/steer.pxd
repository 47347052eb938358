# Which worker a packet belongs to: a function of its addresses and of what NAT may do to them.
#
# An address is fixed if no NAT rule reads it as one to translate or writes it.  What NAT does to a packet leaves its
# fixed addresses as they are and makes none of the others fixed, so that a session's packets have the same fixed
# addresses in both directions, before and after translation; so have their pieces, what an ICMP error quotes, hairpins,
# and the sessions that an application layer gateway expects.  Those addresses choose the worker, in any order; packets
# without any belong to worker 0.  Everything that contends for a port has the same fixed address, too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from native.packet cimport Key
from native.route cimport RangeMap, map_lookup
from native.session cimport mix
from native.wire cimport likely

cdef enum:
    WORKERS_MAX = 64
    FIXED = 0               # in Steering.prefixes, of every address with these first 16 bits
    TOUCHED = 1
    ASK = 2                 # the map knows

ctypedef struct Steering:
    uint32_t workers
    uint64_t seed
    RangeMap touched[2]     # value 1 where NAT reads or writes an address, by family
    uint8_t prefixes[65536]     # IPv4: most addresses need no search


cdef inline bint is_fixed(const Steering *steering, uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    cdef uint8_t known
    if likely(family == 4):
        known = steering.prefixes[lo >> 16]
        if likely(known != ASK):
            return known == FIXED
    return map_lookup(&steering.touched[family == 6], hi, lo) != 1


cdef inline uint64_t address_hash(const Steering *steering, uint64_t hi, uint64_t lo) noexcept nogil:
    return mix(lo ^ steering.seed, hi ^ 0x9E3779B97F4A7C15ULL)


cdef inline uint64_t fixed_sum(const Steering *steering, uint8_t family, const Key *key) noexcept nogil:
    # Of the fixed ones of two addresses.
    cdef uint64_t h = 0
    if is_fixed(steering, family, key.src_hi, key.src_lo):
        h += address_hash(steering, key.src_hi, key.src_lo)
    if is_fixed(steering, family, key.dst_hi, key.dst_lo):
        h += address_hash(steering, key.dst_hi, key.dst_lo)
    return h


cdef inline uint32_t owner_of_key(const Steering *steering, uint8_t family, const Key *key) noexcept nogil:
    # Of packets between two addresses, whichever sent them.
    return <uint32_t>((fixed_sum(steering, family, key) >> 32) * steering.workers >> 32)


cdef class Steerer:
    cdef Steering data

    cdef int _take(self, RangeMap *ranges, list touched) except -1
