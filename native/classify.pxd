# First-match lookup over rules whose addresses are sets and whose services are lists.
#
# Every bound of a set cuts the addresses of one side of one family into intervals, so that a source and a destination
# become two numbers, and a set ranges of such numbers.  What is asked for otherwise (protocol, ports, ICMP type and
# code, direction) becomes a row of bits: which pairs of a service list and a direction, the columns, admit it.  A rule
# then stands
#   - in the buckets of its sources or in those of its destinations, wherever fewer rules are with it: an interval has a
#     bucket of rules in order, 16 of which are compared with the other side's interval at once; or
#   - if it covers much on both sides, among the wide ones: source, destination and row have a bit for each of them, and
#     the bits that all three have are the wide rules that match; or
#   - if it meets many others on both sides but few at its destination ports, in the buckets of these, with intervals of
#     both sides.
# The least of all answers is the first match.  A rule whose other side is a set of several ranges is verified by that
# set's bit; where service lists are too many for columns of their own, they share columns and are verified one by one.

from libc.stddef cimport size_t
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t, uint64_t

from native.packet cimport Key, make_meta

cdef enum:
    ANY = 0xffffffff        # no set to look into, no list to go through
    NO_RULE = 0xffffffff
    DIRECTION_IN = 1
    DIRECTION_OUT = 2

cdef extern from "classify.h":
    enum:
        VERIFY "T1_VERIFY"
        BLOCK "T1_BLOCK"
        STEP "T1_STEP"
        TOP "T1_TOP"
        RANK "T1_RANK"

    ctypedef struct Place "t1_place":
        uint32_t bucket
        uint32_t count
        uint32_t wide
        uint32_t member

    ctypedef struct PackedWords "t1_words":
        uint64_t present
        uint64_t start

    ctypedef struct Bucket "t1_bucket":
        uint32_t bucket
        uint32_t count

    ctypedef struct Side "t1_side":
        uint32_t starts
        uint64_t *start_hi
        uint64_t *start_lo
        uint32_t *bounds
        uint32_t *top
        uint32_t below_top
        uint32_t levels
        uint32_t *level[7]
        Place *places
        uint16_t *place_of
        uint32_t *entries
        uint32_t buckets
        uint64_t *wide
        PackedWords *packed
        uint64_t *member
        uint32_t member_words

    ctypedef struct Detail "t1_detail":
        uint32_t source
        uint32_t destination
        uint32_t service_list

    ctypedef struct Family "t1_family":
        Side side[2]
        Bucket *ports
        uint32_t *at_ports
        uint32_t wide_words
        uint32_t groups
        uint32_t *wide_position
        uint32_t *wide_before
        Detail *details
        uint16_t protocol[256]

    ctypedef struct Service "t1_service":
        uint8_t protocol
        uint8_t families
        int16_t icmp_type
        int16_t icmp_code
        uint16_t sport_first
        uint16_t sport_last
        uint16_t dport_first
        uint16_t dport_last

    ctypedef struct Strides "t1_strides":
        uint32_t base
        uint32_t by_sport
        uint32_t by_dport
        uint32_t by_type
        uint32_t by_code

    ctypedef struct Ports "t1_ports":
        uint32_t classes
        uint16_t *table
        uint16_t *bounds
        uint16_t *every32

    ctypedef struct Rules "t1_rules":
        Family family[2]
        uint32_t *number
        uint32_t *service_offset
        Service *services
        Ports sports
        Ports dports
        uint8_t type_class[256]
        uint8_t code_class[256]
        Strides *strides
        uint32_t *cells
        uint32_t column_words
        uint32_t by_port
        uint32_t *columns
        uint64_t *wide_columns[2]
        PackedWords *packed_columns[2]
        uint32_t direction_bits
        uint32_t direction_shift
        uint32_t inexact
        uint32_t empty
        uint32_t wide_vectors
        const uint64_t *dead
        uint32_t (*one)(
            const Rules *rules, const uint64_t *key, uint32_t icmp, uint32_t direction) noexcept nogil
        void (*many)(
            const Rules *rules, const uint64_t *keys, const uint16_t *icmp, uint32_t direction, size_t count,
            uint32_t *found) noexcept nogil


cdef inline bint not_above(uint64_t a_hi, uint64_t a_lo, uint64_t b_hi, uint64_t b_lo) noexcept nogil:
    return a_hi < b_hi or (a_hi == b_hi and a_lo <= b_lo)


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
    if rules.empty:
        return NO_RULE
    return rules.one(rules, <const uint64_t *>key, <uint32_t>icmp_type << 8 | icmp_code, direction)


cdef inline int ask(Key *key, int family, src, dst, int protocol, uint16_t sport, uint16_t dport) except -1:
    # The key of a packet whose addresses are Python's integers.
    key.meta = make_meta(sport, dport, <uint8_t>protocol, <uint8_t>family, 0)
    key.src_hi = src >> 64
    key.src_lo = src & 0xffffffffffffffff
    key.dst_hi = dst >> 64
    key.dst_lo = dst & 0xffffffffffffffff
    return 0


cdef class RuleTable:
    cdef Rules rules
    cdef list blocks
    cdef readonly uint32_t count        # of rules

    cdef Rules without(self, const uint64_t *dead)
