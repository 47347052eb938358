"""The part of the builder of :mod:`native.classify` that fills the tables of one family, whose rules are placed."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memset

from native.classify cimport ANY, BLOCK, RANK, STEP, TOP, VERIFY, Bucket, Detail, Family, Place, Ports, Rules, Side
from native.classify_family cimport AT_PORT, WIDE, Placing
from native.classify_parts cimport NOTHING, Axis, Classes, Rows, Words
from native.classify_services cimport Columns
from native.memory cimport block, breathe, rest

cdef enum:
    LAST_INTERVAL = 0x7fffffff
    ALIKE = 13                  # wide rules have like positions if these differ in no higher bits
    MANY_ALIKE = 8              # intervals for each place, and places have numbers

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


cdef class Filling:
    cdef Placing placing
    cdef Columns columns
    cdef Family *family
    cdef Rules *rules
    cdef list blocks
    cdef list axes
    cdef int which                      # of the families
    cdef uint32_t count
    cdef uint32_t *set[3]               # as Placing has them
    cdef uint8_t *home
    cdef uint32_t wide                  # rules among the wide ones
    cdef uint32_t *column               # by rule
    cdef const uint32_t *offset[2]      # as the two axes of addresses have them
    cdef const uint32_t *first[2]
    cdef const uint32_t *last[2]
    cdef list keep

    cdef int fill(self, flat) except -1:
        cdef uint32_t i
        cdef const uint32_t[::1] lists = flat.service_list
        for i in range(self.count):
            self.wide += self.home[i] == WIDE
        self.family.wide_words = (self.wide + 63) >> 6
        self.family.groups = 0 if self.family.wide_words <= STEP else (self.family.wide_words + 63) >> 6
        self.family.wide_position = <uint32_t *>block(self.blocks, 4 * <size_t>self.wide + 4)
        self.family.details = <Detail *>block(self.blocks, sizeof(Detail) * (<size_t>self.count + 1))
        self.family.wide_before = <uint32_t *>block(self.blocks, 4 * (<size_t>self.count >> RANK) + 4)
        for i in range(self.count):
            self.family.details[i].source = NOTHING
            self.family.details[i].destination = NOTHING
            self.family.details[i].service_list = lists[i]
        self.column = <uint32_t *>block(self.keep, 4 * <size_t>self.count + 4)
        for i in range(self.count):
            breathe(i)
            self.column[i] = self.columns.column(self.columns.of[i])
        self.order_wide()
        for i in range(2):
            self.offset[i] = (<Axis>self.axes[i]).offset
            self.first[i] = (<Axis>self.axes[i]).first
            self.last[i] = (<Axis>self.axes[i]).last
        for i in range(2):
            rest()
            self.fill_side(i)
        self.fill_ports()
        for i in range(2):
            rest()
            if self.which == 0:
                take_bounds(&self.family.side[i], <Axis>self.axes[i], self.blocks)
            else:
                take_starts(&self.family.side[i], <Axis>self.axes[i], self.blocks)
        return self.fill_wide_columns()

    cdef int order_wide(self) except -1:
        # Which bit is which rule's.  Where zero words are left out, rules that cover like addresses share words: first
        # those of like positions, of these the ones that cover much of a side apart from others, of these neighbours in
        # the plane of both sides.  Positions rise within a word in any case.
        cdef list temporary = []
        cdef Wide *wide = <Wide *>block(temporary, sizeof(Wide) * <size_t>self.wide + 8)
        cdef uint32_t *before = self.family.wide_before
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
            if self.family.groups:
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
        if self.family.groups:
            with nogil:
                qsort(wide, count, sizeof(Wide), compare_wide)
                for i in range(count):
                    wide[i].kind = i >> 6
                    wide[i].corner = 0
                qsort(wide, count, sizeof(Wide), compare_wide)
        for i in range(count):
            self.family.wide_position[i] = wide[i].rule
            before[wide[i].rule >> RANK] = max((i >> 6) + 1, before[wide[i].rule >> RANK])
        for i in range(1, (self.count >> RANK) + 1):
            before[i] = max(before[i], before[i - 1])
        return 0

    cdef int fill_nothing(self) except -1:
        # One interval on each side, an empty bucket, no wide rule: all that is read are these zeros.
        # A search without wide vectors ends at the last of them.
        cdef void *zeros = block(self.blocks, sizeof(Place) * TOP)
        cdef int side
        for side in range(2):
            self.family.side[side].bounds = <uint32_t *>zeros
            self.family.side[side].top = <uint32_t *>zeros
            self.family.side[side].places = <Place *>zeros
            self.family.side[side].entries = <uint32_t *>zeros
            self.family.side[side].wide = <uint64_t *>zeros
        return 0

    cdef int fill_side(self, int side) except -1:
        cdef list temporary = []
        cdef Axis axis = <Axis>self.axes[side]
        cdef Side *table = &self.family.side[side]
        cdef uint8_t *several = self.placing.sets_of(side, 1 - side, True, temporary)
        cdef uint8_t *at_ports = self.placing.sets_of(side, AT_PORT, True, temporary)
        cdef uint32_t *bit = <uint32_t *>block(temporary, 4 * <size_t>axis.sets + 4)
        cdef uint32_t members = 0
        cdef uint32_t i
        cdef uint32_t which
        cdef Classes crowds = axis.sweep(self.placing.sets_of(side, side, False, temporary))
        cdef Classes wides = axis.sweep(self.placing.sets_of(side, WIDE, False, temporary))
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
                    self.family.details[i].source = bit[which]
                else:
                    self.family.details[i].destination = bit[which]
        table.member_words = (members + 63) >> 6
        table.member = <uint64_t *>block(self.blocks, 8 * <size_t>belongings.count * table.member_words + 8)
        for i in range(belongings.count):
            for at in range(belongings.offset.data[i], belongings.offset.data[i + 1]):
                which = bit[belongings.members.data[at]]
                table.member[<size_t>i * table.member_words + (which >> 6)] |= <uint64_t>1 << (which & 63)
        self.fill_wide(side, wides)
        starts = Words()
        counts = Words()
        entries = self.buckets(side, crowds, starts, counts)
        table.entries = <uint32_t *>block(self.blocks, 4 * entries.size + 64)
        table.buckets = entries.size != 0
        if entries.size:
            memcpy(table.entries, entries.data, 4 * entries.size)
        fill_places(table, axis.intervals, crowds, wides, belongings, starts, counts, self.blocks)
        return 0

    cdef int fill_ports(self) except -1:
        # The buckets of destination ports, if any rule stands there.
        cdef const Ports *ports = &self.rules.dports
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
        crowds = axis.sweep(self.placing.sets_of(AT_PORT, AT_PORT, False, temporary))
        entries = self.buckets(AT_PORT, crowds, starts, counts)
        self.family.at_ports = <uint32_t *>block(self.blocks, 4 * entries.size + 64)
        memcpy(self.family.at_ports, entries.data, 4 * entries.size)
        self.family.ports = <Bucket *>block(self.blocks, sizeof(Bucket) * <size_t>ports.classes)
        for i in range(ports.classes):
            found = crowds.of[axis.interval_of(0, ports.bounds[i])]
            self.family.ports[i].bucket = starts.data[found]
            self.family.ports[i].count = counts.data[found]
        self.rules.by_port = True
        return 0

    cdef int fill_wide(self, int side, Classes classes) except -1:
        # A row of bits for each class of intervals.
        cdef list temporary = []
        cdef Axis axis = <Axis>self.axes[side]
        cdef uint32_t *offset
        cdef uint32_t *found
        cdef uint32_t *bit = <uint32_t *>block(temporary, 4 * <size_t>self.count + 4)
        cdef Rows rows = Rows(self.family.wide_words, classes.count)
        cdef uint64_t *row
        cdef uint32_t i
        cdef uint32_t which
        for i in range(self.wide):
            bit[self.family.wide_position[i]] = i
        self.placing.by_set(side, WIDE, temporary, &offset, &found)
        with nogil:
            for i in range(classes.count):
                row = rows.begin()
                for at in range(offset[axis.sets], offset[axis.sets + 1]):
                    row[bit[found[at]] >> 6] |= <uint64_t>1 << (bit[found[at]] & 63)
                for member in range(classes.offset.data[i], classes.offset.data[i + 1]):
                    which = classes.members.data[member]
                    for at in range(offset[which], offset[which + 1]):
                        row[bit[found[at]] >> 6] |= <uint64_t>1 << (bit[found[at]] & 63)
                rows.end()
        self.family.side[side].packed = rows.packed
        self.family.side[side].wide = rows.finish(self.blocks)
        return 0

    cdef Words buckets(self, int side, Classes classes, Words starts, Words counts):
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
        self.placing.by_set(side, side, temporary, &offset, &found)
        with nogil:
            for i in range(classes.count):
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
                    self.add_block(side, entries, crowd + done, some)
                    done += some
                while entries.size & 15:
                    entries.push(0)
        return entries

    cdef int add_block(self, int home, Words entries, const uint32_t *crowd, uint32_t some) except -1 nogil:
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
            tail[lane] = self.column[rule]
            tail[padded + lane] = rule
            if self.rules.inexact and self.columns.of[rule] != 0:
                tail[padded + lane] |= <uint32_t>VERIFY
            for side in range(2):
                if side != home and self.take_range(side, rule, block_ + lane, padded):
                    tail[padded + lane] |= <uint32_t>VERIFY
                if home == AT_PORT:
                    block_ += 2 * padded
            block_ = tail - 2 * ranges * padded
        return 0

    cdef bint take_range(self, int side, uint32_t rule, uint32_t *entry, uint32_t padded) noexcept nogil:
        # The intervals of a rule on one side, the first and the last; is that more than its set has?
        cdef const uint32_t *offset = self.offset[side]
        cdef uint32_t which = self.set[side][rule]
        if which == ANY:
            entry[padded] = LAST_INTERVAL
            return False
        entry[0] = self.first[side][offset[which]]
        entry[padded] = self.last[side][offset[which + 1] - 1]
        return offset[which + 1] - offset[which] > 1

    cdef int fill_wide_columns(self) except -1:
        # Which wide rules the columns of each row admit.
        cdef Rows rows = Rows(self.family.wide_words, self.columns.rows)
        cdef uint64_t *row
        cdef const uint32_t *bits = self.columns.matrix
        cdef list temporary = []
        cdef uint32_t *column = <uint32_t *>block(temporary, 4 * <size_t>self.wide + 4)
        cdef uint32_t _row
        cdef uint32_t at
        for at in range(self.wide):
            column[at] = self.column[self.family.wide_position[at]]
        with nogil:
            for _row in range(self.columns.rows):
                row = rows.begin()
                for at in range(self.wide):
                    row[at >> 6] |= <uint64_t>(bits[column[at] >> 5] >> (column[at] & 31) & 1) << (at & 63)
                rows.end()
                bits += self.columns.words
        self.rules.packed_columns[self.which] = rows.packed
        self.rules.wide_columns[self.which] = rows.finish(self.blocks)
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


cdef int fill_family(
    Placing placing, Family *family, Rules *rules, Columns columns, flat, int which, list blocks
) except -1:
    cdef Filling filling = Filling()
    cdef int side
    filling.placing = placing
    filling.columns = columns
    filling.family = family
    filling.rules = rules
    filling.blocks = blocks
    filling.axes = placing.axes
    filling.keep = []
    filling.which = which
    filling.count = placing.count
    filling.home = placing.home
    for side in range(3):
        filling.set[side] = placing.set[side]
    return filling.fill(flat) if placing.live else filling.fill_nothing()
