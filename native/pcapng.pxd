# pcapng as draft-ietf-opsawg-pcapng has it: sections, interfaces with their own clocks, packets in blocks.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport realloc

from native.link cimport L_UNSUPPORTED, MAX_RECORD, Interface, Record, link_of
from native.stream cimport (
    C_FRAME, C_INVALID, C_LINK_TYPE, C_MEMORY, C_TOO_LARGE, InputStream, load16, load32, load64,
)

cdef extern from *:
    """
    #include <stdint.h>

    /* A time stamp in nanoseconds since 1970; what lies outside of 0 .. 2^63-1 sticks to the nearest end. */
    static inline uint64_t t1_time(
        uint64_t stamp, uint64_t multiply, uint64_t divide, uint32_t shift, int64_t offset_s
    ) {
        __int128 ns = ((__int128)stamp * multiply) >> shift;
        if (divide != 1) ns /= divide;
        ns += (__int128)offset_s * 1000000000;
        if (ns < 0) return 0;
        return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
    }
    """
    uint64_t time_ns "t1_time"(uint64_t stamp, uint64_t multiply, uint64_t divide, uint32_t shift,
                               int64_t offset_s) noexcept nogil

cdef enum:
    MAX_BLOCK = 1048576         # most bytes of a block that has to be held whole; the buffer grows up to it
    MAX_INTERFACES = 65536      # in one section

    BYTE_ORDER = 0x1a2b3c4d
    BLOCK_SECTION = 0x0a0d0d0a  # the same number in both byte orders
    BLOCK_INTERFACE = 1
    BLOCK_PACKET = 2            # obsolete
    BLOCK_SIMPLE = 3
    BLOCK_ENHANCED = 6
    OPTION_END = 0
    OPTION_EPB_FLAGS = 2
    OPTION_TSRESOL = 9
    OPTION_FCSLEN = 13
    OPTION_TSOFFSET = 14

ctypedef struct Pcapng:
    Interface *interfaces       # of the section; whoever owns the struct frees them
    uint32_t interface_count
    uint32_t interface_capacity
    uint64_t last_ts_ns         # of the last packet that had a time

ctypedef struct Options:
    const uint8_t *rest         # those behind the present one
    uint32_t left               # bytes of them
    uint32_t code               # of the present one, as the fields below
    uint32_t size               # bytes of its value
    const uint8_t *value


cdef inline uint64_t padded(uint64_t size) noexcept nogil:
    return (size + 3) & ~<uint64_t>3


cdef inline int lengths_differ(InputStream stream, uint32_t size) noexcept nogil:
    return stream.fail(C_INVALID, b"the block's two lengths differ: it begins with {value}", size)


cdef inline int next_option(InputStream stream, Options *options, const char *past) noexcept nogil:
    # Steps to the next option: 1, 0 where there is none, or a Status below 0, ``past`` being said of what has no end.
    cdef uint32_t length
    if options.left < 4:
        return 0
    options.code = load16(options.rest, stream.foreign)
    if options.code == OPTION_END:
        return 0
    options.size = load16(options.rest + 2, stream.foreign)
    length = 4 + <uint32_t>padded(options.size)
    if length > options.left:
        return stream.fail(C_INVALID, past, options.code)
    options.value = options.rest + 4
    options.rest += length
    options.left -= length
    return 1


cdef inline int section_header(InputStream stream, Pcapng *pcapng) noexcept nogil:
    # Starts a section: its byte order holds from here on, and its interfaces are counted anew.
    cdef int status = stream.need(28, b"the file ends inside a section header, after {value} bytes")
    cdef const uint8_t *block
    cdef uint32_t size
    if status < 0:
        return status
    block = stream.buffer + stream.position
    if load32(block + 8, False) == BYTE_ORDER:
        stream.foreign = False
    elif load32(block + 8, True) == BYTE_ORDER:
        stream.foreign = True
    else:
        return stream.fail(C_INVALID, b"a section header with byte-order magic {value:08x}; 1a2b3c4d was expected",
                           load32(block + 8, False))
    size = load32(block + 4, stream.foreign)
    if size < 28 or size & 3:
        return stream.fail(
            C_INVALID, b"a section header of {value} bytes; a multiple of 4, at least 28, was expected", size)
    if size > MAX_BLOCK:
        return stream.fail(C_TOO_LARGE, b"a section header of {value} bytes; at most 1,048,576 are read", size)
    if load16(block + 12, stream.foreign) != 1:
        return stream.fail(C_INVALID, b"is pcapng of version {value}; version 1 was expected",
                           load16(block + 12, stream.foreign))
    status = stream.need(size, b"the file ends inside a section header, after {value} bytes")
    if status < 0:
        return status
    if load32(stream.buffer + stream.position + size - 4, stream.foreign) != size:
        return lengths_differ(stream, size)
    stream.position += size
    pcapng.interface_count = 0
    return 1


