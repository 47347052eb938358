"""Packet text <-> bytes, and what comes next in a conversation."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import reference_wire
from edge.addresses import AddressRange
from edge.errors import PacketSyntaxError
from edge.packets import Conversation, build_frame, flow_key, format_endpoints, format_frame, parse_packet, reply_to
from edge.verdicts import Endpoints
from tests.packet_texts import packet_texts

CANONICAL = [
    "tcp 198.51.100.99:40000 > 10.20.0.10:8080 S",
    "tcp [2001:db8::9]:1 > [2001:db8:1::2]:443 SA len=900 ttl=3",
    "tcp 10.0.0.1:1 > 10.0.0.2:2 .",
    "tcp 10.0.0.1:1 > 10.0.0.2:2 FSRPAUEC",
    "udp 10.20.0.10:4000 > 8.8.8.8:53",
    "udp [::1]:0 > [::2]:65535 len=1",
    "icmp 203.0.113.10 > 8.8.8.8 echo-request id=7 seq=1",
    "icmp 10.0.0.1 > 10.0.0.2 timestamp-reply id=0 seq=65535",
    "icmp 10.0.0.1 > 10.0.0.2 type=17 code=0 id=1 seq=2 len=4",
    "icmp 10.0.0.1 > 10.0.0.2 type=9 code=0",
    "icmp 10.0.0.1 > 10.0.0.2 type=3 code=9",
    'icmp 192.0.2.1 > 203.0.113.10 port-unreachable of="udp 203.0.113.10:2048 > 8.8.8.8:53"',
    'icmp 192.0.2.1 > 203.0.113.10 frag-needed mtu=1400 of="tcp 203.0.113.10:2048 > 8.8.8.8:53 PA len=1460"',
    'icmp 192.0.2.1 > 203.0.113.10 time-exceeded of="icmp 203.0.113.10 > 8.8.8.8 echo-request id=7 seq=1 ttl=1"',
    "icmp6 2001:db8::1 > 2001:db8::2 packet-too-big mtu=1280",
    'icmp6 2001:db8::1 > 2001:db8::2 address-unreachable of="udp [2001:db8::2]:5 > [2001:db8::3]:6 len=3000"',
    "icmp6 fe80::1 > ff02::2 router-solicitation",
    "icmp6 fe80::1 > ff02::1:ff00:1 neighbor-solicitation len=8",
    "esp 192.0.2.1 > 203.0.113.10 len=120",
    "proto=132 192.0.2.1 > 203.0.113.10 ttl=1",
    "proto=58 192.0.2.1 > 203.0.113.10",
    "proto=6 192.0.2.1 > 203.0.113.10 len=10",
    "proto=6 192.0.2.1 > 203.0.113.10 len=20",
    "proto=17 192.0.2.1 > 203.0.113.10 len=1488 ipid=7 frag=0-1479",
    "proto=17 192.0.2.1 > 203.0.113.10 len=2008 ipid=7 frag=1480-2007 ttl=3",
    "proto=60 2001:db8::1 > 2001:db8::2 len=4000 ipid=4294967295 frag=2464-3999",
    "proto=1 192.0.2.1 > 203.0.113.10 len=65600 ipid=0 frag=65528-65599",
    'icmp 192.0.2.1 > 203.0.113.10 time-exceeded of="proto=17 203.0.113.10 > 8.8.8.8 len=88 ipid=7 frag=8-79"',
]


@pytest.mark.parametrize("text", CANONICAL)
def test_what_is_printed_can_be_read_back(text: str) -> None:
    assert format_frame(build_frame(parse_packet(text))) == text


@given(packet_texts())
def test_text_survives_bytes(text: str) -> None:
    frame = build_frame(parse_packet(text))
    assert format_frame(frame) == text
    assert build_frame(parse_packet(format_frame(frame))) == frame


@given(
    st.sampled_from(("proto=17 192.0.2.1 > 203.0.113.10", "proto=6 2001:db8::1 > 2001:db8::2")),
    st.integers(0, 500),
    st.integers(1, 1400),
    st.booleans(),
    st.integers(0, 65535),
)
def test_fragments_survive_text(head: str, place: int, size: int, more: bool, identification: int) -> None:
    first, end = place * 8, place * 8 + size
    if not more and not first:
        return  # no fragment
    text = f"{head} len={end + 8 if more else end} ipid={identification} frag={first}-{end - 1}"
    frame = build_frame(parse_packet(text))
    assert format_frame(frame) == text
    assert build_frame(parse_packet(format_frame(frame))) == frame


@pytest.mark.parametrize(
    ("text", "header", "headers"),
    [
        ("udp 10.0.0.1:1 > 10.0.0.2:2 len=100", 34, (18, 22, "00092000", "00090008")),
        ("udp [::1]:1 > [::2]:2 len=100", 62, (54, 62, "1100000100000009", "1100004000000009")),
    ],
)
def test_fragments_of_a_text_make_its_packet(text: str, header: int, headers: tuple[int, int, str, str]) -> None:
    first, rest, same = (
        build_frame(parse_packet(f"{text} ipid=9 {part}")) for part in ("frag=0-63", "frag=64-", "frag=64-107")
    )
    assert rest == same
    assert build_frame(parse_packet(text)).endswith(first[header:] + rest[header:])
    assert len(first[header:] + rest[header:]) == 108
    begin, end, *expected = headers
    assert [frame[begin:end].hex() for frame in (first, rest)] == expected


def test_a_part_that_is_everything() -> None:
    frame = build_frame(parse_packet("udp 10.0.0.1:1 > 10.0.0.2:2 len=20 frag=0-"))
    assert frame[18:22].hex() == "00010000"
    atomic = build_frame(parse_packet("udp [::1]:1 > [::2]:2 len=20 frag=0-"))
    assert (atomic[20], atomic[54:62].hex()) == (44, "1100000000000001")
    assert format_frame(atomic) == "udp [::1]:1 > [::2]:2 len=20"


def test_an_identification_without_fragments() -> None:
    frame = build_frame(parse_packet("udp 10.0.0.1:1 > 10.0.0.2:2 ipid=7"))
    assert frame[18:22].hex() == "00074000"
    assert format_frame(frame, {"ipid"}) == "udp 10.0.0.1:1 > 10.0.0.2:2 ipid=7"


def test_a_fragment_header_cut_short_in_a_quote_is_still_shown() -> None:
    text = 'icmp6 ::1 > ::2 time-exceeded of="proto=17 ::2 > ::3 len=88 ipid=7 frag=8-79"'
    frame = build_frame(parse_packet(text))
    assert format_frame(frame) == text
    assert format_frame(frame[: 62 + 44]) == 'icmp6 ::1 > ::2 time-exceeded of="proto=44 ::2 > ::3 len=80"'


def test_an_error_quotes_no_more_than_it_may() -> None:
    v4 = build_frame(parse_packet('icmp 1.1.1.1 > 2.2.2.2 time-exceeded of="udp 2.2.2.2:5 > 3.3.3.3:6 len=1400"'))
    v6 = build_frame(parse_packet('icmp6 ::1 > ::2 time-exceeded of="udp [::2]:5 > [::3]:6 len=3000"'))
    assert (len(v4) - 14, len(v6) - 14) == (576, 1280)


WRONG = [
    ("", 0, "expected PROTO"),
    ("tcp 10.0.0.1:1 10.0.0.2:2 S", 15, "expected PROTO"),
    ("tpc 10.0.0.1:1 > 10.0.0.2:2 S", 0, "tpc is not a protocol"),
    ("proto=256 10.0.0.1 > 10.0.0.2", 0, "proto=0..255"),
    ("tcp 10.0.0.256:1 > 10.0.0.2:2 S", 4, "10.0.0.256 is not an IP address"),
    ("tcp 10.0.0.1:65536 > 10.0.0.2:2 S", 4, "'65536' in 10.0.0.1:65536 is not a port"),
    ("tcp 10.0.0.1:1 > 10.0.0.2 S", 17, "10.0.0.2 has no port"),
    ("icmp 10.0.0.1:1 > 10.0.0.2 echo-request", 5, "icmp has no ports"),
    ("udp 10.0.0.1:1 > [::1]:2", 17, "different IP versions"),
    ("udp [::1:2 > [::1]:2", 4, "is not [ADDRESS]:PORT"),
    ("udp [fe80::1%eth0]:2 > [::1]:2", 4, "is not an IP address"),
    ("icmp ::1 > ::2 echo-request", 0, "write icmp6"),
    ("icmp6 1.1.1.1 > 2.2.2.2 echo-request", 0, "write icmp"),
    ("proto=44 ::1 > ::2", 0, "extension header"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 SX", 28, "SX is not a set of TCP flags"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 SS", 28, "SS is not a set of TCP flags"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S A", 30, "did not expect the word A"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 S", 28, "did not expect the word S"),
    ("icmp 1.1.1.1 > 2.2.2.2", 22, "needs a message"),
    ("icmp 1.1.1.1 > 2.2.2.2 echo-requst", 23, "did you mean echo-request?"),
    ("icmp6 ::1 > ::2 timestamp-request", 16, "not a message of icmp6"),
    ("icmp 1.1.1.1 > 2.2.2.2 type=256", 23, "from 0 to 255"),
    ("icmp 1.1.1.1 > 2.2.2.2 echo-reply type=1", 34, "type has no place"),
    ("icmp 1.1.1.1 > 2.2.2.2 redirect id=1", 32, "id has no place in this message of icmp"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 seq=1", 28, "seq has no place in udp"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 ttl=256", 28, "from 0 to 255"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 len=65508", 28, "from 0 to 65507"),
    ("udp [::1]:1 > [::1]:2 len=65528", 22, "from 0 to 65527"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 ttl=1 ttl=2", 34, "ttl is given twice"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 tll=1", 28, "did you mean ttl?"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 wait=soon", 28, "number of seconds"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 wait=1000000000", 28, "a number of seconds from 0 to 999999999"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 wait=999999999.5", 28, "a number of seconds from 0 to 999999999"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 in=", 28, "in= names nothing"),
    ('icmp 1.1.1.1 > 2.2.2.2 redirect of="udp', 32, "never closed"),
    ('icmp 1.1.1.1 > 2.2.2.2 redirect of="udp [::1]:1 > [::2]:2"', 32, "its own IP version"),
    ('udp 10.0.0.1:1 > 10.0.0.2:2 of="udp 1.1.1.1:1 > 2.2.2.2:2"', 28, "of has no place in udp"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 frag=8", 28, "expected frag=FIRST-LAST or frag=FIRST-"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 frag=-8", 28, "expected frag=FIRST-LAST or frag=FIRST-"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 len=99 frag=12-", 35, "begins at a multiple of 8 up to 65528, not at 12"),
    ("proto=9 10.0.0.1 > 10.0.0.2 len=70000 frag=65536-", 38, "begins at a multiple of 8 up to 65528, not at 65536"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 len=99 frag=16-15", 35, "the last byte is before the first"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 len=8 frag=8-16", 34, "the last of which is 15"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 len=8 frag=16-", 34, "the last of which is 15"),
    ("esp 10.0.0.1 > 10.0.0.2 frag=0-0", 24, "of which there are none"),
    ('icmp 1.1.1.1 > 2.2.2.2 redirect frag=8-36 of="esp 2.2.2.2 > 3.3.3.3"', 32, "the last of which is 27"),
    ("proto=9 10.0.0.1 > 10.0.0.2 len=70000 frag=0-65515", 38, "more than a packet of 65535 bytes can hold"),
    ("proto=9 ::1 > ::2 len=70000 frag=0-65527", 28, "more than a packet of 65575 bytes can hold"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 frag=0- len=65508", 36, "from 0 to 65507"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 ipid=65536", 28, "from 0 to 65535"),
    ("udp [::1]:1 > [::2]:2 ipid=7", 22, "ipid needs frag"),
]


@pytest.mark.parametrize(("text", "position", "message"), WRONG)
def test_errors_point_at_the_word(text: str, position: int, message: str) -> None:
    with pytest.raises(PacketSyntaxError, match=re.escape(message)) as caught:
        parse_packet(text)
    assert caught.value.position == position


def test_an_error_shows_control_characters_as_escapes() -> None:
    with pytest.raises(PacketSyntaxError) as caught:
        parse_packet("udp 1.1.1.1:1 >\n2.2.2.2:2 t\x1b[31m=1")
    assert str(caught.value).splitlines() == [
        "unknown key t\\x1b[31m; expected in, wait, ttl, len, data, seq, ack, win, id, mtu, of, type, code, frag, ipid",
        "  udp 1.1.1.1:1 >\\n2.2.2.2:2 t\\x1b[31m=1",
        "                             ^",
    ]


def test_an_error_in_a_quoted_packet_shows_that_packet() -> None:
    with pytest.raises(PacketSyntaxError, match="in has no place in a quoted packet") as caught:
        parse_packet('icmp 1.1.1.1 > 2.2.2.2 redirect of="udp 1.1.1.1:1 > 2.2.2.2:2 in=LAN"')
    assert caught.value.text == "udp 1.1.1.1:1 > 2.2.2.2:2 in=LAN"


@given(st.text(alphabet='tcpudi6 :>.[]=0123456789S"of\n', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        frame = build_frame(parse_packet(text))
    except PacketSyntaxError as refusal:
        position, frame, shown = refusal.position, None, refusal.text
    else:
        position, shown = 0, text
    assert 0 <= position <= len(shown)
    assert frame is None or frame[12:14] in (b"\x08\x00", b"\x86\xdd")


def test_where_and_when() -> None:
    packet = parse_packet('udp 10.0.0.1:1 > 10.0.0.2:2 in="Office LAN" wait=31.5 ttl=9')
    assert (packet.in_port, packet.wait_s, packet.shown_keys) == ("Office LAN", 31.5, frozenset({"ttl"}))
    assert parse_packet("udp 10.0.0.1:1 > 10.0.0.2:2").in_port is None


# --- printing -------------------------------------------------------------------------------------------------------


def test_keys_are_shown_on_demand() -> None:
    frame = build_frame(parse_packet("tcp 10.0.0.1:1 > 10.0.0.2:2 SA seq=5 ack=6 win=7 ttl=63"))
    assert format_frame(frame) == "tcp 10.0.0.1:1 > 10.0.0.2:2 SA"
    shown = format_frame(frame, {"seq", "ack", "win", "ttl"})
    assert shown == "tcp 10.0.0.1:1 > 10.0.0.2:2 SA seq=5 ack=6 win=7 ttl=63"


def test_other_endpoints_in_the_same_text() -> None:
    def moved(text: str, sport: int, dport: int) -> str:
        inside, outside = (AddressRange.parse(item).first for item in ("10.0.0.9", "203.0.113.9"))
        return format_endpoints(build_frame(parse_packet(text)), Endpoints(inside, sport, outside, dport))

    assert moved("tcp 1.1.1.1:1 > 2.2.2.2:2 SA", 7, 8) == "tcp 10.0.0.9:7 > 203.0.113.9:8 SA"
    assert (
        moved("icmp 1.1.1.1 > 2.2.2.2 echo-reply id=1 seq=2", 9, 0)
        == "icmp 10.0.0.9 > 203.0.113.9 echo-reply id=9 seq=2"
    )
    assert moved("esp 1.1.1.1 > 2.2.2.2 len=8", 0, 0) == "esp 10.0.0.9 > 203.0.113.9 len=8"


def test_tags_options_and_extension_headers_are_skipped() -> None:
    plain = build_frame(parse_packet("udp [::1]:1 > [::2]:2 len=3"))
    body = plain[54:]
    extended = plain[:12] + b"\x81\x00\x00\x07" + plain[12:18] + (len(body) + 8).to_bytes(2, "big") + b"\x00"
    extended += plain[21:54] + b"\x11" + bytes(7) + body
    assert format_frame(extended) == format_frame(plain) == "udp [::1]:1 > [::2]:2 len=3"


def test_what_cannot_be_read_is_still_shown() -> None:
    frame = bytearray(build_frame(parse_packet("udp 10.0.0.1:1 > 10.0.0.2:2 len=100")))
    frame[20:22] = b"\x20\x00"
    assert format_frame(bytes(frame)) == "proto=17 10.0.0.1 > 10.0.0.2 len=116 ipid=0 frag=0-107"
    assert format_frame(bytes(12) + b"\x08\x06" + bytes(28)) == "ethernet type=0x0806 len=28"
    assert format_frame(b"") == "ethernet type=0x0000 len=0"


@given(st.binary(max_size=120), st.sampled_from((b"\x08\x00", b"\x86\xdd", b"\x81\x00")), st.booleans())
def test_printing_never_fails(data: bytes, ethertype: bytes, looks_right: bool) -> None:
    if looks_right and data:
        data = (b"\x45" if ethertype == b"\x08\x00" else b"\x60") + data[1:]
    frame = bytes(12) + ethertype + data
    endpoints = Endpoints(AddressRange.parse("::1").first, 1, AddressRange.parse("::2").first, 2)
    assert format_frame(frame, {"ttl", "seq", "ack", "win"})
    assert format_endpoints(frame, endpoints)


# --- conversations --------------------------------------------------------------------------------------------------


def test_both_ends_of_a_session_count_through_nat() -> None:
    conversation = Conversation()

    def send(text: str, delivered_as: str | None = None) -> str:
        packet = parse_packet(text)
        frame = build_frame(packet, conversation)
        conversation.saw(frame)
        if delivered_as is not None:
            shown = parse_packet(format_frame(frame, {"seq", "ack"}).replace(text.split(" ")[1], delivered_as))
            conversation.saw(build_frame(shown))
        return format_frame(frame, {"seq", "ack"}).split(" ", 4)[4]

    server, client, public = "8.8.8.8:80", "10.0.0.1:5", "203.0.113.1:2048"
    assert send(f"tcp {client} > {server} S", public) == "S seq=1000 ack=0"
    assert send(f"tcp {server} > {public} SA") == "SA seq=1000 ack=1001"
    conversation.saw(build_frame(parse_packet(f"tcp {server} > {client} SA seq=1000 ack=1001")))
    assert send(f"tcp {client} > {server} PA len=10", public) == "PA seq=1001 ack=1001 len=10"
    assert send(f"tcp {client} > {server} FA", public) == "FA seq=1011 ack=1001"
    assert send(f"tcp {server} > {public} A") == "A seq=1001 ack=1012"
    assert send(f"tcp {client} > {server} A seq=5 ack=6") == "A seq=5 ack=6"


def test_a_syn_sent_again_is_the_same_syn() -> None:
    conversation = Conversation()
    packet = parse_packet("tcp 10.0.0.1:5 > 8.8.8.8:80 S")
    first = build_frame(packet, conversation)
    conversation.saw(first)
    assert build_frame(packet, conversation) == first


@pytest.mark.parametrize(
    ("frame", "text", "answer"),
    [
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 S", "SA", "tcp 2.2.2.2:2 > 1.1.1.1:1 SA"),
        ("tcp [::1]:1 > [::2]:2 A", "PA len=5", "tcp [::2]:2 > [::1]:1 PA len=5"),
        ("udp 1.1.1.1:1 > 2.2.2.2:2 len=9", "", "udp 2.2.2.2:2 > 1.1.1.1:1"),
        ("icmp 1.1.1.1 > 2.2.2.2 echo-request id=7 seq=3", "", "icmp 2.2.2.2 > 1.1.1.1 echo-reply id=7 seq=3"),
        ("icmp6 ::1 > ::2 echo-request id=7 seq=3", "", "icmp6 ::2 > ::1 echo-reply id=7 seq=3"),
        ("icmp 1.1.1.1 > 2.2.2.2 type=15 code=0 id=7 seq=3", "", "icmp 2.2.2.2 > 1.1.1.1 type=16 code=0 id=7 seq=3"),
        ("esp 1.1.1.1 > 2.2.2.2 len=9", "len=3", "esp 2.2.2.2 > 1.1.1.1 len=3"),
    ],
)
def test_answers(frame: str, text: str, answer: str) -> None:
    assert format_frame(build_frame(reply_to(build_frame(parse_packet(frame)), text))) == answer


@pytest.mark.parametrize(
    ("frame", "text", "message"),
    [
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 S", "", "needs its flags"),
        ("tcp 1.1.1.1:1 > 2.2.2.2:2 S", "XY", "not a set of TCP flags"),
        ("icmp 1.1.1.1 > 2.2.2.2 echo-reply", "", "nothing answers"),
    ],
)
def test_no_answer(frame: str, text: str, message: str) -> None:
    with pytest.raises(PacketSyntaxError, match=message):
        reply_to(build_frame(parse_packet(frame)), text)


def test_nothing_answers_what_is_no_packet() -> None:
    with pytest.raises(PacketSyntaxError, match="nothing answers"):
        reply_to(bytes(60))


def test_a_flow_is_a_packet_and_what_answers_it() -> None:
    texts = [
        "tcp 10.0.0.1:4000 > 10.0.0.2:80 S",
        "tcp 10.0.0.2:80 > 10.0.0.1:4000 SA",
        "tcp 10.0.0.2:4000 > 10.0.0.1:80 S",
        "udp 10.0.0.1:4000 > 10.0.0.2:80",
        "icmp 10.0.0.1 > 10.0.0.2 echo-request id=8 seq=1",
        "icmp 10.0.0.2 > 10.0.0.1 echo-reply id=8 seq=1",
        "icmp 10.0.0.2 > 10.0.0.1 echo-request id=8 seq=1",
        "icmp 10.0.0.1 > 10.0.0.2 timestamp-request id=8 seq=1",
        "icmp 10.0.0.1 > 10.0.0.2 redirect",
        "icmp6 2001:db8::1 > 2001:db8::2 echo-request id=8 seq=2",
        "icmp6 2001:db8::2 > 2001:db8::1 echo-reply id=8 seq=2",
        "icmp6 2001:db8::2 > 2001:db8::1 router-solicitation",
        "esp 10.0.0.1 > 10.0.0.2",
        "esp 10.0.0.2 > 10.0.0.1",
    ]
    keys = [flow_key(build_frame(parse_packet(text))) for text in texts]
    numbers = {key: number for number, key in reversed(list(enumerate(keys)))}
    assert [numbers[key] for key in keys] == [0, 0, 2, 3, 4, 4, 6, 7, 8, 9, 9, 11, 12, 12]


@given(packet_texts(), packet_texts())
def test_flows_are_those_of_the_reference(one: str, other: str) -> None:
    frames = [build_frame(parse_packet(text)) for text in (one, other)]
    with contextlib.suppress(PacketSyntaxError):  # not everything can be answered
        frames.append(build_frame(reply_to(frames[0], "SA" if one.startswith("tcp") else "")))
    packets = [reference_wire.parse(frame) for frame in frames]
    for number, packet in enumerate(packets):
        assert isinstance(packet, reference_wire.Packet)
        both_ways = (packet.flow, packet.flow.reversed())
        for frame, another in zip(frames, packets, strict=True):
            assert isinstance(another, reference_wire.Packet)
            assert (flow_key(frames[number]) == flow_key(frame)) == (another.flow in both_ways)


def test_what_is_no_packet_has_no_flow() -> None:
    assert flow_key(b"") is None
    assert flow_key(bytes(12) + b"\x08\x06" + bytes(28)) is None
