# Ports that were found taken where many are, so that an allocation does not look up again what another has met.
#
# A block is a bitmap of 4,096 ports: of the keys that differ in the lower twelve bits of their destination port alone,
# which for replies means one external address and one remote endpoint.  A bit is set when a lookup has found its key in
# the table, and cleared when that key leaves it: whoever removes one calls note_left().  So a set bit is true, whatever
# had made the session; a clear one, or a block that there is not, says nothing, and the table is asked.
#
# A block is made by an allocation that has met PATIENCE taken ports in it, and dropped when it knows of fewer than FEW.
# A key is in one block at most: of a table of so many keys there are never more blocks than keys / FEW, and that many
# are reserved, and as many chains to find them by.

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from native.memory cimport enlarge_to, release, reserve
from native.packet cimport Key, key_dport
from native.session cimport Table, hash_key, same_key

cdef enum:
    BLOCK_SHIFT = 12
    BLOCK_PORTS = 4096
    BLOCK_WORDS = 64
    PATIENCE = 64
    FEW = 32
    FIRST_CHAINS = 64
    NO_PORT = 0x10000

ctypedef struct PortBlock:
    Key key                 # of any of its ports, with the block's number for the destination port
    uint64_t taken[BLOCK_WORDS]
    uint64_t full           # words of which every bit is set
    uint32_t count          # bits that are set
    uint32_t next           # in its chain, or of those that are unused; 0: none

ctypedef struct PortBlocks:
    PortBlock *blocks       # a reservation; number 0 is none
    uint64_t reserved       # bytes
    uint32_t capacity
    uint32_t count
    uint32_t top            # numbers used so far
    uint32_t free           # list through PortBlock.next
    uint32_t *chains        # by hash: number of the first block, 0: none
    uint64_t chain_mask     # chains - 1: at least as many as there may be blocks


cdef extern from *:
    """
    static inline int t1_first(uint64_t bits) { return __builtin_ctzll(bits); }
    """
    int first_bit "t1_first"(uint64_t bits) noexcept nogil


cdef inline void free_chains(PortBlocks *blocks) noexcept nogil:
    if blocks.chains != NULL:
        release(blocks.chains, (blocks.chain_mask + 1) * sizeof(uint32_t))
    blocks.chains = NULL


cdef inline void chain_up(PortBlocks *blocks, const Table *table, uint32_t *chains, uint64_t mask) noexcept nogil:
    # Puts every block into one of the new chains instead of the old ones.
    cdef uint32_t number
    cdef uint32_t next
    cdef uint32_t *chain
    cdef uint64_t i
    if blocks.count:
        for i in range(blocks.chain_mask + 1):
            number = blocks.chains[i]
            while number:
                next = blocks.blocks[number].next
                chain = &chains[hash_key(table, &blocks.blocks[number].key) & mask]
                blocks.blocks[number].next = chain[0]
                chain[0] = number
                number = next
    free_chains(blocks)
    blocks.chains = chains
    blocks.chain_mask = mask


cdef inline int port_blocks_reserve(PortBlocks *blocks, const Table *table, uint32_t sessions) noexcept nogil:
    # Address space for all blocks that `table` with so many sessions, of two keys each, can make necessary; 0, or -1
    # with no less than before.
    cdef uint64_t most = <uint64_t>sessions * 2 // FEW + 1
    cdef uint64_t size = FIRST_CHAINS
    cdef uint32_t *chains
    if (most + 1) * sizeof(PortBlock) <= blocks.reserved:
        return 0
    while size < most:
        size *= 2
    if blocks.chains == NULL or size > blocks.chain_mask + 1:
        chains = <uint32_t *>reserve(size * sizeof(uint32_t))
        if chains == NULL:
            return -1
        chain_up(blocks, table, chains, size - 1)
    if enlarge_to(<void **>&blocks.blocks, &blocks.reserved, (most + 1) * sizeof(PortBlock)) != 0:
        return -1
    blocks.capacity = <uint32_t>most
    return 0


