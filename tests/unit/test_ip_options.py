"""IPv4 options: those that do not fit their header are refused, all others pass as they are.  On both edges."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.model import frames
from tests.reference_bench import MakeEdge, stages, why
from tests.support import acme, nat


def datagram(options: bytes, fragment: int = 0) -> bytes:
    parts = frames.udp(ip_address("10.20.0.10").packed, ip_address("8.8.8.8").packed, 4000, 53, bytes(8))
    return frames.frame(parts, options=options, fragment=fragment)


WHOLE = [
    b"\x01\x01\x01\x01",
    b"\x94\x04\x00\x00",  # router alert
    b"\x83\x07\x04\xc0\x00\x02\x01\x00",  # loose source route
    b"\x00\x94\x01\x63",  # behind the end of the list
    b"\x07\x27\x04" + bytes(36) + b"\x00",  # record route, all the room there is
    b"\x01\x44\x02\x00",
    b"\xfe\x02\x01\x01",  # unknown
]
BROKEN = [
    b"\x94\x00\x00\x00",
    b"\x94\x01\x00\x00",
    b"\x94\x05\x00\x00",
    b"\x01\x01\x01\x94",  # not even a length
    b"\x01\x94\x04\x00",
    b"\x07\x04\x04\x00\x83\x05\x04\x00",
    b"\x01" * 39 + b"\x83",
]


@pytest.mark.parametrize("options", WHOLE, ids=bytes.hex)
def test_options_that_fit_pass_as_they_are(make: MakeEdge, options: bytes) -> None:
    outcome = make(acme()).process("LAN", datagram(options), 0)
    assert why(outcome) == ("ALLOW", "FW_RULE")
    assert outcome.outputs[0].frame[34 : 34 + len(options)] == options
    assert frames.checksum(outcome.outputs[0].frame[14 : 34 + len(options)]) == 0


@pytest.mark.parametrize("options", BROKEN, ids=bytes.hex)
@pytest.mark.parametrize("fragment", [0, 0x2000], ids=["whole", "fragment"])
def test_options_that_do_not_fit_are_malformed(make: MakeEdge, options: bytes, fragment: int) -> None:
    outcome = make(acme()).process("LAN", datagram(options, fragment), 0)
    assert (why(outcome), stages(outcome), outcome.outputs) == (("DROP", "MALFORMED"), ["PARSE DROP"], ())


def test_in_a_session_too(make: MakeEdge) -> None:
    edge = make(acme(nat_rules=[nat("internet", "SNAT", "203.0.113.10", "10.20.0.0/24")]))
    assert why(edge.process("LAN", datagram(b""), 0)) == ("ALLOW", "FW_RULE")
    assert why(edge.process("LAN", datagram(WHOLE[0]), 0)) == ("ALLOW", "SESSION")
    assert why(edge.process("LAN", datagram(BROKEN[0]), 0)) == ("DROP", "MALFORMED")


def test_the_checksum_comes_first(make: MakeEdge) -> None:
    frame = bytearray(datagram(BROKEN[0]))
    frame[24] ^= 1
    assert why(make(acme()).process("LAN", bytes(frame), 0)) == ("DROP", "BAD_CHECKSUM")
