"""Frame -> packet text."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from edge.addresses import IPAddress
from edge.packets.decode import Headers, Part, decode_frame, decode_ip, ethertype_and_offset
from edge.packets.names import (
    ERROR_TYPES,
    ESP,
    QUERY_TYPES,
    TCP,
    UDP,
    flags_text,
    has_mtu,
    icmp_header_size,
    icmp_names,
)
from edge.packets.payload import MAX_SHOWN, show_payload
from edge.verdicts import Endpoints

_USUAL_TTLS = (63, 64)  # as sent by an end, and one hop later

_NONE: AbstractSet[str] = frozenset()


def format_frame(frame: bytes, show: AbstractSet[str] = _NONE) -> str:
    """A frame in packet text.

    ``show`` names keys to be printed that usually are not: ``ttl`` (else only what is not 64 or 63), ``seq``, ``ack``
    and ``win`` of TCP, ``ipid`` of IPv4, ``data`` (the payload instead of its length).  Never fails: a cut packet is
    shown as ``proto=N`` with its length, a fragment as ``proto=17 ... len=2960 ipid=7 frag=1480-2951``, ``len`` being
    the least that the datagram can have; a frame without IP as ``ethernet type=0x0806 len=28``, which cannot be read
    back.
    """
    headers = decode_frame(frame)
    if headers is None:
        return _ethernet(frame)
    return _text(headers, show)


def format_endpoints(frame: bytes, endpoints: Endpoints, show: AbstractSet[str] = _NONE) -> str:
    """The same text as :func:`format_frame` with other addresses and ports: what a stage of a trace saw or left."""
    headers = decode_frame(frame)
    if headers is None:
        return _ethernet(frame)
    return _text(headers, show, endpoints)


def protocol_word(headers: Headers) -> str:
    """``tcp``, ``udp``, ``icmp``, ``icmp6``, ``esp`` or ``proto=N``."""
    if headers.header_complete:
        if headers.is_icmp:
            return "icmp" if headers.version == 4 else "icmp6"
        return {TCP: "tcp", UDP: "udp", ESP: "esp"}.get(headers.protocol, f"proto={headers.protocol}")
    return f"proto={headers.protocol}"


def format_endpoint(address: IPAddress, port: int | None) -> str:
    """``10.0.0.1:80``, ``[2001:db8::1]:80``, or just the address."""
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _ethernet(frame: bytes) -> str:
    ethertype, at = ethertype_and_offset(frame)
    return f"ethernet type=0x{ethertype:04x} len={len(frame) - at}"


def _text(headers: Headers, show: AbstractSet[str], endpoints: Endpoints | None = None, *, quoted: bool = False) -> str:
    protocol = protocol_word(headers)
    src, dst = (headers.src, headers.dst) if endpoints is None else (endpoints.src, endpoints.dst)
    words: list[str] = []
    sport = dport = None
    if protocol in ("tcp", "udp"):
        sport, dport = (_u16(headers.rest, 0), _u16(headers.rest, 2))
        if endpoints is not None:
            sport, dport = endpoints.sport, endpoints.dport
    if protocol == "tcp":
        words = _tcp(headers, show)
    elif protocol in ("icmp", "icmp6"):
        words = _icmp(headers, show, None if endpoints is None else endpoints.sport, quoted=quoted)
    elif protocol == "udp":
        words = _payload(headers, 8, show)
    else:
        words = _payload(headers, 0, show) if headers.part is None else _fragment(headers.part, headers.length)
    if "ipid" in show and headers.part is None and headers.identification:
        words.append(f"ipid={headers.identification}")
    if headers.ttl not in _USUAL_TTLS or "ttl" in show:
        words.append(f"ttl={headers.ttl}")
    return " ".join((protocol, format_endpoint(src, sport), ">", format_endpoint(dst, dport), *words))


def _tcp(headers: Headers, show: AbstractSet[str]) -> list[str]:
    rest = headers.rest
    if len(rest) < 14:  # quoted by an ICMP error that keeps 8 bytes: RFC 792
        return [f"seq={int.from_bytes(rest[4:8], 'big')}"] if "seq" in show else []
    words = [flags_text(rest[13])]
    numbers = {"seq": rest[4:8], "ack": rest[8:12], "win": rest[14:16]}
    words += [f"{key}={int.from_bytes(value, 'big')}" for key, value in numbers.items() if key in show]
    return words + _payload(headers, (rest[12] >> 4) * 4, show)


def _icmp(headers: Headers, show: AbstractSet[str], identifier: int | None, *, quoted: bool) -> list[str]:
    rest, version = headers.rest, headers.version
    icmp_type, code = rest[0], rest[1]
    name = next((name for name, message in icmp_names(version).items() if message == (icmp_type, code)), None)
    words = [name] if name is not None else [f"type={icmp_type}", f"code={code}"]
    if icmp_type in QUERY_TYPES[version]:
        words.append(f"id={_u16(rest, 4) if identifier is None else identifier}")
        words.append(f"seq={_u16(rest, 6)}")
    if has_mtu(version, icmp_type, code):
        words.append(f"mtu={_u16(rest, 6) if version == 4 else int.from_bytes(rest[4:8], 'big')}")
    header = icmp_header_size(version, icmp_type)
    if icmp_type in ERROR_TYPES[version]:
        inner = None if quoted else decode_ip(rest[header:])
        if inner is not None:
            return [*words, f'of="{_text(inner, _NONE, quoted=True)}"']
    return words + _payload(headers, header, show)


def _fragment(part: Part, length: int) -> list[str]:
    end = part.first + length
    # Read back, M is set if there is something behind the part, and the next fragment would bring 8 bytes.
    return [f"len={end + 8 if part.more else end}", f"ipid={part.identification}", f"frag={part.first}-{end - 1}"]


def _payload(headers: Headers, header: int, show: AbstractSet[str]) -> list[str]:
    """What follows an upper header: its length, or the bytes themselves if they are asked for, few and all there."""
    size = headers.length - header
    if "data" in show and 0 < size <= MAX_SHOWN and len(headers.rest) == headers.length and headers.header_complete:
        return [f'data="{show_payload(headers.rest[header:])}"']
    return [f"len={size}"] if size > 0 else []


def _u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
