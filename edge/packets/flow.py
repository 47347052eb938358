"""Which packets belong together: those of one flow, in both directions."""

from __future__ import annotations

from edge.addresses import IPAddress
from edge.packets.decode import Headers, decode_frame
from edge.packets.names import ERROR_TYPES, QUERY_TYPES, REQUEST_TYPES, TCP, UDP

FlowKey = tuple[int, frozenset[tuple[IPAddress, int]]]
"""The protocol, and both ends with what stands for their ports."""


def flow_key(frame: bytes) -> FlowKey | None:
    """The same for a packet and for what answers it; None when the frame carries no IP packet that can be read.

    An ICMP query goes with its reply by the identifier, other ICMP messages by type and code, ICMP errors and other
    protocols by the addresses.
    """
    headers = decode_frame(frame)
    if headers is None:
        return None
    sport, dport = _numbers(headers) if headers.header_complete else (0, 0)
    return headers.protocol, frozenset({(headers.src, sport), (headers.dst, dport)})


def _numbers(headers: Headers) -> tuple[int, int]:
    """Ports, or what stands for them; the asked end of an ICMP query has the request's type, negative."""
    rest, version = headers.rest, headers.version
    if headers.protocol in (TCP, UDP):
        return int.from_bytes(rest[0:2], "big"), int.from_bytes(rest[2:4], "big")
    if not headers.is_icmp:
        return 0, 0
    icmp_type, identifier = rest[0], int.from_bytes(rest[4:6], "big")
    if icmp_type in REQUEST_TYPES[version]:
        return -REQUEST_TYPES[version][icmp_type], identifier
    if icmp_type in QUERY_TYPES[version]:
        return identifier, -icmp_type
    return 0, 0 if icmp_type in ERROR_TYPES[version] else icmp_type << 8 | rest[1]
