# A large frame cut into the segments that its sender left to a network card: TCP (RFC 9293 3.8) and UDP datagrams of
# equal size, each with checksums of its own.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from native.packet cimport FIN, K_TCP, Packet
from native.vnet cimport Vnet, seal_transport, transport_header
from native.wire cimport be16, be32, fold, put16, put32, sum_bytes

cdef enum:
    TCP_PSH = 8
    TCP_CWR = 0x80

ctypedef struct Segments:
    const uint8_t *frame        # 14 bytes of Ethernet, then IP
    uint32_t l3_size            # bytes of IP headers, options and extensions with them
    uint32_t l4_size
    uint32_t payload
    uint32_t size               # of a segment's payload, the last one's apart
    uint32_t done
    uint16_t count              # segments made
    uint8_t family
    uint8_t proto


cdef inline void begin_segments(
    Segments *cut, const Packet *packet, const uint8_t *frame, const Vnet *vnet
) noexcept nogil:
    # Of a packet for which is_segmentable() holds; `frame` is it, or what the pipeline has made of it.
    cut.frame = frame
    cut.l3_size = <uint32_t>(packet.l4 - packet.l3)
    cut.l4_size = transport_header(packet)
    cut.payload = packet.l4_len - cut.l4_size
    cut.size = vnet.gso_size
    cut.done = 0
    cut.count = 0
    cut.family = packet.family
    cut.proto = packet.proto


cdef inline uint32_t next_segment(Segments *cut, uint8_t *out) noexcept nogil:
    # Writes the next frame to `out`; its length, 0 after the last one.
    cdef uint32_t headers = 14 + cut.l3_size + cut.l4_size
    cdef uint8_t *l3 = out + 14
    cdef uint8_t *l4 = l3 + cut.l3_size
    cdef uint32_t size = min(cut.size, cut.payload - cut.done)
    if size == 0 and cut.count:
        return 0
    memcpy(out, cut.frame, headers)
    memcpy(out + headers, cut.frame + headers + cut.done, size)
    if cut.family == 4:
        put16(l3 + 2, <uint16_t>(cut.l3_size + cut.l4_size + size))
        put16(l3 + 4, <uint16_t>(be16(l3 + 4) + cut.count))
        put16(l3 + 10, 0)
        put16(l3 + 10, <uint16_t>~fold(sum_bytes(l3, <uint32_t>(l3[0] & 15) * 4)))
    else:
        put16(l3 + 4, <uint16_t>(cut.l3_size - 40 + cut.l4_size + size))
    if cut.proto == 6:
        put32(l4 + 4, be32(l4 + 4) + cut.done)
        if cut.count:
            l4[13] &= ~<uint8_t>TCP_CWR
        if cut.done + size < cut.payload:
            l4[13] &= ~<uint8_t>(FIN | TCP_PSH)
    else:
        put16(l4 + 4, <uint16_t>(cut.l4_size + size))
    if cut.proto == 6 or be16(cut.frame + 14 + cut.l3_size + 6) != 0 or cut.family == 6:
        seal_transport(l3, l4, cut.family, cut.proto, cut.l4_size + size)
    cut.done += size
    cut.count += 1
    return headers + size
