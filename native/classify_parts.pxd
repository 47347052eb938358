# What the builder of native.classify is made of: growing columns, and the sweep that finds which sets an address is in.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from native.classify cimport PackedWords

cdef enum:
    NOTHING = 0xffffffff


cdef class Words:
    # A column of 32-bit numbers that grows.
    cdef uint32_t *data
    cdef size_t size
    cdef size_t room

    cdef int reserve(self, size_t more) except -1 nogil
    cdef int push(self, uint32_t value) except -1 nogil


cdef class Axis:
    # The addresses of one side (source or destination) of one family, cut into intervals at every bound of a set.
    cdef uint32_t intervals
    cdef uint32_t sets
    cdef list keep
    cdef uint64_t *start_hi     # of interval i + 1
    cdef uint64_t *start_lo
    cdef const uint32_t *offset  # of each set's ranges
    cdef uint32_t *first        # by range: the interval where it begins, and the one where it ends
    cdef uint32_t *last
    cdef uint64_t *span         # by set: intervals it covers

    cdef int cut(self, ranges, const uint8_t *used, uint32_t sets) except -1
    cdef uint32_t interval_of(self, uint64_t hi, uint64_t lo) noexcept nogil
    cdef Classes sweep(self, const uint8_t *chosen)


cdef class Classes:
    # Which of some chosen sets the intervals of an axis are in: intervals that are in the same ones are of one class.
    cdef list keep
    cdef uint32_t count
    cdef uint32_t *of           # by interval
    cdef Words offset           # by class, into members
    cdef Words members          # numbers of sets

    cdef bint is_made_of(self, uint32_t number, const uint32_t *place, uint32_t count) noexcept nogil
    cdef uint32_t add(self, const uint32_t *active, uint32_t count) except 0 nogil


cdef class Rows:
    # Rows of bits of the wide rules, made one after the other.  Where they have more than STEP words, only those are
    # kept that are not zero, and a summary of each group of 64 tells which these are.
    cdef uint32_t words
    cdef uint32_t groups
    cdef uint32_t count
    cdef uint64_t *row
    cdef PackedWords *packed
    cdef Words kept             # words of 64 bits, in halves
    cdef list keep
    cdef list temporary

    cdef uint64_t *begin(self) noexcept nogil   # of zeros, for bits to be set in
    cdef int end(self) except -1 nogil
    cdef uint64_t *finish(self, list blocks) except NULL
