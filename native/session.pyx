"""The parts of the session table that are not on the hit path: memory, growth, the timer wheel."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from native.memory cimport PAGE, enlarge, release, reserve_huge
from native.packet cimport Key
from native.session cimport (
    CLAIM, NONE, REPLY, TICK_SHIFT, Bucket, Flow, Session, Table,
    flow_at, hash_key, lowest, matching_tags, tag_of,
)
from native.wire cimport prefetch, unlikely

cdef extern from *:
    """
    static inline uint32_t t1_claim(uint32_t *p, uint32_t n) { return __atomic_add_fetch(p, n, __ATOMIC_RELAXED); }
    """
    uint32_t claim "t1_claim"(uint32_t *claimed, uint32_t count) noexcept nogil     # how many are then

cdef enum:
    FIRST_BUCKETS = 512

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
    memset(table.heads, 0xff, sizeof(table.heads))
    return 0 if table.buckets != NULL else -1


cdef int table_reserve(Table *table, uint32_t capacity) noexcept nogil:
    # Address space for at least so many sessions (memory is taken as they are made); 0, or -1 with nothing changed.
    cdef uint64_t wanted = <uint64_t>capacity * sizeof(Session)
    cdef void *memory
    if capacity <= table.capacity:
        return 0
    if table.sessions == NULL:
        memory = reserve_huge(wanted)
    else:
        memory = enlarge(table.sessions, table.reserved, wanted)
    if memory == NULL:
        return -1
    table.sessions = <Session *>memory
    table.reserved = wanted
    table.capacity = capacity
    return 0


cdef void table_free(Table *table) noexcept nogil:
    release(table.sessions, table.reserved)
    release(table.buckets, table.bucket_bytes)
    release(table.old, (table.old_mask + 1) * sizeof(Bucket))
    release(table.prepared, table.bucket_bytes * 2)
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
    prefetch(&session.deadline)


cdef bint has_unused(Table *table) noexcept nogil:
    # Is number `top` this table's, and has it never been used?
    if table.claimed == NULL:
        return table.top < table.capacity
    if table.top == table.end:
        table.end = claim(table.claimed, CLAIM)
        table.top = table.end - CLAIM
    return table.end <= table.capacity


cdef uint32_t table_add(Table *table, const Key *original, const Key *reply) noexcept nogil:
    # A new live session with these keys (which the caller knows to be free), not yet linked into the wheel; NONE when
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
    session.wheel_slot = NONE
    session.fw_slot = NONE
    session.admitted_slot = NONE
    session.dnat_slot = NONE
    session.snat_slot = NONE
    session.usage_slot = NONE
    index_add(table, original, number << 1)
    index_add(table, reply, number << 1 | REPLY)
    table.count += 1
    return number


cdef void wheel_unlink(Table *table, uint32_t number) noexcept nogil:
    cdef Session *session = &table.sessions[number]
    if session.wheel_slot == NONE:
        return
    if session.previous == NONE:
        table.heads[session.wheel_slot] = session.next
    else:
        table.sessions[session.previous].next = session.next
    if session.next != NONE:
        table.sessions[session.next].previous = session.previous
    table.linked[session.wheel_slot >> 8] -= 1
    session.wheel_slot = NONE


cdef void wheel_link(Table *table, uint32_t number) noexcept nogil:
    # Links (or links anew) under the session's present deadline.
    cdef Session *session = &table.sessions[number]
    cdef uint64_t deadline = session.expires >> TICK_SHIFT
    cdef uint64_t ahead
    cdef uint32_t level = 0
    wheel_unlink(table, number)
    session.deadline = deadline
    if deadline < table.tick:
        deadline = table.tick
    ahead = deadline - table.tick
    while level < 3 and ahead >> (8 * (level + 1)):
        level += 1
    session.wheel_slot = level << 8 | <uint32_t>(deadline >> (8 * level)) & 255
    session.previous = NONE
    session.next = table.heads[session.wheel_slot]
    if session.next != NONE:
        table.sessions[session.next].previous = number
    table.heads[session.wheel_slot] = number
    table.linked[level] += 1
    if session.expires < table.next_check:
        table.next_check = session.expires


cdef void table_remove(Table *table, uint32_t number) noexcept nogil:
    cdef Session *session = &table.sessions[number]
    wheel_unlink(table, number)
    index_remove(table, &session.flow[0].key, number << 1)
    index_remove(table, &session.flow[1].key, number << 1 | REPLY)
    session.live = 0
    session.next = table.free
    table.free = number
    table.count -= 1


cdef bint table_pass_on(Table *giver, Table *taker, uint32_t number) noexcept nogil:
    # A session becomes that of another worker, with its number, for which a free one comes back if there is one: so no
    # worker ever has more numbers than it has had sessions at once.  Whoever calls this has both to himself.
    # False, with nothing changed, where there is no memory for it.
    cdef Session *session = &giver.sessions[number]
    cdef uint32_t returned = taker.free
    make_index_room(taker)
    if not index_has_room(taker):
        return False
    wheel_unlink(giver, number)
    index_remove(giver, &session.flow[0].key, number << 1)
    index_remove(giver, &session.flow[1].key, number << 1 | REPLY)
    giver.count -= 1
    session.live = taker.mark
    index_add(taker, &session.flow[0].key, number << 1)
    index_add(taker, &session.flow[1].key, number << 1 | REPLY)
    taker.count += 1
    wheel_link(taker, number)
    if returned != NONE:
        taker.free = taker.sessions[returned].next
        taker.sessions[returned].next = giver.free
        giver.free = returned
    return True


cdef void cascade(Table *table, uint32_t slot) noexcept nogil:
    # Deals a slot of a higher level out anew.
    cdef uint32_t number = table.heads[slot]
    cdef uint32_t following
    table.heads[slot] = NONE
    while number != NONE:
        following = table.sessions[number].next
        table.sessions[number].wheel_slot = NONE
        table.linked[slot >> 8] -= 1
        wheel_link(table, number)
        number = following


cdef uint64_t next_tick(const Table *table, uint64_t last) noexcept nogil:
    # The next tick, up to `last`, at which there is something to do: empty levels are stepped over.
    cdef uint64_t following = table.tick + 1
    if table.linked[0] == 0:
        following = (table.tick | 0xff) + 1
        if table.linked[1] == 0:
            following = (table.tick | 0xffff) + 1
            if table.linked[2] == 0:
                following = (table.tick | 0xffffff) + 1
    return following if following < last else last


cdef void enter_tick(Table *table, uint64_t tick) noexcept nogil:
    # Moves on; what the higher levels hold for the ticks from here on is dealt out.
    table.tick = tick
    if tick & 0xff == 0:
        if tick & 0xffff == 0:
            if tick & 0xffffff == 0:
                cascade(table, 768 | <uint32_t>(tick >> 24) & 255)
            cascade(table, 512 | <uint32_t>(tick >> 16) & 255)
        cascade(table, 256 | <uint32_t>(tick >> 8) & 255)


cdef void ask_ahead(Table *table) noexcept nogil:
    # For what will be needed where the next sessions of a slot end too: the places in the index of the next one, which
    # itself was asked for one earlier, and the one behind it.
    cdef const Session *following
    if table.cursor == NONE:
        return
    following = &table.sessions[table.cursor]
    if not table.in_a_row:
        table.in_a_row = True
        ask_for(following)
        return
    prefetch(&table.buckets[hash_key(table, &following.flow[0].key) & table.mask])
    prefetch(&table.buckets[hash_key(table, &following.flow[1].key) & table.mask])
    if following.next != NONE:
        ask_for(&table.sessions[following.next])


cdef uint32_t wheel_due(Table *table, uint64_t now) noexcept nogil:
    # A session whose time has come (expires <= now), or NONE once there is none.  The caller removes it, changes
    # nothing else, and asks again with the same `now`: the walk through a slot goes on where it was.
    cdef uint64_t last = now >> TICK_SHIFT
    cdef uint32_t number
    cdef Session *session
    if now < table.next_check:
        return NONE
    while table.count:
        if not table.walking:
            table.walking = True
            table.in_a_row = False
            table.cursor = table.heads[<uint32_t>table.tick & 255]
            table.soonest = 0xffffffffffffffffULL
        while table.cursor != NONE:
            number = table.cursor
            session = &table.sessions[number]
            table.cursor = session.next
            if session.expires <= now:
                ask_ahead(table)
                return number
            if session.expires >> TICK_SHIFT > table.tick:
                wheel_link(table, number)       # it lived on since it was linked here
            elif session.expires < table.soonest:
                table.soonest = session.expires
        table.walking = False
        if table.tick >= last:
            # What is left expires later in this tick, or in a later one.
            table.next_check = min(table.soonest, (table.tick + 1) << TICK_SHIFT)
            return NONE
        enter_tick(table, next_tick(table, last))
    table.walking = False
    table.tick = last
    table.next_check = 0        # so that the next call sets the tick again: nothing is linked by an old one
    return NONE
