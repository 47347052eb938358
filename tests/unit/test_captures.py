"""Reading and writing captures: formats, link types, and what happens to files that lie."""

from __future__ import annotations

import os
import random
import resource
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.captures import CapturedFrame, CaptureWriteError, PcapngWriter, open_capture
from edge.errors import CaptureError, LinkTypeUnsupportedError
from edge.linktypes import link_type_name

FRAME = bytes.fromhex("020000000100 020000000200 0800") + bytes(range(46))
START_NS = 1_600_000_000_123_456_789
MAX_FRAME = 65_553


def read(path: Path) -> list[CapturedFrame]:
    with open_capture(path) as reader:
        return list(reader)


def read_until_error(path: Path) -> tuple[int, str]:
    """How many records were delivered, and the message that ended it ('' at the file's end)."""
    delivered = 0
    try:
        with open_capture(path) as reader:
            for _ in reader:
                delivered += 1
    except CaptureError as error:
        return delivered, str(error)
    return delivered, ""


def pcap(*frames: bytes, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1, wire: int | None = None) -> bytes:
    """A pcap file; stamps are START_NS and one more unit of time for each frame."""
    unit = 1 if magic == 0xA1B23C4D else 1000
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link)
    for number, frame in enumerate(frames):
        seconds, fraction = divmod(START_NS // unit + number, 10**9 // unit)
        data += struct.pack(order + "4I", seconds, fraction, len(frame), len(frame) if wire is None else wire) + frame
    return data


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) & 3)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) & 3)


def interface(link: int = 1, options: bytes = b"", order: str = "<", snap: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def packet(
    frame: bytes, stamp: int, number: int = 0, order: str = "<", wire: int | None = None, options: bytes = b""
) -> bytes:
    wire = len(frame) if wire is None else wire
    head = struct.pack(order + "5I", number, stamp >> 32, stamp & 0xFFFFFFFF, len(frame), wire)
    return block(6, head + frame + bytes(-len(frame) & 3) + options, order)


# --- pcap -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_of_both_byte_orders_and_resolutions(
    saved: Callable[[bytes], Path], order: str, magic: int, unit: int
) -> None:
    first = START_NS // unit * unit
    assert read(saved(pcap(FRAME, FRAME[:20], order=order, magic=magic))) == [
        (1, first, FRAME, 60, 0),
        (2, first + unit, FRAME[:20], 20, 0),
    ]


