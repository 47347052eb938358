"""The part of the builder of :mod:`native.classify` that knows services."""

from array import array
from types import SimpleNamespace

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.classify cimport ANY, Ports, Rules, Service, Strides
from native.classify_parts cimport Axis
from native.memory cimport block, breathe, rest

cdef enum:
    SEARCHED = 1024     # a single packet's class among so many is found by two comparisons with 32 bounds
    PORT_WORDS = 1024   # a bit for each port


cdef extern from *:
    int count_bits "__builtin_popcountll"(unsigned long long) nogil
    int trailing_zeros "__builtin_ctzll"(unsigned long long) nogil


cdef class PortSets:
    def __cinit__(self, flat):
        cdef const uint32_t[::1] offset = flat.service_offset
        cdef const int[::1] services = flat.services if len(flat.services) else None
        cdef uint32_t lists = <uint32_t>(offset.shape[0] - 1)
        cdef uint32_t i
        cdef uint32_t at
        cdef dict known = {}
        self.keep = []
        self.axis = Axis()
        self.of = <uint32_t *>block(self.keep, 4 * <size_t>lists + 4)
        self.rest_of = <uint32_t *>block(self.keep, 4 * <size_t>lists + 4)
        sets = SimpleNamespace(
            offset=array("I", [0]), first_hi=array("Q"), first_lo=array("Q"), last_hi=array("Q"), last_lo=array("Q"))
        for i in range(lists):
            self.of[i] = ANY
            ranges = []
            for at in range(offset[i], offset[i + 1]):
                if not same_but_for_dport(&services[7 * offset[i]], &services[7 * at]):
                    break
                ranges.append((services[7 * at + 5], services[7 * at + 6]))
            else:
                if not add_ports(sets, ranges):
                    continue
                others = tuple(services[7 * offset[i]:7 * offset[i] + 5])
                self.rest_of[i] = known.setdefault(others, len(known))
                self.of[i] = len(sets.offset) - 2
        self.rests = list(known)
        used = b"\1" * len(sets.offset)
        self.axis.cut(sets, <const uint8_t *><const char *>used, <uint32_t>(len(sets.offset) - 1))


cdef bint same_but_for_dport(const int *one, const int *other) noexcept:
    # Two services of a protocol with ports.
    cdef int i
    if one[0] == 1 or one[0] == 58:
        return False
    for i in range(5):
        if one[i] != other[i]:
            return False
    return True


cdef int add_ports(sets, list ranges) except -1:
    # One more set, of ranges that may overlap; 0: they are none or all, which is no set.
    cdef int low
    cdef int high
    cdef int end = -2
    cdef list firsts = []
    cdef list lasts = []
    for low, high in sorted(ranges):
        if low > end + 1:
            if firsts:
                lasts.append(end)
            firsts.append(low)
        end = max(end, high)
    lasts.append(end)
    if not firsts or (firsts[0] == 0 and lasts[0] == 65535):
        return 0
    sets.first_lo.extend(firsts)
    sets.last_lo.extend(lasts)
    sets.first_hi.extend([0] * len(firsts))
    sets.last_hi.extend([0] * len(firsts))
    sets.offset.append(len(sets.first_lo))
    return 1


cdef int take_services(Rules *rules, flat, list rests, list blocks) except -1:
    cdef const int[::1] numbers
    cdef const uint32_t[::1] offset = flat.service_offset
    cdef Service *service
    cdef Py_ssize_t i
    cdef Py_ssize_t count = len(flat.services) // 7
    cdef Py_ssize_t more = len(rests)
    rules.service_offset = <uint32_t *>block(blocks, 4 * (offset.shape[0] + more + 1))
    for i in range(offset.shape[0]):
        rules.service_offset[i] = offset[i]
    for i in range(more):
        rules.service_offset[offset.shape[0] + i] = <uint32_t>(count + i + 1)
    rules.services = <Service *>block(blocks, sizeof(Service) * (count + more + 1))
    if count == 0:
        return 0
    numbers = flat.services
    if more:
        numbers = flat.services + array("i", [number for rest in rests for number in (*rest, 0, 65535)])
    for i in range(count + more):
        service = &rules.services[i]
        service.protocol = <uint8_t>numbers[7 * i]
        service.families = 1 if service.protocol == 1 else 2 if service.protocol == 58 else 3
        service.icmp_type = <int16_t>numbers[7 * i + 1]
        service.icmp_code = <int16_t>numbers[7 * i + 2]
        service.sport_first = <uint16_t>numbers[7 * i + 3]
        service.sport_last = <uint16_t>numbers[7 * i + 4]
        service.dport_first = <uint16_t>numbers[7 * i + 5]
        service.dport_last = <uint16_t>numbers[7 * i + 6]
    return 0


