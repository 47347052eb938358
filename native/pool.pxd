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
    uint32_t left           # addresses behind that one, NONE: they are not in order yet


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
    choice.left = NONE
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


cdef inline bint is_before(
    const uint32_t *slots, const uint32_t *usage, uint32_t one, uint32_t other
) noexcept nogil:
    return usage[slots[one]] < usage[slots[other]] or (usage[slots[one]] == usage[slots[other]] and one < other)


cdef inline void sink(
    uint32_t *heap, uint32_t count, uint32_t at, const uint32_t *slots, const uint32_t *usage
) noexcept nogil:
    # The first of the order is at the top of a heap; what stands at `at` goes down to its place.
    cdef uint32_t index = heap[at]
    cdef uint32_t child
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and is_before(slots, usage, heap[child + 1], heap[child]):
            child += 1
        if is_before(slots, usage, index, heap[child]):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = index


cdef inline void put_in_order(
    const State *state, const uint32_t *slots, uint32_t size, PoolChoice *choice
) noexcept nogil:
    # All addresses but the first choice, behind which they come.
    cdef uint32_t i
    choice.left = 0
    for i in range(size):
        if i != choice.index:
            state.pool_order[choice.left] = i
            choice.left += 1
    for i in range(choice.left // 2, 0, -1):
        sink(state.pool_order, choice.left, i - 1, slots, state.usage)


cdef inline bint next_address(
    const State *state, const ProgramData *program, const NatRule *rule, PoolChoice *choice, uint64_t *hi, uint64_t *lo
) noexcept nogil:
    # The one behind the present choice, of the same packet; False: that was the last.
    cdef const uint32_t *slots = program.nat.pool_slots + rule.pool_usage
    cdef uint32_t *heap = state.pool_order
    if choice.left == NONE:
        put_in_order(state, slots, rule.pool_size, choice)
    if choice.left == 0:
        return False
    choice.index = heap[0]
    choice.left -= 1
    heap[0] = heap[choice.left]
    sink(heap, choice.left, 0, slots, state.usage)
    pool_address(rule, choice.index, hi, lo)
    return True
