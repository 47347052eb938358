# A capture file as a stream of Ethernet frames.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from native.link cimport Record
from native.pcap cimport Pcap
from native.pcapng cimport Pcapng
from native.stream cimport InputStream


cdef class CaptureReader(InputStream):
    cdef bint blocks            # pcapng
    cdef Pcap pcap
    cdef Pcapng pcapng
    cdef Record record          # the last one
    cdef uint8_t *scratch       # one frame, for the Python iterator
    cdef readonly uint64_t number       # records delivered so far
    cdef readonly uint32_t wire_length  # of the last record, before anything was cut or filled
    cdef readonly uint32_t interface    # of the last record, counted from 0 within its section
    cdef readonly object size           # bytes of a regular file, None for anything else
    cdef readonly str name              # what messages call the file

    # Copies the next record as an Ethernet frame of *length <= min(capacity, MAX_FRAME) bytes; a frame that is longer
    # is cut, bytes that the capture lacks are zero.  Takes the GIL as rarely as its stream does.  Returns C_FRAME,
    # C_END or a Status below 0; after an error raise_for_error() has the exception.  `out` needs no alignment: frames
    # can be packed.
    cdef int next_frame(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil

    cdef int begin(self) noexcept nogil