cdef inline void port_blocks_free(PortBlocks *blocks) noexcept nogil:
    release(blocks.blocks, blocks.reserved)
    free_chains(blocks)
    blocks.blocks = NULL


cdef inline void block_key(const Key *key, Key *out) noexcept nogil:
    out[0] = key[0]
    out.meta = (key.meta & 0xffff0000ffffffffULL) | <uint64_t>(key_dport(key) >> BLOCK_SHIFT) << 32


cdef inline uint32_t *chain_of(PortBlocks *blocks, const Table *table, const Key *of_block) noexcept nogil:
    return &blocks.chains[hash_key(table, of_block) & blocks.chain_mask]


cdef inline PortBlock *find_block(PortBlocks *blocks, const Table *table, const Key *key) noexcept nogil:
    # The block that a key of the table is or would be in; NULL: there is none.
    cdef Key wanted
    cdef uint32_t number
    if blocks.count == 0:
        return NULL
    block_key(key, &wanted)
    number = chain_of(blocks, table, &wanted)[0]
    while number and not same_key(&blocks.blocks[number].key, &wanted):
        number = blocks.blocks[number].next
    return &blocks.blocks[number] if number else NULL


cdef inline PortBlock *make_block(PortBlocks *blocks, const Table *table, const Key *key) noexcept nogil:
    # The block of a key that has none, empty; NULL: no room.
    cdef uint32_t number = blocks.free
    cdef uint32_t *chain
    cdef PortBlock *block
    if number:
        blocks.free = blocks.blocks[number].next
    elif blocks.top < blocks.capacity:
        blocks.top += 1
        number = blocks.top
    else:
        return NULL
    block = &blocks.blocks[number]
    memset(block, 0, sizeof(PortBlock))
    block_key(key, &block.key)
    chain = chain_of(blocks, table, &block.key)
    block.next = chain[0]
    chain[0] = number
    blocks.count += 1
    return block


cdef inline void drop_block(PortBlocks *blocks, const Table *table, PortBlock *block) noexcept nogil:
    cdef uint32_t number = <uint32_t>(block - blocks.blocks)
    cdef uint32_t *link = chain_of(blocks, table, &block.key)
    while link[0] != number:
        link = &blocks.blocks[link[0]].next
    link[0] = block.next
    block.next = blocks.free
    blocks.free = number
    blocks.count -= 1


cdef inline void note_taken(PortBlock *block, uint16_t port) noexcept nogil:
    # A lookup has found the key with this port.
    cdef uint32_t word = port >> 6 & (BLOCK_WORDS - 1)
    block.taken[word] |= <uint64_t>1 << (port & 63)
    block.count += 1
    if block.taken[word] == 0xffffffffffffffffULL:
        block.full |= <uint64_t>1 << word


cdef inline bint met_taken(
    PortBlocks *blocks, const Table *table, const Key *key, PortBlock **block, uint32_t *met
) noexcept nogil:
    # An allocation has looked up a key whose bit is not set in `block`, NULL: there is none, and found it; `met` are
    # those before it.  True: now there is a block, and it has to hear of all of them.
    if block[0] != NULL:
        note_taken(block[0], key_dport(key))
        return False
    met[0] += 1
    if met[0] != PATIENCE:
        return False
    block[0] = make_block(blocks, table, key)
    return block[0] != NULL


cdef inline void note_left(PortBlocks *blocks, const Table *table, const Key *key) noexcept nogil:
    # A key leaves the table.
    cdef PortBlock *block = find_block(blocks, table, key)
    cdef uint32_t word = key_dport(key) >> 6 & (BLOCK_WORDS - 1)
    cdef uint64_t bit = <uint64_t>1 << (key_dport(key) & 63)
    if block == NULL or not block.taken[word] & bit:
        return
    block.taken[word] &= ~bit
    block.full &= ~(<uint64_t>1 << word)
    block.count -= 1
    if block.count < FEW:
        drop_block(blocks, table, block)
