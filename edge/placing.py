"""Which worker the kernel gives a frame to, as a program of classic BPF: the owner, as :mod:`native.steer` has it.

The program runs behind the link-layer header (packet(7), PACKET_FANOUT_CBPF): byte 0 is the first one of an IP packet.
It reads addresses alone.  What else an owner may depend on, the packet that an ICMP error quotes, is left to the worker
at which the frame comes in: it hands over what is another's.  Pure.
"""

from __future__ import annotations

import struct

from edge.steering import Ranges

RANGES_MOST = {4: 512, 6: 32}
"""So many of each family fit into what the kernel takes, BPF_MAXINSNS = 4,096 instructions."""

JUMP_MOST = 250  # a condition's jump, of eight bits, with room for what comes between
SUM = 0  # the memory word that the fixed addresses are added up in
ADDRESSES = {4: (12, 16), 6: (8, 24)}
WORDS = {4: 1, 6: 4}

WORD_FACTOR, LAST_FACTOR = 0x9E3779B1, 0x85EBCA77
"""Of the hash: after each word of an address, and after the last one."""

LOAD_WORD, LOAD_BYTE, LOAD_NUMBER, LOAD_SUM, INDEX_SUM, STORE_SUM = 0x20, 0x30, 0x00, 0x60, 0x61, 0x02
ADD_X, MULTIPLY, SHIFT_RIGHT, XOR, XOR_X, TO_X = 0x0C, 0x24, 0x74, 0xA4, 0xAC, 0x07
JUMP, IF_EQUAL, IF_ABOVE, IF_NOT_BELOW = 0x05, 0x15, 0x25, 0x35
RETURN, RETURN_NUMBER = 0x16, 0x06


class Assembler:
    """Instructions from the last one to the first: jumps only lead forward, so that each knows how far.

    A label is how many instructions there are from its own to the end.
    """

    def __init__(self) -> None:
        self._code: list[bytes] = []
        self._steps: dict[int, int] = {}

    def put(self, operation: int, number: int = 0, yes: int = 0, no: int = 0) -> int:
        """Before all that there is; its label."""
        self._code.append(struct.pack("=HBBI", operation, yes, no, number))
        return len(self._code)

    def go(self, label: int) -> None:
        """What is put next goes on at a label."""
        if label != len(self._code):
            self.put(JUMP, len(self._code) - label)

    def branch(self, condition: int, number: int, yes: int, no: int) -> int:
        """To one label or the other; the label of the condition."""
        yes, no = self._near(yes), self._near(no)
        here = len(self._code)
        return self.put(condition, number, here - yes, here - no)

    def _near(self, label: int) -> int:
        """Where a condition can jump to, and from there to a label."""
        if len(self._code) - label <= JUMP_MOST:
            return label
        step = self._steps.get(label, 0)
        if step == 0 or len(self._code) - step > JUMP_MOST:
            step = self._steps[label] = self.put(JUMP, len(self._code) - label)
        return step

    def program(self) -> bytes:
        """An array of struct sock_filter."""
        return b"".join(reversed(self._code))


def coarse(ranges: Ranges, most: int) -> Ranges:
    """At most so many ranges that hold all of these: the narrowest gaps are taken for part of them."""
    gaps = sorted(range(1, len(ranges)), key=lambda at: ranges[at][0] - ranges[at - 1][1])
    closed = set(gaps[: max(0, len(ranges) - most)])
    found: Ranges = []
    for at, (first, last) in enumerate(ranges):
        if at in closed:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return found


def placing_program(touched: tuple[Ranges, Ranges], seed: int, workers: int) -> bytes:
    """What :class:`native.steer.Steerer` says of the same ranges, seed and number of workers."""
    code = Assembler()
    if workers == 1:
        code.put(RETURN_NUMBER, 0)
        return code.program()
    code.put(RETURN)
    code.put(SHIFT_RIGHT, 16)
    code.put(MULTIPLY, workers)
    code.put(SHIFT_RIGHT, 16)
    end = code.put(LOAD_SUM, SUM)
    families = {}
    for family, ranges in zip((4, 6), touched, strict=True):
        after = end
        for offset in reversed(ADDRESSES[family]):
            after = _address(code, family, offset, ranges, seed, after)
        families[family] = after
    other = code.put(RETURN_NUMBER, 0)
    other = code.branch(IF_EQUAL, 6, families[6], other)
    code.branch(IF_EQUAL, 4, families[4], other)
    code.put(SHIFT_RIGHT, 4)
    code.put(LOAD_BYTE, 0)
    code.put(STORE_SUM, SUM)
    code.put(LOAD_NUMBER, 0)
    return code.program()


def _address(code: Assembler, family: int, offset: int, ranges: Ranges, seed: int, after: int) -> int:
    """Adds an address to the sum if it is fixed; its label."""
    code.go(after)
    code.put(STORE_SUM, SUM)
    code.put(ADD_X)
    code.put(INDEX_SUM, SUM)
    code.put(MULTIPLY, LAST_FACTOR)
    for word in reversed(range(WORDS[family])):
        code.put(XOR_X)
        code.put(SHIFT_RIGHT, 15)
        code.put(TO_X)
        code.put(MULTIPLY, WORD_FACTOR)
        if word:
            code.put(XOR_X)
            code.put(LOAD_WORD, offset + 4 * word)
            code.put(TO_X)
    fixed = code.put(XOR, (seed ^ seed >> 32) & 0xFFFFFFFF)
    bounds = [bound for first, last in coarse(ranges, RANGES_MOST[family]) for bound in (first, last + 1)]
    if bounds and bounds[-1] >> 32 * WORDS[family]:  # behind the last address of all
        bounds.pop()
    if family == 6:
        fixed = code.put(LOAD_WORD, offset)
        return _search(code, offset, [_words(bound) for bound in bounds], 0, (fixed, after))
    code.go(_search_word(code, bounds, 0, (fixed, after)))
    return code.put(LOAD_WORD, offset)


def _search_word(code: Assembler, bounds: list[int], before: int, ends: tuple[int, int]) -> int:
    """Which of ``ends`` the loaded word leads to: the second behind an odd number of bounds, of which ``before`` are
    known to be no more than it."""
    if not bounds:
        return ends[before % 2]
    middle = len(bounds) // 2
    above = _search_word(code, bounds[middle + 1 :], before + middle + 1, ends)
    below = _search_word(code, bounds[:middle], before, ends)
    return code.branch(IF_NOT_BELOW, bounds[middle], above, below)


def _words(number: int) -> list[int]:
    """Of an IPv6 address, without those of zeros at the end: what is left is compared alone."""
    words = [number >> 32 * place & 0xFFFFFFFF for place in reversed(range(WORDS[6]))]
    while len(words) > 1 and words[-1] == 0:
        words.pop()
    return words


def _search(code: Assembler, offset: int, bounds: list[list[int]], before: int, ends: tuple[int, int]) -> int:
    """The same for an address of several words, each of which is loaded to be compared."""
    if not bounds:
        return ends[before % 2]
    middle = len(bounds) // 2
    above = _search(code, offset, bounds[middle + 1 :], before + middle + 1, ends)
    below = _search(code, offset, bounds[:middle], before, ends)
    *leading, last = bounds[middle]
    code.branch(IF_NOT_BELOW, last, above, below)
    label = code.put(LOAD_WORD, offset + 4 * len(leading))
    for place in reversed(range(len(leading))):
        equal = code.branch(IF_EQUAL, leading[place], label, below)
        code.branch(IF_ABOVE, leading[place], above, equal)
        label = code.put(LOAD_WORD, offset + 4 * place)
    return label
