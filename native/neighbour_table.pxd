# The table of neighbours: hash chains, one queue by deadline for each port and state, packets that wait.  Everything
# that lasts in a state lasts equally long, so whoever enters it last also leaves it last.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.neighbour cimport (
    HELD_PER_NEIGHBOUR, HELD_SIZE, LC_EVICTED, LC_HELD, LC_HELD_DROPPED, LC_OUTBOX_FULL, LC_TABLE_FULL, N_FAILED,
    N_INCOMPLETE, N_STALE, NEIGHBOUR_BUCKETS, NEIGHBOURS_MAX, NEIGHBOURS_PER_PORT, NO_HELD, NO_NEIGHBOUR, OFFLOAD_SIZE,
    OUT_SEND, OUTBOX_BYTES, OUTBOX_FRAMES, Held, LinkPort, Neighbour, Neighbours, Outbox, OutFrame,
)
from native.nexthop cimport is_gateway
from native.program cimport ProgramData
from native.session cimport mix

cdef extern from *:
    """
    #include <stdint.h>
    /* ns, by NeighbourState: RETRANS_TIMER, REACHABLE_TIME, DELAY_FIRST_PROBE_TIME of RFC 4861 10; how long nobody is
       asked again who failed, and how long an address is remembered that nobody uses, no RFC says. */
    static const uint64_t t1_neighbour_life[6] = {
        1000000000ULL, 30000000000ULL, 600000000000ULL, 5000000000ULL, 1000000000ULL, 3000000000ULL
    };
    """
    const uint64_t *LIFE "t1_neighbour_life"

cdef enum:
    SECOND = 1_000_000_000


