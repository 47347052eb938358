"""What the builder of :mod:`native.classify` is made of: intervals of addresses and which sets they are in."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memcpy, memset

from native.classify cimport STEP, PackedWords
from native.memory cimport block, rest

ctypedef struct Bound:
    uint64_t hi
    uint64_t lo


cdef int compare_bounds(const void *one, const void *other) noexcept nogil:
    cdef const Bound *a = <const Bound *>one
    cdef const Bound *b = <const Bound *>other
    if a.hi != b.hi:
        return -1 if a.hi < b.hi else 1
    return -1 if a.lo < b.lo else a.lo > b.lo


cdef inline uint64_t scatter(uint64_t number) noexcept nogil:
    # splitmix64: sets are summed by it.
    number += 0x9e3779b97f4a7c15ULL
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ULL
    number = (number ^ number >> 27) * 0x94d049bb133111ebULL
    return number ^ number >> 31


cdef class Words:
    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, size_t more) except -1 nogil:
        cdef size_t wanted = self.size + more
        cdef void *larger
        if wanted <= self.room:
            return 0
        wanted += wanted // 2 + 64
        larger = realloc(self.data, 4 * wanted)
        if larger == NULL:
            with gil:
                raise MemoryError
        self.data = <uint32_t *>larger
        self.room = wanted
        return 0

    cdef int push(self, uint32_t value) except -1 nogil:
        self.reserve(1)
        self.data[self.size] = value
        self.size += 1
        return 0


cdef class Axis:
    def __cinit__(self):
        self.keep = []

    cdef int cut(self, ranges, const uint8_t *used, uint32_t sets) except -1:
        # `ranges` is edge.flat.FlatRanges; only the sets that are used count.
        cdef const uint32_t[::1] offset = ranges.offset
        cdef const uint64_t[::1] first_hi = ranges.first_hi if len(ranges.first_hi) else None
        cdef const uint64_t[::1] first_lo = ranges.first_lo if len(ranges.first_hi) else None
        cdef const uint64_t[::1] last_hi = ranges.last_hi if len(ranges.first_hi) else None
        cdef const uint64_t[::1] last_lo = ranges.last_lo if len(ranges.first_hi) else None
        cdef uint32_t *copy = <uint32_t *>block(self.keep, 4 * <size_t>sets + 4)
        cdef size_t total = offset[sets]
        cdef size_t count = 0
        cdef size_t i
        cdef size_t at
        cdef list temporary = []
        cdef Bound *bounds = <Bound *>block(temporary, sizeof(Bound) * (2 * total + 1))
        self.sets = sets
        self.offset = copy
        self.first = <uint32_t *>block(self.keep, 4 * total + 4)
        self.last = <uint32_t *>block(self.keep, 4 * total + 4)
        self.span = <uint64_t *>block(self.keep, 8 * <size_t>sets + 8)
        for i in range(sets + 1):
            copy[i] = offset[i]
        for i in range(sets):
            if not used[i]:
                continue
            for at in range(offset[i], offset[i + 1]):
                if first_hi[at] or first_lo[at]:
                    bounds[count].hi = first_hi[at]
                    bounds[count].lo = first_lo[at]
                    count += 1
                bounds[count].lo = last_lo[at] + 1
                bounds[count].hi = last_hi[at] + (bounds[count].lo == 0)
                count += bounds[count].hi != 0 or bounds[count].lo != 0
        with nogil:
            qsort(bounds, count, sizeof(Bound), compare_bounds)
        rest()
        self.start_hi = <uint64_t *>block(self.keep, 8 * count + 8)
        self.start_lo = <uint64_t *>block(self.keep, 8 * count + 8)
        self.intervals = 1
        for i in range(count):
            if i and compare_bounds(&bounds[i], &bounds[i - 1]) == 0:
                continue
            self.start_hi[self.intervals - 1] = bounds[i].hi
            self.start_lo[self.intervals - 1] = bounds[i].lo
            self.intervals += 1
        with nogil:
            for i in range(sets):
                if not used[i]:
                    continue
                for at in range(offset[i], offset[i + 1]):
                    self.first[at] = self.interval_of(first_hi[at], first_lo[at])
                    self.last[at] = self.interval_of(last_hi[at], last_lo[at])
                    self.span[i] += self.last[at] - self.first[at] + 1
        return 0

    cdef uint32_t interval_of(self, uint64_t hi, uint64_t lo) noexcept nogil:
        cdef uint32_t low = 0
        cdef uint32_t high = self.intervals - 1
        cdef uint32_t middle
        while low < high:
            middle = (low + high) >> 1
            if self.start_hi[middle] < hi or (self.start_hi[middle] == hi and self.start_lo[middle] <= lo):
                low = middle + 1
            else:
                high = middle
        return low

    cdef Classes sweep(self, const uint8_t *chosen):
        # From the lowest interval to the highest: which of the chosen sets are entered and left.
        cdef Classes classes = Classes()
        cdef list temporary = []
        cdef size_t intervals = self.intervals
        cdef uint32_t *entered_at = <uint32_t *>block(temporary, 4 * (intervals + 3))
        cdef uint32_t *left_at = <uint32_t *>block(temporary, 4 * (intervals + 3))
        cdef uint32_t *entered
        cdef uint32_t *left
        cdef uint32_t *active = <uint32_t *>block(temporary, 4 * <size_t>self.sets + 4)
        cdef uint32_t *place = <uint32_t *>block(temporary, 4 * <size_t>self.sets + 4)    # in active, plus one
        cdef uint32_t *table
        cdef uint64_t *sums
        cdef size_t room = 16
        cdef size_t pieces = 0
        cdef uint32_t actives = 0
        cdef uint64_t summed = 0
        cdef uint32_t which
        cdef uint32_t found
        cdef size_t slot
        cdef size_t i
        cdef size_t at
        cdef bint changed
        with nogil:
            for which in range(self.sets):
                if not chosen[which]:
                    continue
                for at in range(self.offset[which], self.offset[which + 1]):
                    entered_at[self.first[at] + 2] += 1
                    left_at[self.last[at] + 3] += 1
                    pieces += 1
            for i in range(2, intervals + 2):
                entered_at[i + 1] += entered_at[i]
                left_at[i + 1] += left_at[i]
        entered = <uint32_t *>block(temporary, 4 * pieces + 4)
        left = <uint32_t *>block(temporary, 4 * pieces + 4)
        with nogil:
            for which in range(self.sets):
                if not chosen[which]:
                    continue
                for at in range(self.offset[which], self.offset[which + 1]):
                    entered[entered_at[self.first[at] + 1]] = which
                    entered_at[self.first[at] + 1] += 1
                    left[left_at[self.last[at] + 2]] = which
                    left_at[self.last[at] + 2] += 1
        while room < 4 * pieces + 4:
            room *= 2
        table = <uint32_t *>block(temporary, 4 * room)      # number of class plus one
        sums = <uint64_t *>block(temporary, 8 * (2 * pieces + 2))
        classes.of = <uint32_t *>block(classes.keep, 4 * intervals)
        found = 0
        with nogil:
            for i in range(intervals):
                changed = i == 0
                for at in range(left_at[i], left_at[i + 1]):
                    which = left[at]
                    actives -= 1
                    active[place[which] - 1] = active[actives]
                    place[active[actives]] = place[which]
                    place[which] = 0
                    summed ^= scatter(which)
                    changed = True
                for at in range(entered_at[i], entered_at[i + 1]):
                    which = entered[at]
                    active[actives] = which
                    actives += 1
                    place[which] = actives
                    summed ^= scatter(which)
                    changed = True
                if changed:
                    slot = summed & (room - 1)
                    while table[slot]:
                        found = table[slot] - 1
                        if sums[found] == summed and classes.is_made_of(found, place, actives):
                            break
                        slot = (slot + 1) & (room - 1)
                    if not table[slot]:
                        found = classes.count
                        sums[found] = summed
                        table[slot] = classes.add(active, actives)
                classes.of[i] = found
        return classes


cdef class Classes:
    def __cinit__(self):
        self.keep = []
        self.offset = Words()
        self.members = Words()
        self.offset.push(0)

    cdef bint is_made_of(self, uint32_t number, const uint32_t *place, uint32_t count) noexcept nogil:
        cdef size_t i
        if self.offset.data[number + 1] - self.offset.data[number] != count:
            return False
        for i in range(self.offset.data[number], self.offset.data[number + 1]):
            if place[self.members.data[i]] == 0:
                return False
        return True

    cdef uint32_t add(self, const uint32_t *active, uint32_t count) except 0 nogil:
        # How many classes there are now.
        cdef uint32_t i
        if self.members.size + count > 0xffffffffULL:
            with gil:
                raise MemoryError("the rules' address sets overlap too much for one table")
        for i in range(count):
            self.members.push(active[i])
        self.offset.push(<uint32_t>self.members.size)
        self.count += 1
        return self.count


cdef class Rows:
    def __cinit__(self, uint32_t words, uint32_t count):
        self.words = words
        self.groups = 0 if words <= STEP else (words + 63) >> 6
        self.keep = []
        self.temporary = []
        self.kept = Words()
        if self.groups == 0:
            self.row = <uint64_t *>block(self.keep, 8 * <size_t>STEP * count)
        else:
            self.row = <uint64_t *>block(self.temporary, 8 * <size_t>words)
            self.packed = <PackedWords *>block(self.keep, sizeof(PackedWords) * <size_t>self.groups * count)

    cdef uint64_t *begin(self) noexcept nogil:
        if self.groups == 0:
            return self.row + <size_t>STEP * self.count
        memset(self.row, 0, 8 * <size_t>self.words)
        return self.row

    cdef int end(self) except -1 nogil:
        cdef PackedWords *packed = self.packed + <size_t>self.groups * self.count
        cdef uint32_t i
        self.count += 1
        if self.groups == 0:
            return 0
        self.kept.reserve(2 * <size_t>self.words)
        for i in range(self.words):
            if i & 63 == 0:
                packed[i >> 6].start = self.kept.size >> 1
            if self.row[i]:
                packed[i >> 6].present |= <uint64_t>1 << (i & 63)
                memcpy(self.kept.data + self.kept.size, &self.row[i], 8)
                self.kept.size += 2
        return 0

    cdef uint64_t *finish(self, list blocks) except NULL:
        cdef void *words
        blocks.extend(self.keep)
        if self.groups == 0:
            return self.row
        words = block(blocks, 4 * self.kept.size + 8)
        if self.kept.size:
            memcpy(words, self.kept.data, 4 * self.kept.size)
        return <uint64_t *>words
