"""The part of the builder of :mod:`native.classify` that places the rules of one family."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort

from native.classify cimport ANY
from native.classify_parts cimport Axis
from native.classify_services cimport PortSets
from native.memory cimport block, rest

cdef enum:
    ROUNDS = 4                  # of moving rules to the side with less company
    MOST_WIDE = 4096            # of those that are wide only because they meet many others
    COMPANY = 2                 # which is more than this
    CROWD = 12                  # many more: a bucket of them is lines of memory, and so are bits
    MOST_CROWDED = 10240        # of these
    ROOM = 1 << 28              # bits of all rows of one kind for those

ctypedef struct Crowded:
    double score
    uint32_t rule


cdef int compare_crowded(const void *one, const void *other) noexcept nogil:
    cdef double a = (<const Crowded *>one).score
    cdef double b = (<const Crowded *>other).score
    return -1 if a > b else a < b


cdef inline bint is_listable(Axis axis, uint32_t which) noexcept nogil:
    # Does a set cover so little that its rules may stand in the bucket of every interval of it?
    cdef uint64_t pieces
    if which == ANY:
        return False
    pieces = axis.offset[which + 1] - axis.offset[which]
    return axis.span[which] <= 16 or axis.span[which] <= axis.intervals // 64 + 8 * (pieces - 1)


cdef class Placing:
    def __cinit__(self, flat, int which, uint32_t small, uint32_t rows, PortSets ports):
        cdef const uint8_t[::1] families = flat.families if len(flat.families) else None
        cdef const uint32_t[::1] sources = flat.source_set if len(flat.families) else None
        cdef const uint32_t[::1] destinations = flat.destination_set if len(flat.families) else None
        cdef const uint32_t[::1] offset = flat.ranges[which].offset
        cdef const uint32_t[::1] lists = flat.service_list if len(flat.families) else None
        cdef uint32_t sets = <uint32_t>(offset.shape[0] - 1)
        cdef uint8_t *used[2]
        cdef uint32_t i
        cdef int side
        self.keep = []
        self.small = small
        self.rows = rows
        self.count = len(flat.rule)
        self.home = <uint8_t *>block(self.keep, self.count + 1)
        for side in range(2):
            self.set[side] = <uint32_t *>block(self.keep, 4 * <size_t>self.count + 4)
            self.score[side] = <double *>block(self.keep, 8 * <size_t>sets + 8)
            used[side] = <uint8_t *>block(self.keep, sets + 1)
        for i in range(self.count):
            if i & 65535 == 65535:
                rest()
            self.set[0][i] = sources[i]
            self.set[1][i] = destinations[i]
            self.home[i] = WIDE
            for side in range(2):
                if self.set[side][i] != ANY and offset[self.set[side][i]] == offset[self.set[side][i] + 1]:
                    self.home[i] = NOWHERE
            if not families[i] >> which & 1:
                self.home[i] = NOWHERE
            if self.home[i] == NOWHERE:
                continue
            for side in range(2):
                if self.set[side][i] != ANY:
                    used[side][self.set[side][i]] = 1
            self.live += 1
        if self.live == 0:
            return
        self.axes = [Axis(), Axis()]
        if self.live > small:
            self.axes.append(ports.axis)
            self.set[<int>AT_PORT] = <uint32_t *>block(self.keep, 4 * <size_t>self.count + 4)
            self.score[<int>AT_PORT] = <double *>block(self.keep, 8 * <size_t>ports.axis.sets + 8)
            for i in range(self.count):
                self.set[<int>AT_PORT][i] = ANY if lists[i] == ANY else ports.of[lists[i]]
        for side in range(2):
            (<Axis>self.axes[side]).cut(flat.ranges[which], used[side], sets)
        self.choose()

    cdef int weigh(self, int side, bint all_rules) except -1:
        # Company of an address, averaged over a set: of all rules that might stand on this side, or of those that do.
        cdef Axis axis = <Axis>self.axes[side]
        cdef list temporary = []
        cdef uint32_t *rules = <uint32_t *>block(temporary, 4 * <size_t>axis.sets + 4)
        cdef int64_t *load = <int64_t *>block(temporary, 8 * (<size_t>axis.intervals + 2))
        cdef int64_t running = 0
        cdef int64_t total = 0
        cdef size_t i
        cdef uint32_t which
        with nogil:
            for i in range(self.count):
                which = self.set[side][i]
                if self.home[i] != NOWHERE and which != ANY and (
                        is_listable(axis, which) if all_rules else self.home[i] == side):
                    rules[which] += 1
            for which in range(axis.sets):
                if rules[which]:
                    for i in range(axis.offset[which], axis.offset[which + 1]):
                        load[axis.first[i]] += rules[which]
                        load[axis.last[i] + 1] -= rules[which]
            for i in range(axis.intervals):
                running += load[i]
                load[i] = total
                total += running
            load[axis.intervals] = total
            for which in range(axis.sets):
                total = 0
                if axis.span[which]:
                    for i in range(axis.offset[which], axis.offset[which + 1]):
                        total += load[axis.last[i] + 1] - load[axis.first[i]]
                    self.score[side][which] = <double>total / <double>axis.span[which]
        return 0

    cdef int choose(self) except -1:
        # Every rule to the side where its addresses meet fewer others.
        cdef uint32_t i
        cdef uint32_t round
        cdef int side
        cdef int other
        if self.live <= self.small:
            return 0
        for side in range(2):
            self.weigh(side, True)
        for i in range(self.count):
            if self.home[i] != NOWHERE:
                for side in range(2):
                    if is_listable(<Axis>self.axes[side], self.set[side][i]) and (
                            self.home[i] == WIDE
                            or self.score[1][self.set[1][i]] < self.score[0][self.set[0][i]]):
                        self.home[i] = <uint8_t>side
        for round in range(ROUNDS):
            rest()
            for side in range(2):
                self.weigh(side, False)
            if round == 1:
                self.place_at_ports()
                self.place_wide()
                for side in range(2):
                    self.weigh(side, False)
            for i in range(self.count):
                # Only every other rule moves at a time, lest they all meet again on the other side.
                side = self.home[i]
                if side >= AT_PORT or (i * 0x9e3779b1u >> 16 ^ round) & 1:
                    continue
                other = 1 - side
                if is_listable(<Axis>self.axes[other], self.set[other][i]) and (
                        self.score[other][self.set[other][i]] + 1 < self.score[side][self.set[side][i]]):
                    self.home[i] = <uint8_t>other
        return 0

    cdef int place_at_ports(self) except -1:
        # Those that meet many others wherever they stand, but have destination ports nearly for themselves; a third
        # bucket is looked into only if they are many.
        cdef list temporary = []
        cdef uint8_t *chosen = <uint8_t *>block(temporary, self.count)
        cdef uint32_t moved = 0
        cdef uint32_t i
        cdef uint32_t which
        self.weigh(AT_PORT, True)
        for i in range(self.count):
            which = self.set[<int>AT_PORT][i]
            if self.home[i] == NOWHERE or not is_listable(<Axis>self.axes[<int>AT_PORT], which):
                continue
            if self.score[<int>AT_PORT][which] > CROWD:
                continue
            chosen[i] = self.home[i] == WIDE or self.score[self.home[i]][self.set[self.home[i]][i]] > CROWD
            moved += chosen[i]
        if moved < self.live // 8:
            return 0
        for i in range(self.count):
            if chosen[i]:
                self.home[i] = AT_PORT
        self.weigh(AT_SOURCE, False)
        self.weigh(AT_DESTINATION, False)
        return 0

    cdef int place_wide(self) except -1:
        # Those that meet most others go to the wide ones, as far as these do not become too many.
        cdef list temporary = []
        cdef Crowded *crowded = <Crowded *>block(temporary, sizeof(Crowded) * (<size_t>self.count + 1))
        cdef uint32_t size = 0
        cdef uint32_t wide = 0
        cdef uint32_t limit = min(self.count // 3, <uint32_t>MOST_WIDE)
        cdef uint32_t rows = max(self.rows, (<Axis>self.axes[0]).intervals, (<Axis>self.axes[1]).intervals)
        cdef uint32_t most = max(limit, min(<uint32_t>MOST_CROWDED, <uint32_t>ROOM // rows))
        cdef uint32_t i
        for i in range(self.count):
            wide += self.home[i] == WIDE
            if self.home[i] >= AT_PORT:
                continue
            crowded[size].score = self.score[self.home[i]][self.set[self.home[i]][i]]
            crowded[size].rule = i
            size += crowded[size].score > COMPANY
        with nogil:
            qsort(crowded, size, sizeof(Crowded), compare_crowded)
        i = 0
        while i < size and wide < (most if crowded[i].score > CROWD else limit):
            self.home[crowded[i].rule] = WIDE
            wide += 1
            i += 1
        return 0

    cdef int by_set(self, int side, int home, list keep, uint32_t **offset, uint32_t **rules) except -1:
        # The rules with a home, in order, by their set of one side; those without a set stand behind all others.
        cdef Axis axis = <Axis>self.axes[side]
        cdef uint32_t i
        cdef uint32_t which
        offset[0] = <uint32_t *>block(keep, 4 * <size_t>axis.sets + 16)
        rules[0] = <uint32_t *>block(keep, 4 * <size_t>self.count + 4)
        with nogil:
            for i in range(self.count):
                if self.home[i] == home:
                    which = self.set[side][i]
                    offset[0][(axis.sets if which == ANY else which) + 2] += 1
            for i in range(2, axis.sets + 3):
                offset[0][i] += offset[0][i - 1]
            for i in range(self.count):
                if self.home[i] == home:
                    which = self.set[side][i]
                    which = axis.sets if which == ANY else which
                    rules[0][offset[0][which + 1]] = i
                    offset[0][which + 1] += 1
        return 0

    cdef uint8_t *sets_of(self, int side, int home, bint several, list keep) except NULL:
        # Marks of the sets that rules with a home have on one side; `several`: only sets of several ranges.
        cdef Axis axis = <Axis>self.axes[side]
        cdef uint8_t *marks = <uint8_t *>block(keep, axis.sets + 1)
        cdef uint32_t i
        cdef uint32_t which
        with nogil:
            for i in range(self.count):
                which = self.set[side][i]
                if self.home[i] == home and which != ANY:
                    marks[which] = not several or axis.offset[which + 1] - axis.offset[which] > 1
        return marks
