# First-match lookup over rules whose addresses are sets and whose services are lists.
#
# For each family the rules stand in order, their bounding boxes in columns.  A vector kernel marks, 64 rules at a time,
# the boxes that contain the packet; each marked rule is then verified exactly: the sets by binary search, then service
# and direction.  Where a box is the set itself there is nothing to verify.

from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from native.packet cimport Key, key_dport, key_family, key_proto, key_sport

cdef enum:
    ANY = 0xffffffff        # no set to look into: the box says all
    NO_RULE = 0xffffffff
    DIRECTION_IN = 1
    DIRECTION_OUT = 2

ctypedef struct Service:
    uint8_t protocol
    uint8_t families        # bit 0 IPv4, bit 1 IPv6: ICMP belongs to one of them
    int16_t icmp_type       # -1: any
    int16_t icmp_code
    uint16_t sport_first
    uint16_t sport_last
    uint16_t dport_first
    uint16_t dport_last

ctypedef struct Ranges:
    # Sorted, disjoint ranges of all sets of one family; set i is from offset[i] to offset[i + 1].
    uint32_t *offset
    uint64_t *first_hi
    uint64_t *first_lo
    uint64_t *last_hi
    uint64_t *last_lo

ctypedef struct FamilyRules:
    uint32_t count
    uint32_t padded         # columns are filled up to a multiple of 64 with boxes that contain nothing
    uint64_t *src_first     # IPv4: the address; IPv6: its upper 64 bits
    uint64_t *src_last
    uint64_t *dst_first
    uint64_t *dst_last
    uint32_t *src_set
    uint32_t *dst_set
    uint32_t *service_list
    uint8_t *direction      # bits that the packet must have one of; 0: any
    uint32_t *rule          # the caller's number

ctypedef struct Rules:
    FamilyRules family[2]   # IPv4, IPv6
    Ranges ranges[2]
    uint32_t *service_offset
    Service *services


cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
    #define T1_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
    #else
    #define T1_CLONES
    #endif
    /* Bit i: box i contains the pair (src, dst).  The columns are 64 long. */
    T1_CLONES __attribute__((noinline, unused))
    static uint64_t t1_boxes(const uint64_t *src_first, const uint64_t *src_last, const uint64_t *dst_first,
                             const uint64_t *dst_last, uint64_t src, uint64_t dst) {
        uint8_t inside[64];
        for (int i = 0; i < 64; i++)
            inside[i] = (uint8_t)((src_first[i] <= src) & (src <= src_last[i])
                                  & (dst_first[i] <= dst) & (dst <= dst_last[i]));
        uint64_t mask = 0;
        for (int byte = 0; byte < 8; byte++) {
            uint64_t eight;
            __builtin_memcpy(&eight, inside + 8 * byte, 8);
            mask |= ((eight * 0x0102040810204080ull) >> 56) << (8 * byte);
        }
        return mask;
    }
    static inline int t1_lowest64(uint64_t mask) { return __builtin_ctzll(mask); }
    """
    uint64_t boxes_containing "t1_boxes"(
        const uint64_t *src_first, const uint64_t *src_last, const uint64_t *dst_first, const uint64_t *dst_last,
        uint64_t src, uint64_t dst) noexcept nogil
    int lowest64 "t1_lowest64"(uint64_t mask) noexcept nogil


cdef inline bint not_above(uint64_t a_hi, uint64_t a_lo, uint64_t b_hi, uint64_t b_lo) noexcept nogil:
    return a_hi < b_hi or (a_hi == b_hi and a_lo <= b_lo)


cdef inline bint in_set(const Ranges *ranges, uint32_t which, uint64_t hi, uint64_t lo) noexcept nogil:
    cdef uint32_t low = ranges.offset[which]
    cdef uint32_t high = ranges.offset[which + 1]
    cdef uint32_t start = low
    cdef uint32_t middle
    while low < high:
        middle = (low + high) >> 1
        if not_above(ranges.first_hi[middle], ranges.first_lo[middle], hi, lo):
            low = middle + 1
        else:
            high = middle
    return low > start and not_above(hi, lo, ranges.last_hi[low - 1], ranges.last_lo[low - 1])


cdef inline bint in_services(
    const Rules *rules, uint32_t which, int family, uint8_t proto, uint16_t sport, uint16_t dport,
    uint8_t icmp_type, uint8_t icmp_code
) noexcept nogil:
    cdef uint32_t i
    cdef const Service *service
    for i in range(rules.service_offset[which], rules.service_offset[which + 1]):
        service = &rules.services[i]
        if (service.protocol == proto and service.families >> family & 1
                and service.sport_first <= sport <= service.sport_last
                and service.dport_first <= dport <= service.dport_last
                and (service.icmp_type < 0 or service.icmp_type == icmp_type)
                and (service.icmp_code < 0 or service.icmp_code == icmp_code)):
            return True
    return False


cdef inline uint32_t first_match(
    const Rules *rules, const Key *key, uint8_t icmp_type, uint8_t icmp_code, uint8_t direction
) noexcept nogil:
    # The caller's number of the first rule that matches, or NO_RULE.
    cdef int which = 0 if key_family(key) == 4 else 1
    cdef const FamilyRules *family = &rules.family[which]
    cdef const Ranges *ranges = &rules.ranges[which]
    cdef uint64_t src = key.src_lo if which == 0 else key.src_hi
    cdef uint64_t dst = key.dst_lo if which == 0 else key.dst_hi
    cdef uint32_t base = 0
    cdef uint32_t at
    cdef uint64_t candidates
    while base < family.count:
        candidates = boxes_containing(
            family.src_first + base, family.src_last + base, family.dst_first + base, family.dst_last + base, src, dst)
        while candidates:
            at = base + <uint32_t>lowest64(candidates)
            candidates &= candidates - 1
            if family.direction[at] and not family.direction[at] & direction:
                continue
            if family.service_list[at] != ANY and not in_services(
                    rules, family.service_list[at], which, key_proto(key), key_sport(key), key_dport(key),
                    icmp_type, icmp_code):
                continue
            if family.src_set[at] != ANY and not in_set(ranges, family.src_set[at], key.src_hi, key.src_lo):
                continue
            if family.dst_set[at] != ANY and not in_set(ranges, family.dst_set[at], key.dst_hi, key.dst_lo):
                continue
            return family.rule[at]
        base += 64
    return NO_RULE


cdef class RuleTable:
    cdef Rules rules
    cdef list blocks

    cdef int _take_services(self, flat) except -1
    cdef int _take_ranges(self, Ranges *ranges, flat) except -1
    cdef int _take_family(self, FamilyRules *family, const Ranges *ranges, int which, flat) except -1
