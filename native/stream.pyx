"""Reads the bytes of a capture from a file, a pipe or a compressed stream into one bounded buffer."""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove
from posix.unistd cimport close, read

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
    int poll(pollfd *descriptors, unsigned long count, int timeout_ms)
    short POLLIN

cdef enum:
    CHUNK = 262144              # bytes asked of read(2) at once, and what the buffer starts with
    SIGNALS_MS = 200            # how often waiting for input looks at signals


cdef class InputStream:
    """The descriptor and the buffer behind a :class:`native.capture.CaptureReader`, which is the only one there is."""

    def __cinit__(self):
        self.fd = -1
        self.status = C_END

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)
        free(self.buffer)

    cdef int attach(self, int fd) except -1:
        # Takes over the descriptor.
        if self.buffer != NULL:
            raise ValueError("a CaptureReader is opened once")
        self.fd = fd
        self.status = C_FRAME
        self.buffer = <uint8_t *>malloc(CHUNK)
        if self.buffer == NULL:
            raise MemoryError
        self.capacity = CHUNK
        return 0

    def close(self):
        """Close the descriptor; iterating ends here."""
        if self.fd >= 0:
            close(self.fd)
        self.fd = -1
        if self.status > 0:
            self.status = C_END

    cdef int fail(self, int status, const char *problem, uint64_t value) noexcept nogil:
        self.status = status
        self.problem = problem
        self.value = value
        return status

    cdef int end(self) noexcept nogil:
        self.status = C_END
        return C_END

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
        # Like fill(), but the file must not end before that.
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
