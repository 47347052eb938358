# The part of the builder of native.classify that places the rules of one family: in buckets, or among the wide ones.

from libc.stdint cimport uint8_t, uint32_t


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
    cdef uint32_t small                 # up to so many rules are all wide
    cdef uint32_t rows                  # of Rules.columns, about

    cdef int choose(self) except -1
    cdef int weigh(self, int side, bint all_rules) except -1
    cdef int place_at_ports(self) except -1
    cdef int place_wide(self) except -1
    cdef int by_set(self, int side, int home, list keep, uint32_t **offset, uint32_t **rules) except -1
    cdef uint8_t *sets_of(self, int side, int home, bint several, list keep) except NULL
