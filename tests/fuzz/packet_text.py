"""Text as a packet: an error that points at the place, or a packet whose printed form reads back the same."""

from __future__ import annotations

from edge.errors import PacketSyntaxError
from edge.packets import build_frame, format_frame, parse_packet
from tests.fuzz.invariants import expect

SHOWN = frozenset({"ttl", "seq", "ack", "win"})


def run(data: bytes) -> None:
    """Raises anything but a PacketSyntaxError, or where printing and reading do not fit."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        packet = parse_packet(text)
    except PacketSyntaxError as error:
        expect(0 <= error.position <= len(error.text), f"position {error.position} in {len(error.text)} characters")
        expect(
            all(line.isprintable() for line in str(error).splitlines()), "an error that does something to a terminal"
        )
        return
    frame = build_frame(packet)
    printed = format_frame(frame, SHOWN)
    again = build_frame(parse_packet(printed))
    expect(format_frame(again, SHOWN) == printed, f"{printed!r} is read back as {format_frame(again, SHOWN)!r}")
    expect(len(again) == len(frame), f"{len(frame)} bytes become {len(again)}: {printed!r}")