cdef inline int room_for_interface(InputStream stream, Pcapng *pcapng) noexcept nogil:
    cdef uint32_t wanted
    cdef void *more
    if pcapng.interface_count < pcapng.interface_capacity:
        return 1
    if pcapng.interface_count == MAX_INTERFACES:
        return stream.fail(C_TOO_LARGE, b"more than {value} interfaces in a section", MAX_INTERFACES)
    wanted = pcapng.interface_capacity * 2 if pcapng.interface_capacity else 4
    more = realloc(pcapng.interfaces, wanted * sizeof(Interface))
    if more == NULL:
        return stream.fail(C_MEMORY, NULL, 0)
    pcapng.interfaces = <Interface *>more
    pcapng.interface_capacity = wanted
    return 1


cdef inline int set_resolution(InputStream stream, Interface *interface, uint8_t code) noexcept nogil:
    # if_tsresol: a power of ten, or of two where the highest bit is set.
    cdef uint32_t exponent = code & 0x7f
    if exponent > (63 if code & 0x80 else 19):
        return stream.fail(
            C_INVALID, b"a time resolution of {value:#04x}, finer than a 64-bit stamp can count", code)
    interface.multiply = 1000000000
    interface.divide = 1
    interface.shift = exponent if code & 0x80 else 0
    while not code & 0x80 and exponent:
        if interface.multiply > 1:
            interface.multiply //= 10
        else:
            interface.divide *= 10
        exponent -= 1
    return 1


cdef inline int interface_options(
    InputStream stream, Interface *interface, const uint8_t *begin, uint32_t left
) noexcept nogil:
    cdef Options option = Options(begin, left, OPTION_END, 0, begin)
    cdef int status
    while True:
        status = next_option(stream, &option, b"option {value} of an interface runs past its block")
        if status <= 0:
            return status
        if option.code == OPTION_TSRESOL and option.size == 1:
            if set_resolution(stream, interface, option.value[0]) < 0:
                return stream.status
        elif option.code == OPTION_FCSLEN and option.size == 1:
            interface.fcs_length = option.value[0] >> 3
        elif option.code == OPTION_TSOFFSET and option.size == 8:
            interface.offset_s = <int64_t>load64(option.value, stream.foreign)


cdef inline int interface_description(InputStream stream, Pcapng *pcapng, uint32_t size) noexcept nogil:
    cdef const uint8_t *block
    cdef Interface *interface
    cdef int status
    if size < 20:
        return stream.fail(C_INVALID, b"an interface description of {value} bytes; at least 20 were expected", size)
    if size > MAX_BLOCK:
        return stream.fail(C_TOO_LARGE, b"an interface description of {value} bytes; at most 1,048,576 are read", size)
    status = stream.need(size, b"the file ends inside an interface description, after {value} bytes")
    if status < 0:
        return status
    block = stream.buffer + stream.position
    if load32(block + size - 4, stream.foreign) != size:
        return lengths_differ(stream, size)
    status = room_for_interface(stream, pcapng)
    if status < 0:
        return status
    interface = pcapng.interfaces + pcapng.interface_count
    interface.link_type = load16(block + 8, stream.foreign)
    interface.link = link_of(interface.link_type)
    interface.snap_length = load32(block + 12, stream.foreign)
    interface.fcs_length = 0
    interface.multiply = 1000
    interface.divide = 1
    interface.shift = 0
    interface.offset_s = 0
    status = interface_options(stream, interface, block + 16, size - 20)
    if status < 0:
        return status
    pcapng.interface_count += 1
    stream.position += size
    return 1


cdef inline int packet_options(
    InputStream stream, Record *record, const uint8_t *begin, uint32_t left
) noexcept nogil:
    # Only a packet's own length of frame check sequence is of interest.
    cdef Options option = Options(begin, left, OPTION_END, 0, begin)
    cdef uint32_t flags
    cdef int status
    while True:
        status = next_option(stream, &option, b"option {value} of this record runs past its block")
        if status <= 0:
            return status
        if option.code == OPTION_EPB_FLAGS and option.size == 4:
            flags = load32(option.value, stream.foreign)
            if flags & 0x1e0:
                record.fcs_length = flags >> 5 & 15


