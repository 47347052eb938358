# The quick ways through the link layer: a packet for the edge's own MAC address, a packet to a neighbour that is known.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from native.kinds cimport PORT_ISOLATED
from native.neighbour cimport (
    L_DROPPED, L_PASS, L_SEND, LC_NO_NEXT_HOP, N_REACHABLE, NO_NEIGHBOUR, Neighbours, Outbox, link_arrive, link_resolve,
)
from native.neighbour_table cimport find_neighbour
from native.nexthop cimport HOP_GROUP, HOP_NEIGHBOUR, NextHop, next_hop
from native.program cimport ProgramData
from native.wire cimport be16, be32, be64, likely, put16, put32


cdef inline void group_mac(uint8_t family, uint64_t hi, uint64_t lo, uint8_t *mac) noexcept nogil:
    # RFC 1112 6.4, RFC 2464 7; what is no multicast address is a broadcast.
    if family == 6:
        put16(mac, 0x3333)
        put32(mac + 2, <uint32_t>lo)
    elif lo >> 28 == 0xe:
        put32(mac, 0x01005e00)
        put32(mac + 2, 0x5e000000 | (<uint32_t>lo & 0x7fffff))
    else:
        put16(mac, 0xffff)
        put32(mac + 2, 0xffffffffULL)


cdef inline int link_input(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *frame,
    uint32_t length, uint64_t now, Outbox *outbox
) noexcept nogil:
    # A frame from a port that has the address `mac`: L_PASS, L_TAKEN or L_DROPPED.
    cdef uint16_t ethertype
    if length < 14:
        return L_PASS               # the pipeline calls it malformed
    if likely(memcmp(frame, mac, 6) == 0 and memcmp(frame + 6, mac, 6) != 0):
        ethertype = be16(frame + 12)
        if ethertype == 0x0800:
            return L_PASS
        # Neighbour discovery bears a hop limit of 255, as next to nothing else.
        if ethertype == 0x86dd and (length < 54 or frame[21] != 255 or frame[20] != 58):
            return L_PASS
    return link_arrive(table, program, port, mac, frame, length, now, outbox)


cdef inline int link_output(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, uint8_t *frame, uint32_t length,
    uint64_t now, Outbox *outbox, const uint8_t *offload
) noexcept nogil:
    # An untagged frame with an IP packet, as the pipeline makes it, that is to leave by a port with the address `mac`:
    # L_SEND, L_HELD or L_DROPPED.  `offload` has OFFLOAD_SIZE bytes that stay with a frame that is held, or is NULL.
    cdef uint8_t family = 4 if frame[12] == 0x08 else 6
    cdef uint64_t hi = 0
    cdef uint64_t lo
    cdef uint16_t number
    cdef NextHop hop
    cdef int found
    if family == 4:
        lo = be32(frame + 30)
    else:
        hi = be64(frame + 38)
        lo = be64(frame + 46)
    memcpy(frame + 6, mac, 6)
    if program.ports[port].kind == PORT_ISOLATED:
        table.ports[port].counts[<int>LC_NO_NEXT_HOP] += 1
        return L_DROPPED
    found = next_hop(program, port, family, hi, lo, &hop)
    if likely(found == HOP_NEIGHBOUR):
        number = find_neighbour(table, port, family, hop.hi, hop.lo)
        if likely(number != NO_NEIGHBOUR and table.pool[number].state == N_REACHABLE):
            memcpy(frame, table.pool[number].mac, 6)
            return L_SEND
    elif found == HOP_GROUP:
        group_mac(family, hi, lo, frame)
        return L_SEND
    return link_resolve(table, program, port, frame, length, now, outbox, offload)
