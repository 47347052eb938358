"""Builds classifier tables from flat rules (:class:`edge.flat.FlatRules`)."""

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native.classify cimport ANY, NO_RULE, FamilyRules, Ranges, Rules, Service, first_match
from native.memory cimport block, breathe
from native.packet cimport Key, make_meta


cdef uint32_t *words(list keep, const uint32_t[::1] column) except NULL:
    cdef uint32_t *copy = <uint32_t *>block(keep, 4 * (column.shape[0] + 1))
    if column.shape[0]:
        memcpy(copy, &column[0], 4 * column.shape[0])
    return copy


cdef uint64_t *longs(list keep, const uint64_t[::1] column) except NULL:
    cdef uint64_t *copy = <uint64_t *>block(keep, 8 * (column.shape[0] + 1))
    if column.shape[0]:
        memcpy(copy, &column[0], 8 * column.shape[0])
    return copy


cdef class RuleTable:
    """An immutable first-match table."""

    def __cinit__(self, flat):
        self.blocks = []
        self._take_services(flat)
        for which in range(2):
            self._take_ranges(&self.rules.ranges[which], flat.ranges[which])
            self._take_family(&self.rules.family[which], &self.rules.ranges[which], which, flat)

    cdef int _take_services(self, flat) except -1:
        cdef int[::1] numbers
        cdef Service *service
        cdef Py_ssize_t i
        cdef Py_ssize_t count = len(flat.services) // 7
        self.rules.service_offset = words(self.blocks, flat.service_offset)
        self.rules.services = <Service *>block(self.blocks, sizeof(Service) * (count + 1))
        if count == 0:
            return 0
        numbers = flat.services
        for i in range(count):
            breathe(i)
            service = &self.rules.services[i]
            service.protocol = <uint8_t>numbers[7 * i]
            service.families = 1 if service.protocol == 1 else 2 if service.protocol == 58 else 3
            service.icmp_type = <int16_t>numbers[7 * i + 1]
            service.icmp_code = <int16_t>numbers[7 * i + 2]
            service.sport_first = <uint16_t>numbers[7 * i + 3]
            service.sport_last = <uint16_t>numbers[7 * i + 4]
            service.dport_first = <uint16_t>numbers[7 * i + 5]
            service.dport_last = <uint16_t>numbers[7 * i + 6]
        return 0

    cdef int _take_ranges(self, Ranges *ranges, flat) except -1:
        ranges.offset = words(self.blocks, flat.offset)
        ranges.first_hi = longs(self.blocks, flat.first_hi)
        ranges.first_lo = longs(self.blocks, flat.first_lo)
        ranges.last_hi = longs(self.blocks, flat.last_hi)
        ranges.last_lo = longs(self.blocks, flat.last_lo)
        return 0

    cdef int _take_family(self, FamilyRules *family, const Ranges *ranges, int which, flat) except -1:
        cdef const uint8_t[::1] families
        cdef const uint8_t[::1] direction
        cdef const uint32_t[::1] sources
        cdef const uint32_t[::1] destinations
        cdef const uint32_t[::1] services
        cdef const uint32_t[::1] numbers
        cdef uint32_t count = 0
        cdef uint32_t at = 0
        cdef uint32_t padded
        cdef Py_ssize_t i
        cdef Py_ssize_t rules = len(flat.families)
        if rules:
            families, direction, numbers = flat.families, flat.direction, flat.rule
            sources, destinations, services = flat.source_set, flat.destination_set, flat.service_list
        for i in range(rules):
            if families[i] >> which & 1:
                count += 1
        padded = (count + 63) & ~<uint32_t>63
        family.src_first = <uint64_t *>block(self.blocks, 8 * padded + 8)
        family.src_last = <uint64_t *>block(self.blocks, 8 * padded + 8)
        family.dst_first = <uint64_t *>block(self.blocks, 8 * padded + 8)
        family.dst_last = <uint64_t *>block(self.blocks, 8 * padded + 8)
        family.src_set = <uint32_t *>block(self.blocks, 4 * padded + 4)
        family.dst_set = <uint32_t *>block(self.blocks, 4 * padded + 4)
        family.service_list = <uint32_t *>block(self.blocks, 4 * padded + 4)
        family.direction = <uint8_t *>block(self.blocks, padded + 1)
        family.rule = <uint32_t *>block(self.blocks, 4 * padded + 4)
        with nogil:
            for i in range(rules):
                if not families[i] >> which & 1:
                    continue
                if (box(ranges, which, sources[i], &family.src_set[at], &family.src_first[at], &family.src_last[at])
                        and box(ranges, which, destinations[i], &family.dst_set[at],
                                &family.dst_first[at], &family.dst_last[at])):
                    family.service_list[at] = services[i]
                    family.direction[at] = direction[i]
                    family.rule[at] = numbers[i]
                    at += 1
        family.count = at
        while at < padded:
            family.src_first[at] = 1
            family.src_last[at] = 0
            at += 1
        return 0

    def lookup(self, int family, src: int, dst: int, int protocol, uint16_t sport=0, uint16_t dport=0,
               uint8_t icmp_type=0, uint8_t icmp_code=0, uint8_t direction=0) -> int | None:
        """The caller's number of the first rule that matches, None when none does; addresses are integers."""
        cdef Key key
        cdef uint32_t found
        key.meta = make_meta(sport, dport, protocol, family, 0)
        key.src_hi = src >> 64
        key.src_lo = src & 0xffffffffffffffff
        key.dst_hi = dst >> 64
        key.dst_lo = dst & 0xffffffffffffffff
        found = first_match(&self.rules, &key, icmp_type, icmp_code, direction)
        return None if found == NO_RULE else found

    def lookup_many(self, keys, uint32_t[::1] out not None, const uint16_t[::1] icmp=None, uint8_t direction=0):
        """Like :meth:`lookup` for every packed ``Key``, without the GIL; 0xffffffff in ``out`` where no rule matches.

        ``keys`` are bytes-like, 40 bytes a key: five unsigned 64-bit numbers in the machine's byte order, which are
        source port << 48 | destination port << 32 | protocol << 24 | family << 16, the low words of source and
        destination, and their high words. ``icmp`` gives each its ICMP type << 8 | code; without it they are 0.

        Raises ValueError where the three do not fit each other.
        """
        cdef const uint8_t[::1] octets = memoryview(keys).cast("B")
        cdef Py_ssize_t count = out.shape[0]
        if octets.shape[0] != count * <Py_ssize_t>sizeof(Key):
            raise ValueError(f"{octets.shape[0]} bytes of keys for {count} answers, each of which takes {sizeof(Key)}")
        if icmp is not None and icmp.shape[0] != count:
            raise ValueError(f"{icmp.shape[0]} ICMP types for {count} answers")
        if count:
            with nogil:
                match_many(&self.rules, <const Key *>&octets[0], NULL if icmp is None else &icmp[0], direction, count,
                           &out[0])