cdef inline int packet_block(
    InputStream stream, Pcapng *pcapng, uint32_t kind, uint32_t size, Record *record
) noexcept nogil:
    cdef uint32_t header = 12 if kind == BLOCK_SIMPLE else 28
    cdef const uint8_t *block
    cdef const Interface *interface
    cdef uint32_t number = 0
    cdef uint32_t captured
    cdef int status
    if size < header + 4:
        return stream.fail(C_INVALID, b"a packet block of {value} bytes, too short for its own header", size)
    if size > MAX_BLOCK:
        return stream.fail(C_TOO_LARGE, b"a packet block of {value} bytes; at most 1,048,576 are read", size)
    status = stream.need(size, b"the file ends inside this record, after {value} of its bytes")
    if status < 0:
        return status
    block = stream.buffer + stream.position
    if load32(block + size - 4, stream.foreign) != size:
        return lengths_differ(stream, size)
    if kind == BLOCK_ENHANCED:
        number = load32(block + 8, stream.foreign)
    elif kind == BLOCK_PACKET:
        number = load16(block + 8, stream.foreign)
    if number >= pcapng.interface_count:
        return stream.fail(C_INVALID, b"a packet of interface {value}, which the file has not described", number)
    interface = pcapng.interfaces + number
    if interface.link == L_UNSUPPORTED:
        return stream.fail(C_LINK_TYPE, NULL, interface.link_type)
    if kind == BLOCK_SIMPLE:
        record.wire = load32(block + 8, stream.foreign)
        captured = interface.snap_length if 0 < interface.snap_length < record.wire else record.wire
    else:
        captured = load32(block + 20, stream.foreign)
        record.wire = load32(block + 24, stream.foreign)
    if captured > MAX_RECORD:
        return stream.fail(C_TOO_LARGE, b"{value} captured bytes; 262,144 is the most a record can have", captured)
    if padded(captured) > size - header - 4:
        return stream.fail(C_INVALID, b"{value} captured bytes, more than the block has room for", captured)
    record.data = block + header
    record.captured = captured
    record.fcs_length = interface.fcs_length
    record.interface = number
    record.link = interface.link
    if kind != BLOCK_SIMPLE:
        pcapng.last_ts_ns = time_ns(
            <uint64_t>load32(block + 12, stream.foreign) << 32 | load32(block + 16, stream.foreign),
            interface.multiply, interface.divide, interface.shift, interface.offset_s)
        status = packet_options(stream, record, block + header + padded(captured),
                                size - header - 4 - <uint32_t>padded(captured))
        if status < 0:
            return status
    # A simple packet block has no time: it comes at that of the packet before it.
    record.ts_ns = pcapng.last_ts_ns
    stream.position += size
    return C_FRAME


cdef inline int skip_block(InputStream stream, uint32_t size) noexcept nogil:
    cdef int status = stream.skip(size - 4)
    if status > 0:
        status = stream.need(4, b"the file ends inside this block")
    if status > 0 and load32(stream.buffer + stream.position, stream.foreign) != size:
        status = lengths_differ(stream, size)
    if status > 0:
        stream.position += 4
    return status


cdef inline int pcapng_next(InputStream stream, Pcapng *pcapng, Record *record) noexcept nogil:
    # The next packet, behind whatever other blocks: C_FRAME, C_END, or a Status below 0.
    cdef const uint8_t *block
    cdef uint32_t kind
    cdef uint32_t size
    cdef int status
    while True:
        stream.start = stream.base + stream.position
        status = stream.fill(12)
        if status == 0 and stream.filled == stream.position:
            return stream.end()
        status = stream.need(12, b"the file ends inside a block's header, after {value} bytes")
        if status < 0:
            return status
        block = stream.buffer + stream.position
        kind = load32(block, stream.foreign)
        size = load32(block + 4, stream.foreign)
        if kind == BLOCK_SECTION:
            status = section_header(stream, pcapng)
        elif size < 12 or size & 3:
            status = stream.fail(C_INVALID, b"a block of {value} bytes; a multiple of 4, at least 12, was expected",
                                 size)
        elif kind == BLOCK_ENHANCED or kind == BLOCK_SIMPLE or kind == BLOCK_PACKET:
            return packet_block(stream, pcapng, kind, size, record)
        elif kind == BLOCK_INTERFACE:
            status = interface_description(stream, pcapng, size)
        else:
            status = skip_block(stream, size)
        if status < 0:
            return status
