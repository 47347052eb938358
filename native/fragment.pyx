"""Reassembly: the memory of datagrams in pieces, and the judgement on each piece."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from native.fragment cimport (
    CHUNK, DATAGRAM_MAX, NO_CHUNK, PIECES_MAX, Chunk, Datagram, Fragments, Pieces, count_units, set_pieces, take_units,
)
from native.memory cimport release, reserve
from native.packet cimport PARSED, Key, Packet, last_next_header, parse_whole
from native.piece cimport Piece, is_faulty, read_piece
from native.session cimport same_key
from native.stats cimport R_FRAGMENT_ERROR, R_FRAGMENT_HELD, R_FRAGMENT_LIMIT
from native.wire cimport fold, put16, sum_bytes

# ---------------------------------------------------------------- memory

cdef int fragments_init(Fragments *fragments) noexcept nogil:
    # Room for no piece yet; 0, or -1 when there is no memory.
    memset(fragments, 0, sizeof(Fragments))
    fragments.due = 0xffffffffffffffffULL
    fragments.free_chunk = NO_CHUNK
    fragments.free_datagram = NO_CHUNK
    fragments.oldest = NO_CHUNK
    fragments.newest = NO_CHUNK
    fragments.whole = <uint8_t *>malloc(14 + DATAGRAM_MAX)
    return 0 if fragments.whole != NULL else -1


cdef int fragments_reserve(Fragments *fragments, uint32_t capacity) noexcept nogil:
    # Address space for at least so many chunks; 0, or -1 with nothing changed.
    cdef Fragments old = fragments[0]
    cdef uint64_t buckets = 64
    cdef uint64_t size
    if capacity <= fragments.capacity:
        return 0
    while buckets < capacity:
        buckets *= 2
    size = <uint64_t>capacity * (CHUNK + sizeof(Chunk) + sizeof(Datagram)) + buckets * 4
    fragments.memory = reserve(size)
    if fragments.memory == NULL:
        fragments.memory = old.memory
        return -1
    fragments.reserved = size
    fragments.capacity = capacity
    fragments.bytes = <uint8_t *>fragments.memory
    fragments.datagrams = <Datagram *>(fragments.bytes + <uint64_t>capacity * CHUNK)
    fragments.chunks = <Chunk *>(fragments.datagrams + capacity)
    fragments.index = <uint32_t *>(fragments.chunks + capacity)
    fragments.mask = <uint32_t>(buckets - 1)
    if old.memory != NULL:
        memcpy(fragments.bytes, old.bytes, <uint64_t>old.top_chunk * CHUNK)
        memcpy(fragments.chunks, old.chunks, old.top_chunk * sizeof(Chunk))
        memcpy(fragments.datagrams, old.datagrams, old.top_datagram * sizeof(Datagram))
        release(old.memory, old.reserved)
        index_anew(fragments)
    return 0


cdef void fragments_free(Fragments *fragments) noexcept nogil:
    release(fragments.memory, fragments.reserved)
    free(fragments.whole)


# ---------------------------------------------------------------- datagrams

cdef uint32_t *bucket_of(const Fragments *fragments, uint64_t hash, uint16_t port) noexcept nogil:
    return &fragments.index[<uint32_t>((hash ^ port) * 0x9E3779B97F4A7C15ULL >> 32) & fragments.mask]


cdef void index_add(Fragments *fragments, uint32_t number) noexcept nogil:
    cdef Datagram *datagram = &fragments.datagrams[number]
    cdef uint32_t *bucket = bucket_of(fragments, datagram.hash, datagram.port)
    datagram.chain = bucket[0]
    bucket[0] = number + 1


cdef void index_anew(Fragments *fragments) noexcept nogil:
    # Ports have got other numbers, or there is a larger index.
    cdef uint32_t number = fragments.oldest
    memset(fragments.index, 0, (<uint64_t>fragments.mask + 1) * 4)
    while number != NO_CHUNK:
        index_add(fragments, number)
        number = fragments.datagrams[number].newer


cdef uint32_t find(const Fragments *fragments, const Key *key, uint64_t hash, uint16_t port) noexcept nogil:
    cdef uint32_t found = bucket_of(fragments, hash, port)[0]
    cdef const Datagram *datagram
    while found:
        datagram = &fragments.datagrams[found - 1]
        if datagram.hash == hash and datagram.port == port and same_key(&datagram.key, key):
            return found - 1
        found = datagram.chain
    return NO_CHUNK


cdef void watch_oldest(Fragments *fragments) noexcept nogil:
    if fragments.oldest == NO_CHUNK:
        fragments.due = 0xffffffffffffffffULL
    else:
        fragments.due = fragments.datagrams[fragments.oldest].arrival + fragments.timeout


cdef void set_limits(Fragments *fragments, uint32_t limit, uint64_t timeout) noexcept nogil:
    fragments.limit = limit
    fragments.timeout = timeout
    watch_oldest(fragments)


cdef uint32_t begin(
    Fragments *fragments, const Key *key, uint64_t hash, uint16_t port, uint64_t now
) noexcept nogil:
    # A datagram without pieces.
    cdef uint32_t number = fragments.free_datagram
    cdef Datagram *datagram
    if number == NO_CHUNK:
        number = fragments.top_datagram
        fragments.top_datagram += 1
    else:
        fragments.free_datagram = fragments.datagrams[number].newer
    datagram = &fragments.datagrams[number]
    memset(datagram, 0, sizeof(Datagram))
    datagram.key = key[0]
    datagram.hash = hash
    datagram.port = port
    datagram.arrival = now
    datagram.first_piece = NO_CHUNK
    datagram.newer = NO_CHUNK
    datagram.older = fragments.newest
    if fragments.newest == NO_CHUNK:
        fragments.oldest = number
        watch_oldest(fragments)
    else:
        fragments.datagrams[fragments.newest].newer = number
    fragments.newest = number
    index_add(fragments, number)
    return number


cdef uint32_t free_chunk(Fragments *fragments) noexcept nogil:
    # One that nobody uses any more; whoever counts units knows that there is one.
    cdef uint32_t chunk = fragments.free_chunk
    if chunk == NO_CHUNK:
        chunk = fragments.top_chunk
        fragments.top_chunk += 1
    else:
        fragments.free_chunk = fragments.chunks[chunk].next
    return chunk


cdef void let_pieces_go(Fragments *fragments, Datagram *datagram) noexcept nogil:
    cdef uint32_t piece = datagram.first_piece
    cdef uint32_t following
    cdef uint32_t last
    while piece != NO_CHUNK:
        following = fragments.chunks[piece].next_piece
        last = piece
        while fragments.chunks[last].next != NO_CHUNK:
            last = fragments.chunks[last].next
        fragments.chunks[last].next = fragments.free_chunk
        fragments.free_chunk = piece
        piece = following
    datagram.first_piece = NO_CHUNK
    count_units(fragments, -<int32_t>datagram.chunks)
    datagram.chunks = 0


cdef void forget(Fragments *fragments, uint32_t number) noexcept nogil:
    # The datagram and all that there is of it.
    cdef Datagram *datagram = &fragments.datagrams[number]
    cdef uint32_t *link = bucket_of(fragments, datagram.hash, datagram.port)
    while link[0] != number + 1:
        link = &fragments.datagrams[link[0] - 1].chain
    link[0] = datagram.chain
    let_pieces_go(fragments, datagram)
    if datagram.dead:
        count_units(fragments, -1)
    if datagram.newer == NO_CHUNK:
        fragments.newest = datagram.older
    else:
        fragments.datagrams[datagram.newer].older = datagram.older
    if datagram.older == NO_CHUNK:
        fragments.oldest = datagram.newer
        watch_oldest(fragments)
    else:
        fragments.datagrams[datagram.older].newer = datagram.newer
    datagram.newer = fragments.free_datagram
    fragments.free_datagram = number


cdef void drop_overdue(Fragments *fragments, uint64_t now) noexcept nogil:
    while now >= fragments.due:
        fragments.timed_out += not fragments.datagrams[fragments.oldest].dead
        forget(fragments, fragments.oldest)


cdef void sort_in(Fragments *fragments, uint32_t number) noexcept nogil:
    # The newest datagram goes to where its arrival belongs.
    cdef Datagram *all = fragments.datagrams
    cdef uint32_t older = all[number].older
    if older == NO_CHUNK or all[older].arrival <= all[number].arrival:
        return
    fragments.newest = older
    all[older].newer = NO_CHUNK
    while older != NO_CHUNK and all[older].arrival > all[number].arrival:
        all[number].newer = older
        older = all[older].older
    all[all[number].newer].older = number
    all[number].older = older
    if older == NO_CHUNK:
        fragments.oldest = number
        watch_oldest(fragments)
    else:
        all[older].newer = number


cdef uint32_t copy_piece(const Fragments *giver, Fragments *taker, uint32_t piece) noexcept nogil:
    # The first chunk of the copy.
    cdef uint32_t first = NO_CHUNK
    cdef uint32_t last = NO_CHUNK
    cdef uint32_t chunk
    while piece != NO_CHUNK:
        chunk = free_chunk(taker)
        taker.chunks[chunk] = giver.chunks[piece]
        taker.chunks[chunk].next = NO_CHUNK
        memcpy(taker.bytes + <uint64_t>chunk * CHUNK, giver.bytes + <uint64_t>piece * CHUNK, CHUNK)
        if first == NO_CHUNK:
            first = chunk
        else:
            taker.chunks[last].next = chunk
        last = chunk
        piece = giver.chunks[piece].next
    return first


cdef void pass_datagram(Fragments *giver, Fragments *taker, uint32_t number) noexcept nogil:
    # A datagram becomes that of another worker, who has as much room, and whom nobody else is at work with.
    cdef Datagram *old = &giver.datagrams[number]
    cdef uint32_t to = begin(taker, &old.key, old.hash, old.port, old.arrival)
    cdef Datagram *new = &taker.datagrams[to]
    cdef uint32_t piece = old.first_piece
    cdef uint32_t *link = &new.first_piece
    sort_in(taker, to)
    new.chunks = old.chunks
    new.held = old.held
    new.reach = old.reach
    new.end = old.end
    new.widest = old.widest
    new.count = old.count
    new.dead = old.dead
    new.dont_fragment = old.dont_fragment
    while piece != NO_CHUNK:
        link[0] = copy_piece(giver, taker, piece)
        link = &taker.chunks[link[0]].next_piece
        piece = giver.chunks[piece].next_piece
    link[0] = NO_CHUNK
    count_units(taker, <int32_t>new.chunks + new.dead)
    forget(giver, number)


cdef uint8_t kill(Fragments *fragments, Datagram *datagram, uint8_t reason) noexcept nogil:
    # What comes of it later is refused as well (RFC 5722).
    let_pieces_go(fragments, datagram)
    if not datagram.dead:
        datagram.dead = True
        count_units(fragments, 1)
    return reason


# ---------------------------------------------------------------- one piece

cdef bint same_bytes(const Fragments *fragments, uint32_t chunk, const Piece *piece) noexcept nogil:
    # Are the data of a held piece, which has as many, those of the new one?
    cdef uint32_t at = fragments.chunks[chunk].start
    cdef uint32_t left = piece.size
    cdef uint32_t part
    cdef const uint8_t *data = piece.ip + piece.start
    while left:
        part = min(left, CHUNK - at)
        if memcmp(data, fragments.bytes + <uint64_t>chunk * CHUNK + at, part) != 0:
            return False
        data += part
        left -= part
        at = 0
        chunk = fragments.chunks[chunk].next
    return True


cdef uint8_t compare(
    const Fragments *fragments, const Datagram *datagram, const Piece *piece, uint32_t *before
) noexcept nogil:
    # PARSED: it fits, behind the piece *before (NO_CHUNK: before all); FRAGMENT_HELD: it is there already.
    cdef uint32_t end = piece.offset + piece.size
    cdef uint32_t other = datagram.first_piece
    cdef const Chunk *held
    before[0] = NO_CHUNK
    while other != NO_CHUNK:
        held = &fragments.chunks[other]
        if held.offset >= end:
            break
        if held.offset + held.size > piece.offset:
            if (held.offset == piece.offset and held.size == piece.size and held.more == piece.more
                    and same_bytes(fragments, other, piece)):
                return R_FRAGMENT_HELD
            return R_FRAGMENT_ERROR
        before[0] = other
        other = held.next_piece
    if datagram.end and (end > datagram.end or (not piece.more and end != datagram.end)):
        return R_FRAGMENT_ERROR
    if not piece.more and end < datagram.reach:
        return R_FRAGMENT_ERROR
    return PARSED


cdef uint32_t store(Fragments *fragments, const Piece *piece) noexcept nogil:
    # Copies it; its first chunk.
    cdef uint32_t first = NO_CHUNK
    cdef uint32_t last = NO_CHUNK
    cdef uint32_t chunk
    cdef uint32_t at = 0
    while at < piece.ip_size:
        chunk = free_chunk(fragments)
        memcpy(fragments.bytes + <uint64_t>chunk * CHUNK, piece.ip + at, min(<uint32_t>CHUNK, piece.ip_size - at))
        fragments.chunks[chunk].next = NO_CHUNK
        if last == NO_CHUNK:
            first = chunk
        else:
            fragments.chunks[last].next = chunk
        last = chunk
        at += CHUNK
    fragments.chunks[first].size = piece.size
    fragments.chunks[first].offset = <uint16_t>piece.offset
    fragments.chunks[first].start = <uint16_t>piece.start
    fragments.chunks[first].more = piece.more
    return first


cdef void note_piece(Datagram *datagram, const Packet *packet, const Piece *piece) noexcept nogil:
    datagram.count += 1
    datagram.held += piece.size
    datagram.reach = max(datagram.reach, piece.offset + piece.size)
    datagram.widest = max(datagram.widest, piece.ip_size)
    if not piece.more:
        datagram.end = piece.offset + piece.size
    if packet.family == 4 and packet.l3[6] & 0x40:
        datagram.dont_fragment = True


# ---------------------------------------------------------------- the whole

cdef void copy_out(const Fragments *fragments, uint32_t chunk, uint32_t at, uint32_t size, uint8_t *out) noexcept nogil:
    # `size` bytes of a held piece, from byte `at` of its first chunk on.
    cdef uint32_t part
    while size:
        part = min(size, CHUNK - at)
        memcpy(out, fragments.bytes + <uint64_t>chunk * CHUNK + at, part)
        out += part
        size -= part
        at = 0
        chunk = fragments.chunks[chunk].next


cdef uint8_t join(
    Fragments *fragments, const Datagram *datagram, Packet *packet, const Piece *piece, Pieces *came
) noexcept nogil:
    # Puts the datagram, of which `piece` was the last that lacked, together; PARSED, or what is wrong with it.
    cdef uint8_t *l3 = fragments.whole + 14
    cdef uint32_t other = datagram.first_piece
    cdef uint32_t first = other if piece.offset else <uint32_t>NO_CHUNK
    cdef uint32_t start = piece.start if first == NO_CHUNK else fragments.chunks[first].start
    cdef uint32_t headers = start if packet.family == 4 else start - 8
    if headers + datagram.end > <uint32_t>(65535 if packet.family == 4 else 40 + 65535):
        return R_FRAGMENT_ERROR
    if first == NO_CHUNK:
        memcpy(l3, piece.ip, start)
    else:
        copy_out(fragments, first, 0, start, l3)
    came.size = datagram.widest
    came.identification = <uint32_t>(datagram.key.meta >> 32)
    came.at = 0 if packet.family == 4 else <uint16_t>headers
    packet.ip_len = headers + datagram.end
    if packet.family == 4:
        put16(l3 + 2, <uint16_t>packet.ip_len)
        put16(l3 + 6, 0x4000 if datagram.dont_fragment else 0)
        put16(l3 + 10, 0)
        put16(l3 + 10, <uint16_t>~fold(sum_bytes(l3, headers)))
    else:
        l3[last_next_header(l3, headers)] = l3[headers]
        put16(l3 + 4, <uint16_t>(packet.ip_len - 40))
    memcpy(l3 + headers + piece.offset, piece.ip + piece.start, piece.size)
    while other != NO_CHUNK:
        copy_out(fragments, other, fragments.chunks[other].start, fragments.chunks[other].size,
                 l3 + headers + fragments.chunks[other].offset)
        other = fragments.chunks[other].next_piece
    packet.l3 = l3
    return PARSED


cdef uint8_t take_piece(
    Fragments *fragments, Packet *packet, uint16_t port, uint8_t side, uint64_t now, uint64_t seed
) noexcept nogil:
    # A fragment that parse() has recognised: FRAGMENT_HELD, FRAGMENT_ERROR, FRAGMENT_LIMIT, or PARSED when it was the
    # last that lacked: then the packet is the whole, parsed anew (its `error` says with what success), and lies in a
    # buffer that is its own until the next datagram is complete.
    cdef Piece piece
    cdef Pieces came
    cdef Key key
    cdef uint64_t hash
    cdef uint32_t number
    cdef uint32_t before = NO_CHUNK
    cdef uint32_t units
    cdef uint32_t chunk
    cdef Datagram *datagram
    cdef uint8_t result
    read_piece(packet, seed, &piece, &key, &hash)
    number = find(fragments, &key, hash, port)
    datagram = NULL if number == NO_CHUNK else &fragments.datagrams[number]
    if is_faulty(packet, &piece):
        return R_FRAGMENT_ERROR if datagram == NULL else kill(fragments, datagram, R_FRAGMENT_ERROR)
    if datagram != NULL:
        if datagram.dead:
            return R_FRAGMENT_ERROR
        result = compare(fragments, datagram, &piece, &before)
        if result == R_FRAGMENT_HELD:
            return result
        if result != PARSED:
            return kill(fragments, datagram, result)
        if datagram.count == PIECES_MAX:
            return kill(fragments, datagram, R_FRAGMENT_LIMIT)
        if datagram.held + piece.size == (datagram.end if piece.more else piece.offset + piece.size):
            note_piece(datagram, packet, &piece)
            result = join(fragments, datagram, packet, &piece, &came)
            if result != PARSED:
                return kill(fragments, datagram, result)
            forget(fragments, number)
            fragments.reassembled += 1
            parse_whole(packet, side)
            set_pieces(fragments, packet, &came)
            return PARSED
    units = (piece.ip_size + CHUNK - 1) // CHUNK
    if not take_units(fragments, units):
        return R_FRAGMENT_LIMIT
    if datagram == NULL:
        datagram = &fragments.datagrams[begin(fragments, &key, hash, port, now)]
    note_piece(datagram, packet, &piece)
    chunk = store(fragments, &piece)
    datagram.chunks += units
    if before == NO_CHUNK:
        fragments.chunks[chunk].next_piece = datagram.first_piece
        datagram.first_piece = chunk
    else:
        fragments.chunks[chunk].next_piece = fragments.chunks[before].next_piece
        fragments.chunks[before].next_piece = chunk
    return R_FRAGMENT_HELD