cdef void match_many(
    const Rules *rules, const Key *keys, const uint16_t *icmp, uint8_t direction, Py_ssize_t count, uint32_t *out
) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint16_t message = 0
    for i in range(count):
        if icmp != NULL:
            message = icmp[i]
        out[i] = first_match(rules, &keys[i], <uint8_t>(message >> 8), <uint8_t>message, direction)


cdef bint box(
    const Ranges *ranges, int which, uint32_t number, uint32_t *verify, uint64_t *first, uint64_t *last
) noexcept nogil:
    # The bounding box of a set on one axis; `verify` becomes ANY where the box is the set.  False: the set is empty.
    cdef uint32_t low
    cdef uint32_t high
    verify[0] = ANY
    first[0] = 0
    last[0] = 0xffffffffffffffffULL
    if number == ANY:
        return True
    low = ranges.offset[number]
    high = ranges.offset[number + 1]
    if low == high:
        return False
    if which == 0:
        first[0] = ranges.first_lo[low]
        last[0] = ranges.last_lo[high - 1]
        if high - low > 1:
            verify[0] = number
    else:
        first[0] = ranges.first_hi[low]
        last[0] = ranges.last_hi[high - 1]
        if high - low > 1 or ranges.first_lo[low] != 0 or ranges.last_lo[low] != 0xffffffffffffffffULL:
            verify[0] = number
    return True
