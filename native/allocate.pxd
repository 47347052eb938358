# Which source port a new session leaves with: one whose reply key is free, the first from a random one on.

from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t

from native.account cimport is_behind
from native.engine cimport State
from native.living cimport living
from native.mapping cimport external_key, find_mapping
from native.packet cimport K_UDP, Key, Packet, key_dport, key_side, key_sport, set_ports
from native.port_blocks cimport (
    BLOCK_PORTS, BLOCK_WORDS, NO_PORT, PortBlock, find_block, first_bit, met_taken,
)
from native.program cimport ProgramData, is_blocked, open_ports
from native.session cimport NONE, hash_key, key_reversed, lookup, same_key
from native.wire cimport unlikely

cdef enum:
    ASKED_MOST = 256            # sessions, by a packet for which no port is left


cdef inline uint64_t next_random(State *state) noexcept nogil:
    # splitmix64
    cdef uint64_t z
    state.random += 0x9E3779B97F4A7C15ULL
    z = state.random
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return z ^ (z >> 31)


cdef inline bint answers_itself(const Key *reply) noexcept nogil:
    # Is what has left the same as its own answer, from an end to that very end?
    cdef Key left
    if reply.src_lo != reply.dst_lo or reply.src_hi != reply.dst_hi:
        return False
    key_reversed(reply, key_side(reply), &left)
    return same_key(&left, reply)


cdef inline bint is_open(const State *state, const Key *reply) noexcept nogil:
    # Is it no session's key?
    return lookup(&state.table, reply, hash_key(&state.table, reply)) == NONE


cdef inline bint is_of_one(const Key *original, const Key *reply) noexcept nogil:
    # Could a session not tell its own two directions apart?
    return same_key(original, reply) or answers_itself(reply)


cdef inline bint is_free(State *state, const Key *original, const Key *reply) noexcept nogil:
    # Likewise; a session that is over makes way.
    cdef uint32_t found
    if is_of_one(original, reply):
        return False
    found = lookup(&state.table, reply, hash_key(&state.table, reply))
    return living(state, found) == NONE


cdef inline uint64_t candidates(
    const ProgramData *program, const Packet *packet, const PortBlock *talking, const PortBlock *mapped, uint32_t word
) noexcept nogil:
    # Of the ports 64 * word .. 64 * word + 63, those that may be had and are not known to be taken.
    cdef uint64_t bits = open_ports(program, packet.proto, word)
    if program.endpoint_independent and packet.kind == K_UDP:       # RFC 4787, REQ-4
        bits &= 0xAAAAAAAAAAAAAAAAULL if key_sport(&packet.key) & 1 else 0x5555555555555555ULL
    if talking != NULL:
        bits &= ~talking.taken[word & (BLOCK_WORDS - 1)]
    if mapped != NULL:
        bits &= ~mapped.taken[word & (BLOCK_WORDS - 1)]
    return bits


cdef inline uint32_t next_candidate(
    const ProgramData *program, const Packet *packet, const PortBlock *talking, const PortBlock *mapped, uint32_t port
) noexcept nogil:
    # The first from `port` on in its block; NO_PORT.
    cdef uint32_t word = port >> 6
    cdef uint64_t full = (talking.full if talking != NULL else 0) | (mapped.full if mapped != NULL else 0)
    cdef uint64_t bits = (
        candidates(program, packet, talking, mapped, word) & <uint64_t>0xffffffffffffffffULL << (port & 63))
    cdef uint64_t words
    while bits == 0:
        words = ~full & <uint64_t>0xfffffffffffffffeULL << (word & (BLOCK_WORDS - 1))
        if words == 0:
            return NO_PORT
        word = (word & ~<uint32_t>(BLOCK_WORDS - 1)) | <uint32_t>first_bit(words)
        bits = candidates(program, packet, talking, mapped, word)
    return word << 6 | <uint32_t>first_bit(bits)


