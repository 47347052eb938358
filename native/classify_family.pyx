"""The part of the builder of :mod:`native.classify` that places the rules of one family."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memset

from native.classify cimport ANY, BLOCK, RANK, STEP, TOP, VERIFY, Bucket, Detail, Family, Place, Ports, Rules, Side
from native.classify_parts cimport NOTHING, Axis, Classes, Rows, Words
from native.classify_services cimport Columns, PortSets
from native.memory cimport block, rest

cdef enum:
    ROUNDS = 4                  # of moving rules to the side with less company
    LAST_INTERVAL = 0x7fffffff
    ALIKE = 13                  # wide rules have like positions if these differ in no higher bits
    MOST_WIDE = 4096            # of those that are wide only because they meet many others
    COMPANY = 2                 # which is more than this
    CROWD = 12                  # many more: a bucket of them is lines of memory, and so are bits
    MOST_CROWDED = 10240        # of these
    ROOM = 1 << 28              # bits of all rows of one kind for those
    MANY_ALIKE = 8              # intervals for each place, and places have numbers

ctypedef struct Crowded:
    double score
    uint32_t rule


cdef int compare_crowded(const void *one, const void *other) noexcept nogil:
    cdef double a = (<const Crowded *>one).score
    cdef double b = (<const Crowded *>other).score
    return -1 if a > b else a < b


ctypedef struct Wide:
    uint32_t kind
    uint64_t corner
    uint32_t rule


cdef int compare_wide(const void *one, const void *other) noexcept nogil:
    cdef const Wide *a = <const Wide *>one
    cdef const Wide *b = <const Wide *>other
    if a.kind != b.kind:
        return -1 if a.kind < b.kind else 1
    if a.corner != b.corner:
        return -1 if a.corner < b.corner else 1
    return -1 if a.rule < b.rule else a.rule > b.rule


cdef uint64_t spread(uint64_t number) noexcept:
    # Its 32 bits, with a zero before each.
    number = (number | number << 16) & 0x0000ffff0000ffff
    number = (number | number << 8) & 0x00ff00ff00ff00ff
    number = (number | number << 4) & 0x0f0f0f0f0f0f0f0f
    number = (number | number << 2) & 0x3333333333333333
    return (number | number << 1) & 0x5555555555555555


cdef int compare_words(const void *one, const void *other) noexcept nogil:
    cdef uint32_t a = (<const uint32_t *>one)[0]
    cdef uint32_t b = (<const uint32_t *>other)[0]
    return -1 if a < b else a > b


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

    cdef bint is_listable(self, int side, uint32_t which) noexcept:
        # Does a set cover so little that its rules may stand in the bucket of every interval of it?
        cdef Axis axis = <Axis>self.axes[side]
        cdef uint64_t pieces
        if which == ANY:
            return False
        pieces = axis.offset[which + 1] - axis.offset[which]
        return axis.span[which] <= 16 or axis.span[which] <= axis.intervals // 64 + 8 * (pieces - 1)

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
        rest()
        for i in range(self.count):
            which = self.set[side][i]
            if self.home[i] != NOWHERE and which != ANY and (
                    self.is_listable(side, which) if all_rules else self.home[i] == side):
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
                    if self.is_listable(side, self.set[side][i]) and (
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
                if self.is_listable(other, self.set[other][i]) and (
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
            if self.home[i] == NOWHERE or not self.is_listable(AT_PORT, which):
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
        rest()
        offset[0] = <uint32_t *>block(keep, 4 * <size_t>axis.sets + 16)
        rules[0] = <uint32_t *>block(keep, 4 * <size_t>self.count + 4)
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
        for i in range(self.count):
            which = self.set[side][i]
            if self.home[i] == home and which != ANY:
                marks[which] = not several or axis.offset[which + 1] - axis.offset[which] > 1
        return marks

    cdef int fill(self, Family *family, Rules *rules, Columns columns, flat, int which, list blocks) except -1:
        cdef uint32_t i
        cdef const uint32_t[::1] lists = flat.service_list if self.count else None
        if self.live == 0:
            return self.fill_nothing(family, rules, which, blocks)
        for i in range(self.count):
            self.wide += self.home[i] == WIDE
        family.wide_words = (self.wide + 63) >> 6
        family.groups = 0 if family.wide_words <= STEP else (family.wide_words + 63) >> 6
        family.wide_position = <uint32_t *>block(blocks, 4 * <size_t>self.wide + 4)
        family.details = <Detail *>block(blocks, sizeof(Detail) * (<size_t>self.count + 1))
        family.wide_before = <uint32_t *>block(blocks, 4 * (<size_t>self.count >> RANK) + 4)
        for i in range(self.count):
            family.details[i].source = NOTHING
            family.details[i].destination = NOTHING
            family.details[i].service_list = lists[i]
        self.order_wide(family)
        for i in range(2):
            rest()
            self.fill_side(family, rules, columns, i, blocks)
        self.fill_ports(family, rules, columns, blocks)
        for i in range(2):
            rest()
            if which == 0:
                take_bounds(&family.side[i], <Axis>self.axes[i], blocks)
            else:
                take_starts(&family.side[i], <Axis>self.axes[i], blocks)
        return self.fill_wide_columns(family, rules, columns, which, blocks)

    cdef int order_wide(self, Family *family) except -1:
        # Which bit is which rule's.  Where zero words are left out, rules that cover like addresses share words: first
        # those of like positions, of these the ones that cover much of a side apart from others, of these neighbours in
        # the plane of both sides.  Positions rise within a word in any case.
        cdef list temporary = []
        cdef Wide *wide = <Wide *>block(temporary, sizeof(Wide) * <size_t>self.wide + 8)
        cdef uint32_t count = 0
        cdef uint32_t i
        cdef uint32_t first
        cdef uint32_t span
        cdef uint32_t which
        cdef int side
        cdef Axis axis
        for i in range(self.count):
            if self.home[i] != WIDE:
                continue
            wide[count].rule = i
            if family.groups:
                wide[count].kind = i >> ALIKE << 2
                for side in range(2):
                    axis = <Axis>self.axes[side]
                    which = self.set[side][i]
                    first = 0
                    span = axis.intervals
                    if which != ANY:
                        first = axis.first[axis.offset[which]]
                        span = axis.last[axis.offset[which + 1] - 1] - first + 1
                    wide[count].kind |= <uint32_t>(span > axis.intervals >> 3) << side
                    wide[count].corner |= spread(first) << side
            count += 1
        if family.groups:
            qsort(wide, count, sizeof(Wide), compare_wide)
            for i in range(count):
                wide[i].kind = i >> 6
                wide[i].corner = 0
            qsort(wide, count, sizeof(Wide), compare_wide)
        for i in range(count):
            family.wide_position[i] = wide[i].rule
            family.wide_before[wide[i].rule >> RANK] = max((i >> 6) + 1, family.wide_before[wide[i].rule >> RANK])
        for i in range(1, (self.count >> RANK) + 1):
            family.wide_before[i] = max(family.wide_before[i], family.wide_before[i - 1])
        return 0

    cdef int fill_nothing(self, Family *family, Rules *rules, int which, list blocks) except -1:
        # One interval on each side, an empty bucket, no wide rule: all that is read are these zeros.
        # A search without wide vectors ends at the last of them.
        cdef void *zeros = block(blocks, sizeof(Place) * TOP)
        cdef int side
        for side in range(2):
            family.side[side].bounds = <uint32_t *>zeros
            family.side[side].top = <uint32_t *>zeros
            family.side[side].places = <Place *>zeros
            family.side[side].entries = <uint32_t *>zeros
            family.side[side].wide = <uint64_t *>zeros
        return 0

    cdef int fill_side(self, Family *family, Rules *rules, Columns columns, int side, list blocks) except -1:
        cdef list temporary = []
        cdef Axis axis = <Axis>self.axes[side]
        cdef Side *table = &family.side[side]
        cdef uint8_t *several = self.sets_of(side, 1 - side, True, temporary)
        cdef uint8_t *at_ports = self.sets_of(side, AT_PORT, True, temporary)
        cdef uint32_t *bit = <uint32_t *>block(temporary, 4 * <size_t>axis.sets + 4)
        cdef uint32_t members = 0
        cdef uint32_t i
        cdef uint32_t which
        cdef Classes crowds = axis.sweep(self.sets_of(side, side, False, temporary))
        cdef Classes wides = axis.sweep(self.sets_of(side, WIDE, False, temporary))
        cdef Classes belongings
        cdef Words entries
        for which in range(axis.sets):
            several[which] |= at_ports[which]
        belongings = axis.sweep(several)
        for which in range(axis.sets):
            if several[which]:
                bit[which] = members
                members += 1
        for i in range(self.count):
            which = self.set[side][i]
            if self.home[i] <= AT_PORT and self.home[i] != side and which != ANY and several[which]:
                if side == 0:
                    family.details[i].source = bit[which]
                else:
                    family.details[i].destination = bit[which]
        table.member_words = (members + 63) >> 6
        table.member = <uint64_t *>block(blocks, 8 * <size_t>belongings.count * table.member_words + 8)
        for i in range(belongings.count):
            for at in range(belongings.offset.data[i], belongings.offset.data[i + 1]):
                which = bit[belongings.members.data[at]]
                table.member[<size_t>i * table.member_words + (which >> 6)] |= <uint64_t>1 << (which & 63)
        self.fill_wide(family, side, wides, blocks)
        starts = Words()
        counts = Words()
        entries = self.buckets(rules, columns, side, crowds, starts, counts)
        table.entries = <uint32_t *>block(blocks, 4 * entries.size + 64)
        table.buckets = entries.size != 0
        if entries.size:
            memcpy(table.entries, entries.data, 4 * entries.size)
        fill_places(table, axis.intervals, crowds, wides, belongings, starts, counts, blocks)
        return 0

    cdef int fill_ports(self, Family *family, Rules *rules, Columns columns, list blocks) except -1:
        # The buckets of destination ports, if any rule stands there.
        cdef const Ports *ports = &rules.dports
        cdef Axis axis
        cdef Classes crowds
        cdef Words starts = Words()
        cdef Words counts = Words()
        cdef Words entries
        cdef uint32_t i
        cdef uint32_t found
        cdef list temporary = []
        for i in range(self.count):
            if self.home[i] == AT_PORT:
                break
        else:
            return 0
        axis = <Axis>self.axes[<int>AT_PORT]
        crowds = axis.sweep(self.sets_of(AT_PORT, AT_PORT, False, temporary))
        entries = self.buckets(rules, columns, AT_PORT, crowds, starts, counts)
        family.at_ports = <uint32_t *>block(blocks, 4 * entries.size + 64)
        memcpy(family.at_ports, entries.data, 4 * entries.size)
        family.ports = <Bucket *>block(blocks, sizeof(Bucket) * <size_t>ports.classes)
        for i in range(ports.classes):
            found = crowds.of[axis.interval_of(0, ports.bounds[i])]
            family.ports[i].bucket = starts.data[found]
            family.ports[i].count = counts.data[found]
        rules.by_port = True
        return 0

    cdef int fill_wide(self, Family *family, int side, Classes classes, list blocks) except -1:
        # A row of bits for each class of intervals.
        cdef list temporary = []
        cdef Axis axis = <Axis>self.axes[side]
        cdef uint32_t *offset
        cdef uint32_t *found
        cdef uint32_t *bit = <uint32_t *>block(temporary, 4 * <size_t>self.count + 4)
        cdef Rows rows = Rows(family.wide_words, classes.count)
        cdef uint64_t *row
        cdef uint32_t i
        cdef uint32_t which
        for i in range(self.wide):
            bit[family.wide_position[i]] = i
        rest()
        self.by_set(side, WIDE, temporary, &offset, &found)
        for i in range(classes.count):
            if i & 511 == 511:
                rest()
            row = rows.begin()
            for at in range(offset[axis.sets], offset[axis.sets + 1]):
                row[bit[found[at]] >> 6] |= <uint64_t>1 << (bit[found[at]] & 63)
            for member in range(classes.offset.data[i], classes.offset.data[i + 1]):
                which = classes.members.data[member]
                for at in range(offset[which], offset[which + 1]):
                    row[bit[found[at]] >> 6] |= <uint64_t>1 << (bit[found[at]] & 63)
            rows.end()
        family.side[side].packed = rows.packed
        family.side[side].wide = rows.finish(blocks)
        return 0

    cdef Words buckets(self, Rules *rules, Columns columns, int side, Classes classes, Words starts, Words counts):
        # The entries; where the bucket of each class begins, in units of 16 words, and how many it has.
        cdef Words entries = Words()
        cdef list temporary = []
        cdef uint32_t *offset
        cdef uint32_t *found
        cdef uint32_t *crowd = <uint32_t *>block(temporary, 4 * <size_t>self.count + 4)
        cdef uint32_t size
        cdef uint32_t i
        cdef uint32_t which
        cdef uint32_t done
        cdef uint32_t some
        self.by_set(side, side, temporary, &offset, &found)
        for i in range(classes.count):
            if i & 2047 == 2047:
                rest()
            size = 0
            for member in range(classes.offset.data[i], classes.offset.data[i + 1]):
                which = classes.members.data[member]
                for at in range(offset[which], offset[which + 1]):
                    crowd[size] = found[at]
                    size += 1
            qsort(crowd, size, 4, compare_words)
            starts.push(<uint32_t>(entries.size >> 4))
            counts.push(size)
            done = 0
            while done < size:
                some = min(size - done, <uint32_t>BLOCK)
                self.add_block(rules, columns, side, entries, crowd + done, some)
                done += some
            while entries.size & 15:
                entries.push(0)
        return entries

    cdef int add_block(
        self, Rules *rules, Columns columns, int home, Words entries, const uint32_t *crowd, uint32_t some
    ) except -1:
        # Up to 16 entries, filled up to a multiple of four by such that contain nothing.
        cdef uint32_t padded = (some + 3) & ~<uint32_t>3
        cdef uint32_t ranges = 2 if home == AT_PORT else 1
        cdef uint32_t size = (2 * ranges + 2) * padded
        cdef uint32_t *block_
        cdef uint32_t *tail
        cdef uint32_t lane
        cdef uint32_t rule
        cdef uint32_t side
        entries.reserve(size)
        block_ = entries.data + entries.size
        tail = block_ + 2 * ranges * padded
        entries.size += size
        memset(block_, 0, 4 * size)
        for lane in range(some, padded):
            block_[lane] = LAST_INTERVAL
        for lane in range(some):
            rule = crowd[lane]
            tail[lane] = columns.column(columns.of[rule])
            tail[padded + lane] = rule
            if rules.inexact and columns.of[rule] != 0:
                tail[padded + lane] |= <uint32_t>VERIFY
            for side in range(2):
                if side != home and self.take_range(side, rule, block_ + lane, padded):
                    tail[padded + lane] |= <uint32_t>VERIFY
                if home == AT_PORT:
                    block_ += 2 * padded
            block_ = tail - 2 * ranges * padded
        return 0

    cdef bint take_range(self, int side, uint32_t rule, uint32_t *entry, uint32_t padded) noexcept:
        # The intervals of a rule on one side, the first and the last; is that more than its set has?
        cdef Axis axis = <Axis>self.axes[side]
        cdef uint32_t which = self.set[side][rule]
        if which == ANY:
            entry[padded] = LAST_INTERVAL
            return False
        entry[0] = axis.first[axis.offset[which]]
        entry[padded] = axis.last[axis.offset[which + 1] - 1]
        return axis.offset[which + 1] - axis.offset[which] > 1

    cdef int fill_wide_columns(self, Family *family, Rules *rules, Columns columns, int which, list blocks) except -1:
        # Which wide rules the columns of each row admit.
        cdef Rows rows = Rows(family.wide_words, columns.rows)
        cdef uint64_t *row
        cdef const uint32_t *bits = columns.matrix
        cdef list temporary = []
        cdef uint32_t *column = <uint32_t *>block(temporary, 4 * <size_t>self.wide + 4)
        cdef uint32_t i
        cdef uint32_t at
        for at in range(self.wide):
            column[at] = columns.column(columns.of[family.wide_position[at]])
        for i in range(columns.rows):
            if i & 63 == 63:
                rest()
            row = rows.begin()
            for at in range(self.wide):
                row[at >> 6] |= <uint64_t>(bits[column[at] >> 5] >> (column[at] & 31) & 1) << (at & 63)
            rows.end()
            bits += columns.words
        rules.packed_columns[which] = rows.packed
        rules.wide_columns[which] = rows.finish(blocks)
        return 0


cdef int take_starts(Side *side, Axis axis, list blocks) except -1:
    side.starts = axis.intervals - 1
    side.start_hi = axis.start_hi
    side.start_lo = axis.start_lo
    blocks.extend(axis.keep)
    return 0


cdef int take_bounds(Side *side, Axis axis, list blocks) except -1:
    # Where the intervals of IPv4 begin, and the same in ever larger steps.
    cdef uint32_t count
    cdef uint32_t padded
    cdef uint32_t i
    side.starts = axis.intervals - 1
    if side.starts and axis.start_lo[side.starts - 1] > 0xffffffffULL:
        side.starts -= 1        # behind 255.255.255.255 nothing begins
    while <uint64_t>TOP << side.below_top <= side.starts:
        side.below_top += 1
    side.bounds = <uint32_t *>block(blocks, <size_t>(4 * TOP) << side.below_top)
    memset(side.bounds, 0xff, <size_t>(4 * TOP) << side.below_top)
    side.bounds[0] = 0
    for i in range(side.starts):
        side.bounds[i + 1] = <uint32_t>axis.start_lo[i]
    side.top = <uint32_t *>block(blocks, 4 * TOP)
    for i in range(TOP):
        side.top[i] = side.bounds[i << side.below_top]
    side.level[0] = side.bounds
    side.levels = 1
    count = side.starts + 1
    while count > 16:
        count = (count + 15) >> 4
        padded = (count + 15) & ~<uint32_t>15
        side.level[side.levels] = <uint32_t *>block(blocks, 4 * <size_t>padded)
        memset(side.level[side.levels], 0xff, 4 * <size_t>padded)
        for i in range(count):
            side.level[side.levels][i] = side.level[side.levels - 1][16 * i]
        side.levels += 1
    return 0


cdef int fill_places(
    Side *table, uint32_t intervals, Classes crowds, Classes wides, Classes belongings, Words starts, Words counts,
    list blocks
) except -1:
    # What each interval leads to: where many lead to the same, as those of a set of many addresses do, a place for each
    # combination of what there is, and two bytes for each interval.
    cdef size_t combined = <size_t>crowds.count * wides.count * belongings.count
    cdef bint shared = combined * MANY_ALIKE <= intervals and combined <= 0xffff
    cdef size_t number
    cdef uint32_t i
    table.places = <Place *>block(blocks, sizeof(Place) * (combined if shared else intervals))
    if shared:
        table.place_of = <uint16_t *>block(blocks, 2 * <size_t>intervals)
    for i in range(intervals):
        number = i
        if shared:
            number = (<size_t>belongings.of[i] * wides.count + wides.of[i]) * crowds.count + crowds.of[i]
            table.place_of[i] = <uint16_t>number
        table.places[number].bucket = starts.data[crowds.of[i]]
        table.places[number].count = counts.data[crowds.of[i]]
        table.places[number].wide = wides.of[i]
        table.places[number].member = belongings.of[i]
    return 0
