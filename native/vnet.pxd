# The header that Linux puts before a frame so that it need not be finished: checksums that are still to be made, and
# segments that are still to be cut (struct virtio_net_hdr, in the machine's byte order).
#
# A frame of one packet gets its checksum as soon as it is there.  A large frame of many segments passes the edge as one
# packet; it leaves with the sum of its pseudo-header, as the header demands.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.answer cimport pseudo_header
from native.packet cimport K_TCP, K_UDP, Packet
from native.wire cimport fold, put16

cdef enum:
    VNET_SIZE = 10
    VNET_NEEDS_CSUM = 1
    GSO_NONE = 0
    GSO_TCPV4 = 1
    GSO_TCPV6 = 4
    GSO_UDP_L4 = 5
    GSO_ECN = 0x80              # beside one of TCP: the first segment has CWR
    IP_PROTOCOL_SCTP = 132

ctypedef struct Vnet:
    uint8_t flags
    uint8_t gso_type
    uint16_t hdr_len
    uint16_t gso_size
    uint16_t csum_start
    uint16_t csum_offset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* The ones'-complement sum of big-endian words, folded; in a form that compilers turn into vectors. */
    static inline uint16_t t1_sum_long(const uint8_t *p, uint32_t n) {
        uint64_t sum = 0;
        uint16_t half = 0;
        while (n >= 4) { uint32_t v; memcpy(&v, p, 4); sum += v; p += 4; n -= 4; }
        if (n & 2) { memcpy(&half, p, 2); sum += half; p += 2; }
        if (n & 1) { half = 0; memcpy(&half, p, 1); sum += half; }
        sum = (sum & 0xffffffff) + (sum >> 32);
        sum = (sum & 0xffffffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return __builtin_bswap16((uint16_t)sum);
    #else
        return (uint16_t)sum;
    #endif
    }
    /* CRC32c of RFC 9260 appendix A, as SCTP bears it: rare, so bit by bit. */
    static inline void t1_seal_sctp(uint8_t *p, uint32_t n, uint8_t *field) {
        uint32_t crc = 0xffffffff, i;
        int bit;
        memset(field, 0, 4);
        for (i = 0; i < n; i++) {
            crc ^= p[i];
            for (bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1));
        }
        crc = ~crc;
        for (i = 0; i < 4; i++) field[i] = (uint8_t)(crc >> 8 * i);
    }
    """
    uint16_t sum_long "t1_sum_long"(const uint8_t *p, uint32_t n) noexcept nogil
    void seal_sctp "t1_seal_sctp"(uint8_t *p, uint32_t n, uint8_t *field) noexcept nogil


cdef inline bint is_sctp(const uint8_t *frame, uint32_t start) noexcept nogil:
    # Does the packet whose transport header stands there bear SCTP?  Extension headers are not looked through.
    return ((frame[12] == 0x08 and frame[13] == 0x00 and frame[14 + 9] == IP_PROTOCOL_SCTP)
            or (frame[12] == 0x86 and frame[13] == 0xdd and frame[14 + 6] == IP_PROTOCOL_SCTP and start == 14 + 40))


cdef inline bint finish_checksum(uint8_t *frame, uint32_t length, const Vnet *vnet) noexcept nogil:
    # Makes the checksum that a frame still needs; False where the header speaks of bytes that are not there.
    cdef uint32_t start = vnet.csum_start
    cdef uint32_t at = start + vnet.csum_offset
    cdef uint16_t checksum
    if not vnet.flags & VNET_NEEDS_CSUM:
        return True
    if length < 14 + 20 or at + 2 > length or start < 14:
        return False
    if vnet.csum_offset == 8 and is_sctp(frame, start):
        if at + 4 > length:
            return False
        seal_sctp(frame + start, length - start, frame + at)
        return True
    checksum = ~sum_long(frame + start, length - start)
    put16(frame + at, checksum if checksum else <uint16_t>0xffff)       # zero would mean none to UDP
    return True


cdef inline void seal_transport(uint8_t *l3, uint8_t *l4, uint8_t family, uint8_t proto, uint32_t size) noexcept nogil:
    # The checksum of `size` bytes of TCP or UDP.
    cdef uint8_t *field = l4 + (16 if proto == 6 else 6)
    cdef uint16_t checksum
    put16(field, 0)
    checksum = ~fold(pseudo_header(l3, family, proto, size) + sum_long(l4, size))
    put16(field, checksum if checksum or proto == 6 else <uint16_t>0xffff)


cdef inline bint is_segmentable(const Packet *packet, const Vnet *vnet) noexcept nogil:
    # Is a parsed packet what its header calls it, so that it can be cut?
    cdef uint8_t kind = vnet.gso_type & ~<uint8_t>GSO_ECN
    if vnet.gso_size == 0:
        return False
    if packet.kind == K_TCP:
        return kind == (GSO_TCPV4 if packet.family == 4 else GSO_TCPV6)
    return packet.kind == K_UDP and kind == GSO_UDP_L4


cdef inline uint32_t transport_header(const Packet *packet) noexcept nogil:
    return <uint32_t>(packet.l4[12] >> 4) * 4 if packet.kind == K_TCP else 8


cdef inline uint32_t segment_span(const Packet *packet, const Vnet *vnet) noexcept nogil:
    # Bytes of IP that the largest segment will have.
    return <uint32_t>(packet.l4 - packet.l3) + transport_header(packet) + vnet.gso_size


cdef inline void leave_unfinished(Packet *packet, Vnet *vnet) noexcept nogil:
    # What goes on as one large frame: the checksum field gets the sum of the pseudo-header, whatever it held.
    cdef uint32_t start = 14 + <uint32_t>(packet.l4 - packet.l3)
    vnet.flags = VNET_NEEDS_CSUM
    vnet.csum_start = <uint16_t>start
    vnet.csum_offset = 16 if packet.kind == K_TCP else 6
    vnet.hdr_len = <uint16_t>(start + transport_header(packet))
    put16(packet.l4 + vnet.csum_offset, fold(pseudo_header(packet.l3, packet.family, packet.proto, packet.l4_len)))
