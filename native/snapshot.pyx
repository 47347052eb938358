"""A second engine in the state of the first: what one does from then on is nothing to the other."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from native.addresses cimport AddressEntry, AddressTable
from native.engine cimport Engine, PortCounter, State
from native.expect cimport (
    EXPECT_BUCKETS, Control, Expectation, Expectations, expectations_reserve,
)
from native.fragment cimport CHUNK, Chunk, Datagram, Fragments
from native.memory cimport PAGE, release, reserve, reserve_huge
from native.port_blocks cimport PortBlock, PortBlocks
from native.session cimport ORIGINAL, RW_ALG, Bucket, Due, Session, Table, crews, numbers_used, table_free
from native.shared cimport Shared
from native.stats cimport RuleCounter
from native.team cimport Team


cdef enum:
    CHUNK_SESSIONS = 64         # 16 KiB: what has just been copied is looked at while it is in the cache


ctypedef struct Spare:
    # A reservation that waits for its contents.
    void *memory
    size_t size


cdef int make_spare(Spare *spare, size_t used, size_t size) noexcept nogil:
    # One of `size` bytes, 0 for none, of which about `used` ones will be written: these pages are there already, so
    # that writing them costs no page fault.  -1: no memory.
    cdef size_t at = 0
    spare.memory = NULL
    spare.size = 0
    if size == 0:
        return 0
    spare.memory = reserve_huge(size)
    if spare.memory == NULL:
        return -1
    spare.size = size
    used += used >> 4           # packets pass meanwhile
    while at < used and at < size:
        (<volatile uint8_t *>spare.memory)[at] = 0
        at += PAGE
    return 0


cdef void *take_spare(Spare *spare, size_t size) noexcept nogil:
    # A reservation of `size` bytes: the spare one if that is as large, else a new one; NULL: no memory.
    cdef void *memory = spare.memory
    if memory == NULL or spare.size != size:
        return reserve_huge(size)
    spare.memory = NULL
    return memory


cdef void *duplicate(Spare *spare, const void *source, size_t used, size_t size) noexcept nogil:
    # A reservation of `size` bytes that begins with the first `used` ones of another; NULL: no memory.
    cdef void *memory = take_spare(spare, size)
    if memory != NULL:
        memcpy(memory, source, used)
    return memory


cdef void *duplicate_array(const void *source, size_t size) noexcept nogil:
    # For free(); never NULL but for lack of memory.
    cdef void *memory = malloc(size + 1)
    if memory != NULL and size:
        memcpy(memory, source, size)
    return memory


cdef int copy_table(Table *to, const Table *source, Spare *buckets, Spare *sessions) noexcept nogil:
    # `to` has no memory of its own; -1: no memory.
    cdef Spare none
    none.memory = NULL
    none.size = 0
    to[0] = source[0]
    to.sessions = NULL
    to.buckets = NULL
    to.old = NULL
    to.prepared = NULL
    to.due = NULL
    to.places = NULL
    if source.buckets != NULL:
        to.buckets = <Bucket *>duplicate(buckets, source.buckets, source.bucket_bytes, source.bucket_bytes)
        if to.buckets == NULL:
            return -1
    if source.old != NULL:
        to.old = <Bucket *>duplicate(
            &none, source.old, (source.old_mask + 1) * sizeof(Bucket), (source.old_mask + 1) * sizeof(Bucket))
        if to.old == NULL:
            return -1
    if source.mark == 1 and source.sessions != NULL:        # further workers share them
        to.sessions = <Session *>take_spare(sessions, source.reserved)
        if to.sessions == NULL:
            return -1
    return 0


cdef size_t due_size(const Table *table) noexcept nogil:
    # Bytes of the heap that are in use, with those behind the last one.
    return min((<size_t>table.last_due + 4) * sizeof(Due), table.due_reserved)


cdef size_t places_size(const Table *table) noexcept nogil:
    # Bytes of the places in the heap.
    return min(<size_t>crews(numbers_used(table)) * 4, table.places_reserved)


cdef int copy_due(Table *to, const Table *source, Spare *due, Spare *places) noexcept nogil:
    # Who is to be looked at when.
    if source.due == NULL:
        return 0
    to.due = <Due *>duplicate(due, source.due, due_size(source), source.due_reserved)
    to.places = <uint32_t *>duplicate(places, source.places, places_size(source), source.places_reserved)
    return 0 if to.due != NULL and to.places != NULL else -1


cdef int copy_port_blocks(PortBlocks *to, const PortBlocks *source) noexcept nogil:
    cdef Spare none
    cdef size_t size
    none.memory = NULL
    none.size = 0
    to[0] = source[0]
    to.blocks = NULL
    to.chains = NULL
    if source.chains != NULL:
        size = (source.chain_mask + 1) * sizeof(uint32_t)
        to.chains = <uint32_t *>duplicate(&none, source.chains, size, size)
        if to.chains == NULL:
            return -1
    if source.blocks != NULL:
        to.blocks = <PortBlock *>duplicate(
            &none, source.blocks, (<size_t>source.top + 1) * sizeof(PortBlock), source.reserved)
        if to.blocks == NULL:
            return -1
    return 0


cdef int copy_addresses(AddressTable *to, const AddressTable *source) noexcept nogil:
    to[0] = source[0]
    if source.entries != NULL:
        to.entries = <AddressEntry *>duplicate_array(source.entries, (source.mask + 1) * sizeof(AddressEntry))
        if to.entries == NULL:
            return -1
    return 0


cdef void copy_sessions(Table *to, const Table *source, State **copies, const State **sources) noexcept nogil:
    # The sessions of all workers, by mark, and what application layer gateways keep of those that are control sessions.
    cdef uint32_t first = 0
    cdef uint32_t number
    cdef uint32_t end
    cdef uint32_t top = numbers_used(source)
    cdef uint32_t worker
    while first < top:
        end = min(first + <uint32_t>CHUNK_SESSIONS, top)
        memcpy(&to.sessions[first], &source.sessions[first], (end - first) * sizeof(Session))
        for number in range(first, end):
            if to.sessions[number].flow[ORIGINAL].rewrite & RW_ALG and to.sessions[number].live:
                worker = to.sessions[number].live - 1
                copies[worker].expectations.controls[number] = sources[worker].expectations.controls[number]
        first = end


cdef int copy_expectations(Expectations *to, const Expectations *source) noexcept nogil:
    # All but the records of control sessions.  `to` is new, as it comes with an engine.
    if expectations_reserve(to, <uint32_t>(source.reserved / sizeof(Control))) != 0:
        return -1
    if source.top:
        memcpy(to.pool, source.pool, (<size_t>source.top + 1) * sizeof(Expectation))
        memcpy(to.buckets, source.buckets, <size_t>EXPECT_BUCKETS * 2)
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
    to.all_units = NULL
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
    if source.worker == 0:
        to.usage = <uint32_t *>duplicate_array(source.usage, <size_t>source.usage_count * 4)
        to.exhausted = <uint32_t *>duplicate_array(source.exhausted, <size_t>source.usage_count * 4)
    to.port_counters = <PortCounter *>duplicate_array(source.port_counters, source.port_count * sizeof(PortCounter))
    to.pool_order = <uint32_t *>duplicate_array(source.pool_order, <size_t>source.usage_count * 4)
    if to.counters == NULL or to.port_counters == NULL or to.pool_order == NULL or (
            source.worker == 0 and (to.usage == NULL or to.exhausted == NULL)):
        return -1
    to.slot_count = source.slot_count
    to.usage_count = source.usage_count
    to.port_count = source.port_count
    return 0


ctypedef struct Spares:
    Spare buckets
    Spare sessions
    Spare due
    Spare places
    Spare mapping_buckets
    Spare mappings


cdef int copy_state(State *to, const State *source, Spares *spares) noexcept nogil:
    # All but the sessions.  Of the events only which limits are known to be reached: what has happened has not happened
    # to the copy.
    table_free(&to.table)
    if (copy_table(&to.table, &source.table, &spares.buckets, &spares.sessions) != 0
            or copy_due(&to.table, &source.table, &spares.due, &spares.places) != 0
            or copy_table(&to.mappings.table, &source.mappings.table, &spares.mapping_buckets, &spares.mappings) != 0
            or copy_port_blocks(&to.taken, &source.taken) != 0
            or copy_port_blocks(&to.mappings.taken, &source.mappings.taken) != 0
            or copy_addresses(&to.mappings.holders, &source.mappings.holders) != 0
            or copy_addresses(&to.sources, &source.sources) != 0
            or copy_expectations(&to.expectations, &source.expectations) != 0
            or copy_fragments(&to.fragments, &source.fragments) != 0 or copy_slots(to, source) != 0):
        return -1
    if source.mappings.table.top:
        memcpy(to.mappings.table.sessions, source.mappings.table.sessions,
               <size_t>source.mappings.table.top * sizeof(Session))
    to.looks = source.looks
    to.looks_each = source.looks_each
    to.looks_most = source.looks_most
    to.looked = source.looked
    to.now = source.now
    to.random = source.random
    to.next_error = source.next_error
    to.next_challenge = source.next_challenge
    to.totals = source.totals
    to.limits = source.limits
    return 0


cdef class Blank:
    """An engine to be, with about as much memory as a copy of ``engine`` needs: getting it takes longer than filling
    it, and packets need not wait for that.  Good for one copy."""

    cdef Engine engine
    cdef Spares spares

    def __cinit__(self, Engine engine not None):
        cdef const State *source = &engine.state
        cdef uint64_t top
        cdef uint64_t bucket_bytes
        cdef uint64_t mapped
        cdef uint64_t mapping_bytes
        cdef uint64_t reserved
        cdef uint64_t due
        cdef uint64_t due_reserved
        cdef uint64_t places
        cdef uint64_t used_places
        cdef uint64_t mappings
        cdef int problem = 0
        self.engine = Engine(0)
        engine.take_turn()
        try:
            engine._idle()
            top = numbers_used(&source.table)
            bucket_bytes = source.table.bucket_bytes
            mapped = source.mappings.table.top
            mapping_bytes = source.mappings.table.bucket_bytes if source.mappings.table.buckets != NULL else 0
            reserved = source.table.reserved        # of further workers 0: they have none of their own
            due = due_size(&source.table)
            due_reserved = source.table.due_reserved
            places = source.table.places_reserved
            used_places = places_size(&source.table)
            mappings = source.mappings.table.reserved
        finally:
            engine.give_turn()
        with nogil:
            if (make_spare(&self.spares.buckets, bucket_bytes, bucket_bytes) != 0
                    or make_spare(&self.spares.sessions, min(top * sizeof(Session), reserved), reserved) != 0
                    or make_spare(&self.spares.due, due, due_reserved) != 0
                    or make_spare(&self.spares.places, used_places, places) != 0
                    or make_spare(&self.spares.mapping_buckets, mapping_bytes, mapping_bytes) != 0
                    or make_spare(&self.spares.mappings, mapped * sizeof(Session), mappings) != 0):
                problem = -1
        if problem != 0:
            raise MemoryError("no memory for another engine")

    def __dealloc__(self):
        release(self.spares.buckets.memory, self.spares.buckets.size)
        release(self.spares.sessions.memory, self.spares.sessions.size)
        release(self.spares.due.memory, self.spares.due.size)
        release(self.spares.places.memory, self.spares.places.size)
        release(self.spares.mapping_buckets.memory, self.spares.mapping_buckets.size)
        release(self.spares.mappings.memory, self.spares.mappings.size)


def copy_engine(Engine engine not None, Blank blank not None) -> Engine:
    """The copy, which runs the same program; it is what ``blank`` was to be.  Raises MemoryError, and ValueError for
    one that has become an engine already."""
    cdef Engine copy = blank.engine
    cdef State *to
    cdef const State *source = &engine.state
    cdef int problem
    if engine.team is not None:
        raise ValueError("a worker is copied with its team")
    if copy is None:
        raise ValueError("this has become an engine already")
    blank.engine = None
    engine.take_turn()
    try:
        engine._idle()
        with nogil:
            to = &copy.state
            problem = copy_state(to, source, &blank.spares)
            if problem == 0:
                copy_sessions(&to.table, &source.table, &to, &source)
        copy.program = engine.program
    finally:
        engine.give_turn()
    if problem != 0:
        raise MemoryError("no memory for another engine")
    return copy


cdef int copy_workers(Team copy, Team team, list blanks) except 1:
    # -1: no memory.
    cdef const State *sources[64]
    cdef Engine engine
    cdef Engine made
    cdef Blank blank
    cdef uint32_t worker
    cdef int problem = 0
    for worker in range(team.workers):
        engine = team.engines[worker]
        made = copy.engines[worker]
        blank = blanks[worker]
        sources[worker] = &engine.state
        with nogil:
            problem |= copy_state(&made.state, &engine.state, &blank.spares)
        made.program = engine.program
        made.state.table.claimed = &copy.common.shared.numbers
        made.state.fragments.all_units = &copy.common.shared.fragments
        made.state.expectations.all = &copy.common.shared.expected
    copy._share()
    copy.random = team.random
    copy_shared(copy.common.shared, team.common.shared)
    if problem == 0:
        with nogil:
            copy_sessions(&copy.first.state.table, &team.first.state.table,
                          <State **>copy.common.shared.states, &sources[0])
    return problem


cdef void copy_shared(Shared *to, const Shared *source) noexcept nogil:
    # But for what says where something is.
    to.numbers = source.numbers
    to.sessions = source.sessions
    to.half_open = source.half_open
    to.created = source.created
    to.peak = source.peak
    to.fragments = source.fragments
    to.expected = source.expected
    to.next_error = source.next_error
    to.next_challenge = source.next_challenge
    to.limits = source.limits


def copy_team(Team team not None, list blanks not None) -> Team:
    """Likewise of all workers; ``blanks`` are theirs, in order."""
    cdef Team copy
    cdef Blank blank
    cdef int problem
    engines = []
    for blank in blanks:
        if blank.engine is None:
            raise ValueError("this has become an engine already")
        engines.append(blank.engine)
        blank.engine = None
    team.first.take_turn()
    try:
        team.first._idle()
        copy = Team(engines, team.steerer, team.one_sequence)
        problem = copy_workers(copy, team, blanks)
    finally:
        team.first.give_turn()
    if problem != 0:
        raise MemoryError("no memory for another edge")
    return copy
