# The part of the builder of native.classify that knows services: which lists and directions admit what is asked for.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.classify cimport Rules
from native.classify_parts cimport Axis


cdef class PortSets:
    # Lists of services that differ in destination ports alone are a set of these, and the rest.
    cdef Axis axis
    cdef uint32_t *of           # by list: its set; ANY: it is none
    cdef uint32_t *rest_of      # by list, into rests
    cdef list rests             # services without destination ports
    cdef list keep


cdef enum:
    # How the rules that have a column stand.
    IN_BUCKET = 1
    AT_PORTS_ONLY = 3


cdef class Columns:
    # Columns are pairs of a service list and a direction; column 0 admits everything.
    cdef uint32_t count
    cdef uint32_t in_buckets            # so many are of rules in buckets, the first
    cdef uint32_t words                 # of 32 bits in a row
    cdef uint32_t rows
    cdef uint32_t *matrix               # the rows
    cdef uint32_t *of                   # by rule
    cdef list keep
    cdef list pairs                     # by column: list << 2 | direction

    cdef int number(self, flat, PortSets ports, const uint8_t *homes) except -1
    cdef uint32_t column(self, uint32_t number) noexcept
    cdef int fill(self, Rules *rules, flat, list rests, list blocks, uint32_t most_words) except -1
    cdef int _fill_cells(
        self, Rules *rules, list blocks, const uint16_t *protocol_class, uint32_t cells
    ) except -1
    cdef int _intern(
        self, Rules *rules, list blocks, const uint32_t *bits, uint32_t cells, uint32_t **admitted, uint32_t directions
    ) except -1
