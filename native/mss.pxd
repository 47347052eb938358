# The MSS that a SYN announces, lowered to what a link carries.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.packet cimport EXTENSIONS_MAX, SYN, header_size
from native.wire cimport be16, change16, put16, updated

cdef enum:
    TCP = 6
    OPTION_END = 0              # RFC 9293 3.1
    OPTION_NOP = 1
    OPTION_MSS = 2


cdef inline uint32_t tcp_at(const uint8_t *l3, uint32_t length) noexcept nogil:
    # Where the TCP header of an IP packet, or of its first fragment, stands; 0: nowhere within `length` bytes.
    cdef uint32_t at = 40
    cdef uint8_t following
    cdef int headers = 0
    if length < 40:
        return 0
    if l3[0] >> 4 == 4:
        at = <uint32_t>(l3[0] & 15) * 4
        return 0 if l3[9] != TCP or be16(l3 + 6) & 0x1fff or at < 20 or at + 20 > length else at
    following = l3[6]
    while following == 0 or following == 43 or following == 60:
        if headers == EXTENSIONS_MAX or at + 8 > length:
            return 0
        headers += 1
        following = l3[at]
        at += header_size(l3 + at, 0)
    return 0 if following != TCP or at + 20 > length else at


cdef inline uint8_t *mss_of(uint8_t *tcp, uint32_t size) noexcept nogil:
    # The value of the MSS option of `size` bytes of TCP, NULL where there is none.
    cdef uint32_t end = <uint32_t>(tcp[12] >> 4) * 4
    cdef uint32_t at = 20
    if end > size:
        return NULL
    while at < end and tcp[at] != OPTION_END:
        if tcp[at] == OPTION_NOP:
            at += 1
            continue
        if end - at < 2 or tcp[at + 1] < 2 or tcp[at + 1] > end - at:
            return NULL
        if tcp[at] == OPTION_MSS and tcp[at + 1] == 4:
            return tcp + at + 2
        at += tcp[at + 1]
    return NULL


cdef inline bint clamp_mss(uint8_t *l3, uint32_t length, uint32_t mtu, bint partial) noexcept nogil:
    # Lowers the MSS that a SYN of `length` bytes of IP announces to what fits into `mtu` (RFC 9293 3.7.1: without
    # options); True when it did.  A SYN that announces none stays without.  `partial`: the checksum covers no more than
    # the pseudo-header yet, and stays.
    cdef uint32_t at = tcp_at(l3, length)
    cdef uint32_t headers = 40 if l3[0] >> 4 == 4 else 60
    cdef uint8_t *tcp = l3 + at
    cdef uint8_t *value
    cdef uint16_t old
    cdef uint16_t new
    if at == 0 or not tcp[13] & SYN or mtu <= headers:
        return False
    value = mss_of(tcp, length - at)
    if value == NULL or be16(value) <= mtu - headers:
        return False
    old = be16(value)
    new = <uint16_t>(mtu - headers)
    put16(value, new)
    if not partial:
        if (value - tcp) & 1:       # across two words: both halves count with the other's weight
            old = <uint16_t>(old << 8 | old >> 8)
            new = <uint16_t>(new << 8 | new >> 8)
        put16(tcp + 16, updated(be16(tcp + 16), change16(old, new)))
    return True
