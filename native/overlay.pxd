# A first-match table of which a few rules are gone and to which a few have come: what a small change of many rules is.
#
# The rules that are gone are left out by the lookup in the table that is there.  Those that have come have a small
# table of their own, and each says which rule of the other it is tried before, so that the sooner of two answers is the
# first match.  Where nothing is laid over a table, a lookup costs one comparison more.

from libc.stdint cimport uint8_t, uint32_t

from native.classify cimport NO_RULE, Rules, RuleTable, first_match
from native.packet cimport Key
from native.wire cimport likely

ctypedef struct Overlay:
    Rules added
    uint32_t count          # of the rules that have come; 0: none
    uint32_t first          # the number of the first of them; what is below is a number of the other table
    const uint32_t *before  # of each, never falling: it is tried before the other table's rule of this number


cdef inline uint32_t overlaid_match(
    const Rules *rules, const Overlay *overlay, const Key *key, uint8_t icmp_type, uint8_t icmp_code, uint8_t direction
) noexcept nogil:
    # The number of the first rule that matches, or NO_RULE, which is above all numbers.
    cdef uint32_t found = first_match(rules, key, icmp_type, icmp_code, direction)
    cdef uint32_t added
    if likely(overlay.count == 0):
        return found
    added = first_match(&overlay.added, key, icmp_type, icmp_code, direction)
    if added == NO_RULE or overlay.before[added] > found:
        return found
    return overlay.first + added


cdef inline const Rules *table_of(const Rules *rules, const Overlay *overlay, uint32_t number) noexcept nogil:
    # The table that a rule stands in, whose lists of services its own numbers are about.
    return &overlay.added if overlay.count and number >= overlay.first else rules


cdef class OverlaidTable:
    cdef Rules rules
    cdef Overlay overlay
    cdef RuleTable base
    cdef RuleTable added
    cdef list blocks