cdef inline uint32_t bucket_of(
    const Neighbours *table, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    cdef uint64_t place = <uint64_t>port << 8 | family
    return <uint32_t>(mix(mix(lo ^ table.seed, place ^ 0x9E3779B97F4A7C15ULL) ^ hi, table.seed ^ 0xE7037ED1A0B428DBULL)
                      & (NEIGHBOUR_BUCKETS - 1))


cdef inline uint16_t find_neighbour(
    const Neighbours *table, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo
) noexcept nogil:
    # NO_NEIGHBOUR where there is none.
    cdef uint16_t number = table.buckets[bucket_of(table, port, family, hi, lo)]
    cdef const Neighbour *one
    while number != NO_NEIGHBOUR:
        one = &table.pool[number]
        if one.lo == lo and one.hi == hi and one.port == port and one.family == family:
            break
        number = one.next
    return number


cdef inline void leave_queue(Neighbours *table, uint16_t number) noexcept nogil:
    cdef Neighbour *one = &table.pool[number]
    cdef LinkPort *port = &table.ports[one.port]
    if one.sooner != NO_NEIGHBOUR:
        table.pool[one.sooner].later = one.later
    else:
        port.head[one.state] = one.later
    if one.later != NO_NEIGHBOUR:
        table.pool[one.later].sooner = one.sooner
    else:
        port.tail[one.state] = one.sooner
    port.by_state[one.state] -= 1


cdef inline void join_queue(Neighbours *table, uint16_t number, uint64_t now) noexcept nogil:
    cdef Neighbour *one = &table.pool[number]
    cdef LinkPort *port = &table.ports[one.port]
    one.deadline = now + LIFE[one.state]
    one.sooner = port.tail[one.state]
    one.later = NO_NEIGHBOUR
    if one.sooner != NO_NEIGHBOUR:
        table.pool[one.sooner].later = number
    else:
        port.head[one.state] = number
    port.tail[one.state] = number
    port.by_state[one.state] += 1


cdef inline void set_state(Neighbours *table, uint16_t number, uint8_t state, uint64_t now) noexcept nogil:
    # Begins a state, also the one it is in, anew.
    leave_queue(table, number)
    table.pool[number].state = state
    table.pool[number].since = now
    table.pool[number].probes = 0
    join_queue(table, number, now)


cdef inline void wait_again(Neighbours *table, uint16_t number, uint64_t now) noexcept nogil:
    # Another turn of the same state.
    leave_queue(table, number)
    join_queue(table, number, now)


cdef inline void free_held(Neighbours *table, uint16_t number) noexcept nogil:
    # Takes the oldest packet that waits for a neighbour out of all lists.
    cdef uint16_t at = table.pool[number].first_held
    cdef Held *held = &table.held[at]
    table.pool[number].first_held = held.next
    table.pool[number].held -= 1
    if held.older != NO_HELD:
        table.held[held.older].newer = held.newer
    else:
        table.oldest_held = held.newer
    if held.newer != NO_HELD:
        table.held[held.newer].older = held.older
    else:
        table.newest_held = held.older
    held.next = table.free_held
    table.free_held = at


cdef inline void drop_held(Neighbours *table, uint16_t number) noexcept nogil:
    table.ports[table.pool[number].port].counts[<int>LC_HELD_DROPPED] += 1
    free_held(table, number)


cdef inline void hold(
    Neighbours *table, uint16_t number, const uint8_t *frame, uint32_t length, const uint8_t *offload
) noexcept nogil:
    # A copy waits for the neighbour; older ones make room.  RFC 1122 2.3.2.2.
    cdef Neighbour *one = &table.pool[number]
    cdef Held *held
    cdef uint16_t at
    cdef uint16_t last
    if one.held == HELD_PER_NEIGHBOUR:
        drop_held(table, number)
    elif table.free_held == NO_HELD:
        drop_held(table, table.held[table.oldest_held].neighbour)
    at = table.free_held
    held = &table.held[at]
    table.free_held = held.next
    held.length = length
    held.neighbour = number
    held.next = NO_HELD
    held.older = table.newest_held
    held.newer = NO_HELD
    if offload != NULL:
        memcpy(held.offload, offload, OFFLOAD_SIZE)
    else:
        memset(held.offload, 0, OFFLOAD_SIZE)
    memcpy(table.held_bytes + <uint64_t>at * HELD_SIZE, frame, length)
    if held.older != NO_HELD:
        table.held[held.older].newer = at
    else:
        table.oldest_held = at
    table.newest_held = at
    if one.held == 0:
        one.first_held = at
    else:
        last = one.first_held
        while table.held[last].next != NO_HELD:
            last = table.held[last].next
        table.held[last].next = at
    one.held += 1
    table.ports[one.port].counts[<int>LC_HELD] += 1


cdef inline void remove_neighbour(Neighbours *table, uint16_t number) noexcept nogil:
    cdef Neighbour *one = &table.pool[number]
    cdef uint16_t *link = &table.buckets[bucket_of(table, one.port, one.family, one.hi, one.lo)]
    while one.held:
        drop_held(table, number)
    while link[0] != number:
        link = &table.pool[link[0]].next
    link[0] = one.next
    leave_queue(table, number)
    table.ports[one.port].count -= 1
    table.count -= 1
    one.family = 0
    one.next = table.unused
    table.unused = number


cdef inline bint evict_from(Neighbours *table, uint16_t port, uint8_t state) noexcept nogil:
    # Removes the neighbour that has been in the state longest, unless the program relies on it.
    cdef uint16_t number = table.ports[port].head[state]
    while number != NO_NEIGHBOUR and table.pool[number].pinned:
        number = table.pool[number].later
    if number == NO_NEIGHBOUR:
        return False
    table.ports[port].counts[<int>LC_EVICTED] += 1
    remove_neighbour(table, number)
    return True


cdef inline bint evict(Neighbours *table, uint16_t port) noexcept nogil:
    # Who is not there, who may not be there, who has not been heard of for longest: never one that is in use.
    return (evict_from(table, port, N_FAILED) or evict_from(table, port, N_INCOMPLETE)
            or evict_from(table, port, N_STALE))


cdef inline bint make_room(Neighbours *table, uint16_t port) noexcept nogil:
    cdef uint16_t fullest = 0
    cdef uint32_t i
    if table.ports[port].count < NEIGHBOURS_PER_PORT and table.count < NEIGHBOURS_MAX:
        return True
    if evict(table, port):
        return True
    if table.ports[port].count >= NEIGHBOURS_PER_PORT:
        return False
    for i in range(table.port_room):
        if table.ports[i].count > table.ports[fullest].count:
            fullest = <uint16_t>i
    return evict(table, fullest)


cdef inline uint16_t add_neighbour(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t family, uint64_t hi, uint64_t lo,
    uint8_t state, uint64_t now
) noexcept nogil:
    # A new one, without a MAC address; NO_NEIGHBOUR when there is no room.
    cdef Neighbour *one
    cdef uint16_t number
    cdef uint32_t bucket = bucket_of(table, port, family, hi, lo)
    if not make_room(table, port):
        table.ports[port].counts[<int>LC_TABLE_FULL] += 1
        return NO_NEIGHBOUR
    number = table.unused
    one = &table.pool[number]
    table.unused = one.next
    memset(one, 0, sizeof(Neighbour))
    one.hi = hi
    one.lo = lo
    one.port = port
    one.family = family
    one.state = state
    one.since = now
    one.pinned = is_gateway(program, port, family, hi, lo)
    one.first_held = NO_HELD
    one.next = table.buckets[bucket]
    table.buckets[bucket] = number
    join_queue(table, number, now)
    table.ports[port].count += 1
    table.count += 1
    return number


cdef inline bint outbox_has_room(const Outbox *outbox, uint32_t frames, uint32_t size) noexcept nogil:
    return outbox.count + frames <= OUTBOX_FRAMES and outbox.used + size <= OUTBOX_BYTES


cdef inline uint8_t *outbox_add(
    Neighbours *table, Outbox *outbox, uint16_t port, uint8_t kind, uint32_t length
) noexcept nogil:
    # Where to write a frame of that length, NULL when it does not fit.
    cdef OutFrame *out
    if not outbox_has_room(outbox, 1, length):
        table.ports[port].counts[<int>LC_OUTBOX_FULL] += 1
        return NULL
    out = &outbox.frames[outbox.count]
    out.port = port
    out.kind = kind
    out.at = outbox.used
    out.length = length
    memset(out.offload, 0, OFFLOAD_SIZE)
    outbox.count += 1
    outbox.used += length
    return outbox.bytes + out.at


cdef inline void release_held(Neighbours *table, uint16_t number, Outbox *outbox) noexcept nogil:
    # Its address is known: what waited for it leaves, in order.
    cdef Neighbour *one = &table.pool[number]
    cdef Held *held
    cdef uint8_t *frame
    while one.held:
        held = &table.held[one.first_held]
        frame = outbox_add(table, outbox, one.port, OUT_SEND, held.length)
        if frame != NULL:
            memcpy(frame, table.held_bytes + <uint64_t>one.first_held * HELD_SIZE, held.length)
            memcpy(frame, one.mac, 6)
            memcpy(outbox.frames[outbox.count - 1].offload, held.offload, OFFLOAD_SIZE)
        free_held(table, number)


cdef inline bint within_rate(uint64_t *next_one, uint64_t now, uint64_t rate) noexcept nogil:
    # A bucket that holds one second's requests and is filled as fast: *next_one runs ahead of the clock by what has
    # been taken out.
    cdef uint64_t begin = max(next_one[0], now)
    if begin - now > SECOND - SECOND // rate:
        return False
    next_one[0] = begin + SECOND // rate
    return True
