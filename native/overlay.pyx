"""Small changes of large rule tables: what differs, and a table with the differences laid over it."""

from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.classify cimport NO_RULE, RuleTable, ask
from native.memory cimport block
from native.overlay cimport overlaid_match
from native.packet cimport Key


cdef inline bint is_same(tuple before, Py_ssize_t i, tuple now, Py_ssize_t j) noexcept:
    return <PyObject *>PyTuple_GET_ITEM(before, i) == <PyObject *>PyTuple_GET_ITEM(now, j)


def differences(tuple before not None, tuple now not None, Py_ssize_t most):
    """Where ``now`` has other objects than ``before``: [(begin, end, begin now, end now)], in order.

    ``before[begin:end]`` has become ``now[begin_now:end_now]``, and what lies between two of these is the same objects,
    not only equal ones. Every answer is a true one; that it is the shortest is not promised. None where it would name
    more than ``most`` objects of both together.
    """
    cdef Py_ssize_t end = PyTuple_GET_SIZE(before)
    cdef Py_ssize_t now_end = PyTuple_GET_SIZE(now)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t j = 0
    cdef Py_ssize_t gone
    cdef Py_ssize_t size
    cdef bint met
    cdef list found = []
    while end > 0 and now_end > 0 and is_same(before, end - 1, now, now_end - 1):
        end -= 1
        now_end -= 1
    while True:
        while i < end and j < now_end and is_same(before, i, now, j):
            i += 1
            j += 1
        if i == end and j == now_end:
            return found
        met = False
        for size in range(1, most + 1):
            # So many objects together are gone and new until the two are alike again, or at their ends.
            for gone in range(max(<Py_ssize_t>0, size - (now_end - j)), min(size, end - i) + 1):
                met = i + gone == end and j + size - gone == now_end or (
                    i + gone < end and j + size - gone < now_end and is_same(before, i + gone, now, j + size - gone))
                if met:
                    break
            if met:
                break
        if not met:
            return None
        found.append((i, i + gone, j, j + size - gone))
        i += gone
        j += size - gone
        most -= size


cdef class OverlaidTable:
    """A table without the rules with the numbers ``dead`` and with those of another, whose numbers follow its own: each
    is tried before the table's rule that ``before`` names for it, which never falls.

    Raises ValueError for a table whose rules do not bear their places for numbers, and for numbers that cannot be.
    """

    def __cinit__(self, RuleTable base not None, dead, RuleTable added not None, before):
        cdef uint64_t *bits
        cdef uint32_t *places
        cdef uint32_t number
        cdef uint32_t i
        cdef uint32_t count = len(before)
        self.blocks = []
        self.base = base
        self.added = added
        if base.rules.number != NULL or added.rules.number != NULL or added.count != count:
            raise ValueError("what is laid over a table has to be numbered by places, as the table has")
        self.rules = base.rules
        if len(dead):
            bits = <uint64_t *>block(self.blocks, 8 * (<size_t>(base.count >> 6) + 1))
            for number in dead:
                if number >= base.count:
                    raise ValueError(f"there is no rule {number} of {base.count} to leave out")
                bits[number >> 6] |= <uint64_t>1 << (number & 63)
            self.rules = base.without(bits)
        places = <uint32_t *>block(self.blocks, 4 * <size_t>count + 4)
        for i in range(count):
            places[i] = before[i]
            if places[i] > base.count or (i and places[i] < places[i - 1]):
                raise ValueError(f"before rule {places[i]} of {base.count} is no place for rule {i} of those added")
        self.overlay.added = added.rules
        self.overlay.count = count
        self.overlay.first = base.count
        self.overlay.before = places

    def lookup(self, int family, src: int, dst: int, int protocol, uint16_t sport=0, uint16_t dport=0,
               uint8_t icmp_type=0, uint8_t icmp_code=0, uint8_t direction=0) -> int | None:
        """As :meth:`native.classify.RuleTable.lookup`; numbers from the table's count on are of added rules."""
        cdef Key key
        cdef uint32_t found
        ask(&key, family, src, dst, protocol, sport, dport)
        found = overlaid_match(&self.rules, &self.overlay, &key, icmp_type, icmp_code, direction)
        return None if found == NO_RULE else found
