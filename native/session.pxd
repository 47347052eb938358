# The session table: two keys a session (original and reply direction), one index over both, a heap by deadline.
#
# Index: open addressing over 64-byte buckets of eight 16-bit tags and eight flow numbers.  A bucket that had to pass
# entries on counts them, so that a lookup stops at the first bucket that passed none on and a removal leaves no
# tombstone.  A flow number is session << 1 | direction.  An index that fills up is moved into one of twice the size, a
# bucket with each session made, so that no packet waits for more; until that is over a key stands in one of the two.
#
# Heap: who is to be looked at next, by the deadline that was noted and then the session's identifier, four children
# each.  A deadline may move later without touching the heap, it is noted when the session is looked at; one that moves
# before the noted one is noted at once.  Four sessions with numbers in a row have one entry, that of the one among them
# who is next.  Nothing here takes longer for one session than the depth of the heap.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.packet cimport ACK, FIN, K_TCP, NOT_ASKED, ROLE_ANSWERS, ROLE_ASKS, RST, SYN, Key, Packet
from native.wire cimport likely, prefetch, unlikely

cdef enum:
    NONE = 0xffffffff
    WAVE = 32               # packets whose sessions are asked for together: what the processor can wait for at once
    CLAIM = 1024            # numbers that a worker takes at a time
    NUMBER_BITS = 31        # of a session's number: 64 workers have no more than 64 (2^24 + CLAIM)
    CREW_BITS = 2           # sessions with numbers in a row share an entry of the heap
    CREW = 1 << CREW_BITS
    FIRST_DUE = 3           # the top of the heap: the four below any place then share a cache line
    ORIGINAL = 0
    REPLY = 1

cpdef enum TcpState:
    # Of one side, numbered as in BSD.
    TCP_CLOSED = 0
    TCP_SYN_SENT = 2
    TCP_ESTABLISHED = 4
    TCP_CLOSING = 7
    TCP_FIN_WAIT_2 = 9
    TCP_TIME_WAIT = 10

cpdef enum UdpState:
    # What one side has sent, as PF calls it.
    UDP_NO_TRAFFIC = 0
    UDP_SINGLE = 1
    UDP_MULTIPLE = 2

cdef enum Rewrite:
    RW_SRC = 1
    RW_DST = 2
    RW_SPORT = 4
    RW_DPORT = 8
    RW_TUPLE = 15           # any of those
    RW_HAIRPIN = 16         # it leaves by an uplink to an address of the edge itself
    RW_MAPPED = 32          # of the original direction: the session holds an endpoint-independent mapping
    RW_ALG = 64             # a control session of an application layer gateway, see native.expect
    RW_CALLS_BACK = 128     # of the original direction: one had announced it to the address that it bears

ctypedef struct Flow:
    # 64 bytes: a key and, for IPv4, everything that is written into a packet that bears it.  (IPv6 addresses are read
    # from the other direction's key.)
    Key key
    uint32_t new_src
    uint32_t new_dst
    uint16_t new_sport
    uint16_t new_dport
    uint16_t l3_delta       # folded RFC 1624 sums; 0 where nothing changes
    uint16_t l4_delta
    uint16_t out_port
    uint8_t rewrite         # Rewrite bits
    uint8_t scales          # TCP, see native.window: this side's window scale, the other side's << 4
    uint8_t own_reach       # TCP: log2 of the largest window that this side has advertised + 1; 0: nothing is known
    uint8_t peer_reach
    uint16_t edge_win       # TCP: the window, in units of its scale, that came with what this side last acknowledged

ctypedef struct Session:
    Flow flow[2]
    # hot: written by every packet
    uint64_t expires        # ns; alive while now < expires
    uint64_t packets[2]
    uint64_t bytes[2]
    uint32_t seqlo[2]       # TCP, by side: the highest end of a segment seen
    uint32_t seqhi[2]       # the highest end that the other side's window lets it send
    uint8_t state[2]        # a TcpState or UdpState each
    uint8_t kind            # native.packet Kind of the packet that made it
    uint8_t live            # 0, or the mark of the table that it is in
    uint32_t revision       # of the configuration that last admitted it
    # cold
    uint64_t id             # of the edge's first session 1, one more with each
    uint64_t created
    uint64_t folded_packets     # already counted on its rules
    uint64_t folded_bytes
    uint64_t noted          # ns: the deadline by which it is in the heap, 0: it is not
    uint32_t next
    uint32_t fw_slot        # counter slots of the rules that admitted it, NONE where there is none
    uint32_t dnat_slot
    uint32_t snat_slot
    uint32_t admitted_slot  # fw_slot, or that of the NAT rule that let it bypass the firewall
    uint32_t usage_slot     # of the external address it holds, NONE

