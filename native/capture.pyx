"""Reads capture files.

Formats: pcap as draft-ietf-opsawg-pcap has it (both byte orders, micro- and nanoseconds) with the longer record headers
of old patched libpcaps, and pcapng as draft-ietf-opsawg-pcapng has it; either may be compressed with gzip or zstd.
Every length in a file is a claim: it is checked against a bound before anything is allocated or skipped, and a claim
that fails names the record and its offset.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

import os
from collections import namedtuple

from native.link cimport MAX_FRAME, ethernet_frame
from native.pcap cimport is_pcap, pcap_begin, pcap_next
from native.pcapng cimport BLOCK_SECTION, pcapng_next, section_header
from native.stream cimport (
    C_FRAME, C_INVALID, C_LINK_TYPE, C_MEMORY, C_RAISED, C_READ, InputStream, load32,
)
from native.wire cimport be32

from edge.decompression import Unpacker, compression_of
from edge.errors import CaptureError, LinkTypeUnsupportedError
from edge.linktypes import link_type_name

CapturedFrame = namedtuple("CapturedFrame", "number ts_ns frame wire_length interface")


cdef class CaptureReader(InputStream):
    """Iterates over a capture: ``CapturedFrame(number, ts_ns, frame, wire_length, interface)`` per record.

    Takes over the descriptor ``fd``, which may be anything that read(2) works on; ``name`` is for messages.  What is
    compressed with gzip or zstd is unpacked on the way; offsets in messages count unpacked bytes then.  Raises
    CaptureError when the file's own header is no good, and while iterating at the record that is; all before it has
    been delivered then.
    """

    def __init__(self, int fd, str name):
        self.attach(fd)
        self.name = name
        status = os.fstat(fd)
        self.size = status.st_size if os.path.stat.S_ISREG(status.st_mode) else None
        self.waits = self.size is None
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

    def __dealloc__(self):
        free(self.pcapng.interfaces)
        free(self.scratch)

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

    cdef int begin(self) noexcept nogil:
        # Reads the file header: which format, which byte order, and whether anything is there at all.
        cdef int status = self.fill(4)
        if status < 0:
            return status
        if self.filled == 0:
            return self.fail(C_INVALID, b"unpacks to nothing, not to a capture" if self.packed
                             else b"is empty, not a capture", 0)
        if status == 0:
            return self.fail(C_INVALID, b"is neither pcap nor pcapng: it has {value} bytes", self.filled)
        if load32(self.buffer, False) == BLOCK_SECTION:
            self.blocks = True
            return section_header(self, &self.pcapng)
        self.foreign = not is_pcap(load32(self.buffer, False))
        if is_pcap(load32(self.buffer, self.foreign)):
            return pcap_begin(self, &self.pcap, load32(self.buffer, self.foreign))
        return self.fail(C_INVALID, b"is neither pcap nor pcapng: it begins with {value:08x}", be32(self.buffer))

    cdef int next_frame(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil:
        cdef int status = self.status
        if status <= 0:
            return status
        if self.blocks:
            status = pcapng_next(self, &self.pcapng, &self.record)
        else:
            status = pcap_next(self, &self.pcap, &self.record)
        if status != C_FRAME:
            return status
        self.number += 1
        self.wire_length = self.record.wire
        self.interface = self.record.interface
        ts_ns[0] = self.record.ts_ns
        length[0] = ethernet_frame(&self.record, out, capacity)
        return C_FRAME
