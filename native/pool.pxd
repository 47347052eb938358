# Which address of an SNAT rule's pool a new session gets, and in which order the others are tried: the least used, the
# lowest among equals; under strict-rfc those that the machine has already come first (RFC 4787, REQ-1 and REQ-2).

from libc.stdint cimport uint32_t, uint64_t

from native.engine cimport State
from native.mapping cimport draws_port, external_of, mapping_of, oldest_mapping
from native.nat cimport NatRule, place_in_pool, pool_address
from native.packet cimport Key, Packet
from native.program cimport ProgramData
from native.session cimport NONE

ctypedef struct PoolChoice:
    uint32_t mapping        # the live mapping of the source, whose address it is then; NONE
    uint32_t paired         # index of the address that the source's oldest mapping has, NONE
    uint32_t index          # of the address chosen


cdef inline uint32_t least_used(const uint32_t *slots, const uint32_t *usage, uint32_t pool_size) noexcept nogil:
    cdef uint32_t best = 0
    cdef uint32_t i
    for i in range(1, pool_size):
        if usage[slots[i]] < usage[slots[best]]:
            best = i
    return best


cdef inline void choose_address(
    const State *state, const ProgramData *program, const Packet *packet, const NatRule *rule, PoolChoice *choice,
    uint64_t *hi, uint64_t *lo
) noexcept nogil:
    # The first of the order.
    cdef const Key *external
    cdef uint32_t oldest
    choice.mapping = NONE
    choice.paired = NONE
    if program.endpoint_independent:
        if draws_port(packet.kind):
            choice.mapping = mapping_of(&state.mappings, &packet.key, rule.slot)
        if choice.mapping != NONE:
            external = external_of(&state.mappings, choice.mapping)
            hi[0] = external.dst_hi
            lo[0] = external.dst_lo
            return
        oldest = oldest_mapping(&state.mappings, &packet.key, rule.slot)
        if oldest != NONE:
            external = external_of(&state.mappings, oldest)
            choice.paired = place_in_pool(rule, external.dst_hi, external.dst_lo)
    choice.index = choice.paired
    if choice.paired == NONE:
        choice.index = least_used(program.nat.pool_slots + rule.pool_usage, state.usage, rule.pool_size)
    pool_address(rule, choice.index, hi, lo)


cdef inline bint next_address(
    const State *state, const ProgramData *program, const NatRule *rule, PoolChoice *choice, uint64_t *hi, uint64_t *lo
) noexcept nogil:
    # The one behind the present choice; False: that was the last.
    cdef const uint32_t *slots = program.nat.pool_slots + rule.pool_usage
    cdef const uint32_t *usage = state.usage
    cdef bint begins = choice.index == choice.paired
    cdef uint32_t present = usage[slots[choice.index]]
    cdef uint32_t best = NONE
    cdef uint32_t used
    cdef uint32_t i
    for i in range(rule.pool_size):
        if i == choice.paired:
            continue
        used = usage[slots[i]]
        if (begins or used > present or (used == present and i > choice.index)) and (
                best == NONE or used < usage[slots[best]]):
            best = i
    if best == NONE:
        return False
    choice.index = best
    pool_address(rule, best, hi, lo)
    return True