@pytest.mark.parametrize(("magic", "extra"), [(0xA1B2CD34, 8), (0xA1B2CD34, 12), (0xA1B2C3D4, 8), (0xA1B2C3D4, 4)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_longer_record_headers_of_patched_libpcaps(
    saved: Callable[[bytes], Path], magic: int, extra: int, order: str
) -> None:
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, 1)
    for number in range(3):
        data += struct.pack(order + "4I", 1_600_000_000, number, 60, 60) + bytes(extra) + FRAME
    assert [record.frame for record in read(saved(data))] == [FRAME] * 3


def test_empty_capture_has_no_records(saved: Callable[[bytes], Path]) -> None:
    assert read(saved(pcap())) == []
    assert read(saved(section())) == []


def test_frame_cut_by_the_snap_length_is_filled_with_zeros(saved: Callable[[bytes], Path]) -> None:
    (record,) = read(saved(pcap(FRAME, wire=1514)))
    assert record.frame == FRAME + bytes(1514 - 60)
    assert record.wire_length == 1514
    (record,) = read(saved(pcap(FRAME, wire=0xFFFFFFFF)))
    assert record.frame == FRAME + bytes(MAX_FRAME - 60)
    assert record.wire_length == 0xFFFFFFFF


def test_captured_bytes_win_over_a_smaller_wire_length(saved: Callable[[bytes], Path]) -> None:
    (record,) = read(saved(pcap(FRAME, wire=10)))
    assert (record.frame, record.wire_length) == (FRAME, 10)


def test_record_larger_than_a_frame_is_cut(saved: Callable[[bytes], Path]) -> None:
    (record,) = read(saved(pcap(bytes(200_000))))
    assert (len(record.frame), record.wire_length) == (MAX_FRAME, 200_000)


def test_frame_check_sequence_is_cut_off(saved: Callable[[bytes], Path]) -> None:
    two_words_of_fcs = 0x2400_0001
    (record,) = read(saved(pcap(FRAME + b"FCS!", link=two_words_of_fcs)))
    assert (record.frame, record.wire_length) == (FRAME, 64)
    (record,) = read(saved(pcap(b"FC", link=two_words_of_fcs)))
    assert record.frame == b""
    (record,) = read(saved(section() + interface(options=option(13, b"\x20")) + packet(FRAME + b"FCS!", 0)))
    assert record.frame == FRAME
    flags = option(2, struct.pack("<I", 4 << 5))
    (record,) = read(saved(section() + interface() + packet(FRAME + b"FCS!", 0, options=flags)))
    assert record.frame == FRAME
    # The snap length left none of it, and the wire length still counts it.
    (record,) = read(saved(pcap(FRAME, link=two_words_of_fcs, wire=104)))
    assert record.frame == FRAME + bytes(40)


# --- link types -----------------------------------------------------------------------------------------------------

IPV4_PACKET = bytes.fromhex("4500001c00000000401100000a0000010a000002") + bytes(8)
IPV6_PACKET = bytes.fromhex("6000000000003b40") + bytes(32)
NO_ADDRESSES = bytes(12)
AS_IPV6 = NO_ADDRESSES + b"\x86\xdd" + IPV6_PACKET
AF_INET6 = (10, 24, 28, 30)


@pytest.mark.parametrize(
    ("link", "data", "frame"),
    [
        (101, IPV4_PACKET, NO_ADDRESSES + b"\x08\x00" + IPV4_PACKET),
        (101, IPV6_PACKET, NO_ADDRESSES + b"\x86\xdd" + IPV6_PACKET),
        (101, b"", NO_ADDRESSES + b"\x08\x00"),
        (12, IPV4_PACKET, NO_ADDRESSES + b"\x08\x00" + IPV4_PACKET),
        (14, IPV6_PACKET, NO_ADDRESSES + b"\x86\xdd" + IPV6_PACKET),
        (228, IPV6_PACKET, NO_ADDRESSES + b"\x08\x00" + IPV6_PACKET),
        (229, IPV4_PACKET, NO_ADDRESSES + b"\x86\xdd" + IPV4_PACKET),
        (
            113,
            bytes.fromhex("0000 0001 0006 aabbccddeeff 0000 0800") + IPV4_PACKET,
            bytes(6) + bytes.fromhex("aabbccddeeff 0800") + IPV4_PACKET,
        ),
        (
            113,
            bytes.fromhex("0000 0304 0000 0000000000000000 8100 0007 86dd") + IPV6_PACKET,
            NO_ADDRESSES + bytes.fromhex("8100 0007 86dd") + IPV6_PACKET,
        ),
        (
            276,
            bytes.fromhex("86dd 0000 00000002 0001 00 06 aabbccddeeff 0000") + IPV6_PACKET,
            bytes(6) + bytes.fromhex("aabbccddeeff 86dd") + IPV6_PACKET,
        ),
        (0, bytes.fromhex("02000000") + IPV4_PACKET, NO_ADDRESSES + b"\x08\x00" + IPV4_PACKET),
        (0, bytes.fromhex("00000002") + IPV4_PACKET, NO_ADDRESSES + b"\x08\x00" + IPV4_PACKET),
        *((0, bytes([family, 0, 0, 0]) + IPV6_PACKET, AS_IPV6) for family in AF_INET6),
        *((0, bytes([0, 0, 0, family]) + IPV6_PACKET, AS_IPV6) for family in AF_INET6),
        (0, bytes.fromhex("07000000") + IPV4_PACKET, NO_ADDRESSES + b"\x00\x00" + IPV4_PACKET),
        (0, bytes.fromhex("02000001") + IPV4_PACKET, NO_ADDRESSES + b"\x00\x00" + IPV4_PACKET),
        (108, bytes.fromhex("00000002") + IPV4_PACKET, NO_ADDRESSES + b"\x08\x00" + IPV4_PACKET),
        *((108, bytes([0, 0, 0, family]) + IPV6_PACKET, AS_IPV6) for family in AF_INET6),
        (108, bytes.fromhex("02000000") + IPV4_PACKET, NO_ADDRESSES + b"\x00\x00" + IPV4_PACKET),
        (0, bytes.fromhex("02000000"), NO_ADDRESSES + b"\x08\x00"),
        (0, bytes(3), b""),
        (108, bytes(3), b""),
        (113, bytes(15), b""),
        (276, bytes(19), b""),
    ],
)
def test_other_links_become_ethernet(saved: Callable[[bytes], Path], link: int, data: bytes, frame: bytes) -> None:
    (record,) = read(saved(pcap(data, link=link)))
    assert record.frame == frame
    assert record.wire_length == len(data)


def test_unsupported_link_type_is_named(saved: Callable[[bytes], Path]) -> None:
    path = saved(pcap(FRAME, link=105))
    with pytest.raises(LinkTypeUnsupportedError, match=r"LINKTYPE_IEEE802_11 \(105\)") as caught:
        open_capture(path)
    assert caught.value.reason == "LINKTYPE_UNSUPPORTED"


def test_unsupported_interface_matters_only_with_a_packet(saved: Callable[[bytes], Path]) -> None:
    data = section() + interface(link=105) + interface() + packet(FRAME, 0, number=1)
    assert len(read(saved(data))) == 1
    path = saved(data + packet(FRAME, 0, number=0))
    with (
        open_capture(path) as reader,
        pytest.raises(LinkTypeUnsupportedError, match=r"record 2 at offset 160.*\(105\)"),
    ):
        list(reader)


def test_link_type_without_a_known_name_is_a_number() -> None:
    assert link_type_name(65_000) == "65000"


# --- pcapng ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_every_kind_of_packet_block(saved: Callable[[bytes], Path], order: str) -> None:
    obsolete = block(2, struct.pack(order + "HHIIII", 1, 0, 0, 5_000_000, 60, 60) + FRAME, order)
    simple = block(3, struct.pack(order + "I", 100) + FRAME[:50], order)
    data = (
        section(order)
        + interface(order=order, snap=50)
        + interface(order=order)
        + block(0x0BAD, b"skipped!", order)
        + packet(FRAME, 3_000_000, number=1, order=order, options=option(1, b"a comment", order))
        + obsolete
        + simple
    )
    assert read(saved(data)) == [
        (1, 3_000_000_000, FRAME, 60, 1),
        (2, 5_000_000_000, FRAME, 60, 1),
        (3, 5_000_000_000, FRAME[:50] + bytes(50), 100, 0),
    ]


@pytest.mark.parametrize(
    ("resolution", "stamp", "ns"),
    [
        (b"", 7, 7_000),
        (b"\x00", 7, 7_000_000_000),
        (b"\x03", 7, 7_000_000),
        (b"\x09", START_NS, START_NS),
        (b"\x0c", 7_999, 7),
        (b"\x13", 10**19 - 1, 999_999_999),
        (b"\x80", 7, 7_000_000_000),
        (b"\x8a", 512, 500_000_000),
        (b"\xbf", 1 << 62, 500_000_000),
        (b"\x00", 1 << 63, (1 << 63) - 1),
    ],
)
def test_time_resolutions(saved: Callable[[bytes], Path], resolution: bytes, stamp: int, ns: int) -> None:
    options = option(9, resolution) if resolution else b""
    (record,) = read(saved(section() + interface(options=options) + packet(FRAME, stamp)))
    assert record.ts_ns == ns


def test_time_offset_in_seconds(saved: Callable[[bytes], Path]) -> None:
    for offset, stamp, ns in [(1_000, 5, 1_000_000_005_000), (-3, 4_000_000, 10**9), (-3, 5, 0)]:
        options = option(14, struct.pack("<q", offset)) + option(0, b"")
        (record,) = read(saved(section() + interface(options=options) + packet(FRAME, stamp)))
        assert record.ts_ns == ns


def test_sections_of_different_byte_order(saved: Callable[[bytes], Path]) -> None:
    second = section(">") + interface(order=">", options=option(9, b"\x09", ">")) + packet(FRAME, 9, order=">")
    records = read(saved(section() + interface() + packet(FRAME, 9) + second))
    assert [record.ts_ns for record in records] == [9_000, 9]
    # Interfaces are counted anew in each section.
    assert read_until_error(saved(section() + interface() + section() + packet(FRAME, 0)))[1].endswith(
        "a packet of interface 0, which the file has not described"
    )


def test_skipped_block_may_be_larger_than_the_buffer(saved: Callable[[bytes], Path]) -> None:
    data = section() + interface() + block(0x0BAD, bytes(3 << 20)) + packet(FRAME, 0)
    assert len(read(saved(data))) == 1


# --- files that are wrong -------------------------------------------------------------------------------------------

NG = section() + interface()


@pytest.mark.parametrize(
    ("data", "delivered", "expected"),
    [
        (b"", 0, "is empty"),
        (b"abc", 0, "neither pcap nor pcapng"),
        (b"hello world, this is text", 0, "neither pcap nor pcapng: it begins with 68656c6c"),
        (pcap()[:23], 0, "ends inside the pcap file header"),
        (b"\xd4\xc3\xb2\xa1\x03\x00" + pcap()[6:], 0, "pcap of version 3"),
        (pcap(FRAME) + pcap(FRAME)[24:30], 1, "record 2 at offset 100: the file ends inside this record's header"),
        (pcap(FRAME) + pcap(FRAME)[24:-1], 1, "record 2 at offset 100: the file ends inside this record, after 75"),
        (pcap(FRAME) + struct.pack("<4I", 0, 0, 262_145, 262_145), 1, "record 2 at offset 100: 262145 captured bytes"),
        (pcap(FRAME) + struct.pack("<4I", 0, 0, 0xFFFFFFFF, 60), 1, "record 2 at offset 100: 4294967295 captured"),
        (section()[:20], 0, "ends inside a section header"),
        (section()[:8] + b"\x11" + section()[9:], 0, "byte-order magic"),
        (block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)), 0, "pcapng of version 2"),
        (section()[:-4] + bytes(4), 0, "two lengths differ"),
        (NG + b"\x06\0\0", 0, "ends inside a block's header"),
        (NG + struct.pack("<3I", 6, 0, 0), 0, "a block of 0 bytes"),
        (NG + struct.pack("<3I", 0x0BAD, 13, 0), 0, "a block of 13 bytes"),
        (NG + struct.pack("<3I", 6, 0xFFFFFFFC, 0), 0, "a packet block of 4294967292 bytes"),
        (NG + struct.pack("<3I", 1, 0xFFFFFFFC, 0), 0, "an interface description of 4294967292 bytes"),
        (NG + struct.pack("<3I", 0x0BAD, 0xFFFFFFFC, 0), 0, "ends inside this block"),
        (NG + struct.pack("<6I", 0x0A0D0D0A, 0xFFFFFFFC, 0x1A2B3C4D, 1, 0, 0) + bytes(8), 0, "section header of"),
        (NG + block(6, b""), 0, "too short for its own header"),
        (NG + block(1, b""), 0, "an interface description of 12 bytes"),
        (NG + packet(FRAME, 0, number=1), 0, "interface 1, which the file has not described"),
        (section() + block(3, struct.pack("<I", 4) + b"abcd"), 0, "interface 0, which the file has not described"),
        (NG + packet(FRAME, 0) + packet(FRAME, 0)[:-4] + b"abcd", 1, "record 2 at offset 140: the block's two lengths"),
        (NG + block(0x0BAD, b"abcd")[:-4] + b"abcd", 0, "two lengths differ"),
        (NG + block(3, struct.pack("<I", 100) + FRAME), 0, "more than the block has room for"),
        (NG + packet(FRAME, 0, options=b"\x01\0\xff\xff"), 0, "option 1 of this record runs past its block"),
        (section() + interface(options=b"\x09\0\xff\xff"), 0, "option 9 of an interface runs past its block"),
        (section() + interface(options=option(9, b"\x14")), 0, "a time resolution of 0x14"),
        (section() + interface(options=option(9, b"\xc0")), 0, "a time resolution of 0xc0"),
        (section() + interface() * 65_537, 0, "more than 65536 interfaces"),
    ],
)
def test_a_lie_is_a_clean_error(saved: Callable[[bytes], Path], data: bytes, delivered: int, expected: str) -> None:
    path = saved(data)
    count, message = read_until_error(path)
    assert expected in message
    assert message.startswith(f"{path}: ")
    assert count == delivered


