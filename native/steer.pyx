"""Steering: built once for a configuration, and asked about single frames by tests."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from native.owner cimport owner_of
from native.packet cimport Packet, parse
from native.route cimport RangeMap
from native.steer cimport ASK, TOUCHED, WORKERS_MAX, Steering


cdef class Steerer:
    """Which of ``workers`` workers a packet belongs to.

    ``touched`` are the ranges of addresses that NAT reads or writes, of IPv4 and of IPv6, as (first, last), sorted and
    disjoint.  Raises ValueError for a number of workers that cannot be, MemoryError.
    """

    def __cinit__(self, uint32_t workers, touched: tuple, seed: int):
        if not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"there can be 1 to {WORKERS_MAX} workers, not {workers}")
        memset(&self.data, 0, sizeof(Steering))
        self.data.workers = workers
        self.data.seed = <uint32_t>((seed ^ seed >> 32) & 0xffffffff)
        for family in range(2):
            self._take(&self.data.touched[family], touched[family])
        for first, last in touched[0]:
            for prefix in range(first >> 16, (last >> 16) + 1):
                whole = first <= prefix << 16 and (prefix << 16 | 0xffff) <= last
                self.data.prefixes[prefix] = TOUCHED if whole else ASK

    def __dealloc__(self):
        for family in range(2):
            free(self.data.touched[family].start_hi)
            free(self.data.touched[family].start_lo)
            free(self.data.touched[family].value)

    cdef int _take(self, RangeMap *ranges, list touched) except -1:
        cdef uint32_t i
        ranges.start_hi = <uint64_t *>calloc(2 * len(touched) + 1, 8)
        ranges.start_lo = <uint64_t *>calloc(2 * len(touched) + 1, 8)
        ranges.value = <uint32_t *>calloc(2 * len(touched) + 1, 4)
        if ranges.start_hi == NULL or ranges.start_lo == NULL or ranges.value == NULL:
            raise MemoryError("no memory for steering")
        starts = [bound for first, last in touched for bound in (first, last + 1)]
        for i in range(<uint32_t>len(starts)):
            if starts[i] >> 128:        # behind the last address of all
                break
            ranges.start_hi[i] = starts[i] >> 64
            ranges.start_lo[i] = starts[i] & 0xffffffffffffffff
            ranges.value[i] = 1 - i % 2
            ranges.count = i + 1
        return 0

    @property
    def workers(self) -> int:
        """How many there are."""
        return self.data.workers

    def owner(self, const unsigned char[::1] frame not None, bint unsegmented=False) -> int:
        """The worker that an Ethernet frame belongs to; 0 for what is no IP packet.  Raises MemoryError."""
        cdef Packet packet
        cdef Py_ssize_t size = frame.shape[0]
        cdef unsigned char *copy = <unsigned char *>malloc(size + 1)
        if copy == NULL:
            raise MemoryError("no memory for a frame")
        if size:
            memcpy(copy, &frame[0], size)
        parse(&packet, copy, <uint32_t>size, 0, unsegmented)
        owner = owner_of(&self.data, &packet)
        free(copy)
        return owner
