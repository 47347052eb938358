# Records of a capture and what they are turned into: one Ethernet frame each, whatever link they were seen on.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.wire cimport be16, be32, put16

cdef extern from *:
    uint32_t swap32 "__builtin_bswap32"(uint32_t value) noexcept nogil

cdef enum:
    MAX_FRAME = 65553           # largest frame handed out: 65,535 bytes of packet behind a header with one VLAN tag
    MAX_RECORD = 262144         # most captured bytes in one record; more is taken for a lie
    ETHERNET_HEADER = 14

cdef enum Link:
    # How the bytes of a record become an Ethernet frame.
    L_ETHERNET = 0
    L_RAW = 1                   # an IP packet; its first nibble says which
    L_IPV4 = 2
    L_IPV6 = 3
    L_SLL = 4                   # Linux cooked capture
    L_SLL2 = 5
    L_NULL = 6                  # BSD loopback: the address family before the packet, in the byte order of its machine
    L_LOOP = 7                  # the same of OpenBSD, in network byte order
    L_UNSUPPORTED = 8

ctypedef struct Interface:
    uint32_t link_type          # LINKTYPE_ number
    uint32_t snap_length        # 0: unlimited
    uint32_t fcs_length         # bytes of frame check sequence at the end of every record
    uint32_t shift              # time in ns = stamp * multiply / divide >> shift, and offset_s seconds later
    uint64_t multiply
    uint64_t divide
    int64_t offset_s
    Link link

ctypedef struct Record:
    # One record as the file has it; `data` lies in the stream's buffer until the next byte is asked for.
    const uint8_t *data
    uint32_t captured           # bytes of data
    uint32_t wire               # how many they were on the wire, as the file states it
    uint32_t fcs_length
    uint32_t interface          # counted from 0 within its section
    uint64_t ts_ns
    Link link


cdef inline Link link_of(uint32_t link_type) noexcept nogil:
    if link_type == 1:
        return L_ETHERNET
    if link_type == 101 or link_type == 12 or link_type == 14:
        return L_RAW
    if link_type == 228:
        return L_IPV4
    if link_type == 229:
        return L_IPV6
    if link_type == 113:
        return L_SLL
    if link_type == 276:
        return L_SLL2
    if link_type == 0:
        return L_NULL
    if link_type == 108:
        return L_LOOP
    return L_UNSUPPORTED


cdef inline uint32_t link_header(Link link) noexcept nogil:
    if link == L_NULL or link == L_LOOP:
        return 4
    return 16 if link == L_SLL else 20 if link == L_SLL2 else 0


cdef inline uint16_t ethertype_of_family(uint32_t family) noexcept nogil:
    # Everybody has the same AF_INET; AF_INET6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS.
    if family == 2:
        return 0x0800
    if family == 10 or family == 24 or family == 28 or family == 30:
        return 0x86dd
    return 0                    # what no edge takes for IP


cdef inline void ethernet_header(Link link, const uint8_t *data, uint32_t size, uint8_t *out) noexcept nogil:
    # The 14 bytes that a record without an Ethernet header gets: no destination, the source where SLL knows it.
    cdef uint16_t ethertype = 0x0800
    memset(out, 0, ETHERNET_HEADER)
    if link == L_IPV6 or (link == L_RAW and size and data[0] >> 4 == 6):
        ethertype = 0x86dd
    elif link == L_NULL or link == L_LOOP:
        # The machine that captured need not have the byte order of the file's; a family fits into one byte.
        ethertype = ethertype_of_family(be32(data))
        if not ethertype and link == L_NULL:
            ethertype = ethertype_of_family(swap32(be32(data)))
    elif link == L_SLL:
        ethertype = be16(data + 14)
        if be16(data + 4) == 6:
            memcpy(out + 6, data + 6, 6)
    elif link == L_SLL2:
        ethertype = be16(data)
        if data[11] == 6:
            memcpy(out + 6, data + 12, 6)
    put16(out + 12, ethertype)


cdef inline uint32_t ethernet_frame(const Record *record, uint8_t *out, uint32_t capacity) noexcept nogil:
    # Writes a record as an Ethernet frame and returns its length, at most min(capacity, MAX_FRAME): a longer one is
    # cut, bytes that the capture lacks are zero, the frame check sequence is left out.
    cdef const uint8_t *data = record.data
    cdef uint32_t captured = record.captured
    cdef uint32_t wire = record.wire
    cdef uint32_t header = link_header(record.link)
    cdef uint32_t front = 0
    cdef uint32_t most = capacity if capacity < MAX_FRAME else MAX_FRAME
    if wire < captured:         # a lie, or padding that the capture added: what is there counts
        wire = captured
    wire = wire - record.fcs_length if wire > record.fcs_length else 0
    if captured > wire:
        captured = wire
    if record.link != L_ETHERNET:
        if captured < header or most < ETHERNET_HEADER:
            return 0            # its link header is not all there: as a frame without one, it is malformed
        ethernet_header(record.link, data, captured, out)
        front = ETHERNET_HEADER
    data += header
    captured -= header
    wire -= header
    most -= front
    if wire > most:
        wire = most
    if captured > wire:
        captured = wire
    memcpy(out + front, data, captured)
    if wire > captured:
        memset(out + front + captured, 0, wire - captured)
    return front + wire
