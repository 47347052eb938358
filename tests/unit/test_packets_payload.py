"""Payload written out in packet text, read and printed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import PacketSyntaxError
from edge.packets import build_frame, format_frame, parse_packet
from edge.packets.payload import is_quoted, read_payload, show_payload
from edge.patterns import PacketPattern

TCP = "tcp 10.0.0.1:1 > 10.0.0.2:21 PA"


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (r"PORT 10,0,0,1,4,1\r\n", b"PORT 10,0,0,1,4,1\r\n"),
        (r"\"quoted\" \\ back", b'"quoted" \\ back'),
        (r"\x00\xff\xAb~ ", b"\x00\xff\xab~ "),
        ("", b""),
    ],
)
@pytest.mark.parametrize("packet", [TCP, "udp [::1]:1 > [::2]:2", "proto=99 10.0.0.1 > 10.0.0.2"])
def test_payload_is_read_and_printed_where_it_was_given(packet: str, text: str, data: bytes) -> None:
    found = parse_packet(f'{packet} data="{text}"')
    frame = build_frame(found)
    assert (found.data, found.shown_keys) == (data, {"data"})
    assert frame.endswith(data)
    assert format_frame(frame) == (f"{packet} len={len(data)}" if data else packet)
    shown = format_frame(frame, found.shown_keys)
    assert shown == (f'{packet} data="{show_payload(data)}"' if data else packet)
    assert build_frame(parse_packet(shown)) == frame


@given(st.binary(max_size=512))
def test_any_payload_can_be_printed_and_read_back(data: bytes) -> None:
    text = show_payload(data)
    assert text.isprintable()
    assert text.isascii()
    assert is_quoted(f'"{text}"')
    assert read_payload(text) == data
    assert parse_packet(f'{TCP} data="{text}"').data == data


def test_much_payload_is_told_by_its_length() -> None:
    frames = [build_frame(parse_packet(f"{TCP} len={size}")) for size in (512, 513)]
    assert [format_frame(frame, {"data"}).partition("PA ")[2][:5] for frame in frames] == ["data=", "len=5"]


def test_payload_that_is_not_all_there_is_told_by_its_length() -> None:
    frame = build_frame(parse_packet(f'{TCP} data="PASV"'))
    assert format_frame(frame[:-1], {"data"}) == f"{TCP} len=4"


def test_payload_of_a_query() -> None:
    text = 'icmp 10.0.0.1 > 10.0.0.2 echo-request id=1 seq=1 data="ping"'
    assert format_frame(build_frame(parse_packet(text)), {"data"}) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{TCP} data="a" len=1', "does not go together with len="),
        (f"{TCP} data=PASV", "data= is text in quotation marks"),
        (f"{TCP} data=", "data= is text in quotation marks"),
        (f'{TCP} data="a', "a quotation mark is never closed"),
        (f'{TCP} data="a\\"', "a quotation mark is never closed"),
        (f'{TCP} data="a" data="b"', "data is given twice"),
        (f'{TCP} data="\\q"', r"\q in data= has to be escaped"),
        (f'{TCP} data="\\x1"', r"\x in data= has to be escaped"),
        (f'{TCP} data="\\xg0"', r"\x in data= has to be escaped"),
        (f'{TCP} data="ä"', "ä in data= has to be escaped"),
        (f'{TCP} data="a\tb"', "in data= has to be escaped"),
        ('icmp 10.0.0.1 > 10.0.0.2 redirect of="udp 1.1.1.1:1 > 2.2.2.2:2" data="a"', "data has no place in"),
    ],
)
def test_payload_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(PacketSyntaxError, match=re.escape(message)):
        parse_packet(text)


def test_no_more_payload_than_a_packet_holds() -> None:
    longest = "x" * (65535 - 40)
    assert len(build_frame(parse_packet(f'{TCP} data="{longest}"'))) == 14 + 65535
    with pytest.raises(PacketSyntaxError, match="data= is longer than 65495 bytes"):
        parse_packet(f'{TCP} data="{longest}x"')


PRINTED = f'{TCP} data="PORT 1\\r\\n"'


@pytest.mark.parametrize(
    ("pattern", "packet", "fits"),
    [
        (PRINTED, PRINTED, True),
        (f'{TCP} data="\\x50ORT 1\\x0d\\x0A"', PRINTED, True),
        (f'{TCP} data="*"', PRINTED, True),
        (f"{TCP} data=*", PRINTED, True),
        (f'{TCP} data="PORT 1"', PRINTED, False),
        (f'{TCP} data="1-9"', f'{TCP} data="5"', False),
        (f'{TCP} data=""', TCP, True),
        (f'{TCP} data=""', f"{TCP} len=600", False),
        (f"{TCP} len=0", TCP, True),
    ],
)
def test_patterns_of_payload(pattern: str, packet: str, *, fits: bool) -> None:
    assert PacketPattern.parse(pattern).accepts(PacketPattern.parse(packet)) is fits


@pytest.mark.parametrize(
    ("pattern", "message"), [(f'{TCP} data="a" len=1', "both len= and data="), (f'{TCP} data="\\q"', "escaped")]
)
def test_patterns_of_payload_that_cannot_be_read(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PacketPattern.parse(pattern)


def test_payload_may_be_sent_in_pieces() -> None:
    text = 'udp 10.0.0.1:1 > 10.0.0.2:2 data="abcdefgh01234567"'
    whole = build_frame(parse_packet(text))[34:]
    pieces = [build_frame(parse_packet(f"{text} frag={part}"))[34:] for part in ("0-15", "16-23", "16-")]
    assert pieces == [whole[:16], whole[16:], whole[16:]]
    with pytest.raises(PacketSyntaxError, match="the last of which is 23"):
        parse_packet(f"{text} frag=8-24")
