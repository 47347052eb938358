"""A SYN announces no larger MSS than the link carries, and its checksum stays right."""

from __future__ import annotations

import struct

import pytest

from edge.routing.neighbour_frames import ones_complement_sum
from native.mss import clamped
from tests.links import packet

NOP, END = b"\1", b"\0"
MSS = b"\2\4\x05\xb4"


def segment(version: int, options: bytes, *, flags: int = 2, offset: int = 0) -> bytes:
    """An IP packet with a TCP segment; the checksum is right."""
    options += bytes(-len(options) % 4)
    tcp = struct.pack(">HHIIBBHHH", 1000, 80, 7, 0, (20 + len(options)) * 4, flags, 500, 0, 0) + options + b"data!"
    source, destination = (b"\x0a\0\0\1", b"\x0a\0\0\2") if version == 4 else (bytes(15) + b"\1", bytes(16))
    total = ones_complement_sum(source + destination + struct.pack(">II", len(tcp), 6) + tcp)
    tcp = tcp[:16] + struct.pack(">H", total ^ 0xFFFF) + tcp[18:]
    if version == 4:
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, offset, 64, 6, 0) + source + destination + tcp
    return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + source + destination + tcp


def checksum_holds(ip: bytes, at: int) -> bool:
    addresses = ip[12:20] if ip[0] >> 4 == 4 else ip[8:40]
    tcp = ip[at:]
    return ones_complement_sum(addresses + struct.pack(">II", len(tcp), 6) + tcp) == 0xFFFF


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("flags", [0x02, 0x12])
@pytest.mark.parametrize(
    "before", [b"", NOP, NOP * 2, NOP * 3, b"\x04\x02", b"\x03\x03\x07", b"\x08\x0a" + bytes(8), b"\xfd\x05abc"]
)
def test_a_larger_mss_is_lowered(version: int, flags: int, before: bytes) -> None:
    header = 20 if version == 4 else 40
    there = segment(version, before + MSS + NOP, flags=flags)
    after = clamped(there, 1400)
    at = header + 20 + len(before) + 2
    assert struct.unpack(">H", after[at : at + 2]) == (1400 - header - 20,)
    assert checksum_holds(after, header)
    assert after[: header + 16] == there[: header + 16]
    assert after[header + 18 : at] + after[at + 2 :] == there[header + 18 : at] + there[at + 2 :]
    assert clamped(after, 1400) == after


@pytest.mark.parametrize(
    ("there", "mtu"),
    [
        (segment(4, MSS), 1500),
        (segment(6, MSS), 1520),
        (segment(4, MSS, flags=0x10), 1400),  # no SYN
        (segment(4, b""), 1400),  # none announced
        (segment(4, END + b"\0\0\0" + MSS), 1400),  # behind the end of the options
        (segment(4, b"\x03\x00" + MSS), 1400),  # an option without length
        (segment(4, NOP + b"\x03\x09" + MSS + NOP), 1400),  # one longer than the header
        (segment(4, b"\2\3\5\0"), 1400),  # an MSS option of another length
        (segment(4, MSS, offset=100), 1400),  # a later piece
        (segment(4, MSS), 40),
        (segment(4, MSS)[:39], 1400),
        (packet("udp 10.0.0.1:1 > 10.0.0.2:2 len=40")[14:], 1400),
    ],
)
def test_everything_else_stays(there: bytes, mtu: int) -> None:
    assert clamped(there, mtu) == there


def test_behind_extension_headers() -> None:
    plain = segment(6, MSS)
    there = plain[:4] + struct.pack(">H", len(plain) - 40 + 8) + b"\x3c" + plain[7:40] + b"\6\0" + bytes(6) + plain[40:]
    after = clamped(there, 1400)
    assert (after[48:], after[:48]) == (clamped(plain, 1400)[40:], there[:48])


def test_a_partial_checksum_stays() -> None:
    there = segment(4, MSS)
    after = clamped(there, 1400, partial=True)
    assert after[36:38] == there[36:38]
    assert after[42:44] == struct.pack(">H", 1360)


@pytest.mark.needs("scapy")
def test_scapy_finds_the_checksum_right() -> None:
    from scapy.layers import inet

    made = inet.IP(src="10.0.0.1", dst="10.0.0.2") / inet.TCP(flags="S", options=[("NOP", None), ("MSS", 8960)])
    told = inet.IP(clamped(bytes(made), 1500))
    assert dict(told[inet.TCP].options)["MSS"] == 1460
    given = told[inet.TCP].chksum
    del told[inet.TCP].chksum
    assert inet.IP(bytes(told))[inet.TCP].chksum == given
