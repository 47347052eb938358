# A hash table from an address (and a tag, such as its family) to two numbers: open addressing with linear probing, no
# tombstones, no more than half full as long as there is memory.

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from native.session cimport mix

cdef enum:
    FIRST_ENTRIES = 512

ctypedef struct AddressEntry:
    uint64_t hi
    uint64_t lo
    uint64_t tag            # 0: empty
    uint32_t first
    uint32_t last

ctypedef struct AddressTable:
    AddressEntry *entries
    uint64_t mask           # entries - 1
    uint64_t seed
    uint32_t count


cdef inline int addresses_init(AddressTable *table, uint64_t seed) noexcept nogil:
    # An empty table; 0, or -1 when there is no memory.
    table.seed = seed
    table.mask = FIRST_ENTRIES - 1
    table.count = 0
    table.entries = <AddressEntry *>calloc(FIRST_ENTRIES, sizeof(AddressEntry))
    return 0 if table.entries != NULL else -1


cdef inline void addresses_free(AddressTable *table) noexcept nogil:
    free(table.entries)
    table.entries = NULL


cdef inline uint64_t address_home(const AddressTable *table, uint64_t hi, uint64_t lo, uint64_t tag) noexcept nogil:
    return mix(mix(lo ^ table.seed, tag ^ 0x9E3779B97F4A7C15ULL) ^ hi, table.seed ^ 0xE7037ED1A0B428DBULL) & table.mask


cdef inline AddressEntry *address_place(
    const AddressTable *table, uint64_t hi, uint64_t lo, uint64_t tag
) noexcept nogil:
    # The address's entry, or the empty one where it belongs.
    cdef uint64_t at = address_home(table, hi, lo, tag)
    cdef AddressEntry *entry
    while True:
        entry = &table.entries[at]
        if entry.tag == 0 or (entry.tag == tag and entry.lo == lo and entry.hi == hi):
            return entry
        at = (at + 1) & table.mask


cdef inline AddressEntry *address_find(
    const AddressTable *table, uint64_t hi, uint64_t lo, uint64_t tag
) noexcept nogil:
    # NULL where there is none.
    cdef AddressEntry *entry = address_place(table, hi, lo, tag)
    return entry if entry.tag else NULL


cdef inline void addresses_grow(AddressTable *table) noexcept nogil:
    # Twice the entries; without memory for that the old ones stay.
    cdef AddressEntry *old = table.entries
    cdef uint64_t size = table.mask + 1
    cdef AddressEntry *new = <AddressEntry *>calloc(size * 2, sizeof(AddressEntry))
    cdef uint64_t i
    if new == NULL:
        return
    table.entries = new
    table.mask = size * 2 - 1
    for i in range(size):
        if old[i].tag:
            address_place(table, old[i].hi, old[i].lo, old[i].tag)[0] = old[i]
    free(old)


cdef inline AddressEntry *address_put(
    AddressTable *table, uint64_t hi, uint64_t lo, uint64_t tag, uint32_t initial
) noexcept nogil:
    # The address's entry, a new one with both numbers at `initial` if there was none; NULL when there is no room.
    cdef AddressEntry *entry = address_place(table, hi, lo, tag)
    if entry.tag:
        return entry
    if (<uint64_t>table.count + 1) * 2 > table.mask:
        addresses_grow(table)
        if <uint64_t>table.count + 1 > table.mask:      # one has to stay empty, or a search would not end
            return NULL
        entry = address_place(table, hi, lo, tag)
    entry.hi = hi
    entry.lo = lo
    entry.tag = tag
    entry.first = initial
    entry.last = initial
    table.count += 1
    return entry


cdef inline void address_remove(AddressTable *table, AddressEntry *entry) noexcept nogil:
    # Closes the gap: what was placed further on because of this entry moves up.
    cdef uint64_t gap = <uint64_t>(entry - table.entries)
    cdef uint64_t at = gap
    cdef uint64_t home
    while True:
        at = (at + 1) & table.mask
        if table.entries[at].tag == 0:
            break
        home = address_home(table, table.entries[at].hi, table.entries[at].lo, table.entries[at].tag)
        if (at - home) & table.mask >= (at - gap) & table.mask:
            table.entries[gap] = table.entries[at]
            gap = at
    table.entries[gap].tag = 0
    table.count -= 1
