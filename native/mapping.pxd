# Endpoint-independent mappings (RFC 4787, REQ-1): what an internal endpoint is called outside under one SNAT rule, for
# as long as a session uses it.
#
# A mapping is an entry of a session table of its own.  Its keys are the internal endpoint with the rule, as a source,
# and the external endpoint, as a destination, each with a side that no packet enters by.  packets[0] counts its
# sessions, usage_slot is that of its address; next, and `noted` back again, which is of no heap here, link the mappings
# of one internal address under one rule, the oldest first.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.addresses cimport AddressEntry, AddressTable, address_find, address_put, address_remove
from native.packet cimport (
    K_ICMP_QUERY, K_TCP, K_UDP, Key, key_dport, key_family, key_proto, key_sport, make_meta,
)
from native.port_blocks cimport PortBlocks, note_left
from native.session cimport NONE, Session, Table, hash_key, lookup, table_add, table_remove

cdef enum:
    SIDE_INTERNAL = 3
    SIDE_EXTERNAL = 4

ctypedef struct Mappings:
    Table table
    AddressTable holders    # internal address and rule -> its first and last mapping
    PortBlocks taken        # external endpoints that were met


cdef inline bint draws_port(uint8_t kind) noexcept nogil:
    # Does SNAT give packets of this kind a source port (or identifier) of its own choice?
    return kind == K_TCP or kind == K_UDP or kind == K_ICMP_QUERY


cdef inline void internal_key(const Key *entered, uint32_t rule_slot, Key *out) noexcept nogil:
    out.meta = make_meta(key_sport(entered), 0, key_proto(entered), key_family(entered), SIDE_INTERNAL)
    out.src_hi = entered.src_hi
    out.src_lo = entered.src_lo
    out.dst_hi = 0
    out.dst_lo = rule_slot


cdef inline void external_key(const Key *reply, Key *out) noexcept nogil:
    # The external endpoint is where replies go to.
    out.meta = make_meta(0, key_dport(reply), key_proto(reply), key_family(reply), SIDE_EXTERNAL)
    out.src_hi = 0
    out.src_lo = 0
    out.dst_hi = reply.dst_hi
    out.dst_lo = reply.dst_lo


cdef inline uint32_t find_mapping(const Mappings *mappings, const Key *key) noexcept nogil:
    # The number of the mapping with an internal or external key, NONE if there is none.
    cdef uint32_t found = lookup(&mappings.table, key, hash_key(&mappings.table, key))
    return NONE if found == NONE else found >> 1


cdef inline uint32_t mapping_of(const Mappings *mappings, const Key *entered, uint32_t rule_slot) noexcept nogil:
    # What the source of a packet is mapped to.
    cdef Key key
    internal_key(entered, rule_slot, &key)
    return find_mapping(mappings, &key)


cdef inline const Key *external_of(const Mappings *mappings, uint32_t number) noexcept nogil:
    # A mapping's external endpoint, as the key's destination.
    return &mappings.table.sessions[number].flow[1].key


cdef inline uint64_t holder_tag(const Key *internal) noexcept nogil:
    return internal.dst_lo << 8 | key_family(internal)


cdef inline uint32_t oldest_mapping(const Mappings *mappings, const Key *entered, uint32_t rule_slot) noexcept nogil:
    # Of a packet's source address, whatever its port and protocol.
    cdef Key key
    cdef const AddressEntry *holder
    internal_key(entered, rule_slot, &key)
    holder = address_find(&mappings.holders, key.src_hi, key.src_lo, holder_tag(&key))
    return NONE if holder == NULL else holder.first


cdef inline bint make_mapping(
    Mappings *mappings, const Key *internal, const Key *reply, uint32_t usage_slot
) noexcept nogil:
    # A mapping for a first session; False when there is no room.
    cdef Key external
    cdef AddressEntry *holder
    cdef Session *mapping
    cdef uint32_t number
    external_key(reply, &external)
    number = table_add(&mappings.table, internal, &external)
    if number == NONE:
        return False
    holder = address_put(&mappings.holders, internal.src_hi, internal.src_lo, holder_tag(internal), NONE)
    if holder == NULL:
        table_remove(&mappings.table, number)
        return False
    mapping = &mappings.table.sessions[number]
    mapping.packets[0] = 1
    mapping.usage_slot = usage_slot
    mapping.next = NONE
    mapping.noted = holder.last
    if holder.last == NONE:
        holder.first = number
    else:
        mappings.table.sessions[holder.last].next = number
    holder.last = number
    return True


cdef inline bint hold_mapping(
    Mappings *mappings, const Key *entered, uint32_t rule_slot, const Key *reply, uint32_t usage_slot
) noexcept nogil:
    # For one more session of the mapping, which is made if it is the first; False when there is no room for it.
    cdef Key internal
    cdef uint32_t number
    internal_key(entered, rule_slot, &internal)
    number = find_mapping(mappings, &internal)
    if number == NONE:
        return make_mapping(mappings, &internal, reply, usage_slot)
    mappings.table.sessions[number].packets[0] += 1
    return True


cdef inline void release_mapping(Mappings *mappings, const Key *reply) noexcept nogil:
    # A session that held a mapping, and whose replies bear this key, is over.
    cdef Key external
    cdef AddressEntry *holder
    cdef Session *mapping
    cdef const Key *internal
    cdef uint32_t number
    external_key(reply, &external)
    number = find_mapping(mappings, &external)
    mapping = &mappings.table.sessions[number]
    mapping.packets[0] -= 1
    if mapping.packets[0]:
        return
    internal = &mapping.flow[0].key
    holder = address_find(&mappings.holders, internal.src_hi, internal.src_lo, holder_tag(internal))
    if mapping.noted == NONE:
        holder.first = mapping.next
    else:
        mappings.table.sessions[<uint32_t>mapping.noted].next = mapping.next
    if mapping.next == NONE:
        holder.last = <uint32_t>mapping.noted
    else:
        mappings.table.sessions[mapping.next].noted = mapping.noted
    if holder.first == NONE:
        address_remove(&mappings.holders, holder)
    note_left(&mappings.taken, &mappings.table, &external)
    table_remove(&mappings.table, number)
