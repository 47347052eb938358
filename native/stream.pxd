# The bytes of a capture, whatever they come from: read in chunks into one bounded buffer, never mapped, so that memory
# stays flat whatever the size of the file; unpacked on the way where the file is compressed.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum Status:
    # What reading returns.  The end and every error stay: further calls return them again.
    C_FRAME = 1
    C_END = 0
    C_READ = -1                 # read(2) failed; `value` is errno
    C_TRUNCATED = -2
    C_TOO_LARGE = -3
    C_LINK_TYPE = -4            # `value` is the link type
    C_INVALID = -5
    C_MEMORY = -6
    C_RAISED = -7               # the unpacker or a signal handler raised; `raised` has it

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
    """
    uint16_t load16 "t1_load16"(const uint8_t *p, bint foreign) noexcept nogil
    uint32_t load32 "t1_load32"(const uint8_t *p, bint foreign) noexcept nogil
    uint64_t load64 "t1_load64"(const uint8_t *p, bint foreign) noexcept nogil


cdef class InputStream:
    cdef int fd
    cdef bint foreign           # the file's byte order is not this machine's
    cdef bint waits             # no regular file: a read may block
    cdef bint packed            # the file is compressed; every offset is one of the unpacked data
    cdef int status             # C_FRAME until the end or an error
    cdef uint8_t *buffer
    cdef uint64_t capacity
    cdef uint64_t position      # next byte to look at, in the buffer
    cdef uint64_t filled        # bytes in the buffer
    cdef uint64_t base          # offset in the file of the buffer's first byte
    cdef uint64_t start         # offset in the file of the record or block being read
    cdef const char *problem    # what is wrong; {value} stands for the number below
    cdef uint64_t value
    cdef object unpacker        # edge.decompression.Unpacker where the file is compressed
    cdef object raised

    # Each returns 1, C_END where `fill` finds the end, or a Status below 0.  They need no GIL: they call read(2) and,
    # rarely, realloc(3), and take the GIL to unpack, and for signals while they wait, so whoever calls holds no lock
    # that Python code may want.
    cdef int fill(self, uint64_t need) noexcept nogil
    cdef int need(self, uint64_t count, const char *what) noexcept nogil
    cdef int skip(self, uint64_t count) noexcept nogil
    cdef int fail(self, int status, const char *problem, uint64_t value) noexcept nogil
    cdef int end(self) noexcept nogil

    cdef int attach(self, int fd) except -1
    cdef ssize_t receive(self, uint8_t *out, uint64_t most) noexcept nogil
    cdef ssize_t unpack(self, uint8_t *out, uint64_t most) noexcept with gil
    cdef int handle_signals(self) noexcept with gil
