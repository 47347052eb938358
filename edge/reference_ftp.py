"""What FTP says about data connections (RFC 959, RFC 2428): commands and answers read, and written with another end."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from edge.addresses import IPAddress

MAX_COMMAND = 512
"""Bytes of payload that are looked at."""

ORDINARY_PORTS = range(1024, 65536)
"""A command that names another is meant for somebody else's service (RFC 2577)."""

_SIX = re.compile(rb"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")
_PORT = re.compile(rb"\d{1,5}")
_NETS = {b"1": 4, b"2": 6}


@dataclass(frozen=True, slots=True)
class Command:
    """The end of a data connection that a control connection's line names.

    ``address`` is None where the line leaves it out, being the one that the control connection goes to (229).  What
    stands in ``line[first:last]`` names it; ``wording`` says how another would stand there, None where it cannot.
    """

    active: bool
    address: IPAddress | None
    port: int
    first: int
    last: int
    wording: Callable[[IPAddress, int], bytes | None]


def command_in(payload: bytes, at: int, *, from_originator: bool, version: int) -> Command | None:
    """What the line that begins at an offset of a segment's payload announces, from one side of a control connection
    over IPv4 or IPv6."""
    end = payload.find(b"\n", at)
    if len(payload) > MAX_COMMAND or end < 0:
        return None
    line = payload[at:end].removesuffix(b"\r")
    word = line[:5].upper() if from_originator else line[:4]
    if word == b"PORT " and version == 4:
        return port_command(line)
    if word == b"EPRT ":
        return eprt_command(line, version)
    if word == b"227 " and version == 4:
        return passive_answer(line)
    return extended_passive_answer(line) if word == b"229 " else None


def port_command(line: bytes) -> Command | None:
    """``PORT h1,h2,h3,h4,p1,p2`` and nothing else."""
    return six_numbers(line, 5, len(line), active=True)


def passive_answer(line: bytes) -> Command | None:
    """``227 Entering Passive Mode (h1,h2,h3,h4,p1,p2)``, with any other words."""
    place = in_brackets(line)
    return None if place is None else six_numbers(line, *place, active=False)


def six_numbers(line: bytes, first: int, last: int, *, active: bool) -> Command | None:
    """An address and a port as bytes in decimal numbers."""
    match = _SIX.fullmatch(line[first:last])
    if match is None or any(int(text) > 255 for text in match.groups()):
        return None
    numbers = bytes(int(text) for text in match.groups())
    address, port = IPv4Address(numbers[:4]), int.from_bytes(numbers[4:], "big")

    def wording(new: IPAddress, new_port: int) -> bytes:
        return b",".join(str(number).encode() for number in new.packed + new_port.to_bytes(2, "big"))

    return Command(active, address, port, first, last, wording)


def eprt_command(line: bytes, version: int) -> Command | None:
    """``EPRT |net|address|port|`` with any delimiter."""
    delimiter = line[5:6]
    if not is_delimiter(delimiter) or line.count(delimiter, 5) != 4 or not line.endswith(delimiter):
        return None
    net, text, port = line[6:-1].split(delimiter)
    address = address_in(text, version)
    if _NETS.get(net) != version or address is None or not _PORT.fullmatch(port):
        return None

    def wording(new: IPAddress, new_port: int) -> bytes | None:
        fields = (net, text_of(new), str(new_port).encode())
        return None if any(delimiter in field for field in fields) else delimiter.join(fields)

    return Command(True, address, int(port), 6, len(line) - 1, wording)


def extended_passive_answer(line: bytes) -> Command | None:
    """``229 Entering Extended Passive Mode (|||port|)`` with any delimiter."""
    at = line.find(b"(") + 1
    delimiter = line[at : at + 1]
    first = at + 3
    if not at or not is_delimiter(delimiter) or line[at:first] != delimiter * 3:
        return None
    last = line.find(delimiter, first)
    if last < 0 or line[last + 1 : last + 2] != b")" or not _PORT.fullmatch(line[first:last]):
        return None

    def wording(_: IPAddress, new_port: int) -> bytes | None:
        text = str(new_port).encode()
        return None if delimiter in text else text

    return Command(False, None, int(line[first:last]), first, last, wording)


def in_brackets(line: bytes) -> tuple[int, int] | None:
    """Where the text between the first opening bracket and the one that closes it begins and ends."""
    first = line.find(b"(") + 1
    last = line.find(b")", first)
    return (first, last) if first and last >= 0 else None


def is_delimiter(text: bytes) -> bool:
    """RFC 2428: one printable character."""
    return len(text) == 1 and 33 <= text[0] <= 126


def address_in(text: bytes, version: int) -> IPAddress | None:
    """An address in the text form that inet_pton reads."""
    try:
        if version == 4:
            return IPv4Address(socket.inet_pton(socket.AF_INET, text.decode("ascii")))
        return IPv6Address(socket.inet_pton(socket.AF_INET6, text.decode("ascii"))) if len(text) <= 45 else None
    except (OSError, ValueError):
        return None


def text_of(address: IPAddress) -> bytes:
    """As inet_ntop writes it (RFC 5952)."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address.packed).encode()
