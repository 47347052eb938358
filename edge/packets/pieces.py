"""The datagram that fragments make, for showing it: headers as they came, bytes of the later pieces as zeros."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from edge.packets.decode import Headers, decode_frame

_Datagram = tuple[str, IPv4Address | IPv6Address, IPv4Address | IPv6Address, int, int]
"""The port that it enters by, source, destination, identification, and in IPv4 the protocol."""


@dataclass(slots=True)
class Pieces:
    """What fragments that wait for others have told of their datagrams: the first by offset, and where the last ends.

    An edge accepts one of each for a datagram, so that the latest told is the right one.
    """

    _first: dict[_Datagram, Headers] = field(default_factory=dict)
    _end: dict[_Datagram, int] = field(default_factory=dict)

    def saw(self, port: str, frame: bytes) -> None:
        """A fragment was held, or is the one that completes its datagram."""
        headers = decode_frame(frame)
        if headers is None or headers.part is None:
            return
        if headers.part.first == 0:
            self._first[_datagram(port, headers)] = headers
        if not headers.part.more:
            self._end[_datagram(port, headers)] = headers.part.first + headers.length

    def whole(self, port: str, frame: bytes) -> bytes:
        """The datagram that this fragment has completed, as a frame without extension headers and with no checksum of
        its IP header; what is no fragment, and what nobody knows, comes back as it is."""
        headers = decode_frame(frame)
        if headers is None or headers.part is None:
            return frame
        first, end = self._first.get(_datagram(port, headers)), self._end.get(_datagram(port, headers))
        if first is None or end is None:
            return frame
        data, addresses = first.rest.ljust(end, b"\0"), first.src.packed + first.dst.packed
        if first.version == 6:
            head = b"\x60\0\0\0" + end.to_bytes(2, "big") + bytes((first.protocol, first.ttl))
            return frame[:12] + b"\x86\xdd" + head + addresses + data
        identification = first.identification.to_bytes(2, "big")
        head = (
            b"\x45\0" + (20 + end).to_bytes(2, "big") + identification + bytes((0, 0, first.ttl, first.protocol, 0, 0))
        )
        return frame[:12] + b"\x08\0" + head + addresses + data


def _datagram(port: str, headers: Headers) -> _Datagram:
    identification = 0 if headers.part is None else headers.part.identification
    return port, headers.src, headers.dst, identification, headers.protocol if headers.version == 4 else 0
