# Writing another tuple into a packet, checksums updated by what changed (RFC 1624).

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.answer cimport ethernet
from native.engine cimport Result
from native.packet cimport (
    K_ICMP_ERROR, K_ICMP_OTHER, K_ICMP_QUERY, K_ICMP_REPLY, K_TCP, K_UDP,
    Key, Packet, key_dport, key_family, key_proto, key_sport,
)
from native.session cimport RW_DPORT, RW_DST, RW_SPORT, RW_SRC, RW_TUPLE, Flow
from native.wire cimport be16, change16, change32, change64, fold, put16, put32, put64, updated


cdef enum:
    TCP_CHECKSUM_END = 18


cdef inline bint covers_addresses(uint8_t family, uint8_t proto) noexcept nogil:
    # Does the transport checksum cover a pseudo-header?
    return proto == 6 or proto == 17 or (proto == 58 and family == 6)


cdef inline void plan_rewrite(Flow *flow, const Key *before, const Key *after) noexcept nogil:
    # What to write into a packet with tuple `before` so that it bears `after`, and the checksum changes of that.
    cdef uint64_t addresses = 0
    cdef uint64_t ports = 0
    cdef uint8_t family = key_family(before)
    flow.rewrite = 0
    flow.new_src = <uint32_t>after.src_lo
    flow.new_dst = <uint32_t>after.dst_lo
    flow.new_sport = key_sport(after)
    flow.new_dport = key_dport(after)
    if before.src_lo != after.src_lo or before.src_hi != after.src_hi:
        flow.rewrite |= RW_SRC
        if family == 4:
            addresses += change32(<uint32_t>before.src_lo, <uint32_t>after.src_lo)
        else:
            addresses += change64(before.src_hi, after.src_hi) + change64(before.src_lo, after.src_lo)
    if before.dst_lo != after.dst_lo or before.dst_hi != after.dst_hi:
        flow.rewrite |= RW_DST
        if family == 4:
            addresses += change32(<uint32_t>before.dst_lo, <uint32_t>after.dst_lo)
        else:
            addresses += change64(before.dst_hi, after.dst_hi) + change64(before.dst_lo, after.dst_lo)
    if key_sport(before) != key_sport(after):
        flow.rewrite |= RW_SPORT
        ports += change16(key_sport(before), key_sport(after))
    if key_dport(before) != key_dport(after):
        flow.rewrite |= RW_DPORT
        ports += change16(key_dport(before), key_dport(after))
    flow.l3_delta = fold(addresses) if family == 4 else 0
    flow.l4_delta = fold(ports + (addresses if covers_addresses(family, key_proto(before)) else 0))


cdef inline void rewrite_transport(const Packet *packet, const Flow *flow) noexcept nogil:
    cdef uint8_t *l4 = packet.l4
    cdef uint8_t *checksum
    if packet.kind == K_TCP or packet.kind == K_UDP:
        if flow.rewrite & RW_SPORT:
            put16(l4, flow.new_sport)
        if flow.rewrite & RW_DPORT:
            put16(l4 + 2, flow.new_dport)
        checksum = l4 + (16 if packet.kind == K_TCP else 6)
        if packet.kind == K_UDP and packet.family == 4 and be16(checksum) == 0:
            return
    elif packet.kind == K_ICMP_QUERY or packet.kind == K_ICMP_REPLY:
        if flow.rewrite & RW_SPORT:
            put16(l4 + 4, flow.new_sport)
        if flow.rewrite & RW_DPORT:
            put16(l4 + 4, flow.new_dport)
        checksum = l4 + 2
    elif packet.kind == K_ICMP_OTHER or packet.kind == K_ICMP_ERROR:
        checksum = l4 + 2
    else:
        return
    if flow.l4_delta == 0:
        return
    put16(checksum, updated(be16(checksum), flow.l4_delta))
    # Zero and all ones are one number to whoever sums up, but zero means that UDP has no checksum, and is wrong for an
    # echo reply of nothing but zeros.
    if (packet.kind == K_UDP or packet.kind == K_ICMP_REPLY) and be16(checksum) == 0:
        put16(checksum, 0xffff)


cdef inline void rewrite_as(Packet *packet, const Key *wanted) noexcept nogil:
    # Gives a packet another tuple, in its buffer, and nothing else.  Of a TCP header no more than the ports need be
    # there.
    cdef Flow flow
    cdef uint8_t *l3 = packet.l3
    plan_rewrite(&flow, &packet.key, wanted)
    if packet.family == 4:
        put32(l3 + 12, flow.new_src)
        put32(l3 + 16, flow.new_dst)
        if flow.l3_delta:
            put16(l3 + 10, updated(be16(l3 + 10), flow.l3_delta))
    else:
        put64(l3 + 8, wanted.src_hi)
        put64(l3 + 16, wanted.src_lo)
        put64(l3 + 24, wanted.dst_hi)
        put64(l3 + 32, wanted.dst_lo)
    if packet.kind == K_TCP and packet.l4_len < TCP_CHECKSUM_END:
        put16(packet.l4, flow.new_sport)
        put16(packet.l4 + 2, flow.new_dport)
    elif flow.rewrite:
        rewrite_transport(packet, &flow)
    packet.key = wanted[0]


cdef inline void take_hop(Packet *packet) noexcept nogil:
    # One from the TTL or hop limit.
    cdef uint8_t *l3 = packet.l3
    cdef uint16_t lifetime
    if packet.family == 4:
        lifetime = be16(l3 + 8)
        l3[8] -= 1
        put16(l3 + 10, updated(be16(l3 + 10), change16(lifetime, lifetime - 0x100)))
    else:
        l3[7] -= 1


cdef inline void send(const Packet *packet, uint16_t out_port, Result *result) noexcept nogil:
    # Makes the packet, as it stands in its buffer, the output.
    result.out_port = out_port
    result.frame = packet.l3 - 14
    result.length = 14 + packet.ip_len
    ethernet(result.frame, out_port, packet.family)


cdef inline void forward(const Packet *packet, const Flow *flow, const Key *after, Result *result) noexcept nogil:
    # Rewrites the packet in its buffer, takes one from its TTL and makes it the output.
    cdef uint8_t *l3 = packet.l3
    cdef uint16_t lifetime
    cdef uint64_t change
    if packet.family == 4:
        lifetime = be16(l3 + 8)
        change = change16(lifetime, lifetime - 0x100)
        l3[8] -= 1
        if flow.rewrite & RW_TUPLE:
            change += flow.l3_delta
            put32(l3 + 12, flow.new_src)
            put32(l3 + 16, flow.new_dst)
        put16(l3 + 10, updated(be16(l3 + 10), change))
    else:
        l3[7] -= 1
        if flow.rewrite & RW_SRC:
            put64(l3 + 8, after.src_hi)
            put64(l3 + 16, after.src_lo)
        if flow.rewrite & RW_DST:
            put64(l3 + 24, after.dst_hi)
            put64(l3 + 32, after.dst_lo)
    if flow.rewrite & RW_TUPLE:
        rewrite_transport(packet, flow)
    send(packet, flow.out_port, result)
