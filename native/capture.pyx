"""Reads capture files.

Formats: pcap as draft-ietf-opsawg-pcap has it (both byte orders, micro- and nanoseconds) with the longer record headers
of old patched libpcaps, and pcapng as draft-ietf-opsawg-pcapng has it; either may be compressed with gzip or zstd.
Every length in a file is a claim: it is checked against a bound before anything is allocated or skipped, and a claim
that fails names the record and its offset.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset
from posix.unistd cimport close, read

import os
from collections import namedtuple

from native.wire cimport be16, be32, put16

from edge.decompression import Unpacker, compression_of
from edge.errors import CaptureError, LinkTypeUnsupportedError
from edge.linktypes import link_type_name

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static inline uint16_t t1_load16(const uint8_t *p, int foreign) {
        uint16_t v; memcpy(&v, p, 2); return foreign ? __builtin_bswap16(v) : v;
    }
    static inline uint32_t t1_load32(const uint8_t *p, int foreign) {
        uint32_t v; memcpy(&v, p, 4); return foreign ? __builtin_bswap32(v) : v;
    }
    static inline uint64_t t1_load64(const uint8_t *p, int foreign) {
        uint64_t v; memcpy(&v, p, 8); return foreign ? __builtin_bswap64(v) : v;
    }
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
    uint16_t load16 "t1_load16"(const uint8_t *p, bint foreign) noexcept nogil
    uint32_t load32 "t1_load32"(const uint8_t *p, bint foreign) noexcept nogil
    uint64_t load64 "t1_load64"(const uint8_t *p, bint foreign) noexcept nogil
    uint32_t swap32 "__builtin_bswap32"(uint32_t value) noexcept nogil
    uint64_t time_ns "t1_time"(uint64_t stamp, uint64_t multiply, uint64_t divide, uint32_t shift,
                               int64_t offset_s) noexcept nogil

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
    int poll(pollfd *descriptors, unsigned long count, int timeout_ms)
    short POLLIN

CapturedFrame = namedtuple("CapturedFrame", "number ts_ns frame wire_length interface")

cdef enum:
    CHUNK = 262144              # bytes asked of read(2) at once, and what the buffer starts with
    ETHERNET_HEADER = 14
    SIGNALS_MS = 200            # how often waiting for input looks at signals

    # draft-ietf-opsawg-pcap 4; the last one of libpcaps that were patched in 1999
    MAGIC_MICRO = 0xa1b2c3d4
    MAGIC_NANO = 0xa1b23c4d
    MAGIC_PATCHED = 0xa1b2cd34
    FILE_HEADER = 24

    # draft-ietf-opsawg-pcapng
    BYTE_ORDER = 0x1a2b3c4d
    BLOCK_SECTION = 0x0a0d0d0a
    BLOCK_INTERFACE = 1
    BLOCK_PACKET = 2            # obsolete
    BLOCK_SIMPLE = 3
    BLOCK_ENHANCED = 6
    OPTION_END = 0
    OPTION_EPB_FLAGS = 2
    OPTION_TSRESOL = 9
    OPTION_FCSLEN = 13
    OPTION_TSOFFSET = 14


cdef inline uint64_t padded(uint64_t size) noexcept nogil:
    return (size + 3) & ~<uint64_t>3


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


cdef class CaptureReader:
    """Iterates over a capture: ``CapturedFrame(number, ts_ns, frame, wire_length, interface)`` per record.

    Takes over the descriptor ``fd``, which may be anything that read(2) works on; ``name`` is for messages.  What is
    compressed with gzip or zstd is unpacked on the way; offsets in messages count unpacked bytes then.  Raises
    CaptureError when the file's own header is no good, and while iterating at the record that is; all before it has
    been delivered then.
    """

    def __init__(self, int fd, str name):
        if self.buffer != NULL:
            raise ValueError("a CaptureReader is opened once")
        self.fd = fd
        self.name = name
        self.status = C_FRAME
        status = os.fstat(fd)
        self.size = status.st_size if os.path.stat.S_ISREG(status.st_mode) else None
        self.buffer = <uint8_t *>malloc(CHUNK)
        if self.buffer == NULL:
            raise MemoryError
        self.waits = self.size is None
        self.capacity = CHUNK
        self._look_inside()
        with nogil:
            self.begin()
        self.raise_for_error()

    def _look_inside(self):
        # Puts the unpacker between the file and the buffer where the file is compressed.
        outer = self._compression()
        if outer is None:
            return
        self.unpacker = Unpacker(outer, self.fd, self.buffer[:self.filled])
        self.packed = True
        self.filled = 0
        inner = self._compression()
        if inner is not None:
            raise CaptureError(f"{self.name}: is compressed twice, {inner} inside {outer}: unpack it once")

    def _compression(self):
        with nogil:
            self.fill(4)
        self.raise_for_error()
        try:
            return compression_of(self.buffer[:self.filled][:4])
        except CaptureError as error:
            raise CaptureError(f"{self.name}: {error}") from None

    def __cinit__(self):
        self.fd = -1
        self.status = C_END

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)
        free(self.buffer)
        free(self.interfaces)
        free(self.scratch)

    def close(self):
        """Close the descriptor; iterating ends here."""
        if self.fd >= 0:
            close(self.fd)
        self.fd = -1
        if self.status > 0:
            self.status = C_END

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint32_t length = 0
        cdef uint64_t ts_ns = 0
        cdef int status
        if self.scratch == NULL:
            self.scratch = <uint8_t *>malloc(MAX_FRAME)
            if self.scratch == NULL:
                raise MemoryError
        with nogil:
            status = self.next_frame(self.scratch, MAX_FRAME, &length, &ts_ns)
        if status == C_FRAME:
            return CapturedFrame(self.number, ts_ns, self.scratch[:length], self.wire_length, self.interface)
        self.raise_for_error()
        raise StopIteration

    @property
    def bytes_read(self):
        """How much of the file, as it is stored, has been read; to be held against ``size``."""
        return self.unpacker.taken if self.packed else self.base + self.position

    def raise_for_error(self):
        """Raise what ended the reading, if it was not the end of the file.  Raises CaptureError."""
        if self.status >= 0:
            return
        if self.status == C_MEMORY:
            raise MemoryError
        place = self.name
        if self.start:
            where = " of the unpacked data" if self.packed else ""
            place += f": record {self.number + 1} at offset {self.start}{where}"
        if self.status == C_RAISED:
            raise CaptureError(f"{place}: {self.raised}") if isinstance(self.raised, CaptureError) else self.raised
        if self.status == C_READ:
            raise CaptureError(f"{place}: {os.strerror(<int>self.value)}")
        if self.status == C_LINK_TYPE:
            raise LinkTypeUnsupportedError(
                f"{place}: link type {link_type_name(self.value)} is not emulated;"
                " Ethernet, raw IP, Linux cooked and BSD loopback captures are"
            )
        raise CaptureError(f"{place}: " + self.problem.decode("ascii").format(value=self.value))

    cdef int fail(self, int status, const char *problem, uint64_t value) noexcept nogil:
        self.status = status
        self.problem = problem
        self.value = value
        return status

    cdef ssize_t receive(self, uint8_t *out, uint64_t most) noexcept nogil:
        # Bytes read, unpacked where the file is compressed; 0 at its end; a Status below 0.
        cdef pollfd input
        cdef ssize_t got
        cdef int ready
        if self.packed:
            return self.unpack(out, most)
        while True:
            if self.waits:
                # Python's signal handlers only take a note.  What they stand for, Ctrl-C above all, happens here; no
                # note waits longer than the timeout, even one taken just before poll(2) began.
                if self.handle_signals() < 0:
                    return self.status
                input.fd = self.fd
                input.events = POLLIN
                ready = poll(&input, 1, SIGNALS_MS)
                if ready == 0 or (ready < 0 and errno == EINTR):
                    continue
            got = read(self.fd, out, most)
            if got >= 0:
                return got
            if errno != EINTR and not (self.waits and errno == EAGAIN):
                return self.fail(C_READ, NULL, errno)

    cdef ssize_t unpack(self, uint8_t *out, uint64_t most) noexcept with gil:
        cdef bytes data
        try:
            data = self.unpacker.read(most)
        except BaseException as error:
            self.raised = error
            return self.fail(C_RAISED, NULL, 0)
        memcpy(out, <const char *>data, len(data))
        return len(data)

    cdef int handle_signals(self) noexcept with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            self.raised = error
            return self.fail(C_RAISED, NULL, 0)
        return 0

    cdef int fill(self, uint64_t need) noexcept nogil:
        # 1: `need` bytes lie at `position`; 0: the file ends before that.  What is left moves to the buffer's front
        # each time, which costs little: it is less than one record.
        cdef uint64_t left = self.filled - self.position
        cdef void *larger
        cdef ssize_t got
        if left >= need:
            return 1
        memmove(self.buffer, self.buffer + self.position, left)
        self.base += self.position
        self.position = 0
        self.filled = left
        if need > self.capacity:
            larger = realloc(self.buffer, need)
            if larger == NULL:
                return self.fail(C_MEMORY, NULL, 0)
            self.buffer = <uint8_t *>larger
            self.capacity = need
        while self.filled < need:
            got = self.receive(self.buffer + self.filled, self.capacity - self.filled)
            if got <= 0:
                return <int>got
            self.filled += got
        return 1

    cdef int need(self, uint64_t count, const char *problem) noexcept nogil:
        cdef int status = self.fill(count)
        return status if status else self.fail(C_TRUNCATED, problem, self.filled - self.position)

    cdef int skip(self, uint64_t count) noexcept nogil:
        cdef int status
        while self.filled - self.position < count:
            count -= self.filled - self.position
            self.position = self.filled
            status = self.need(1, b"the file ends inside this block")
            if status < 0:
                return status
        self.position += count
        return 1

    cdef int begin(self) noexcept nogil:
        cdef int status = self.fill(4)
        cdef uint32_t magic
        if status < 0:
            return status
        if self.filled == 0:
            return self.fail(C_INVALID, b"unpacks to nothing, not to a capture" if self.packed
                             else b"is empty, not a capture", 0)
        if status == 0:
            return self.fail(C_INVALID, b"is neither pcap nor pcapng: it has {value} bytes", self.filled)
        if load32(self.buffer, False) == BLOCK_SECTION:
            self.blocks = True
            return self.section_header()
        magic = load32(self.buffer, False)
        if magic != MAGIC_MICRO and magic != MAGIC_NANO and magic != MAGIC_PATCHED:
            self.foreign = True
            magic = load32(self.buffer, True)
        if magic == MAGIC_MICRO or magic == MAGIC_NANO or magic == MAGIC_PATCHED:
            return self.file_header(magic)
        return self.fail(C_INVALID, b"is neither pcap nor pcapng: it begins with {value:08x}",
                         <uint64_t>be16(self.buffer) << 16 | be16(self.buffer + 2))

    cdef int file_header(self, uint32_t magic) noexcept nogil:
        cdef int status = self.need(FILE_HEADER, b"the file ends inside the pcap file header")
        cdef uint32_t link_field
        cdef uint32_t other = 0
        if status < 0:
            return status
        if load16(self.buffer + 4, self.foreign) != 2:
            return self.fail(C_INVALID, b"is pcap of version {value}; version 2 was expected",
                             load16(self.buffer + 4, self.foreign))
        self.interfaces = <Interface *>malloc(sizeof(Interface))
        if self.interfaces == NULL:
            return self.fail(C_MEMORY, NULL, 0)
        self.interface_count = 1
        link_field = load32(self.buffer + 20, self.foreign)
        self.interfaces.link_type = link_field & 0xffff
        self.interfaces.link = link_of(self.interfaces.link_type)
        self.interfaces.snap_length = load32(self.buffer + 16, self.foreign)
        # Bit 26 says that the top four bits count the 16-bit words of frame check sequence.
        self.interfaces.fcs_length = (link_field >> 28) * 2 if link_field & 0x04000000 else 0
        self.interfaces.multiply = 1 if magic == MAGIC_NANO else 1000
        self.interfaces.divide = 1
        self.interfaces.shift = 0
        self.interfaces.offset_s = 0
        if self.interfaces.link == L_UNSUPPORTED:
            return self.fail(C_LINK_TYPE, NULL, self.interfaces.link_type)
        self.position = FILE_HEADER
        # Patched libpcaps put 4, 8 or 12 bytes more before each packet, some without a magic number of their own.  Such
        # a layout is taken only where the plain one makes no sense, and it must fit several records.
        self.record_header = 24 if magic == MAGIC_PATCHED else 16
        status = self.fill(self.record_header)
        if status < 0:
            return status
        if not self.plausible(self.record_header, 0):
            other = 28 if magic == MAGIC_PATCHED else 24
            if self.plausible(other, 2):
                self.record_header = other
            elif magic == MAGIC_MICRO and self.plausible(20, 2):
                self.record_header = 20
        return 1

    cdef bint plausible(self, uint32_t header, uint32_t least) noexcept nogil:
        # Do the records in the buffer make sense with record headers of this size, and are there at least so many?
        cdef uint64_t at = self.position
        cdef uint32_t seen = 0
        cdef uint32_t captured
        cdef uint32_t wire
        while self.filled - at >= header and seen < 8:
            captured = load32(self.buffer + at + 8, self.foreign)
            wire = load32(self.buffer + at + 12, self.foreign)
            if captured > wire or wire > MAX_RECORD or load32(self.buffer + at + 4, self.foreign) >= 1000000000:
                return False
            if self.filled - at - header < captured:
                break
            at += header + captured
            seen += 1
        return seen >= least

    cdef int next_frame(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil:
        if self.status <= 0:
            return self.status
        if self.blocks:
            return self.next_block(out, capacity, length, ts_ns)
        return self.next_record(out, capacity, length, ts_ns)

    cdef int next_record(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil:
        cdef const uint8_t *record
        cdef uint32_t captured
        cdef int status
        self.start = self.base + self.position
        status = self.fill(self.record_header)
        if status <= 0:
            if status == 0 and self.filled == self.position:
                self.status = C_END
                return C_END
            return status if status < 0 else self.fail(
                C_TRUNCATED, b"the file ends inside this record's header, after {value} bytes",
                self.filled - self.position)
        captured = load32(self.buffer + self.position + 8, self.foreign)
        if captured > MAX_RECORD:
            return self.fail(C_TOO_LARGE, b"{value} captured bytes; 262,144 is the most a record can have", captured)
        status = self.need(self.record_header + captured,
                           b"the file ends inside this record, after {value} of its bytes")
        if status < 0:
            return status
        record = self.buffer + self.position
        ts_ns[0] = (<uint64_t>load32(record, self.foreign) * 1000000000
                    + load32(record + 4, self.foreign) * self.interfaces.multiply)
        self.deliver(self.interfaces, record + self.record_header, captured, load32(record + 12, self.foreign),
                     self.interfaces.fcs_length, out, capacity, length)
        self.position += self.record_header + captured
        return C_FRAME

    cdef int next_block(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil:
        cdef const uint8_t *block
        cdef uint32_t kind
        cdef uint32_t size
        cdef int status
        while True:
            self.start = self.base + self.position
            status = self.fill(12)
            if status == 0 and self.filled == self.position:
                self.status = C_END
                return C_END
            status = self.need(12, b"the file ends inside a block's header, after {value} bytes")
            if status < 0:
                return status
            block = self.buffer + self.position
            kind = load32(block, self.foreign)
            size = load32(block + 4, self.foreign)
            if kind == BLOCK_SECTION:       # the same number in both byte orders
                status = self.section_header()
            elif size < 12 or size & 3:
                status = self.fail(C_INVALID, b"a block of {value} bytes; a multiple of 4, at least 12, was expected",
                                   size)
            elif kind == BLOCK_ENHANCED or kind == BLOCK_SIMPLE or kind == BLOCK_PACKET:
                return self.packet_block(kind, size, out, capacity, length, ts_ns)
            elif kind == BLOCK_INTERFACE:
                status = self.interface_description(size)
            else:
                status = self.skip(size - 4)
                if status > 0:
                    status = self.need(4, b"the file ends inside this block")
                if status > 0 and load32(self.buffer + self.position, self.foreign) != size:
                    status = self.fail(C_INVALID, b"the block's two lengths differ: it begins with {value}", size)
                if status > 0:
                    self.position += 4
            if status < 0:
                return status

    cdef int section_header(self) noexcept nogil:
        # Starts a section: its byte order holds from here on, and its interfaces are counted anew.
        cdef int status = self.need(28, b"the file ends inside a section header, after {value} bytes")
        cdef const uint8_t *block
        cdef uint32_t size
        if status < 0:
            return status
        block = self.buffer + self.position
        if load32(block + 8, False) == BYTE_ORDER:
            self.foreign = False
        elif load32(block + 8, True) == BYTE_ORDER:
            self.foreign = True
        else:
            return self.fail(C_INVALID, b"a section header with byte-order magic {value:08x}; 1a2b3c4d was expected",
                             load32(block + 8, False))
        size = load32(block + 4, self.foreign)
        if size < 28 or size & 3:
            return self.fail(
                C_INVALID, b"a section header of {value} bytes; a multiple of 4, at least 28, was expected", size)
        if size > MAX_BLOCK:
            return self.fail(C_TOO_LARGE, b"a section header of {value} bytes; at most 1,048,576 are read", size)
        if load16(block + 12, self.foreign) != 1:
            return self.fail(C_INVALID, b"is pcapng of version {value}; version 1 was expected",
                             load16(block + 12, self.foreign))
        status = self.need(size, b"the file ends inside a section header, after {value} bytes")
        if status < 0:
            return status
        if load32(self.buffer + self.position + size - 4, self.foreign) != size:
            return self.fail(C_INVALID, b"the block's two lengths differ: it begins with {value}", size)
        self.position += size
        self.interface_count = 0
        return 1

    cdef int interface_description(self, uint32_t size) noexcept nogil:
        cdef const uint8_t *block
        cdef const uint8_t *option
        cdef Interface *interface
        cdef Interface *more
        cdef uint32_t left
        cdef uint32_t code
        cdef uint32_t option_size
        cdef uint32_t exponent
        cdef uint32_t wanted
        cdef int status
        if size < 20:
            return self.fail(C_INVALID, b"an interface description of {value} bytes; at least 20 were expected", size)
        if size > MAX_BLOCK:
            return self.fail(C_TOO_LARGE, b"an interface description of {value} bytes; at most 1,048,576 are read",
                             size)
        status = self.need(size, b"the file ends inside an interface description, after {value} bytes")
        if status < 0:
            return status
        block = self.buffer + self.position
        if load32(block + size - 4, self.foreign) != size:
            return self.fail(C_INVALID, b"the block's two lengths differ: it begins with {value}", size)
        if self.interface_count == self.interface_capacity:
            if self.interface_count == MAX_INTERFACES:
                return self.fail(C_TOO_LARGE, b"more than {value} interfaces in a section", MAX_INTERFACES)
            wanted = self.interface_capacity * 2 if self.interface_capacity else 4
            more = <Interface *>realloc(self.interfaces, wanted * sizeof(Interface))
            if more == NULL:
                return self.fail(C_MEMORY, NULL, 0)
            self.interfaces = more
            self.interface_capacity = wanted
        interface = self.interfaces + self.interface_count
        interface.link_type = load16(block + 8, self.foreign)
        interface.link = link_of(interface.link_type)
        interface.snap_length = load32(block + 12, self.foreign)
        interface.fcs_length = 0
        interface.multiply = 1000
        interface.divide = 1
        interface.shift = 0
        interface.offset_s = 0
        option = block + 16
        left = size - 20
        while left >= 4:
            code = load16(option, self.foreign)
            option_size = load16(option + 2, self.foreign)
            if code == OPTION_END:
                break
            if padded(option_size) > left - 4:
                return self.fail(C_INVALID, b"option {value} of an interface runs past its block", code)
            if code == OPTION_TSRESOL and option_size == 1:
                exponent = option[4] & 0x7f
                if exponent > (63 if option[4] & 0x80 else 19):
                    return self.fail(
                        C_INVALID, b"a time resolution of {value:#04x}, finer than a 64-bit stamp can count", option[4])
                interface.multiply = 1000000000
                interface.divide = 1
                interface.shift = exponent if option[4] & 0x80 else 0
                while not option[4] & 0x80 and exponent:
                    if interface.multiply > 1:
                        interface.multiply //= 10
                    else:
                        interface.divide *= 10
                    exponent -= 1
            elif code == OPTION_FCSLEN and option_size == 1:
                interface.fcs_length = option[4] >> 3
            elif code == OPTION_TSOFFSET and option_size == 8:
                interface.offset_s = <int64_t>load64(option + 4, self.foreign)
            option += 4 + padded(option_size)
            left -= 4 + <uint32_t>padded(option_size)
        self.interface_count += 1
        self.position += size
        return 1

    cdef int packet_block(self, uint32_t kind, uint32_t size, unsigned char *out, uint32_t capacity,
                          uint32_t *length, uint64_t *ts_ns) noexcept nogil:
        cdef uint32_t header = 12 if kind == BLOCK_SIMPLE else 28
        cdef const uint8_t *block
        cdef const Interface *interface
        cdef const uint8_t *option
        cdef uint32_t number = 0
        cdef uint32_t captured
        cdef uint32_t wire
        cdef uint32_t left
        cdef uint32_t code
        cdef uint32_t option_size
        cdef uint32_t fcs_length
        cdef int status
        if size < header + 4:
            return self.fail(C_INVALID, b"a packet block of {value} bytes, too short for its own header", size)
        if size > MAX_BLOCK:
            return self.fail(C_TOO_LARGE, b"a packet block of {value} bytes; at most 1,048,576 are read", size)
        status = self.need(size, b"the file ends inside this record, after {value} of its bytes")
        if status < 0:
            return status
        block = self.buffer + self.position
        if load32(block + size - 4, self.foreign) != size:
            return self.fail(C_INVALID, b"the block's two lengths differ: it begins with {value}", size)
        if kind == BLOCK_ENHANCED:
            number = load32(block + 8, self.foreign)
        elif kind == BLOCK_PACKET:
            number = load16(block + 8, self.foreign)
        if number >= self.interface_count:
            return self.fail(C_INVALID, b"a packet of interface {value}, which the file has not described", number)
        interface = self.interfaces + number
        if interface.link == L_UNSUPPORTED:
            return self.fail(C_LINK_TYPE, NULL, interface.link_type)
        if kind == BLOCK_SIMPLE:
            wire = load32(block + 8, self.foreign)
            captured = interface.snap_length if 0 < interface.snap_length < wire else wire
        else:
            captured = load32(block + 20, self.foreign)
            wire = load32(block + 24, self.foreign)
        if captured > MAX_RECORD:
            return self.fail(C_TOO_LARGE, b"{value} captured bytes; 262,144 is the most a record can have", captured)
        if padded(captured) > size - header - 4:
            return self.fail(C_INVALID, b"{value} captured bytes, more than the block has room for", captured)
        fcs_length = interface.fcs_length
        if kind != BLOCK_SIMPLE:
            self.last_ts_ns = time_ns(
                <uint64_t>load32(block + 12, self.foreign) << 32 | load32(block + 16, self.foreign),
                interface.multiply, interface.divide, interface.shift, interface.offset_s)
            option = block + header + padded(captured)
            left = size - header - 4 - <uint32_t>padded(captured)
            while left >= 4:
                code = load16(option, self.foreign)
                option_size = load16(option + 2, self.foreign)
                if code == OPTION_END:
                    break
                if padded(option_size) > left - 4:
                    return self.fail(C_INVALID, b"option {value} of this record runs past its block", code)
                if code == OPTION_EPB_FLAGS and option_size == 4 and load32(option + 4, self.foreign) & 0x1e0:
                    fcs_length = load32(option + 4, self.foreign) >> 5 & 15
                option += 4 + padded(option_size)
                left -= 4 + <uint32_t>padded(option_size)
        # A simple packet block has no time: it comes at that of the packet before it.
        ts_ns[0] = self.last_ts_ns
        self.interface = number
        self.deliver(interface, block + header, captured, wire, fcs_length, out, capacity, length)
        self.position += size
        return C_FRAME

    cdef void deliver(self, const Interface *interface, const uint8_t *data, uint32_t captured, uint32_t wire,
                      uint32_t fcs_length, unsigned char *out, uint32_t capacity, uint32_t *length) noexcept nogil:
        cdef uint32_t header = link_header(interface.link)
        cdef uint32_t front = 0
        cdef uint32_t most = capacity if capacity < MAX_FRAME else MAX_FRAME
        self.number += 1
        self.wire_length = wire
        self.captured_length = captured
        if wire < captured:         # a lie, or padding that the capture added: what is there counts
            wire = captured
        wire = wire - fcs_length if wire > fcs_length else 0
        if captured > wire:
            captured = wire
        if interface.link != L_ETHERNET:
            if captured < header or most < ETHERNET_HEADER:
                length[0] = 0       # its link header is not all there: as a frame without one, it is malformed
                return
            ethernet_header(interface.link, data, captured, out)
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
        length[0] = front + wire
