# The part of the builder of native.classify that places the rules of one family: in buckets, or among the wide ones.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from native.classify cimport Family, Rules, Side
from native.classify_parts cimport Axis, Classes, Words
from native.classify_services cimport Columns

cdef enum Home:
    # Where a rule stands: in the buckets of its sources, of its destinations, of its destination ports, among the wide
    # ones; or it is not of this family, or never matches because a set is empty.
    AT_SOURCE = 0
    AT_DESTINATION = 1
    AT_PORT = 2
    WIDE = 3
    NOWHERE = 4


cdef class Placing:
    cdef uint32_t count
    cdef uint32_t live                  # rules of this family that can match
    cdef uint32_t *set[3]               # by rule; of destination ports ANY also where these are no set
    cdef uint8_t *home                  # by rule
    cdef list axes
    cdef list keep
    cdef double *score[3]               # by set: how many rules an address in it meets in a bucket
    cdef uint32_t wide
    cdef uint32_t small                 # up to so many rules are all wide
    cdef uint32_t rows                  # of Rules.columns, about

    cdef int choose(self) except -1
    cdef int weigh(self, int side, bint all_rules) except -1
    cdef bint is_listable(self, int side, uint32_t which) noexcept
    cdef int place_at_ports(self) except -1
    cdef int place_wide(self) except -1
    cdef int fill(self, Family *family, Rules *rules, Columns columns, flat, int which, list blocks) except -1
    cdef int order_wide(self, Family *family) except -1
    cdef int fill_nothing(self, Family *family, Rules *rules, int which, list blocks) except -1
    cdef int fill_side(self, Family *family, Rules *rules, Columns columns, int side, list blocks) except -1
    cdef int fill_ports(self, Family *family, Rules *rules, Columns columns, list blocks) except -1
    cdef int fill_wide(self, Family *family, int side, Classes classes, list blocks) except -1
    cdef Words buckets(self, Rules *rules, Columns columns, int side, Classes classes, Words starts, Words counts)
    cdef int add_block(
        self, Rules *rules, Columns columns, int home, Words entries, const uint32_t *crowd, uint32_t some
    ) except -1
    cdef bint take_range(self, int side, uint32_t rule, uint32_t *entry, uint32_t padded) noexcept
    cdef int by_set(self, int side, int home, list keep, uint32_t **offset, uint32_t **rules) except -1
    cdef uint8_t *sets_of(self, int side, int home, bint several, list keep) except NULL
    cdef int fill_wide_columns(self, Family *family, Rules *rules, Columns columns, int which, list blocks) except -1
