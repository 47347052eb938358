"""A second engine in the state of the first: what one does from then on is nothing to the other."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from native.addresses cimport AddressEntry, AddressTable
from native.engine cimport Engine, PortCounter, State
from native.expect cimport (
    EXPECT_BUCKETS, EXPECTATIONS, Control, Expectation, Expectations, expectations_reserve,
)
from native.fragment cimport CHUNK, Chunk, Datagram, Fragments
from native.memory cimport reserve, reserve_huge
from native.session cimport ORIGINAL, RW_ALG, Bucket, Session, Table, table_free
from native.stats cimport RuleCounter


cdef void *duplicate(const void *source, size_t used, size_t size) noexcept nogil:
    # A reservation of `size` bytes that begins with the first `used` ones of another; NULL: no memory.
    cdef void *memory = reserve_huge(size)
    if memory == NULL:
        return NULL
    memcpy(memory, source, used)
    return memory


cdef void *duplicate_array(const void *source, size_t size) noexcept nogil:
    # For free(); never NULL but for lack of memory.
    cdef void *memory = malloc(size + 1)
    if memory != NULL and size:
        memcpy(memory, source, size)
    return memory


cdef int copy_table(Table *to, const Table *source) noexcept nogil:
    # `to` has no memory of its own; -1: no memory.
    to[0] = source[0]
    to.sessions = NULL
    to.buckets = NULL
    to.old = NULL
    to.prepared = NULL
    if source.buckets != NULL:
        to.buckets = <Bucket *>duplicate(source.buckets, source.bucket_bytes, source.bucket_bytes)
        if to.buckets == NULL:
            return -1
    if source.old != NULL:
        to.old = <Bucket *>duplicate(
            source.old, (source.old_mask + 1) * sizeof(Bucket), (source.old_mask + 1) * sizeof(Bucket))
        if to.old == NULL:
            return -1
    if source.sessions != NULL:
        to.sessions = <Session *>duplicate(source.sessions, <size_t>source.top * sizeof(Session), source.reserved)
        if to.sessions == NULL:
            return -1
    return 0


cdef int copy_addresses(AddressTable *to, const AddressTable *source) noexcept nogil:
    to[0] = source[0]
    if source.entries != NULL:
        to.entries = <AddressEntry *>duplicate_array(source.entries, (source.mask + 1) * sizeof(AddressEntry))
        if to.entries == NULL:
            return -1
    return 0


cdef int copy_expectations(Expectations *to, const Expectations *source, const Table *table) noexcept nogil:
    # `to` is new, as it comes with an engine.
    cdef uint32_t number
    if expectations_reserve(to, <uint32_t>(source.reserved / sizeof(Control))) != 0:
        return -1
    memcpy(to.pool, source.pool, (<size_t>EXPECTATIONS + 1) * sizeof(Expectation))
    memcpy(to.buckets, source.buckets, <size_t>EXPECT_BUCKETS * 2)
    for number in range(table.top):
        if table.sessions[number].live and table.sessions[number].flow[ORIGINAL].rewrite & RW_ALG:
            to.controls[number] = source.controls[number]
    to.count = source.count
    to.top = source.top
    to.free = source.free
    to.first = source.first
    to.last = source.last
    return 0


cdef int copy_fragments(Fragments *to, const Fragments *source) noexcept nogil:
    # `to` is new, as it comes with an engine.
    cdef uint8_t *whole = to.whole
    cdef uint32_t capacity = source.capacity
    to[0] = source[0]
    to.whole = whole
    if source.memory == NULL:
        return 0
    to.memory = reserve(source.reserved)
    if to.memory == NULL:
        return -1
    to.bytes = <uint8_t *>to.memory
    to.datagrams = <Datagram *>(to.bytes + <uint64_t>capacity * CHUNK)
    to.chunks = <Chunk *>(to.datagrams + capacity)
    to.index = <uint32_t *>(to.chunks + capacity)
    memcpy(to.bytes, source.bytes, <size_t>source.top_chunk * CHUNK)
    memcpy(to.datagrams, source.datagrams, source.top_datagram * sizeof(Datagram))
    memcpy(to.chunks, source.chunks, source.top_chunk * sizeof(Chunk))
    memcpy(to.index, source.index, (<size_t>source.mask + 1) * 4)
    return 0


cdef int copy_slots(State *to, const State *source) noexcept nogil:
    # What is counted by rule, by external address and by port.
    to.counters = <RuleCounter *>duplicate_array(source.counters, source.slot_count * sizeof(RuleCounter))
    to.usage = <uint32_t *>duplicate_array(source.usage, <size_t>source.usage_count * 4)
    to.exhausted = <uint32_t *>duplicate_array(source.exhausted, <size_t>source.usage_count * 4)
    to.port_counters = <PortCounter *>duplicate_array(source.port_counters, source.port_count * sizeof(PortCounter))
    if to.counters == NULL or to.usage == NULL or to.exhausted == NULL or to.port_counters == NULL:
        return -1
    to.slot_count = source.slot_count
    to.usage_count = source.usage_count
    to.port_count = source.port_count
    return 0


cdef int copy_state(State *to, const State *source) noexcept nogil:
    # Of the events only which limits are known to be reached: what has happened has not happened to the copy.
    table_free(&to.table)
    if (copy_table(&to.table, &source.table) != 0 or copy_table(&to.mappings.table, &source.mappings.table) != 0
            or copy_addresses(&to.mappings.holders, &source.mappings.holders) != 0
            or copy_addresses(&to.sources, &source.sources) != 0
            or copy_expectations(&to.expectations, &source.expectations, &source.table) != 0
            or copy_fragments(&to.fragments, &source.fragments) != 0 or copy_slots(to, source) != 0):
        return -1
    to.session_ids = <uint64_t *>duplicate(
        source.session_ids, <size_t>source.table.top * 8, source.session_ids_reserved)
    if to.session_ids == NULL:
        return -1
    to.session_ids_reserved = source.session_ids_reserved
    to.now = source.now
    to.random = source.random
    to.next_error = source.next_error
    to.next_challenge = source.next_challenge
    to.totals = source.totals
    to.limits = source.limits
    return 0


def copy_engine(Engine engine not None) -> Engine:
    """The copy, which runs the same program.  Raises MemoryError."""
    cdef Engine copy = Engine(0)
    cdef int problem
    engine.take_turn()
    try:
        engine._idle()
        with nogil:
            problem = copy_state(&copy.state, &engine.state)
        copy.program = engine.program
    finally:
        engine.give_turn()
    if problem != 0:
        raise MemoryError("no memory for another engine")
    return copy
