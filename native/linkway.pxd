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
from native.wire cimport be16, be32, be64, likely, put16, put32, unlikely

cdef extern from *:
    """
    #include <sched.h>
    #include <stdint.h>
    /* A lock for what is quickly over, and a number that tells a reader whether it has read what was there at once. */
    static inline void t1_lock(uint32_t *lock, uint32_t *version) {
        while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE)) sched_yield();
        __atomic_store_n(version, *version + 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_RELEASE);
    }
    static inline void t1_unlock(uint32_t *lock, uint32_t *version) {
        __atomic_store_n(version, *version + 1, __ATOMIC_RELEASE);
        __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    }
    static inline uint32_t t1_version(const uint32_t *version) { return __atomic_load_n(version, __ATOMIC_ACQUIRE); }
    static inline int t1_is_version(const uint32_t *version, uint32_t seen) {
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        return __atomic_load_n(version, __ATOMIC_RELAXED) == seen;
    }
    """
    void lock_it "t1_lock"(uint32_t *lock, uint32_t *version) noexcept nogil
    void unlock_it "t1_unlock"(uint32_t *lock, uint32_t *version) noexcept nogil
    uint32_t version_of "t1_version"(const uint32_t *version) noexcept nogil
    bint is_version "t1_is_version"(const uint32_t *version, uint32_t seen) noexcept nogil


cdef inline uint64_t lock_neighbours(Neighbours *table, uint64_t now) noexcept nogil:
    # The time for whoever has it: the clocks of several workers differ by a burst.
    if likely(not table.shared):
        return now
    lock_it(&table.lock, &table.version)
    table.latest = max(table.latest, now)
    return table.latest


cdef inline void unlock_neighbours(Neighbours *table) noexcept nogil:
    if unlikely(table.shared):
        unlock_it(&table.lock, &table.version)


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
    return arrive_alone(table, program, port, mac, frame, length, now, outbox)


cdef inline int arrive_alone(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, const uint8_t *frame,
    uint32_t length, uint64_t now, Outbox *outbox
) noexcept nogil:
    cdef int found
    now = lock_neighbours(table, now)
    found = link_arrive(table, program, port, mac, frame, length, now, outbox)
    unlock_neighbours(table)
    return found


cdef inline bint write_known(
    const Neighbours *table, uint16_t port, uint8_t family, const NextHop *hop, uint8_t *frame
) noexcept nogil:
    # Addresses a frame to a neighbour if that is known to be reachable.
    cdef uint32_t version = 0
    cdef uint8_t mac[6]
    cdef uint16_t number
    if unlikely(table.shared):
        version = version_of(&table.version)
        if version & 1:
            return False
    number = find_neighbour(table, port, family, hop.hi, hop.lo)
    if unlikely(number == NO_NEIGHBOUR or table.pool[number].state != N_REACHABLE):
        return False
    if likely(not table.shared):
        memcpy(frame, table.pool[number].mac, 6)
        return True
    memcpy(mac, table.pool[number].mac, 6)
    if not is_version(&table.version, version):
        return False
    memcpy(frame, mac, 6)
    return True


cdef inline int link_output(
    Neighbours *table, const ProgramData *program, uint16_t port, const uint8_t *mac, uint8_t *frame, uint32_t length,
    uint64_t now, Outbox *outbox, const uint8_t *offload
) noexcept nogil:
    # An untagged frame with an IP packet, as the pipeline makes it, that is to leave by a port with the address `mac`:
    # L_SEND, L_HELD or L_DROPPED.  `offload` has OFFLOAD_SIZE bytes that stay with a frame that is held, or is NULL.
    cdef uint8_t family = 4 if frame[12] == 0x08 else 6
    cdef uint64_t hi = 0
    cdef uint64_t lo
    cdef NextHop hop
    cdef int found
    if family == 4:
        lo = be32(frame + 30)
    else:
        hi = be64(frame + 38)
        lo = be64(frame + 46)
    memcpy(frame + 6, mac, 6)
    if program.ports[port].kind == PORT_ISOLATED:
        lock_neighbours(table, now)
        table.ports[port].counts[<int>LC_NO_NEXT_HOP] += 1
        unlock_neighbours(table)
        return L_DROPPED
    found = next_hop(program, port, family, hi, lo, &hop)
    if likely(found == HOP_NEIGHBOUR):
        if likely(write_known(table, port, family, &hop, frame)):
            return L_SEND
    elif found == HOP_GROUP:
        group_mac(family, hi, lo, frame)
        return L_SEND
    now = lock_neighbours(table, now)
    found = link_resolve(table, program, port, frame, length, now, outbox, offload)
    unlock_neighbours(table)
    return found