cdef inline bint allocate_in_block(
    State *state, const ProgramData *program, const Packet *packet, Key *key, uint8_t side, uint32_t first,
    uint32_t last, Key *reply
) noexcept nogil:
    # The first free port of `first` .. `last`, all of one block, for `key` and `reply`.
    cdef PortBlock *talking
    cdef PortBlock *mapped = NULL
    cdef Key external
    cdef uint32_t met_talking = 0
    cdef uint32_t met_mapped = 0
    cdef uint32_t port = first
    cdef bint again
    set_ports(key, <uint16_t>first, key_dport(key))
    key_reversed(key, side, reply)
    talking = find_block(&state.taken, &state.table, reply)
    if program.endpoint_independent:
        external_key(reply, &external)
        mapped = find_block(&state.mappings.taken, &state.mappings.table, &external)
    while True:
        port = next_candidate(program, packet, talking, mapped, port)
        if port > last:
            return False
        set_ports(key, <uint16_t>port, key_dport(key))
        key_reversed(key, side, reply)
        again = False
        if program.endpoint_independent:
            external_key(reply, &external)
        if program.endpoint_independent and find_mapping(&state.mappings, &external) != NONE:   # RFC 4787, REQ-3
            again = met_taken(&state.mappings.taken, &state.mappings.table, &external, &mapped, &met_mapped)
        elif not is_open(state, reply):
            again = met_taken(&state.taken, &state.table, reply, &talking, &met_talking)
        elif not is_of_one(&packet.key, reply):
            return True
        port += 1
        if again:
            met_talking = 0
            met_mapped = 0
            port = first
        elif port > last:
            return False


cdef inline bint allocate_between(
    State *state, const ProgramData *program, const Packet *packet, Key *key, uint8_t side, uint32_t first,
    uint32_t end, Key *reply
) noexcept nogil:
    # Likewise of `first` .. `end` - 1, whatever their blocks.
    cdef uint32_t last
    while first < end:
        last = min(first | (BLOCK_PORTS - 1), end - 1)
        if allocate_in_block(state, program, packet, key, side, first, last, reply):
            return True
        first = last + 1
    return False


cdef inline bint is_mappable(
    const State *state, const ProgramData *program, const Packet *packet, const Key *reply
) noexcept nogil:
    # May the endpoint inside be called this outside?
    cdef Key external
    if not program.endpoint_independent:
        return True
    if packet.kind == K_UDP and (key_sport(&packet.key) ^ key_dport(reply)) & 1:                # RFC 4787, REQ-4
        return False
    external_key(reply, &external)
    return find_mapping(&state.mappings, &external) == NONE                                     # RFC 4787, REQ-3


cdef inline bint allocate_again(
    State *state, const ProgramData *program, const Packet *packet, Key *key, uint8_t side, uint32_t start, Key *reply,
    uint32_t *asked
) noexcept nogil:
    # Where every port is taken: one of a session that is over, of the first ones from `start` on.
    cdef uint32_t found
    cdef uint32_t port
    cdef uint32_t i
    for i in range(program.snat_count):
        if asked[0] == ASKED_MOST:
            return False
        port = program.snat_first + (start + i) % program.snat_count
        if is_blocked(program, packet.proto, <uint16_t>port):
            continue
        asked[0] += 1
        set_ports(key, <uint16_t>port, key_dport(key))
        key_reversed(key, side, reply)
        found = lookup(&state.table, reply, hash_key(&state.table, reply))
        if found != NONE and living(state, found) == NONE:
            if is_mappable(state, program, packet, reply) and not is_of_one(&packet.key, reply):
                return True
    return False


cdef inline bint allocate_port(
    State *state, const ProgramData *program, const Packet *packet, Key *key, uint8_t side, Key *reply, uint32_t *asked
) noexcept nogil:
    # A source port (or ICMP identifier) for `key` with which `reply` is free; False: there is none.  `asked` are the
    # sessions that were asked to make way.
    cdef uint32_t first = program.snat_first
    cdef uint32_t start = first + <uint32_t>(next_random(state) % program.snat_count)
    return (allocate_between(state, program, packet, key, side, start, first + program.snat_count, reply)
            or allocate_between(state, program, packet, key, side, first, start, reply)
            or (unlikely(is_behind(state) or state.change != NULL)
                and allocate_again(state, program, packet, key, side, start - first, reply, asked)))