cdef inline void begin_at(uint64_t *begins, uint32_t port) noexcept:
    if 0 < port < 65536:        # a first class begins at 0 in any case
        begins[port >> 6] |= <uint64_t>1 << (port & 63)


cdef uint32_t port_classes(Ports *ports, const uint64_t *begins, bint wide_vectors, list blocks) except 0:
    # `begins` has a bit for every port that a range begins at, or that is behind one.
    cdef uint32_t at = 0
    cdef uint32_t word
    cdef uint32_t padded
    cdef uint32_t port
    cdef uint64_t bits
    ports.classes = 1
    for word in range(PORT_WORDS):
        ports.classes += <uint32_t>count_bits(begins[word])
    padded = (ports.classes + 31) & ~<uint32_t>31
    ports.bounds = <uint16_t *>block(blocks, 2 * padded)
    for word in range(PORT_WORDS):
        bits = begins[word]
        while bits:
            at += 1
            ports.bounds[at] = <uint16_t>(64 * word + <uint32_t>trailing_zeros(bits))
            bits &= bits - 1
    if wide_vectors and ports.classes <= SEARCHED:
        ports.every32 = <uint16_t *>block(blocks, 2 * (padded // 32 + 31))
        for at in range(padded // 32):
            ports.every32[at] = ports.bounds[32 * at]
    if ports.classes > 1:       # nobody asks for the class where there is one
        ports.table = <uint16_t *>block(blocks, 131072 + 2)     # read four bytes at a time
        for at in range(ports.classes):
            for port in range(ports.bounds[at], 65536 if at + 1 == ports.classes else ports.bounds[at + 1]):
                ports.table[port] = <uint16_t>at
    return ports.classes


cdef uint32_t class_of(const Ports *ports, uint16_t port) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = ports.classes
    cdef uint32_t middle
    while high - low > 1:
        middle = (low + high) >> 1
        if ports.bounds[middle] <= port:
            low = middle
        else:
            high = middle
    return low


cdef uint32_t octet_classes(uint8_t *classes, const uint8_t *begins) noexcept:
    cdef uint32_t at = 0
    cdef uint32_t i
    for i in range(256):
        at += i != 0 and begins[i]
        classes[i] = <uint8_t>at
    return at + 1


cdef class Columns:
    def __cinit__(self):
        self.keep = []

    cdef int number(self, flat, PortSets ports, const uint8_t *homes) except -1:
        # Gives every rule its column, first those in buckets.  One that stands at its ports needs one for the rest of
        # its services.
        cdef const uint32_t[::1] lists
        cdef const uint8_t[::1] directions
        cdef dict known = {}
        cdef size_t i
        cdef size_t rules = len(flat.rule)
        cdef uint64_t pair
        cdef uint64_t beyond = len(flat.service_offset) - 1
        self.of = <uint32_t *>block(self.keep, 4 * rules + 4)
        self.count = 1
        known[<uint64_t>ANY << 2] = 0
        if rules == 0:
            self.pairs = [<uint64_t>ANY << 2]
            return 0
        lists = flat.service_list
        directions = flat.direction
        for turn in range(2):
            for i in range(rules):
                if i & 8191 == 8191:
                    rest()
                if (homes[i] & IN_BUCKET != 0) == turn:
                    continue
                pair = lists[i]
                if homes[i] == AT_PORTS_ONLY:
                    pair = beyond + ports.rest_of[lists[i]]
                pair = pair << 2 | directions[i] & 3
                found = known.get(pair)
                if found is None:
                    found = known[pair] = self.count
                    self.count += 1
                self.of[i] = found
            if turn == 0:
                self.in_buckets = self.count
        self.pairs = list(known)
        return 0

    cdef uint32_t column(self, uint32_t number) noexcept:
        # Shared columns are shared by lists of one direction, and never with what admits everything: only lists have to
        # be verified.
        cdef uint32_t width = self.words * 32
        if self.count <= width or number == 0:
            return number
        return 1 + <uint32_t>(self.pairs[number] & 3) + 4 * (number % ((width - 1) // 4))

    cdef int fill(self, Rules *rules, flat, list rests, list blocks, uint32_t most_words) except -1:
        # Protocols, ports, ICMP types and codes -> cells -> rows.  `most_words` is how much the rows of all cells may
        # take, in words of 32 bits: if that is too little, source ports are left out, then columns are shared.
        cdef uint64_t port_begins[2][PORT_WORDS]
        cdef uint8_t octet_begins[2][257]
        cdef uint32_t classes[4]
        cdef uint32_t services = len(flat.services) // 7
        cdef uint8_t asks[256][4]
        cdef uint16_t protocol_class[256]
        cdef uint64_t cells
        cdef uint64_t size
        cdef uint32_t protocols = 0
        cdef const Service *service
        cdef Strides *strides
        cdef uint32_t i
        cdef bint sports = True
        take_services(rules, flat, rests, blocks)
        memset(port_begins, 0, sizeof(port_begins))
        memset(octet_begins, 0, sizeof(octet_begins))
        memset(asks, 0, sizeof(asks))
        memset(protocol_class, 0, sizeof(protocol_class))
        for i in range(services):
            service = &rules.services[i]
            begin_at(port_begins[0], service.sport_first)
            begin_at(port_begins[0], <uint32_t>service.sport_last + 1)
            begin_at(port_begins[1], service.dport_first)
            begin_at(port_begins[1], <uint32_t>service.dport_last + 1)
            if service.icmp_type >= 0:
                octet_begins[0][service.icmp_type] = 1
                octet_begins[0][service.icmp_type + 1] = 1
            if service.icmp_code >= 0:
                octet_begins[1][service.icmp_code] = 1
                octet_begins[1][service.icmp_code + 1] = 1
            asks[service.protocol][0] |= service.sport_first != 0 or service.sport_last != 65535
            asks[service.protocol][1] |= service.dport_first != 0 or service.dport_last != 65535
            asks[service.protocol][2] |= service.icmp_type >= 0
            asks[service.protocol][3] |= service.icmp_code >= 0
            if protocol_class[service.protocol] == 0:
                protocols += 1
                protocol_class[service.protocol] = <uint16_t>protocols
        classes[0] = port_classes(&rules.sports, port_begins[0], rules.wide_vectors, blocks)
        classes[1] = port_classes(&rules.dports, port_begins[1], rules.wide_vectors, blocks)
        classes[2] = octet_classes(rules.type_class, octet_begins[0])
        classes[3] = octet_classes(rules.code_class, octet_begins[1])
        for i in range(256):
            rules.family[0].protocol[i] = protocol_class[i] if i != 58 else 0
            rules.family[1].protocol[i] = protocol_class[i] if i != 1 else 0
        rules.strides = <Strides *>block(blocks, sizeof(Strides) * (protocols + 1))
        self.words = (self.count + 31) >> 5
        while True:
            cells = 1
            for i in range(256):
                if protocol_class[i] == 0:
                    continue
                strides = &rules.strides[protocol_class[i]]
                size = 1
                strides.base = <uint32_t>cells
                strides.by_code = <uint32_t>size if asks[i][3] else 0
                size *= classes[3] if asks[i][3] else 1
                strides.by_type = <uint32_t>size if asks[i][2] else 0
                size *= classes[2] if asks[i][2] else 1
                strides.by_dport = <uint32_t>size if asks[i][1] else 0
                size *= classes[1] if asks[i][1] else 1
                strides.by_sport = <uint32_t>size if asks[i][0] and sports else 0
                size *= classes[0] if asks[i][0] and sports else 1
                cells += size
            if cells * self.words <= most_words:
                break
            if sports:
                sports = False
            elif self.words > 1:
                self.words >>= 1
            else:
                break
            rules.inexact = True
        self._fill_cells(rules, blocks, protocol_class, <uint32_t>cells)
        return 0

    cdef int _fill_cells(
        self, Rules *rules, list blocks, const uint16_t *protocol_class, uint32_t cells
    ) except -1:
        cdef list temporary = []
        cdef size_t words = self.words
        cdef uint32_t *bits = <uint32_t *>block(temporary, 4 * words * cells)
        cdef uint64_t *pairs = <uint64_t *>block(temporary, 8 * <size_t>self.count)
        cdef uint32_t *columns = <uint32_t *>block(temporary, 4 * <size_t>self.count)
        cdef uint32_t column
        cdef uint32_t i
        cdef uint32_t at
        cdef uint64_t pair
        cdef uint32_t which
        cdef uint32_t *admitted[4]
        cdef bint directed = False
        for i in range(4):
            admitted[i] = <uint32_t *>block(temporary, 4 * words)
        for i in range(self.count):
            breathe(i)
            pairs[i] = self.pairs[i]
            columns[i] = self.column(i)
        with nogil:
            for i in range(self.count):
                pair = pairs[i]
                column = columns[i]
                which = <uint32_t>(pair >> 2)
                if pair & 3:
                    directed = True
                for at in range(4):
                    if pair & 3 == 0 or pair & 3 & at:
                        admitted[at][column >> 5] |= <uint32_t>1 << (column & 31)
                if which == ANY:
                    for at in range(cells):
                        bits[words * at + (column >> 5)] |= <uint32_t>1 << (column & 31)
                    continue
                for at in range(rules.service_offset[which], rules.service_offset[which + 1]):
                    mark(rules, &rules.services[at], &rules.strides[protocol_class[rules.services[at].protocol]],
                         bits + (column >> 5), <uint32_t>1 << (column & 31), words)
        rules.direction_bits = 3 if directed else 0
        rules.direction_shift = 2 if directed else 0
        self._intern(rules, blocks, bits, cells, admitted, 4 if directed else 1)
        return 0

    cdef int _intern(
        self, Rules *rules, list blocks, const uint32_t *bits, uint32_t cells, uint32_t **admitted, uint32_t directions
    ) except -1:
        # Equal rows are stored once, for each direction.  Lookups only read the columns of rules in buckets.
        cdef size_t words = self.words
        cdef size_t read = words if self.count > 32 * words else (self.in_buckets + 31) >> 5
        cdef dict known = {}
        cdef uint32_t i
        cdef uint32_t j
        cdef size_t at
        cdef uint32_t *row
        cdef const uint32_t *cell
        rules.cells = <uint32_t *>block(blocks, 4 * <size_t>cells)
        firsts = []
        for i in range(cells):
            if i & 1023 == 1023:
                rest()
            content = (<const char *>(bits + words * i))[:4 * words]
            found = known.get(content)
            if found is None:
                found = known[content] = len(firsts)
                firsts.append(i)
            rules.cells[i] = found
        self.rows = len(firsts) * directions
        self.matrix = <uint32_t *>block(self.keep, 4 * words * self.rows)
        row = self.matrix
        for i in firsts:
            cell = bits + words * i
            for j in range(directions):
                for at in range(words):
                    # Nothing has a direction where rows have none.
                    row[at] = cell[at] & admitted[j][at] if directions == 4 else cell[at]
                row += words
        rules.column_words = <uint32_t>read
        rules.columns = <uint32_t *>block(blocks, 4 * read * self.rows)
        for i in range(self.rows):
            memcpy(rules.columns + read * i, self.matrix + words * i, 4 * read)
        return 0


cdef int mark(
    const Rules *rules, const Service *service, const Strides *strides, uint32_t *bits, uint32_t bit, size_t words
) noexcept nogil:
    # Sets a bit in every cell of a service.
    cdef uint32_t s
    cdef uint32_t d
    cdef uint32_t t
    cdef uint32_t c
    cdef uint32_t last_s = class_of(&rules.sports, service.sport_last) if strides.by_sport else 0
    cdef uint32_t last_d = class_of(&rules.dports, service.dport_last) if strides.by_dport else 0
    cdef uint32_t first_t = 0
    cdef uint32_t last_t = rules.type_class[255] if strides.by_type else 0
    cdef uint32_t first_c = 0
    cdef uint32_t last_c = rules.code_class[255] if strides.by_code else 0
    if service.icmp_type >= 0:
        first_t = last_t = rules.type_class[service.icmp_type]
    if service.icmp_code >= 0:
        first_c = last_c = rules.code_class[service.icmp_code]
    for s in range(class_of(&rules.sports, service.sport_first) if strides.by_sport else 0, last_s + 1):
        for d in range(class_of(&rules.dports, service.dport_first) if strides.by_dport else 0, last_d + 1):
            for t in range(first_t, last_t + 1):
                for c in range(first_c, last_c + 1):
                    bits[words * (strides.base + s * strides.by_sport + d * strides.by_dport + t * strides.by_type
                                  + c * strides.by_code)] |= bit
    return 0