ctypedef struct Bucket:
    uint16_t tag[8]         # 0: empty
    uint32_t flow[8]
    uint16_t passed_on
    uint16_t unused[7]

cdef extern from *:
    """
    #include <stdint.h>
    typedef struct { uint64_t who, when; } t1_due;
    static inline unsigned __int128 t1_due_key(const t1_due *due) {
        return (unsigned __int128)due->when << 64 | due->who;
    }
    static inline int t1_sooner(const t1_due *a, const t1_due *b) { return t1_due_key(a) < t1_due_key(b); }
    /* Which of four. */
    static inline uint32_t t1_soonest(const t1_due *four) {
        uint32_t left = t1_sooner(&four[1], &four[0]), right = 2 + t1_sooner(&four[3], &four[2]);
        return t1_sooner(&four[right], &four[left]) ? right : left;
    }
    """
    # When a session is looked at, in ns, and who: the low bits of its identifier << NUMBER_BITS | its number.
    ctypedef struct Due "t1_due":
        uint64_t who
        uint64_t when
    bint sooner "t1_sooner"(const Due *a, const Due *b) noexcept nogil
    uint32_t soonest_of_four "t1_soonest"(const Due *four) noexcept nogil

ctypedef struct Table:
    Session *sessions       # a reservation of `capacity`; memory is touched as sessions are made
    Bucket *buckets
    uint64_t mask           # buckets - 1
    uint64_t seed[2]
    uint64_t reserved       # bytes behind `sessions`
    uint64_t bucket_bytes
    Bucket *old             # an index that is being moved into `buckets`; NULL: none is
    uint64_t old_mask
    uint64_t moved          # how many of its buckets are empty already
    Bucket *prepared        # the next index: memory that is touched page by page, before it is needed
    uint64_t touched        # bytes of it
    uint32_t capacity
    uint32_t count
    uint32_t top            # sessions never used yet start here
    uint32_t end            # of several workers: those up to here are this one's
    uint32_t *claimed       # likewise: how many are somebody's; NULL: this one is alone
    uint8_t mark            # Session.live of those in this table: workers have tables of their own over one array
    uint32_t free           # list through Session.next
    uint32_t half_open
    uint64_t next_check     # ns before which nothing can expire
    Due *due                # the heap, from place FIRST_DUE to `last_due`; NULL: this table has none
    uint32_t *places        # by session number >> CREW_BITS: the place there, 0: there is none
    uint64_t due_reserved   # bytes
    uint64_t places_reserved
    uint32_t last_due


cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    static inline uint32_t t1_tags(const uint16_t *tags, uint16_t tag) {
        __m128i equal = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)tags), _mm_set1_epi16((short)tag));
        return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())) & 0xff;
    }
    #else
    static inline uint32_t t1_tags(const uint16_t *tags, uint16_t tag) {
        uint32_t mask = 0;
        for (int i = 0; i < 8; i++) mask |= (uint32_t)(tags[i] == tag) << i;
        return mask;
    }
    #endif
    static inline uint64_t t1_mix(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    static inline int t1_lowest(uint32_t mask) { return __builtin_ctz(mask); }
    """
    uint32_t matching_tags "t1_tags"(const uint16_t *tags, uint16_t tag) noexcept nogil
    uint64_t mix "t1_mix"(uint64_t a, uint64_t b) noexcept nogil
    int lowest "t1_lowest"(uint32_t mask) noexcept nogil


cdef inline uint64_t hash_key(const Table *table, const Key *key) noexcept nogil:
    cdef uint64_t h = mix(key.meta ^ table.seed[0], (key.src_lo << 32 | key.src_lo >> 32) ^ key.dst_lo ^ table.seed[1])
    if (key.meta >> 16) & 0xff == 6:
        h = mix(h ^ key.src_hi ^ table.seed[1], key.dst_hi ^ table.seed[0])
    return mix(h ^ key.dst_lo, 0x9E3779B97F4A7C15ULL ^ table.seed[0])


cdef inline bint same_key(const Key *a, const Key *b) noexcept nogil:
    return (a.meta == b.meta and a.src_lo == b.src_lo and a.dst_lo == b.dst_lo
            and a.src_hi == b.src_hi and a.dst_hi == b.dst_hi)


cdef inline uint16_t tag_of(uint64_t h) noexcept nogil:
    return <uint16_t>(h >> 48) | 1


cdef inline Flow *flow_at(const Table *table, uint32_t number) noexcept nogil:
    return &table.sessions[number >> 1].flow[number & 1]


cdef inline uint32_t lookup_in(
    const Table *table, const Bucket *buckets, uint64_t mask, const Key *key, uint64_t h
) noexcept nogil:
    cdef uint64_t at = h & mask
    cdef uint16_t tag = tag_of(h)
    cdef const Bucket *bucket
    cdef uint32_t candidates
    cdef uint32_t number
    while True:
        bucket = &buckets[at]
        candidates = matching_tags(bucket.tag, tag)
        while candidates:
            number = bucket.flow[lowest(candidates)]
            if likely(same_key(&flow_at(table, number).key, key)):
                return number
            candidates &= candidates - 1
        if likely(bucket.passed_on == 0):
            return NONE
        at = (at + 1) & mask


cdef inline uint32_t lookup(const Table *table, const Key *key, uint64_t h) noexcept nogil:
    # The flow number with this key, or NONE.
    cdef uint32_t number = lookup_in(table, table.buckets, table.mask, key, h)
    if unlikely(table.old != NULL) and number == NONE:
        return lookup_in(table, table.old, table.old_mask, key, h)
    return number


cdef inline void set_hash(const Table *table, Packet *packet) noexcept nogil:
    # Of a packet that has another key now.
    packet.hash = hash_key(table, &packet.key)
    packet.guess = NONE
    packet.asked = NOT_ASKED


cdef inline void prefetch_bucket(const Table *table, const Packet *packet) noexcept nogil:
    prefetch(&table.buckets[packet.hash & table.mask])
    if unlikely(table.old != NULL):
        prefetch(&table.old[packet.hash & table.old_mask])


cdef inline void prefetch_session(const Table *table, Packet *packet) noexcept nogil:
    # Reads the bucket that prefetch_bucket() asked for and asks for the session that it probably names.
    cdef const Bucket *bucket = &table.buckets[packet.hash & table.mask]
    cdef uint32_t candidates = matching_tags(bucket.tag, tag_of(packet.hash))
    cdef uint32_t number
    if unlikely(table.old != NULL) and not candidates:
        bucket = &table.old[packet.hash & table.old_mask]
        candidates = matching_tags(bucket.tag, tag_of(packet.hash))
    if candidates:
        number = bucket.flow[lowest(candidates)]
        packet.guess = number
        prefetch(flow_at(table, number))
        prefetch(&table.sessions[number >> 1].expires)


cdef inline uint32_t flow_of(const Table *table, const Packet *packet) noexcept nogil:
    # The flow number of a packet's session, or NONE.  A guess is right if that session lives and has the key: both keys
    # of every live session are in the index, and no key is there twice.
    cdef uint32_t number = packet.guess
    cdef const Session *session
    if likely(number != NONE):
        session = &table.sessions[number >> 1]
        if likely(session.live and same_key(&session.flow[number & 1].key, &packet.key)):
            return number
    return lookup(table, &packet.key, packet.hash)


cdef inline void key_reversed(const Key *key, uint8_t side, Key *out) noexcept nogil:
    # The key of an answer to a packet with `key`, entering on `side`.
    out.meta = ((key.meta & 0x0000ffff00000000ULL) << 16 | (key.meta & 0xffff000000000000ULL) >> 16
                | (key.meta & 0xffff0000ULL) | (key.meta & ROLE_ASKS) << 1 | (key.meta & ROLE_ANSWERS) >> 1 | side)
    out.src_lo = key.dst_lo
    out.dst_lo = key.src_lo
    out.src_hi = key.dst_hi
    out.dst_hi = key.src_hi


cdef inline uint32_t numbers_used(const Table *table) noexcept nogil:
    # Sessions of this table have lower numbers; where there are several workers, so may others.
    return table.top if likely(table.claimed == NULL) else table.claimed[0]


cdef inline bint is_in(const Table *table, uint32_t number) noexcept nogil:
    # Is there a session with this number that belongs to this table?
    return table.sessions[number].live == table.mark


cdef int table_init(Table *table, uint64_t seed) noexcept nogil
cdef int table_reserve(Table *table, uint32_t capacity) noexcept nogil
cdef void table_free(Table *table) noexcept nogil
cdef uint32_t table_add(Table *table, const Key *original, const Key *reply) noexcept nogil
cdef void table_remove(Table *table, uint32_t session) noexcept nogil
cdef bint table_pass_on(Table *giver, Table *taker, uint32_t session) noexcept nogil
cdef int due_reserve(Table *table, uint32_t capacity, uint32_t numbers) noexcept nogil
cdef void due_add(Table *table, uint32_t session) noexcept nogil
cdef void due_sooner(Table *table, uint32_t session) noexcept nogil
cdef bint look_at_next(Table *table, uint64_t now, uint32_t *session) noexcept nogil


cdef inline bint is_over(const Table *table, uint32_t flow, uint64_t now) noexcept nogil:
    # Is the time over of the session that has this flow?  It may still be in the table.
    return table.sessions[flow >> 1].expires <= now


cdef inline uint32_t lookup_alive(const Table *table, const Key *key, uint64_t now) noexcept nogil:
    # The flow number with this key of a session whose time is not over, or NONE.
    cdef uint32_t found = lookup(table, key, hash_key(table, key))
    return NONE if found == NONE or is_over(table, found, now) else found


cdef inline uint32_t crews(uint32_t numbers) noexcept nogil:
    # How many entries of the heap as many sessions have at the most.
    return (numbers + CREW - 1) >> CREW_BITS


cdef inline uint64_t next_look(const Table *table) noexcept nogil:
    # When the next session is to be looked at, ns.
    return table.due[FIRST_DUE].when if table.last_due >= FIRST_DUE else <uint64_t>0xffffffffffffffffULL


cdef inline void keep_alive(Table *table, uint32_t number, uint64_t expires) noexcept nogil:
    # Moves a session's deadline.
    cdef Session *session = &table.sessions[number]
    cdef uint64_t before = session.expires
    session.expires = expires
    if likely(expires >= before):
        return
    due_sooner(table, number)


cdef inline void track(Session *session, int me, uint8_t flags) noexcept nogil:
    # One TCP packet from side `me`; that fits its windows: the states are BSD's.
    cdef int peer = 1 - me
    if flags & RST:
        session.state[0] = TCP_TIME_WAIT
        session.state[1] = TCP_TIME_WAIT
        return
    if flags & SYN and session.state[me] < TCP_SYN_SENT:
        session.state[me] = TCP_SYN_SENT
    if flags & FIN and session.state[me] < TCP_CLOSING:
        session.state[me] = TCP_CLOSING
    if flags & ACK:
        if session.state[peer] == TCP_SYN_SENT:
            session.state[peer] = TCP_ESTABLISHED
        elif session.state[peer] == TCP_CLOSING:
            session.state[peer] = TCP_FIN_WAIT_2
    if not flags & SYN and session.state[me] == TCP_CLOSED:
        session.state[me] = TCP_ESTABLISHED


cdef inline bint stays_established(const Session *session, uint8_t flags) noexcept nogil:
    # Would track() change nothing?
    return (session.state[0] == TCP_ESTABLISHED and session.state[1] == TCP_ESTABLISHED
            and not flags & (FIN | SYN | RST))


cdef inline bint is_half_open(const Session *session) noexcept nogil:
    return session.kind == K_TCP and (session.state[0] < TCP_ESTABLISHED or session.state[1] < TCP_ESTABLISHED)