def test_no_more_is_read_than_there_is(saved: Callable[[bytes], Path]) -> None:
    skipped = NG + block(0x0BAD, bytes(20))
    for size in range(len(NG), len(skipped)):
        with open_capture(saved(skipped[:size])) as reader:
            if size > len(NG):
                with pytest.raises(CaptureError, match="ends inside"):
                    next(reader)
            assert reader.bytes_read <= size


def test_an_error_stays(saved: Callable[[bytes], Path]) -> None:
    path = saved(pcap(FRAME)[:-1])
    with open_capture(path) as reader:
        for _ in range(3):
            with pytest.raises(CaptureError, match="record 1 at offset 24"):
                next(reader)
        assert reader.number == 0


@pytest.mark.parametrize(
    "data",
    [
        pcap(FRAME, FRAME[:31], FRAME),
        pcap(FRAME, FRAME[:31], FRAME, order=">", magic=0xA1B23C4D),
        NG + packet(FRAME, 0) + packet(FRAME[:31], 0, options=option(1, b"comment")) + packet(FRAME, 0),
    ],
    ids=["pcap", "pcap-foreign", "pcapng"],
)
def test_truncated_anywhere_everything_before_is_delivered(saved: Callable[[bytes], Path], data: bytes) -> None:
    with open_capture(saved(data)) as reader:
        ends = [0]
        frames = []
        for record in reader:
            frames.append(record.frame)
            ends.append(reader.bytes_read)
    assert (len(frames), ends[-1]) == (3, len(data))
    start = ends[1] - (76 if data[0] != 0x0A else 92)
    for size in range(len(data)):
        count, message = read_until_error(saved(data[:size]))
        whole = sum(end <= size for end in ends[1:])
        assert count == whole
        clean = size in {*ends[1:], start} or (data[0] == 0x0A and size == len(section()))
        assert bool(message) is not clean, size


