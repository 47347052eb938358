"""Packet text -> :class:`PacketText`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType

from edge.addresses import IPAddress
from edge.errors import PacketSyntaxError
from edge.packets.names import (
    ERROR_TYPES,
    FLAGS,
    ICMP,
    ICMP6,
    MAX_FRAGMENT_OFFSET,
    MAX_ICMP_ERROR,
    NO_FLAGS,
    PROTOCOLS,
    QUERY_TYPES,
    SYN,
    TCP,
    UDP,
    has_mtu,
    icmp_header_size,
    icmp_names,
)
from edge.packets.payload import TOKEN, is_quoted, read_payload
from edge.printable import printable

FORM = "PROTO SRC[:PORT] > DST[:PORT] [FLAGS] [key=value ...]"

KEYS = ("in", "wait", "ttl", "len", "data", "seq", "ack", "win", "id", "mtu", "of", "type", "code", "frag", "ipid")
"""Keys of the notation, in the order in which a message lists them."""

_PART = re.compile(r"(\d{1,6})-(\d{1,6})?")
_NUMBER = re.compile(r"\d{1,10}")
_SECONDS = re.compile(r"\d{1,20}(\.\d{1,20})?")
_EXTENSION_HEADERS = frozenset({0, 43, 44, 60})  # of IPv6
_MAX_IP = 65535

MAX_WAIT_S = 999_999_999
"""The longest single wait: almost 32 years."""

_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PacketText:
    """A packet as it was written.

    ``protocol`` is the IANA number.  ``sport``, ``dport`` and ``flags`` are None where the protocol has none, ``icmp``
    is (type, code).  ``values`` are the numbers that were given by key: ttl, len, seq, ack, win, id, mtu, ipid; ``of``
    is the packet that an ICMP error quotes, ``data`` the payload if it was written out.  ``part`` are the first and the
    last byte of what follows the IP header that are sent, as a fragment; None for the last means the end.  ``in_port``
    None leaves the port to the source, ``wait_s`` is in seconds.
    """

    protocol: int
    src: IPAddress
    dst: IPAddress
    sport: int | None = None
    dport: int | None = None
    flags: int | None = None
    icmp: tuple[int, int] | None = None
    values: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    of: PacketText | None = None
    part: tuple[int, int | None] | None = None
    data: bytes | None = None
    in_port: str | None = None
    wait_s: float = 0.0

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.src.version

    @property
    def payload_bytes(self) -> int:
        """How much follows the IP header of the whole datagram."""
        if self.of is None:
            upper = {TCP: 20, UDP: 8}.get(self.protocol, 0) if self.sport is not None else 0
            header = upper if self.icmp is None else icmp_header_size(self.version, self.icmp[0])
            return header + (self.values.get("len", 0) if self.data is None else len(self.data))
        header = icmp_header_size(self.version, self.icmp[0]) if self.icmp else 0
        return min(header + self.of.sent_bytes, MAX_ICMP_ERROR[self.version])

    @property
    def sent_bytes(self) -> int:
        """How much of IP is sent."""
        header = 20 if self.version == 4 else 40
        if self.part is None:
            return header + self.payload_bytes
        first, last = self.part
        end = self.payload_bytes if last is None else last + 1
        return header + end - first + (8 if self.version == 6 else 0)

    @property
    def shown_keys(self) -> frozenset[str]:
        """The keys that were given: whoever wrote them wants to see them in what is printed of this packet."""
        return frozenset(self.values) if self.data is None else frozenset({*self.values, "data"})


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    position: int


def parse_packet(text: str) -> PacketText:
    """Read one packet.  Raises PacketSyntaxError that names the offending word, its position and what was expected."""
    return _Parser(text).packet()


def parse_seconds(text: str) -> float | None:
    """A time to wait, such as ``31`` or ``0.5``; None for what is no number, or is more than MAX_WAIT_S."""
    seconds = float(text) if _SECONDS.fullmatch(text) else None
    return None if seconds is None or seconds > MAX_WAIT_S else seconds


class _Parser:
    def __init__(self, text: str, *, quoted: bool = False) -> None:
        self.text = text
        self.tokens = [_Token(match[0], match.start()) for match in TOKEN.finditer(text)]
        self.quoted = quoted
        self.taken: dict[str, _Token] = {}

    def fail(self, message: str, at: _Token | int) -> PacketSyntaxError:
        position = at if isinstance(at, int) else at.position
        # The error shows the text, so what could not be shown is escaped, and the place moves along.
        return PacketSyntaxError(printable(message), printable(self.text), len(printable(self.text[:position])))

    def packet(self) -> PacketText:
        if len(self.tokens) < 4 or self.tokens[2].text != ">":
            place = self.tokens[2] if len(self.tokens) > 2 else len(self.text)
            raise self.fail(f"expected {FORM}", place)
        first, left, _, right, *rest = self.tokens
        protocol = self.protocol(first)
        src, sport = self.endpoint(left)
        dst, dport = self.endpoint(right)
        if src.version != dst.version:
            raise self.fail(f"{left.text} and {right.text} are of different IP versions", right)
        for token in rest:
            if "=" in token.text:
                self.take(token)
        self.check_protocol(first, protocol, src.version)
        for token, port in ((left, sport), (right, dport)):
            if protocol in (TCP, UDP) and first.text in PROTOCOLS:
                if port is None:
                    raise self.fail(f"{token.text} has no port; {first.text} needs one on both sides", token)
            elif port is not None:
                raise self.fail(f"{first.text} has no ports", token)
        words = [token for token in rest if "=" not in token.text]
        named = first.text in PROTOCOLS
        flags = self.flags(words) if named and protocol == TCP else None
        icmp = self.icmp(words, src.version, first) if named and protocol in (ICMP, ICMP6) else None
        if words:
            raise self.fail(f"did not expect the word {words[0].text}", words[0])
        of = self.inner(src.version, icmp)
        cut = self.taken.get("frag")
        longest = None
        if of is None:
            # What fragments say can add up to more than a datagram can be.
            most = MAX_FRAGMENT_OFFSET + _MAX_IP if cut is not None and not named else _MAX_IP
            longest = most - header_bytes(protocol, src.version, icmp, named=named)
        packet = PacketText(
            protocol, src, dst, sport, dport, flags, icmp,
            of=of, part=self.part(), data=self.payload(longest), in_port=self.string("in"), wait_s=self.seconds("wait"),
            values=MappingProxyType(
                self.numbers(protocol, src.version, icmp, named=named, longest=longest, cut=cut is not None)
            ),
        )  # fmt: skip
        for key, token in self.taken.items():
            raise self.fail(self.refusal(key, first, icmp), token)
        return packet if cut is None else self.checked_part(packet, cut)

    def protocol(self, token: _Token) -> int:
        if token.text in PROTOCOLS:
            return PROTOCOLS[token.text]
        key, _, number = token.text.partition("=")
        if key == "proto" and _NUMBER.fullmatch(number) and int(number) <= 255:
            return int(number)
        expected = f"{', '.join(PROTOCOLS)} or proto=0..255"
        raise self.fail(f"{token.text} is not a protocol; expected {expected}", token)

    def check_protocol(self, token: _Token, protocol: int, version: int) -> None:
        if token.text in ("icmp", "icmp6") and protocol != (ICMP if version == 4 else ICMP6):
            other = "icmp6" if version == 6 else "icmp"
            raise self.fail(f"{token.text} does not go with IPv{version} addresses; write {other}", token)
        if version == 6 and protocol in _EXTENSION_HEADERS and "frag" not in self.taken:
            raise self.fail(f"{token.text} is an extension header of IPv6, not a protocol", token)

    def endpoint(self, token: _Token) -> tuple[IPAddress, int | None]:
        address, port = token.text, None
        if address.startswith("["):
            address, bracket, port_text = address[1:].partition("]")
            if not bracket or (port_text and not port_text.startswith(":")):
                raise self.fail(f"{token.text} is not [ADDRESS]:PORT", token)
            port = port_text[1:] if port_text else None
        elif address.count(":") == 1:
            address, port = address.split(":")
        try:
            parsed = ip_address(address)
        except ValueError:
            parsed = None
        if parsed is None or "%" in address:
            raise self.fail(f"{address or token.text} is not an IP address", token)
        if port is None:
            return parsed, None
        if not _NUMBER.fullmatch(port) or int(port) > 65535:
            raise self.fail(f"{port!r} in {token.text} is not a port; expected 0..65535", token)
        return parsed, int(port)

    def flags(self, words: list[_Token]) -> int:
        """Flags of TCP; a SYN where none are written."""
        if not words:
            return SYN
        token = words.pop(0)
        if token.text == NO_FLAGS:
            return 0
        if not set(token.text) <= set(FLAGS) or len(set(token.text)) != len(token.text):
            raise self.fail(f"{token.text} is not a set of TCP flags; expected some of S A F R P U E C, or .", token)
        return sum(1 << FLAGS.index(letter) for letter in token.text)

    def icmp(self, words: list[_Token], version: int, first: _Token) -> tuple[int, int]:
        names = icmp_names(version)
        if words:
            token = words.pop(0)
            if token.text not in names:
                near = difflib.get_close_matches(token.text, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(names)}, or type=N code=N"
                raise self.fail(f"{token.text} is not a message of {first.text}; {hint}", token)
            return names[token.text]
        if "type" not in self.taken:
            raise self.fail(
                f"{first.text} needs a message: a name such as echo-request, or type=N code=N", len(self.text)
            )
        return self.number("type", 255) or 0, self.number("code", 255) or 0

    def inner(self, version: int, icmp: tuple[int, int] | None) -> PacketText | None:
        if "of" not in self.taken or icmp is None or icmp[0] not in ERROR_TYPES[version] or self.quoted:
            return None
        token = self.taken.pop("of")
        parser = _Parser(token.text.partition("=")[2].strip('"'), quoted=True)
        inner = parser.packet()
        if inner.version != version:
            raise self.fail("an ICMP error quotes a packet of its own IP version", token)
        return inner

    def numbers(
        self,
        protocol: int,
        version: int,
        icmp: tuple[int, int] | None,
        *,
        named: bool,
        longest: int | None,
        cut: bool,
    ) -> dict[str, int]:
        limits = {"ttl": 255}
        if longest is not None:
            limits["len"] = longest
        if version == 4 or cut:
            limits["ipid"] = 65535 if version == 4 else 2**32 - 1
        if named and protocol == TCP:
            limits |= {"seq": 2**32 - 1, "ack": 2**32 - 1, "win": 65535}
        if icmp is not None and icmp[0] in QUERY_TYPES[version]:
            limits |= {"id": 65535, "seq": 65535}
        if icmp is not None and has_mtu(version, *icmp):
            limits["mtu"] = 65535 if version == 4 else 2**32 - 1
        found = {key: self.number(key, limit) for key, limit in limits.items()}
        return {key: value for key, value in found.items() if value is not None}

    def part(self) -> tuple[int, int | None] | None:
        """The first and the last byte that are sent; None for the last means the end."""
        token = self.taken.pop("frag", None)
        if token is None:
            return None
        match = _PART.fullmatch(token.text.partition("=")[2])
        if match is None:
            raise self.fail(f"{token.text}: expected frag=FIRST-LAST or frag=FIRST-, the bytes to be sent", token)
        first, last = int(match[1]), None if match[2] is None else int(match[2])
        if first % 8 or first > MAX_FRAGMENT_OFFSET:
            expected = f"a multiple of 8 up to {MAX_FRAGMENT_OFFSET}"
            raise self.fail(f"{token.text}: a fragment begins at {expected}, not at {first}", token)
        if last is not None and last < first:
            raise self.fail(f"{token.text}: the last byte is before the first", token)
        return first, last

    def checked_part(self, packet: PacketText, token: _Token) -> PacketText:
        first, last = packet.part or (0, None)
        size = packet.payload_bytes
        if max(first, last or 0) >= size and (first, last) != (0, None):
            end = f"the last of which is {size - 1}" if size else "of which there are none"
            raise self.fail(f"{token.text}: expected bytes of what follows the IP header, {end}", token)
        most = _MAX_IP if packet.version == 4 else 40 + _MAX_IP
        if packet.sent_bytes > most:
            raise self.fail(f"{token.text}: that is more than a packet of {most} bytes can hold", token)
        return packet

    def take(self, token: _Token) -> None:
        key = token.text.partition("=")[0]
        unclosed = not is_quoted(token.text[5:]) if token.text.startswith('data="') else token.text.count('"') % 2
        if unclosed:
            raise self.fail("a quotation mark is never closed", token)
        if key in self.taken:
            raise self.fail(f"{key} is given twice", token)
        self.taken[key] = token

    def number(self, key: str, limit: int) -> int | None:
        token = self.taken.pop(key, None)
        if token is None:
            return None
        value = token.text.partition("=")[2]
        if not _NUMBER.fullmatch(value) or int(value) > limit:
            raise self.fail(f"{key}={value}: expected a number from 0 to {limit}", token)
        return int(value)

    def payload(self, longest: int | None) -> bytes | None:
        """Payload written out; ``longest`` None where there can be none besides a quoted packet."""
        token = None if longest is None else self.taken.pop("data", None)
        if token is None or longest is None:
            return None
        if "len" in self.taken:
            raise self.fail("data= has its own length: it does not go together with len=", token)
        value = token.text.partition("=")[2]
        if not is_quoted(value):
            raise self.fail('data= is text in quotation marks: data="PASV\\r\\n"', token)
        try:
            data = read_payload(value[1:-1])
        except ValueError as error:
            raise self.fail(
                f'{error} in data= has to be escaped: \\r, \\n, \\\\, \\", or \\xHH for any byte', token
            ) from None
        if len(data) > longest:
            raise self.fail(f"data= is longer than {longest} bytes", token)
        return data

    def string(self, key: str) -> str | None:
        token = None if self.quoted else self.taken.pop(key, None)
        if token is None:
            return None
        value = token.text.partition("=")[2].strip('"')
        if not value:
            raise self.fail(f"{key}= names nothing", token)
        return value

    def seconds(self, key: str) -> float:
        token = None if self.quoted else self.taken.pop(key, None)
        if token is None:
            return 0.0
        value = token.text.partition("=")[2]
        seconds = parse_seconds(value)
        if seconds is None:
            raise self.fail(f"{key}={value}: expected a number of seconds from 0 to {MAX_WAIT_S}", token)
        return seconds

    def refusal(self, key: str, first: _Token, icmp: tuple[int, int] | None) -> str:
        if key == "ipid":
            return "only fragments have an identification in IPv6: ipid needs frag"
        if key in KEYS:
            where = "a quoted packet" if self.quoted and key in ("in", "wait", "of") else first.text
            return (
                f"{key} has no place in {where}" if icmp is None else f"{key} has no place in this message of {where}"
            )
        near = difflib.get_close_matches(key, KEYS, n=1)
        return f"unknown key {key}; " + (f"did you mean {near[0]}?" if near else f"expected {', '.join(KEYS)}")


def header_bytes(protocol: int, version: int, icmp: tuple[int, int] | None, *, named: bool) -> int:
    """Bytes of headers that count towards the longest IP packet; IPv6 does not count its own."""
    ip = 20 if version == 4 else 0
    if not named:
        return ip
    if icmp is not None:
        return ip + icmp_header_size(version, icmp[0])
    return ip + {TCP: 20, UDP: 8}.get(protocol, 0)
