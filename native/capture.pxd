# A capture file as a stream of Ethernet frames: pcap and pcapng, read in chunks into one bounded buffer, never mapped,
# so that memory stays flat whatever the size of the file.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_FRAME = 65553           # largest frame handed out: 65,535 bytes of packet behind a header with one VLAN tag
    MAX_RECORD = 262144         # most captured bytes in one record; more is taken for a lie
    MAX_BLOCK = 1048576         # most bytes of a pcapng block that has to be held whole; the buffer grows up to it
    MAX_INTERFACES = 65536      # in one section of a pcapng file

cdef enum Status:
    # What next_frame() returns.  The end and every error stay: further calls return them again.
    C_FRAME = 1
    C_END = 0
    C_READ = -1                 # read(2) failed; `value` is errno
    C_TRUNCATED = -2
    C_TOO_LARGE = -3
    C_LINK_TYPE = -4            # `value` is the link type
    C_INVALID = -5
    C_MEMORY = -6
    C_RAISED = -7               # the unpacker or a signal handler raised; `raised` has it

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

cdef class CaptureReader:
    cdef int fd
    cdef bint foreign           # the file's byte order is not this machine's
    cdef bint blocks            # pcapng
    cdef bint waits             # no regular file: a read may block
    cdef bint packed            # the file is compressed; every offset is one of the unpacked data
    cdef int status             # C_FRAME until the end or an error
    cdef uint8_t *buffer
    cdef uint64_t capacity
    cdef uint64_t position      # next byte to look at, in the buffer
    cdef uint64_t filled        # bytes in the buffer
    cdef uint64_t base          # offset in the file of the buffer's first byte
    cdef uint64_t start         # offset in the file of the record or block being read
    cdef uint32_t record_header  # bytes before the data of a pcap record
    cdef Interface *interfaces
    cdef uint32_t interface_count
    cdef uint32_t interface_capacity
    cdef const char *problem    # what is wrong; {value} stands for the number below
    cdef uint64_t value
    cdef object unpacker        # edge.decompression.Unpacker where the file is compressed
    cdef object raised
    cdef uint8_t *scratch       # one frame, for the Python iterator
    cdef uint64_t last_ts_ns
    cdef readonly uint64_t number       # records delivered so far
    cdef readonly uint32_t wire_length  # of the last record, before anything was cut or filled
    cdef readonly uint32_t captured_length
    cdef readonly uint32_t interface    # of the last record, counted from 0 within its section
    cdef readonly object size           # bytes of a regular file, None for anything else
    cdef readonly str name              # what messages call the file

    # Copies the next record as an Ethernet frame of *length <= min(capacity, MAX_FRAME) bytes; a frame that is longer
    # is cut, bytes that the capture lacks are zero.  Needs no GIL: calls read(2) and, rarely, realloc(3).  It takes the
    # GIL to unpack, and for signals while it waits, so whoever calls holds no lock that Python code may want.  Returns
    # a Status; after an error raise_for_error() has the exception.  `out` needs no alignment: frames can be packed.
    cdef int next_frame(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil

    cdef ssize_t receive(self, uint8_t *out, uint64_t most) noexcept nogil
    cdef ssize_t unpack(self, uint8_t *out, uint64_t most) noexcept with gil
    cdef int handle_signals(self) noexcept with gil
    cdef int fill(self, uint64_t need) noexcept nogil
    cdef int skip(self, uint64_t count) noexcept nogil
    cdef int fail(self, int status, const char *problem, uint64_t value) noexcept nogil
    cdef int need(self, uint64_t count, const char *what) noexcept nogil
    cdef int begin(self) noexcept nogil
    cdef bint plausible(self, uint32_t header, uint32_t least) noexcept nogil
    cdef int file_header(self, uint32_t magic) noexcept nogil
    cdef int next_record(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil
    cdef int next_block(self, unsigned char *out, uint32_t capacity, uint32_t *length, uint64_t *ts_ns) noexcept nogil
    cdef int section_header(self) noexcept nogil
    cdef int interface_description(self, uint32_t size) noexcept nogil
    cdef int packet_block(self, uint32_t kind, uint32_t size, unsigned char *out, uint32_t capacity,
                          uint32_t *length, uint64_t *ts_ns) noexcept nogil
    cdef void deliver(self, const Interface *interface, const uint8_t *data, uint32_t captured, uint32_t wire,
                      uint32_t fcs_length, unsigned char *out, uint32_t capacity, uint32_t *length) noexcept nogil