def test_random_mutations_end_in_records_or_a_clean_error(saved: Callable[[bytes], Path]) -> None:
    generator = random.Random(7)
    originals = [
        pcap(FRAME, FRAME[:31], FRAME),
        pcap(FRAME, FRAME, order=">"),
        NG + packet(FRAME, 0, options=option(1, b"comment")) + block(0x0BAD, b"abcd") + packet(FRAME, 0),
        section(">") + interface(order=">", options=option(9, b"\x09", ">")) + packet(FRAME, 0, order=">"),
    ]
    failed = 0
    for _ in range(1500):
        data = bytearray(generator.choice(originals))
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(len(data))] = generator.choice((0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256)))
        count, message = read_until_error(saved(bytes(data)))
        assert count <= len(data) // 16
        failed += bool(message)
    assert 0 < failed < 1500


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"missing\.pcap: No such file or directory"):
        open_capture(tmp_path / "missing.pcap")
    with pytest.raises(CaptureError, match="Is a directory"):
        open_capture(tmp_path)


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = pcap(FRAME, bytes(100_000), FRAME)

    def feed() -> None:
        with path.open("wb") as pipe:
            for start in range(0, len(data), 1_009):
                pipe.write(data[start : start + 1_009])
                pipe.flush()

    writer = threading.Thread(target=feed)
    writer.start()
    with open_capture(path) as reader:
        assert reader.size is None
        lengths = [record.wire_length for record in reader]
    writer.join()
    assert lengths == [60, 100_000, 60]


