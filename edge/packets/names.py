"""Words and numbers of the notation: protocols, TCP flags, ICMP messages."""

from __future__ import annotations

from types import MappingProxyType

ICMP, TCP, UDP, ESP, ICMP6 = 1, 6, 17, 50, 58

PROTOCOLS = MappingProxyType({"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmp6": ICMP6, "esp": ESP})

FLAGS = "FSRPAUEC"
"""TCP flags from the lowest bit up, which is also the order in which they are printed."""

NO_FLAGS = "."

FIN, SYN, ACK = 0x01, 0x02, 0x10

ICMP_V4 = MappingProxyType(
    {  # RFC 792, RFC 1812 5.2.7.1
        "echo-reply": (0, 0),
        "net-unreachable": (3, 0),
        "host-unreachable": (3, 1),
        "protocol-unreachable": (3, 2),
        "port-unreachable": (3, 3),
        "frag-needed": (3, 4),
        "admin-prohibited": (3, 13),
        "redirect": (5, 1),
        "echo-request": (8, 0),
        "time-exceeded": (11, 0),
        "reassembly-exceeded": (11, 1),
        "parameter-problem": (12, 0),
        "timestamp-request": (13, 0),
        "timestamp-reply": (14, 0),
    }
)

ICMP_V6 = MappingProxyType(
    {  # RFC 4443, RFC 4861; the first of two names for the same message is the one that is printed
        "no-route": (1, 0),
        "net-unreachable": (1, 0),
        "admin-prohibited": (1, 1),
        "address-unreachable": (1, 3),
        "host-unreachable": (1, 3),
        "port-unreachable": (1, 4),
        "packet-too-big": (2, 0),
        "frag-needed": (2, 0),
        "time-exceeded": (3, 0),
        "reassembly-exceeded": (3, 1),
        "parameter-problem": (4, 0),
        "protocol-unreachable": (4, 1),
        "echo-request": (128, 0),
        "echo-reply": (129, 0),
        "router-solicitation": (133, 0),
        "router-advertisement": (134, 0),
        "neighbor-solicitation": (135, 0),
        "neighbor-advertisement": (136, 0),
        "redirect": (137, 0),
    }
)

QUERY_TYPES = MappingProxyType({4: frozenset({0, 8, 13, 14, 15, 16, 17, 18}), 6: frozenset({128, 129})})
"""Messages with an identifier and a sequence number, by IP version."""

REQUEST_TYPES = MappingProxyType({4: {0: 8, 14: 13, 16: 15, 18: 17}, 6: {129: 128}})
"""Type of a query's reply -> type of the query, by IP version."""

ERROR_TYPES = MappingProxyType({4: frozenset({3, 4, 5, 11, 12}), 6: frozenset(range(128))})
"""Messages that quote the packet they are about."""

HEADER_SIZES = MappingProxyType({4: {13: 20, 14: 20, 17: 12, 18: 12}, 6: {134: 16, 135: 24, 136: 24, 137: 40}})
"""Bytes of an ICMP message before its data, where there are more than 8."""


MAX_ICMP_ERROR = MappingProxyType({4: 576 - 20, 6: 1280 - 40})
"""Bytes of an error with what it quotes: RFC 1812 4.3.2.3, RFC 4443 2.4, less the IP header."""

MAX_FRAGMENT_OFFSET = 8 * 0x1FFF
"""Where the last fragment that can be written begins; a good one ends long before it."""


def icmp_names(version: int) -> MappingProxyType[str, tuple[int, int]]:
    """Name -> (type, code), for IP version 4 or 6."""
    return ICMP_V4 if version == 4 else ICMP_V6


def icmp_header_size(version: int, icmp_type: int) -> int:
    """Bytes of an ICMP message before its data."""
    return HEADER_SIZES[version].get(icmp_type, 8)


def has_mtu(version: int, icmp_type: int, code: int) -> bool:
    """True for the messages that tell an MTU."""
    return (icmp_type, code) == (3, 4) if version == 4 else icmp_type == 2


def flags_text(flags: int) -> str:
    """``SA`` for 0x12, ``.`` for none."""
    return "".join(letter for bit, letter in enumerate(FLAGS) if flags >> bit & 1) or NO_FLAGS
