# pcap as draft-ietf-opsawg-pcap has it, in both byte orders, with micro- and nanoseconds, and with the longer record
# headers of libpcaps that were patched in 1999.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from native.link cimport L_UNSUPPORTED, MAX_RECORD, Interface, Record, link_of
from native.stream cimport C_FRAME, C_INVALID, C_LINK_TYPE, C_TOO_LARGE, C_TRUNCATED, InputStream, load16, load32

cdef enum:
    MAGIC_MICRO = 0xa1b2c3d4
    MAGIC_NANO = 0xa1b23c4d
    MAGIC_PATCHED = 0xa1b2cd34
    FILE_HEADER = 24

ctypedef struct Pcap:
    Interface interface         # the one of the file
    uint32_t record_header      # bytes before the data of a record


cdef inline bint is_pcap(uint32_t magic) noexcept nogil:
    return magic == MAGIC_MICRO or magic == MAGIC_NANO or magic == MAGIC_PATCHED


cdef inline bint plausible(InputStream stream, uint32_t header, uint32_t least) noexcept nogil:
    # Do the records in the buffer make sense with record headers of this size, and are there at least so many?
    cdef uint64_t at = stream.position
    cdef uint32_t seen = 0
    cdef uint32_t captured
    cdef uint32_t wire
    while stream.filled - at >= header and seen < 8:
        captured = load32(stream.buffer + at + 8, stream.foreign)
        wire = load32(stream.buffer + at + 12, stream.foreign)
        if captured > wire or wire > MAX_RECORD or load32(stream.buffer + at + 4, stream.foreign) >= 1000000000:
            return False
        if stream.filled - at - header < captured:
            break
        at += header + captured
        seen += 1
    return seen >= least


cdef inline int pcap_begin(InputStream stream, Pcap *pcap, uint32_t magic) noexcept nogil:
    # Reads the file header, whose magic number and byte order are known; 1, or a Status below 0.
    cdef int status = stream.need(FILE_HEADER, b"the file ends inside the pcap file header")
    cdef uint32_t link_field
    cdef uint32_t other
    if status < 0:
        return status
    if load16(stream.buffer + 4, stream.foreign) != 2:
        return stream.fail(C_INVALID, b"is pcap of version {value}; version 2 was expected",
                           load16(stream.buffer + 4, stream.foreign))
    link_field = load32(stream.buffer + 20, stream.foreign)
    pcap.interface.link_type = link_field & 0xffff
    pcap.interface.link = link_of(pcap.interface.link_type)
    pcap.interface.snap_length = load32(stream.buffer + 16, stream.foreign)
    # Bit 26 says that the top four bits count the 16-bit words of frame check sequence.
    pcap.interface.fcs_length = (link_field >> 28) * 2 if link_field & 0x04000000 else 0
    pcap.interface.multiply = 1 if magic == MAGIC_NANO else 1000
    pcap.interface.divide = 1
    pcap.interface.shift = 0
    pcap.interface.offset_s = 0
    if pcap.interface.link == L_UNSUPPORTED:
        return stream.fail(C_LINK_TYPE, NULL, pcap.interface.link_type)
    stream.position = FILE_HEADER
    # Patched libpcaps put 4, 8 or 12 bytes more before each packet, some without a magic number of their own.  Such
    # a layout is taken only where the plain one makes no sense, and it must fit several records.
    pcap.record_header = 24 if magic == MAGIC_PATCHED else 16
    status = stream.fill(pcap.record_header)
    if status < 0:
        return status
    if not plausible(stream, pcap.record_header, 0):
        other = 28 if magic == MAGIC_PATCHED else 24
        if plausible(stream, other, 2):
            pcap.record_header = other
        elif magic == MAGIC_MICRO and plausible(stream, 20, 2):
            pcap.record_header = 20
    return 1


cdef inline int pcap_next(InputStream stream, const Pcap *pcap, Record *record) noexcept nogil:
    # The next record: C_FRAME, C_END, or a Status below 0.
    cdef const uint8_t *header
    cdef uint32_t captured
    cdef int status
    stream.start = stream.base + stream.position
    status = stream.fill(pcap.record_header)
    if status <= 0:
        if status == 0 and stream.filled == stream.position:
            return stream.end()
        return status if status < 0 else stream.fail(
            C_TRUNCATED, b"the file ends inside this record's header, after {value} bytes",
            stream.filled - stream.position)
    captured = load32(stream.buffer + stream.position + 8, stream.foreign)
    if captured > MAX_RECORD:
        return stream.fail(C_TOO_LARGE, b"{value} captured bytes; 262,144 is the most a record can have", captured)
    status = stream.need(pcap.record_header + captured,
                         b"the file ends inside this record, after {value} of its bytes")
    if status < 0:
        return status
    header = stream.buffer + stream.position
    record.ts_ns = (<uint64_t>load32(header, stream.foreign) * 1000000000
                    + load32(header + 4, stream.foreign) * pcap.interface.multiply)
    record.data = header + pcap.record_header
    record.captured = captured
    record.wire = load32(header + 12, stream.foreign)
    record.fcs_length = pcap.interface.fcs_length
    record.interface = 0
    record.link = pcap.interface.link
    stream.position += pcap.record_header + captured
    return C_FRAME
