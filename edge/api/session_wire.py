"""Events of sessions, straight into the wire's bytes.

Tens of thousands a second are told to each reader, and a message object for each of a session's parts takes longer than
everything else about it.  What is written here is what :func:`edge.api.convert.session` makes; a test holds the two
together.  Encoding: https://protobuf.dev/programming-guides/encoding/ -- fields of a message may stand in any order.
"""

from __future__ import annotations

from functools import lru_cache

from edge.raw import RawEndpoints, Running, SessionEvent, make_address
from edge.state import state_text

SECOND_NS = 1_000_000_000
_LOW = 1 << 14
_WHOLE = [bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(_LOW)]
"""Varints of small numbers."""
_BEGUN = [bytes([n & 127 | 128, n >> 7 | 128]) for n in range(_LOW)]
"""The first two bytes of the varint of a large number, by its low 14 bits."""


def varint(number: int) -> bytes:
    """A number, not negative, as base 128."""
    if number < _LOW:
        return _WHOLE[number]
    return _BEGUN[number & (_LOW - 1)] + varint(number >> 14)


def _part(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def _text(tag: bytes, text: str) -> bytes:
    return _part(tag, text.encode()) if text else b""


# What follows is remembered: packets come in bursts, which share the time, and most sessions look like another one.


@lru_cache(maxsize=16_384)
def _address(tag: bytes, family: int, number: int) -> bytes:
    return _text(tag, str(make_address(family, number)))


@lru_cache(maxsize=16_384)
def _port(tag: bytes, port: int) -> bytes:
    return tag + varint(port) if port else b""


@lru_cache(maxsize=4_096)
def _span(tag: bytes, ns: int) -> bytes:
    """A Timestamp or a Duration, not negative."""
    seconds, nanos = divmod(ns, SECOND_NS)
    return _part(tag, (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b""))


@lru_cache(maxsize=4_096)
def _traffic(tag: bytes, packets: int, size: int) -> bytes:
    return _part(tag, (b"\x08" + varint(packets) if packets else b"") + (b"\x10" + varint(size) if size else b""))


def _endpoints(tag: bytes, raw: RawEndpoints) -> bytes:
    family, src, sport, dst, dport = raw
    content = (
        _address(b"\x0a", family, src) + _port(b"\x10", sport) + _address(b"\x1a", family, dst) + _port(b"\x20", dport)
    )
    return tag + _WHOLE[len(content)] + content  # at most 90 bytes


class SessionWriter:
    """Writes events of sessions.  Remembers what many of them share, of the configuration that ran last."""

    def __init__(self) -> None:
        self._running: Running | None = None
        self._shared: dict[tuple[int | None, ...], bytes] = {}

    def write(self, event: SessionEvent, wall_ns: int) -> bytes:
        """An Event as a member of WatchEventsResponse.events; ``wall_ns`` is the wall's time at 0 of the edge's."""
        now_ns, started, cause, raw, running, _ = event
        number, protocol, _, in_port, out_port, original, translated, first, second = raw[:9]
        firewall, dnat, snat, revision, created, expires, packets, size = raw[9:17]
        key = protocol, in_port, out_port, first, second, firewall, dnat, snat, revision
        shared = self._shared.get(key) if running is self._running else None
        if shared is None:
            shared = self._share(key, event)
        session = b"".join(
            (
                b"\x08" + varint(number),
                shared,
                _endpoints(b"\x1a", original),
                _endpoints(b"\x22", translated),
                _span(b"\x6a", wall_ns + created),
                _span(b"\x72", expires - now_ns if expires > now_ns else 0),
                _traffic(b"\x7a", packets[0], size[0]),
                _traffic(b"\x82\x01", packets[1], size[1]),
            )
        )
        inner = b"\x0a" + varint(len(session)) + session
        if not started:
            inner += b"\x10" + _WHOLE[cause]
        member = (b"\x1a" if started else b"\x22") + varint(len(inner)) + inner
        whole = _span(b"\x0a", wall_ns + now_ns) + member
        return b"\x0a" + varint(len(whole)) + whole

    def _share(self, key: tuple[int | None, ...], event: SessionEvent) -> bytes:
        """What sessions of one kind, by one way and of the same rules have in common."""
        if event.running is not self._running or len(self._shared) > 10_000:
            self._running, self._shared = event.running, {}
        _, protocol, _, in_port, out_port, _, _, first, second, firewall, dnat, snat, revision, *_ = event.raw
        states = state_text(protocol, first, second).split(":") if protocol == 6 else ("", "")
        ids = ["" if slot is None else event.slot_ids[slot] for slot in (firewall, dnat, snat)]
        ports = event.running.ports
        found = self._shared[key] = b"".join(
            (
                b"\x10" + varint(protocol) if protocol else b"",
                *(
                    _text(bytes([field << 3 | 2]), text)
                    for field, text in zip(range(5, 12), (ports[in_port], ports[out_port], *states, *ids), strict=True)
                ),
                b"\x60" + varint(revision) if revision else b"",
            )
        )
        return found
