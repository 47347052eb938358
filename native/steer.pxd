# Which worker a packet belongs to: a function of its addresses and of what NAT may do to them.
#
# An address is fixed if no NAT rule reads it as one to translate or writes it.  What NAT does to a packet leaves its
# fixed addresses as they are and makes none of the others fixed, so that a session's packets have the same fixed
# addresses in both directions, before and after translation; so have their pieces, what an ICMP error quotes, hairpins,
# and the sessions that an application layer gateway expects.  Those addresses choose the worker, in any order; packets
# without any belong to worker 0.  Everything that contends for a port has the same fixed address, too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from native.packet cimport Key
from native.route cimport RangeMap, map_lookup
from native.wire cimport likely, unlikely

cdef enum:
    WORKERS_MAX = 64
    FIXED = 0               # in Steering.prefixes, of every address with these first 16 bits
    TOUCHED = 1
    ASK = 2                 # the map knows

ctypedef struct Steering:
    uint32_t workers
    uint32_t seed
    RangeMap touched[2]     # value 1 where NAT reads or writes an address, by family
    uint8_t prefixes[65536]     # IPv4: most addresses need no search

ctypedef struct Fixed:
    # Of a packet's two addresses those that are fixed, the smaller first; 0 in place of the others.
    uint64_t count
    uint64_t hi[2]
    uint64_t lo[2]


cdef inline bint is_fixed(const Steering *steering, uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    cdef uint8_t known
    if likely(family == 4):
        known = steering.prefixes[lo >> 16]
        if likely(known != ASK):
            return known == FIXED
    return map_lookup(&steering.touched[family == 6], hi, lo) != 1


cdef inline uint32_t mix_word(uint32_t hash, uint32_t word) noexcept nogil:
    hash = (hash ^ word) * <uint32_t>0x9E3779B1ULL
    return hash ^ hash >> 15


cdef inline uint32_t address_hash(const Steering *steering, uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    # Of 32 bits, as the kernel's classic BPF has them: edge/placing.py has it do the same.
    cdef uint32_t hash = steering.seed
    if unlikely(family == 6):
        hash = mix_word(mix_word(mix_word(hash, <uint32_t>(hi >> 32)), <uint32_t>hi), <uint32_t>(lo >> 32))
    return mix_word(hash, <uint32_t>lo) * <uint32_t>0x85EBCA77ULL


cdef inline uint32_t fixed_sum(const Steering *steering, uint8_t family, const Key *key) noexcept nogil:
    # Of the fixed ones of two addresses.
    cdef uint32_t h = 0
    if is_fixed(steering, family, key.src_hi, key.src_lo):
        h += address_hash(steering, family, key.src_hi, key.src_lo)
    if is_fixed(steering, family, key.dst_hi, key.dst_lo):
        h += address_hash(steering, family, key.dst_hi, key.dst_lo)
    return h


cdef inline void note_fixed(
    const Steering *steering, uint8_t family, uint64_t hi, uint64_t lo, Fixed *found
) noexcept nogil:
    cdef uint64_t at = found.count
    if not is_fixed(steering, family, hi, lo):
        return
    if at and (hi < found.hi[0] or (hi == found.hi[0] and lo < found.lo[0])):
        found.hi[1] = found.hi[0]
        found.lo[1] = found.lo[0]
        at = 0
    found.hi[at] = hi
    found.lo[at] = lo
    found.count += 1


cdef inline bint have_same_fixed(
    const Steering *steering, uint8_t family, const Key *key, const Key *other
) noexcept nogil:
    # Are the fixed addresses of one those of the other?
    cdef Fixed found[2]
    memset(found, 0, sizeof(found))
    note_fixed(steering, family, key.src_hi, key.src_lo, &found[0])
    note_fixed(steering, family, key.dst_hi, key.dst_lo, &found[0])
    note_fixed(steering, family, other.src_hi, other.src_lo, &found[1])
    note_fixed(steering, family, other.dst_hi, other.dst_lo, &found[1])
    return memcmp(&found[0], &found[1], sizeof(Fixed)) == 0


cdef inline uint32_t owner_of_key(const Steering *steering, uint8_t family, const Key *key) noexcept nogil:
    # Of packets between two addresses, whichever sent them.
    return (fixed_sum(steering, family, key) >> 16) * steering.workers >> 16


cdef class Steerer:
    cdef Steering data

    cdef int _take(self, RangeMap *ranges, list touched) except -1
