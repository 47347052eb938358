"""What a test expects of an output: a packet in text, ``*`` for any value and ``1024-65535`` for a range of values.

What a pattern does not mention is not compared, so ``tcp 10.0.0.1:* > 10.0.0.2:80`` accepts any flags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from edge.packets.payload import TOKEN, read_payload, show_payload

ANY = "*"

_PROTOCOLS = ("tcp", "udp", "icmp", "icmp6", "esp")
_FLAGS = re.compile(r"[SAFRPUEC]+")
_RANGE = re.compile(r"(\d+)-(\d+)")
_PORT = re.compile(r"\*|\d+(?:-\d+)?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One side of a packet: an address in its shortest form, or ``*``; ``port`` is '' where none is written."""

    address: str
    port: str

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read ``10.0.0.1:80``, ``10.0.0.1``, ``[2001:db8::1]:80``, ``2001:db8::1``, ``*:80`` or ``*``.

        Raises ValueError with a sentence.
        """
        address, port = text, ""
        if text.startswith("["):
            address, bracket, port = text[1:].partition("]")
            if not bracket or (port and not port.startswith(":")):
                raise ValueError(f"{text!r} is not an IPv6 address with a port, such as [2001:db8::1]:80")
            port = port.removeprefix(":")
        elif text.count(":") == 1:
            address, port = text.split(":")
        if port and not _PORT.fullmatch(port):
            raise ValueError(f"{port!r} in {text!r} is neither a port, a range of ports nor *")
        if address != ANY:
            try:
                address = str(ip_address(address))
            except ValueError:
                raise ValueError(f"{address!r} in {text!r} is neither an IP address nor *") from None
        return cls(address, port)

    def accepts(self, other: Endpoint) -> bool:
        """True when ``other``, of a printed packet, fits."""
        return _accepts(self.address, other.address) and (self.port == "" or _accepts(self.port, other.port))


@dataclass(frozen=True, slots=True)
class PacketPattern:
    """A packet in text taken apart: ``word`` is the flags of TCP or the name of an ICMP message, '' where none is
    written; ``values`` are the ``key=value`` pairs."""

    protocol: str
    source: Endpoint
    destination: Endpoint
    word: str
    values: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> PacketPattern:
        """Read a pattern, or a packet as :mod:`edge.packets` prints it.  Raises ValueError with a sentence."""
        tokens = TOKEN.findall(text)
        if len(tokens) < 4 or tokens[2] != ">":
            raise ValueError(f"{text!r} does not read PROTO SRC[:PORT] > DST[:PORT] [FLAGS] [key=value ...]")
        protocol = tokens[0]
        if protocol not in (*_PROTOCOLS, ANY) and not re.fullmatch(r"proto=\d+", protocol):
            raise ValueError(f"{protocol!r} is not a protocol: {', '.join(_PROTOCOLS)}, proto=N or *")
        word, values = "", []
        for token in tokens[4:]:
            key, equals, value = token.partition("=")
            if equals:
                quoted = value.startswith('"') and value.endswith('"') and len(value) > 1
                value = value[1:-1] if quoted else value
                values.append((key, _payload(value, text) if key == "data" else value))
                if key == "of" and values[-1][1] != ANY:
                    cls.parse(values[-1][1])
            elif word:
                raise ValueError(f"{token!r} in {text!r} is one word too many")
            else:
                word = "".join(sorted(token)) if protocol == "tcp" and _FLAGS.fullmatch(token) else token
        if {"len", "data"} <= {key for key, _ in values}:
            raise ValueError(f"{text!r} has both len= and data=, which has its own length")
        return cls(protocol, Endpoint.parse(tokens[1]), Endpoint.parse(tokens[3]), word, tuple(values))

    @property
    def keys(self) -> frozenset[str]:
        """The keys that it speaks of; a packet printed to be compared must show them."""
        return frozenset(key for key, _ in self.values)

    def accepts(self, packet: PacketPattern) -> bool:
        """True when ``packet``, printed by :mod:`edge.packets`, fits everything that this pattern mentions."""
        shown = dict(packet.values)
        if not shown.keys() & {"len", "data"}:  # a packet without payload is printed without either
            shown |= {"len": "0", "data": ""}
        return (
            _accepts(self.protocol, packet.protocol)
            and self.source.accepts(packet.source)
            and self.destination.accepts(packet.destination)
            and self.word in ("", ANY, packet.word)
            and all(key in shown and _accepts_value(key, value, shown[key]) for key, value in self.values)
        )


def _payload(value: str, text: str) -> str:
    """Payload as it is printed, however it was escaped.  Raises ValueError with a sentence."""
    try:
        return value if value == ANY else show_payload(read_payload(value))
    except ValueError as error:
        raise ValueError(f"{error} in data= of {text!r} has to be escaped") from None


def _accepts(expected: str, got: str) -> bool:
    if expected in (ANY, got):
        return True
    bounds = _RANGE.fullmatch(expected)
    return bounds is not None and got.isdecimal() and int(bounds[1]) <= int(got) <= int(bounds[2])


def _accepts_value(key: str, expected: str, got: str) -> bool:
    """The value of ``of`` is a packet itself, that of ``data`` any text; every other value is a number or a word."""
    if key == "of" and expected != ANY:
        return PacketPattern.parse(expected).accepts(PacketPattern.parse(got))
    if key == "data":
        return expected in (ANY, got)
    return _accepts(expected, got)
