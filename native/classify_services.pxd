# The part of the builder of native.classify that knows services: which lists and directions admit what is asked for.

from libc.stdint cimport uint16_t, uint32_t

from native.classify cimport Rules


cdef class Columns:
    # Columns are pairs of a service list and a direction; column 0 admits everything.
    cdef uint32_t count
    cdef uint32_t rows         # of Rules.columns
    cdef uint32_t *of                   # by rule
    cdef list keep
    cdef list pairs                     # by column: list << 2 | direction

    cdef int number(self, flat) except -1
    cdef uint32_t column(self, const Rules *rules, uint32_t number) except? 0
    cdef int fill(self, Rules *rules, flat, list blocks, uint32_t most_words) except -1
    cdef int _fill_cells(
        self, Rules *rules, list blocks, const uint16_t *protocol_class, const uint32_t *classes, uint32_t cells
    ) except -1
    cdef int _intern(
        self, Rules *rules, list blocks, const uint32_t *bits, uint32_t cells, uint32_t **admitted, uint32_t directions
    ) except -1
