"""The parts of the session table that are not on the hit path: memory, growth, who ends next."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from native.memory cimport PAGE, enlarge, release, reserve_huge
from native.packet cimport Key
from native.session cimport (
    CLAIM, CREW, CREW_BITS, FIRST_DUE, NONE, NUMBER_BITS, REPLY, Bucket, Due, Flow, Session, Table,
    crews, flow_at, hash_key, lowest, matching_tags, soonest_of_four, sooner, tag_of,
)
from native.wire cimport prefetch, unlikely

cdef extern from *:
    """
    static inline uint32_t t1_claim(uint32_t *p, uint32_t n) { return __atomic_add_fetch(p, n, __ATOMIC_RELAXED); }
    """
    uint32_t claim "t1_claim"(uint32_t *claimed, uint32_t count) noexcept nogil     # how many are then

cdef enum:
    FIRST_BUCKETS = 512
    NUMBER_MASK = 0x7fffffff
    NEVER = 0xffffffffffffffffULL
    SECOND_DUES = 4             # where the four below the top are

assert sizeof(Flow) == 64 and sizeof(Session) == 256 and sizeof(Bucket) == 64, "cache lines"


cdef int table_init(Table *table, uint64_t seed) noexcept nogil:
    # An empty table with room for no session; 0, or -1 when there is no memory.
    memset(table, 0, sizeof(Table))
    table.seed[0] = seed ^ 0xA0761D6478BD642FULL
    table.seed[1] = seed * 0xE7037ED1A0B428DBULL + 0x8EBC6AF09C88C6E3ULL
    table.mask = FIRST_BUCKETS - 1
    table.bucket_bytes = FIRST_BUCKETS * sizeof(Bucket)
    table.buckets = <Bucket *>reserve_huge(table.bucket_bytes)
    table.free = NONE
    table.mark = 1
    table.last_due = FIRST_DUE - 1
    return 0 if table.buckets != NULL else -1


cdef int make_huge(void **memory, uint64_t *reserved, uint64_t wanted) noexcept nogil:
    # Room for so many bytes; 0, or -1 with nothing changed.
    cdef void *larger
    if wanted <= reserved[0]:
        return 0
    larger = reserve_huge(wanted) if memory[0] == NULL else enlarge(memory[0], reserved[0], wanted)
    if larger == NULL:
        return -1
    memory[0] = larger
    reserved[0] = wanted
    return 0


cdef int table_reserve(Table *table, uint32_t capacity) noexcept nogil:
    # Address space for at least so many sessions (memory is taken as they are made); 0, or -1 with nothing changed.
    if make_huge(<void **>&table.sessions, &table.reserved, <uint64_t>crews(capacity) * CREW * sizeof(Session)) != 0:
        return -1
    table.capacity = max(table.capacity, capacity)
    return 0


cdef int due_reserve(Table *table, uint32_t capacity, uint32_t numbers) noexcept nogil:
    # Address space for so many sessions in the heap, which have numbers below that; 0, or -1 with no less than before.
    cdef uint64_t places = (<uint64_t>min(capacity, crews(numbers)) + FIRST_DUE + 4) * sizeof(Due)
    if make_huge(<void **>&table.places, &table.places_reserved, <uint64_t>crews(numbers) * 4) != 0:
        return -1
    return make_huge(<void **>&table.due, &table.due_reserved, places)


cdef void table_free(Table *table) noexcept nogil:
    release(table.sessions, table.reserved)
    release(table.buckets, table.bucket_bytes)
    release(table.old, (table.old_mask + 1) * sizeof(Bucket))
    release(table.prepared, table.bucket_bytes * 2)
    release(table.due, table.due_reserved)
    release(table.places, table.places_reserved)
    table.due = NULL
    table.places = NULL
    table.sessions = NULL
    table.buckets = NULL
    table.old = NULL
    table.prepared = NULL


cdef void put(Bucket *buckets, uint64_t mask, uint64_t h, uint32_t number) noexcept nogil:
    # Into an index that has room.
    cdef uint64_t at = h & mask
    cdef uint32_t empty
    cdef int place
    while True:
        empty = matching_tags(buckets[at].tag, 0)
        if empty:
            place = lowest(empty)
            buckets[at].tag[place] = tag_of(h)
            buckets[at].flow[place] = number
            return
        buckets[at].passed_on += 1
        at = (at + 1) & mask


cdef bint take_out(Bucket *buckets, uint64_t mask, uint64_t h, uint32_t number) noexcept nogil:
    # False: it is not there.
    cdef uint64_t home = h & mask
    cdef uint64_t at = home
    cdef uint32_t candidates
    cdef int place
    while True:
        candidates = matching_tags(buckets[at].tag, tag_of(h))
        while candidates:
            place = lowest(candidates)
            if buckets[at].flow[place] == number:
                buckets[at].tag[place] = 0
                while home != at:
                    buckets[home].passed_on -= 1
                    home = (home + 1) & mask
                return True
            candidates &= candidates - 1
        if buckets[at].passed_on == 0:
            return False
        at = (at + 1) & mask


cdef void index_add(Table *table, const Key *key, uint32_t number) noexcept nogil:
    put(table.buckets, table.mask, hash_key(table, key), number)


cdef void index_remove(Table *table, const Key *key, uint32_t number) noexcept nogil:
    cdef uint64_t h = hash_key(table, key)
    if not take_out(table.buckets, table.mask, h, number):
        take_out(table.old, table.old_mask, h, number)


cdef bint index_has_room(const Table *table) noexcept nogil:
    # For two more keys; put() would look for a place for ever in a full index.
    return <uint64_t>(table.count + 1) * 2 <= (table.mask + 1) * 8


cdef void index_grow(Table *table) noexcept nogil:
    # Twice the buckets, empty; the full ones are to be moved.  Without memory for that the index stays as it is as long
    # as it has room: lookups get longer.
    if table.prepared == NULL:
        table.prepared = <Bucket *>reserve_huge(table.bucket_bytes * 2)
        if table.prepared == NULL:
            return
    table.old = table.buckets
    table.old_mask = table.mask
    table.moved = 0
    table.buckets = table.prepared
    table.bucket_bytes *= 2
    table.mask = table.mask * 2 + 1
    table.prepared = NULL
    table.touched = 0


cdef void touch_next(Table *table) noexcept nogil:
    # Another page of the index that will be needed soon: the system zeroes memory when it is touched first.
    if table.prepared == NULL:
        table.prepared = <Bucket *>reserve_huge(table.bucket_bytes * 2)
        table.touched = 0
    elif table.touched < table.bucket_bytes * 2:
        (<char *>table.prepared)[table.touched] = 0
        table.touched += PAGE


cdef void ask_for_keys(const Table *table, uint64_t at) noexcept nogil:
    # Of a bucket that will be moved soon.
    cdef uint32_t taken
    if at <= table.old_mask:
        taken = ~matching_tags(table.old[at].tag, 0) & 0xff
        while taken:
            prefetch(&flow_at(table, table.old[at].flow[lowest(taken)]).key)
            taken &= taken - 1


cdef void ask_for_places(const Table *table, uint64_t at) noexcept nogil:
    # Where the entries of a bucket will go, whose keys ask_for_keys() asked for.
    cdef uint32_t taken
    if at <= table.old_mask:
        taken = ~matching_tags(table.old[at].tag, 0) & 0xff
        while taken:
            prefetch(&table.buckets[
                hash_key(table, &flow_at(table, table.old[at].flow[lowest(taken)]).key) & table.mask])
            taken &= taken - 1


cdef void move_bucket(Table *table) noexcept nogil:
    # The next bucket of the old index: what stands in it goes to the new one.
    cdef uint32_t taken = ~matching_tags(table.old[table.moved].tag, 0) & 0xff
    cdef uint32_t number
    cdef uint64_t h
    while taken:
        number = table.old[table.moved].flow[lowest(taken)]
        h = hash_key(table, &flow_at(table, number).key)
        take_out(table.old, table.old_mask, h, number)
        put(table.buckets, table.mask, h, number)
        taken &= taken - 1
    ask_for_places(table, table.moved + 1)
    ask_for_keys(table, table.moved + 2)
    table.moved += 1
    if table.moved > table.old_mask:
        release(table.old, (table.old_mask + 1) * sizeof(Bucket))
        table.old = NULL


cdef void make_index_room(Table *table) noexcept nogil:
    # What each new session does for the growth of the index.  Of N buckets, moving begins at 5 N keys and takes N
    # sessions; the new 2 N buckets begin to fill up at 9 N keys.
    cdef uint64_t keys = <uint64_t>(table.count + 1) * 2
    if unlikely(table.old != NULL):
        move_bucket(table)
    elif unlikely(keys * 2 > (table.mask + 1) * 9):
        if keys > (table.mask + 1) * 5:
            index_grow(table)
        else:
            touch_next(table)


cdef inline void ask_for(const Session *session) noexcept nogil:
    # All of it.
    prefetch(&session.flow[0])
    prefetch(&session.flow[1])
    prefetch(&session.expires)
    prefetch(&session.id)


cdef bint has_unused(Table *table) noexcept nogil:
    # Is number `top` this table's, and has it never been used?
    if table.claimed == NULL:
        return table.top < table.capacity
    if table.top == table.end:
        table.end = claim(table.claimed, CLAIM)
        table.top = table.end - CLAIM
    return table.end <= table.capacity


cdef uint32_t table_add(Table *table, const Key *original, const Key *reply) noexcept nogil:
    # A new live session with these keys (which the caller knows to be free), not yet in the heap; NONE when
    # the table is full.
    cdef uint32_t number
    cdef Session *session
    make_index_room(table)
    if not index_has_room(table):
        return NONE
    if table.free != NONE:
        number = table.free
        table.free = table.sessions[number].next
        if table.free != NONE:
            ask_for(&table.sessions[table.free])
    elif has_unused(table):
        number = table.top
        table.top += 1
    else:
        return NONE
    session = &table.sessions[number]
    memset(session, 0, sizeof(Session))
    session.flow[0].key = original[0]
    session.flow[1].key = reply[0]
    session.live = table.mark
    session.fw_slot = NONE
    session.admitted_slot = NONE
    session.dnat_slot = NONE
    session.snat_slot = NONE
    session.usage_slot = NONE
    index_add(table, original, number << 1)
    index_add(table, reply, number << 1 | REPLY)
    table.count += 1
    return number


cdef inline void put_due(Table *table, uint32_t place, const Due *due) noexcept nogil:
    table.due[place] = due[0]
    table.places[(due.who & NUMBER_MASK) >> CREW_BITS] = place


cdef void due_rise(Table *table, uint32_t place, Due due) noexcept nogil:
    # Puts `due` into a place that is free, or above that: those that come later go down.
    cdef uint32_t above
    while place > FIRST_DUE:
        above = (place >> 2) + 2
        if not sooner(&due, &table.due[above]):
            break
        put_due(table, place, &table.due[above])
        place = above
    put_due(table, place, &due)


cdef void due_sink(Table *table, uint32_t place, Due due) noexcept nogil:
    # Likewise, or below: those that come sooner go up.  Behind the last one, places of the same four are NEVER.
    cdef uint32_t below
    while True:
        below = (place - 2) << 2
        if below > table.last_due:
            break
        below += soonest_of_four(&table.due[below])
        if not sooner(&table.due[below], &due):
            break
        put_due(table, place, &table.due[below])
        place = below
    put_due(table, place, &due)


cdef inline Due due_of(const Table *table, uint32_t number) noexcept nogil:
    cdef const Session *session = &table.sessions[number]
    cdef Due due
    due.when = session.noted
    due.who = session.id << NUMBER_BITS | number
    return due


cdef inline bint soonest_mate(const Table *table, uint32_t number, uint32_t other, Due *found) noexcept nogil:
    # Who is next among those that share an entry with a session, but for that session itself and `other`.  False: there
    # are none.
    cdef uint32_t first = number & ~<uint32_t>(CREW - 1)
    cdef uint32_t mate
    cdef Due due
    cdef bint some = False
    for mate in range(first, first + CREW):
        # That of another worker is not in this heap.
        if (mate == number or mate == other or table.sessions[mate].noted == 0
                or table.sessions[mate].live != table.mark):
            continue
        due = due_of(table, mate)
        if not some or sooner(&due, found):
            found[0] = due
            some = True
    return some


cdef void due_enter(Table *table, uint32_t number, uint64_t when) noexcept nogil:
    # Into the heap, of a session that is not there yet.
    cdef uint32_t place = table.places[number >> CREW_BITS]
    cdef uint32_t i
    cdef Due due
    table.sessions[number].noted = when
    due = due_of(table, number)
    if place == 0:
        table.last_due += 1
        if table.last_due & 3 == 0:
            for i in range(table.last_due + 1, table.last_due + 4):
                table.due[i].when = NEVER
                table.due[i].who = NEVER
        due_rise(table, table.last_due, due)
    elif sooner(&due, &table.due[place]):
        due_rise(table, place, due)
    if when < table.next_check:
        table.next_check = when


cdef void due_add(Table *table, uint32_t number) noexcept nogil:
    # A session that is in the table, with identifier and deadline.
    due_enter(table, number, table.sessions[number].expires)


cdef void due_leave(Table *table, uint32_t number) noexcept nogil:
    # Out of the heap, if it is there: a mate gets its place, or the last one.
    cdef uint32_t place
    cdef Due next
    if table.due == NULL or table.sessions[number].noted == 0:
        return
    table.sessions[number].noted = 0
    place = table.places[number >> CREW_BITS]
    if (table.due[place].who & NUMBER_MASK) != number:
        return
    if soonest_mate(table, number, NONE, &next):
        due_sink(table, place, next)
        return
    table.places[number >> CREW_BITS] = 0
    next = table.due[table.last_due]
    table.due[table.last_due].when = NEVER
    table.due[table.last_due].who = NEVER
    table.last_due -= 1
    if place > table.last_due:
        return
    if place > FIRST_DUE and sooner(&next, &table.due[(place >> 2) + 2]):
        due_rise(table, place, next)
    else:
        due_sink(table, place, next)


cdef void due_sooner(Table *table, uint32_t number) noexcept nogil:
    # A deadline has moved, and not later.
    cdef Session *session = &table.sessions[number]
    cdef uint32_t place = table.places[number >> CREW_BITS]
    cdef Due due
    if session.expires < session.noted:
        session.noted = session.expires
        due = due_of(table, number)
        if sooner(&due, &table.due[place]):
            due_rise(table, place, due)
        if due.when < table.next_check:
            table.next_check = due.when


cdef inline uint32_t behind(const Table *table, uint32_t next) noexcept nogil:
    # The place of the one that comes after `next`, which is the soonest of the four below the top.
    cdef uint32_t below = (next - 2) << 2
    cdef uint32_t found = next ^ 1
    cdef uint32_t place
    for place in range(SECOND_DUES, SECOND_DUES + 4):
        if place != next and sooner(&table.due[place], &table.due[found]):
            found = place
    if below <= table.last_due:
        below += soonest_of_four(&table.due[below])
        if sooner(&table.due[below], &table.due[found]):
            found = below
    return found


cdef inline void ask_for_mates(const Table *table, uint32_t number) noexcept nogil:
    # What soonest_mate() reads.
    cdef uint32_t first = number & ~<uint32_t>(CREW - 1)
    cdef uint32_t mate
    for mate in range(first, first + CREW):
        prefetch(&table.sessions[mate].expires)
        prefetch(&table.sessions[mate].id)


cdef inline void ask_for_places_of(const Table *table, uint32_t number) noexcept nogil:
    # In the index.
    prefetch(&table.buckets[hash_key(table, &table.sessions[number].flow[0].key) & table.mask])
    prefetch(&table.buckets[hash_key(table, &table.sessions[number].flow[1].key) & table.mask])


cdef inline void ask_ahead(const Table *table, uint32_t number, uint64_t now) noexcept nogil:
    # For what will be needed where the sessions behind `number`, at the top, are over too: the places in the index of
    # the next one, which itself was asked for one earlier, and the one behind that.
    cdef uint32_t next = 0
    cdef uint32_t place
    cdef Due mate, first, second
    cdef bint found = soonest_mate(table, number, NONE, &mate)
    first.when = first.who = second.when = second.who = NEVER
    if table.last_due >= SECOND_DUES:
        next = SECOND_DUES + soonest_of_four(&table.due[SECOND_DUES])
        first = table.due[next]
    if found and sooner(&mate, &first):
        second, first = first, mate
        if soonest_mate(table, number, first.who & NUMBER_MASK, &mate) and sooner(&mate, &second):
            second = mate
    elif next:
        place = behind(table, next)
        if place <= table.last_due:
            second = table.due[place]
        if soonest_mate(table, first.who & NUMBER_MASK, NONE, &mate) and sooner(&mate, &second):
            second = mate
    if first.when > now:
        return
    ask_for_places_of(table, first.who & NUMBER_MASK)
    if second.when > now:
        return
    ask_for(&table.sessions[second.who & NUMBER_MASK])
    if (second.who ^ first.who) & NUMBER_MASK >= CREW:
        ask_for_mates(table, second.who & NUMBER_MASK)


cdef bint look_at_next(Table *table, uint64_t now, uint32_t *number) noexcept nogil:
    # The session at the top of the heap, if its time has come: is it over?  If so the caller removes it.  Otherwise its
    # present deadline is noted.
    cdef Due due = table.due[FIRST_DUE]
    cdef Due mate
    cdef Session *session
    number[0] = due.who & NUMBER_MASK
    session = &table.sessions[number[0]]
    if session.expires <= due.when:
        ask_ahead(table, number[0], now)
        return True
    session.noted = due.when = session.expires
    if soonest_mate(table, number[0], NONE, &mate) and sooner(&mate, &due):
        due = mate
    due_sink(table, FIRST_DUE, due)
    return False


cdef void table_remove(Table *table, uint32_t number) noexcept nogil:
    cdef Session *session = &table.sessions[number]
    due_leave(table, number)
    index_remove(table, &session.flow[0].key, number << 1)
    index_remove(table, &session.flow[1].key, number << 1 | REPLY)
    session.live = 0
    session.next = table.free
    table.free = number
    table.count -= 1


cdef bint table_pass_on(Table *giver, Table *taker, uint32_t number) noexcept nogil:
    # A session becomes that of another worker, with its number, for which a free one comes back if there is one: so no
    # worker ever has more numbers than it has had sessions at once.  Whoever calls this has both to himself.
    # It is looked at when it would have been.  False, with nothing changed, where there is no memory for it.
    cdef Session *session = &giver.sessions[number]
    cdef uint32_t returned = taker.free
    cdef uint64_t when
    make_index_room(taker)
    if not index_has_room(taker):
        return False
    when = session.noted
    due_leave(giver, number)
    index_remove(giver, &session.flow[0].key, number << 1)
    index_remove(giver, &session.flow[1].key, number << 1 | REPLY)
    giver.count -= 1
    session.live = taker.mark
    index_add(taker, &session.flow[0].key, number << 1)
    index_add(taker, &session.flow[1].key, number << 1 | REPLY)
    taker.count += 1
    due_enter(taker, number, when)
    if returned != NONE:
        taker.free = taker.sessions[returned].next
        taker.sessions[returned].next = giver.free
        giver.free = returned
    return True
