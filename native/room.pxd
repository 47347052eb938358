# Room for what a program needs: whatever grows with it grows before it runs, and nothing shrinks.

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from native.account cimport count_source
from native.addresses cimport addresses_free, addresses_init
from native.engine cimport PortCounter, State
from native.expect cimport expectations_reserve
from native.fragment cimport fragments_reserve
from native.port_blocks cimport port_blocks_reserve
from native.session cimport ORIGINAL, Session, due_reserve, is_in, numbers_used, table_init, table_reserve
from native.stats cimport RuleCounter


cdef inline int more(void **array, size_t present, size_t wanted, size_t size) noexcept nogil:
    # Room for so many items, the new ones zeroed; -1: no memory, nothing changed.
    cdef void *larger = realloc(array[0], wanted * size)
    if larger == NULL:
        return -1
    memset(<char *>larger + present * size, 0, (wanted - present) * size)
    array[0] = larger
    return 0


cdef inline int reserve_slots(State *state, uint32_t slots, uint32_t usage, uint32_t ports) except -1:
    if slots > state.slot_count:
        if more(<void **>&state.counters, state.slot_count, slots, sizeof(RuleCounter)) != 0:
            raise MemoryError("no memory for rule counters")
        state.slot_count = slots
    if usage > state.usage_count:
        if (state.worker == 0 and (more(<void **>&state.usage, state.usage_count, usage, 4) != 0
                                   or more(<void **>&state.exhausted, state.usage_count, usage, 4) != 0)
                or more(<void **>&state.pool_order, state.usage_count, usage, 4) != 0):
            raise MemoryError("no memory for the usage of external addresses")
        state.usage_count = usage
    if ports > state.port_count:
        if more(<void **>&state.port_counters, state.port_count, ports, sizeof(PortCounter)) != 0:
            raise MemoryError("no memory for the counters of ports")
        state.port_count = ports
    return 0


cdef inline int reserve_mappings(State *state, uint32_t mappings) except -1:
    cdef uint64_t seed = state.table.seed[0]
    if state.mappings.table.buckets == NULL and table_init(&state.mappings.table, seed) != 0:
        raise MemoryError("no memory for mappings")
    if state.mappings.holders.entries == NULL and addresses_init(&state.mappings.holders, seed) != 0:
        raise MemoryError("no memory for the addresses of mappings")
    if (table_reserve(&state.mappings.table, mappings) != 0
            or port_blocks_reserve(&state.mappings.taken, &state.mappings.table, mappings) != 0):
        raise MemoryError(f"no address space for {mappings} mappings")
    return 0


cdef inline int count_sources(State *state) except -1:
    cdef uint32_t number
    cdef const Session *session
    if addresses_init(&state.sources, state.table.seed[1]) != 0:
        raise MemoryError("no memory for the sources of sessions")
    for number in range(numbers_used(&state.table)):
        session = &state.table.sessions[number]
        if is_in(&state.table, number) and not count_source(state, &session.flow[ORIGINAL].key):
            addresses_free(&state.sources)
            raise MemoryError("no memory for the sources of sessions")
    return 0


cdef inline int make_room(
    State *state, uint32_t slots, uint32_t usage, uint32_t sessions, uint32_t numbers, uint32_t fragments,
    uint32_t mappings, bint sources, uint32_t ports
) except -1:
    # What Engine.reserve() says.  Sessions have so many numbers; workers but the first share its sessions and usage.
    if ((state.worker == 0 and table_reserve(&state.table, numbers) != 0)
            or port_blocks_reserve(&state.taken, &state.table, sessions) != 0
            or expectations_reserve(&state.expectations, numbers) != 0
            or due_reserve(&state.table, sessions, numbers) != 0):
        raise MemoryError(f"no address space for {sessions} sessions")
    if fragments_reserve(&state.fragments, fragments) != 0:
        raise MemoryError(f"no address space for {fragments} held fragments")
    if mappings:
        reserve_mappings(state, mappings)
    if sources and state.sources.entries == NULL:
        count_sources(state)
    reserve_slots(state, slots, usage, ports)
    return 0
