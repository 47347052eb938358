"""Which rules have addresses that contain those of another, or lie within them."""

from array import array

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from native.memory cimport block

cdef enum:
    ANY = 0xffffffff            # edge.flat.ANY_SET


cdef class Ranges:
    # The sets of one family, edge.flat.FlatRanges, and behind them the one of all addresses.
    cdef uint32_t *offset
    cdef uint64_t *first_hi
    cdef uint64_t *first_lo
    cdef uint64_t *last_hi
    cdef uint64_t *last_lo
    cdef uint32_t sets
    cdef list keep

    def __cinit__(self, ranges, int which):
        cdef const uint32_t[::1] offset = ranges.offset
        cdef uint32_t total = offset[offset.shape[0] - 1]
        cdef uint32_t i
        self.keep = []
        self.sets = <uint32_t>(offset.shape[0] - 1)
        self.offset = <uint32_t *>block(self.keep, 4 * (<size_t>self.sets + 2))
        for i in range(self.sets + 1):
            self.offset[i] = offset[i]
        self.offset[self.sets + 1] = total + 1
        self.first_hi = self.column(ranges.first_hi, total, 0)
        self.first_lo = self.column(ranges.first_lo, total, 0)
        self.last_hi = self.column(ranges.last_hi, total, 0 if which == 0 else 0xffffffffffffffffULL)
        self.last_lo = self.column(ranges.last_lo, total, 0xffffffffULL if which == 0 else 0xffffffffffffffffULL)

    cdef uint64_t *column(self, values, uint32_t total, uint64_t behind) except NULL:
        cdef uint64_t *found = <uint64_t *>block(self.keep, 8 * (<size_t>total + 1))
        cdef const uint64_t[::1] view
        cdef uint32_t i
        if total:
            view = values
            for i in range(total):
                found[i] = view[i]
        found[total] = behind
        return found

    cdef uint32_t number(self, uint32_t which) noexcept nogil:
        return self.sets if which == ANY else which

    cdef bint is_empty(self, uint32_t which) noexcept nogil:
        return self.offset[which] == self.offset[which + 1]

    cdef bint contains(self, uint32_t outer, uint32_t inner) noexcept nogil:
        # Ranges are sorted and do not touch: each of the inner set lies within one of the outer.
        cdef uint32_t i
        cdef uint32_t at = self.offset[outer]
        for i in range(self.offset[inner], self.offset[inner + 1]):
            while at < self.offset[outer + 1] and (
                    self.last_hi[at] < self.last_hi[i]
                    or (self.last_hi[at] == self.last_hi[i] and self.last_lo[at] < self.last_lo[i])):
                at += 1
            if at == self.offset[outer + 1] or self.first_hi[at] > self.first_hi[i] or (
                    self.first_hi[at] == self.first_hi[i] and self.first_lo[at] > self.first_lo[i]):
                return False
        return not self.is_empty(inner)


def contained(flat, uint32_t number, bint inside):
    """The rules of :class:`edge.flat.FlatRules`, in order, whose sources and destinations contain those of one of them
    in some family that it is about, or, with ``inside``, lie within those.  It is one of them itself, unless it has no
    addresses.  Raises IndexError for a rule that is not there."""
    cdef const uint32_t[::1] column
    cdef uint32_t *columns[2]
    cdef const uint8_t[::1] families
    cdef Ranges ranges
    cdef uint32_t rules = <uint32_t>len(flat.rule)
    cdef uint32_t i
    cdef uint32_t asked
    cdef int which
    cdef int side
    cdef list keep = []
    cdef uint8_t *hit
    cdef uint8_t *marks[2]
    if number >= rules:
        raise IndexError(f"there is no rule {number} of {rules}")
    families = flat.families
    for side in range(2):
        column = flat.source_set if side == 0 else flat.destination_set
        columns[side] = <uint32_t *>block(keep, 4 * <size_t>rules)
        for i in range(rules):
            columns[side][i] = column[i]
    hit = <uint8_t *>block(keep, <size_t>rules + 1)
    for which in range(2):
        if not families[number] >> which & 1:
            continue
        ranges = Ranges(flat.ranges[which], which)
        for side in range(2):
            marks[side] = <uint8_t *>block(keep, <size_t>ranges.sets + 1)
            asked = ranges.number(columns[side][number])
            for i in range(ranges.sets + 1):
                marks[side][i] = ranges.contains(asked, i) if inside else ranges.contains(i, asked)
        for i in range(rules):
            hit[i] |= (families[i] >> which & 1 and marks[0][ranges.number(columns[0][i])]
                       and marks[1][ranges.number(columns[1][i])])
    return array("I", [i for i in range(rules) if hit[i]])