def test_closing_ends_the_iteration(saved: Callable[[bytes], Path]) -> None:
    path = saved(pcap(FRAME, FRAME))
    reader = open_capture(path)
    next(reader)
    reader.close()
    reader.close()
    assert list(reader) == []


# --- the public captures --------------------------------------------------------------------------------------------


def test_every_public_capture_is_read_or_refused(data: Path) -> None:
    files = sorted(path for path in (data / "captures").rglob("*") if path.suffix in {".pcap", ".pcapng", ".cap"})
    assert len(files) > 250
    refused = 0
    for path in files:
        try:
            with open_capture(path) as reader:
                for number, record in enumerate(reader, 1):
                    assert record.number == number
                    assert len(record.frame) <= MAX_FRAME
                assert reader.bytes_read == reader.size == path.stat().st_size
        except LinkTypeUnsupportedError:
            refused += 1
    assert 0 < refused < len(files) // 4


@pytest.mark.parametrize(
    ("name", "start"),
    [
        # An IPv4 header of 68 bytes; IPv6 with hop-by-hop options from FreeBSD, and UDP from macOS.
        ("dns-badcookie.pcap", "0800 45000044"),
        ("icmpv6-RFC2894-RR.pcap", "86dd 60000000"),
        ("quic_handshake.pcap", "86dd 600a0f00"),
    ],
)
def test_public_loopback_captures(data: Path, name: str, start: str) -> None:
    first = read(data / "captures" / "tcpdump" / name)[0].frame
    assert first.startswith(NO_ADDRESSES + bytes.fromhex(start))


