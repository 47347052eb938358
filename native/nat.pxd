# NAT rules as the packet path sees them, and what they do to addresses and ports.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.kinds cimport PORT_OFFSET, PORT_ONE
from native.session cimport NONE

ctypedef struct NatRule:
    uint8_t type            # a NatType
    uint8_t firewall_match  # a FirewallMatch
    uint8_t logging
    uint8_t port_map        # a PortMap
    uint16_t matched_port   # first port of the range that is matched
    uint16_t target_port    # first port of the range it becomes
    uint32_t slot           # its counters
    uint32_t pool_size      # SNAT: addresses in the pool
    uint32_t pool_usage     # SNAT: index into Nat.pool_slots of the first of them
    uint64_t external_hi
    uint64_t external_lo
    uint64_t internal_hi
    uint64_t internal_lo
    bint one_to_one         # the target is a single address, not one at the same offset

ctypedef struct Nat:
    NatRule *rules
    uint32_t *pool_slots    # usage counter of each pool address


cdef inline void plus_offset(
    uint64_t base_hi, uint64_t base_lo, uint64_t hi, uint64_t lo, uint64_t from_hi, uint64_t from_lo,
    uint64_t *out_hi, uint64_t *out_lo
) noexcept nogil:
    # out = base + (address - from), in 128 bits.
    cdef uint64_t delta_lo = lo - from_lo
    cdef uint64_t delta_hi = hi - from_hi - (1 if lo < from_lo else 0)
    out_lo[0] = base_lo + delta_lo
    out_hi[0] = base_hi + delta_hi + (1 if out_lo[0] < base_lo else 0)


cdef inline void to_internal(const NatRule *rule, uint64_t *hi, uint64_t *lo) noexcept nogil:
    # A destination that DNAT or REFLEXIVE turns inwards.
    if rule.one_to_one:
        hi[0] = rule.internal_hi
        lo[0] = rule.internal_lo
    else:
        plus_offset(rule.internal_hi, rule.internal_lo, hi[0], lo[0], rule.external_hi, rule.external_lo, hi, lo)


cdef inline void to_external(const NatRule *rule, uint64_t *hi, uint64_t *lo) noexcept nogil:
    # A source that REFLEXIVE turns outwards.
    if rule.one_to_one:
        hi[0] = rule.external_hi
        lo[0] = rule.external_lo
    else:
        plus_offset(rule.external_hi, rule.external_lo, hi[0], lo[0], rule.internal_hi, rule.internal_lo, hi, lo)


cdef inline void pool_address(const NatRule *rule, uint32_t index, uint64_t *hi, uint64_t *lo) noexcept nogil:
    plus_offset(rule.external_hi, rule.external_lo, 0, index, 0, 0, hi, lo)


cdef inline uint32_t place_in_pool(const NatRule *rule, uint64_t hi, uint64_t lo) noexcept nogil:
    # The index of an address, NONE where the pool does not have it.
    cdef uint64_t place_hi
    cdef uint64_t place_lo
    plus_offset(0, 0, hi, lo, rule.external_hi, rule.external_lo, &place_hi, &place_lo)
    return <uint32_t>place_lo if place_hi == 0 and place_lo < rule.pool_size else <uint32_t>NONE


cdef inline uint16_t dnat_port(const NatRule *rule, uint16_t port) noexcept nogil:
    if rule.port_map == PORT_OFFSET:
        return <uint16_t>(rule.target_port + (port - rule.matched_port))
    if rule.port_map == PORT_ONE:
        return rule.target_port
    return port
