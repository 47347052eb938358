"""Sequence numbers of the readable edge where an ALG has changed the length of a payload."""

from __future__ import annotations

import struct

import pytest

from edge.reference_shift import Rewriting, Shift, acknowledgements, understood, with_sequence
from edge.reference_wire import Packet, parse
from tests.model.frames import checksum, frame, parts_of, pseudo, tcp


def shift(*rewritten: tuple[int, int]) -> Shift:
    made = Shift()
    for end, growth in rewritten:
        made.rewritten(Rewriting((end - 20) % 2**32, end % 2**32, 5000, 6000), growth)
    return made


def segment(options: bytes = b"", *, flags: int = 16, seq: int = 100, ack: int = 1000) -> Packet:
    found = parse(frame(tcp(b"\x0a\0\0\1", b"\x0a\0\0\2", 1, 2, flags, seq, ack, b"abc", options)))
    assert isinstance(found, Packet)
    return found


@pytest.mark.parametrize(
    ("rewritten", "numbers"),
    [
        ((), {0: 0, 2**32 - 1: 2**32 - 1}),
        (((100, 5),), {99: 99, 100: 105, 200: 205, 2**32 - 1: 2**32 - 1}),
        (((100, 5), (200, -2)), {100: 105, 150: 155, 200: 203}),
        (((100, 5), (100, 5)), {99: 99, 100: 105}),  # the same again
        (((100, 5), (100, 7)), {99: 99, 100: 107}),  # again, and become another
        (((100, 5), (200, 1), (150, 9)), {199: 204, 200: 206}),  # an old one
        (((-10, 5),), {2**32 - 11: 2**32 - 11, 2**32 - 10: 2**32 - 5, 2**32 - 1: 4, 3: 8}),
        (((-10, -5),), {2**32 - 10: 2**32 - 15, 3: 2**32 - 2}),
    ],
)
def test_numbers_there_and_back(rewritten: tuple[tuple[int, int], ...], numbers: dict[int, int]) -> None:
    made = shift(*rewritten)
    assert {number: made.shifted(number) for number in numbers} == numbers
    assert {made.taken_back(shown): shown for shown in numbers.values()} == numbers


def test_a_line_that_is_sent_again_is_known() -> None:
    made = shift((100, 5), (200, 1))
    assert made.shown_before(200, 5000) == 6000
    assert (made.shown_before(200, 5001), made.shown_before(100, 5000), Shift().shown_before(200, 5000)) == (None,) * 3
    assert [made.line_in(seq, 10) for seq in (170, 171, 175, 180, 181, 300)] == [0, 9, 5, 0, 0, 0]
    assert Shift().line_in(180, 10) == 0
    assert shift((10, 5)).line_in(2**32 - 12, 10) == 2


@pytest.mark.parametrize(
    ("options", "places"),
    [
        (b"", 1),
        (b"\x01\x01\x05\x0a" + bytes(8), 3),
        (b"\x01\x05\x12" + bytes(16) + b"\0", 5),
        (b"\x08\x0a" + bytes(8) + b"\x05\x0a" + bytes(8), 3),
        (b"\x01\x01\x05\x06" + bytes(4), 1),  # half a block
        (b"\x05\x02\x05\x02", 1),
        (b"\0\x01\x05\x0a" + bytes(8), 1),  # behind the end
        (b"\x05\x01\x05\x0a" + bytes(8), 1),
        (b"\x01\x01\x05\x12" + bytes(8), 1),  # longer than the header
    ],
)
def test_where_acknowledgements_stand(options: bytes, places: int) -> None:
    assert len(acknowledgements(segment(options))) == places


def test_acknowledgements_are_taken_back_with_a_right_checksum() -> None:
    sack = struct.pack("!3B2IB", 1, 5, 10, 1100, 1200, 0)  # at an odd offset
    made = understood(segment(sack.ljust(12, b"\0"), ack=1005), shift((900, 5)))
    at = made.l4
    assert struct.unpack_from("!I", made.ip, at + 8) == (1000,)
    assert struct.unpack_from("!2I", made.ip, at + 23) == (1095, 1195)
    parts = parts_of(bytes(12) + b"\x08\x00" + made.ip)
    assert parts is not None
    assert checksum(pseudo(parts) + parts.payload) == 0


def test_without_ack_nothing_is_taken_back() -> None:
    reset = segment(flags=4)
    assert understood(reset, shift((900, 5))) is reset
    assert understood(segment(), Shift()).ip == segment().ip


def test_the_own_number_is_shifted() -> None:
    made = with_sequence(segment(seq=100), shift((50, 7)))
    assert struct.unpack_from("!I", made.ip, made.l4 + 4) == (107,)
    assert with_sequence(segment(seq=100), Shift()).ip == segment(seq=100).ip