# --- writing --------------------------------------------------------------------------------------------------------


def test_written_capture_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    with PcapngWriter(path, ["INTERNET", "LAN"]) as writer:
        writer.write("LAN", FRAME, START_NS, "ALLOW by rule ä")
        writer.write("INTERNET", FRAME[:21], START_NS + 1)
        assert not path.exists()
    assert read(path) == [(1, START_NS, FRAME, 60, 1), (2, START_NS + 1, FRAME[:21], 21, 0)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.needs("scapy")
def test_written_capture_as_scapy_reads_it(tmp_path: Path) -> None:
    from scapy.utils import RawPcapNgReader

    path = tmp_path / "out.pcapng"
    with PcapngWriter(path, ["INTERNET", "LAN"]) as writer:
        writer.write("LAN", FRAME, START_NS, "ALLOW by rule ä")
        writer.write("INTERNET", FRAME[:21], START_NS + 1, "x" * 100_000)
    with RawPcapNgReader(str(path)) as reader:
        records: list[tuple[bytes, Any]] = list(reader)
    (first, about_first), (second, about_second) = records
    assert (first, second) == (FRAME, FRAME[:21])
    assert [about_first.ifname, about_second.ifname] == [b"LAN", b"INTERNET"]
    stamp = about_first.tshigh << 32 | about_first.tslow
    assert (stamp, about_first.tsresol) == (START_NS, 10**9)
    comments = [getattr(about, "comment", None) or about.comments[0] for about in (about_first, about_second)]
    assert comments == ["ALLOW by rule ä".encode(), b"x" * 65_532]


@pytest.mark.needs("tshark")
def test_written_capture_as_tshark_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    with PcapngWriter(path, ["INTERNET", "LAN"]) as writer:
        writer.write("LAN", FRAME, START_NS, "ALLOW by rule ä")
    command = ["tshark", "-r", str(path), "-T", "fields"]
    for field in ("frame.interface_name", "frame.time_epoch", "frame.len", "frame.comment"):
        command += ["-e", field]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.rstrip("\n").split("\t") == ["LAN", "1600000000.123456789", "60", "ALLOW by rule ä"]


def test_nothing_is_left_of_a_capture_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "out.pcapng"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), PcapngWriter(path, ["LAN"]) as writer:
        writer.write("WAN", FRAME, 0)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_clean_error() -> None:
    writer = PcapngWriter("/dev/full", ["LAN"])
    writer.write("LAN", FRAME, 0)
    with pytest.raises(CaptureWriteError, match="/dev/full: cannot be written: No space left"):
        writer.close()


def test_nothing_is_left_when_the_file_cannot_grow(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        writer = PcapngWriter(tmp_path / "out.pcapng", ["LAN"])
        for _ in range(100):
            writer.write("LAN", FRAME, 0)
        with pytest.raises(CaptureError, match=r"out\.pcapng: cannot be written: File too large"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be written: No such file"):
        PcapngWriter(tmp_path / "missing" / "out.pcapng", ["LAN"])


def test_a_link_keeps_pointing_at_what_was_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target.pcapng", tmp_path / "link.pcapng"
    link.symlink_to(target)
    with PcapngWriter(link, ["LAN"]) as writer:
        writer.write("LAN", FRAME, 0)
    assert link.is_symlink()
    assert len(read(target)) == 1
