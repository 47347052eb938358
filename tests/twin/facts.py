"""What explanations ask about a difference."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from edge.model import EdgeConfig
from edge.verdicts import Reason
from tests.twin.compare import Difference
from tests.twin.places import Arrival, Span
from tests.twin.wire import ACK, REPLIES, REQUESTS, TCP, Datagram, dissect, upper


def is_reply(packet: Datagram) -> bool:
    """An ICMP message that answers a query."""
    return packet.icmp is not None and packet.icmp[0] in ((0, 14, 16, 18) if packet.version == 4 else (129,))


def is_query_or_reply(packet: Datagram) -> bool:
    """An ICMP message of which there are sessions."""
    return packet.icmp is not None and {(packet.protocol, packet.icmp[0])} <= REQUESTS | REPLIES


def broadcasts(config: EdgeConfig) -> set[bytes]:
    """The broadcast addresses of what is attached."""
    networks = [subnet.network for item in config.routing.uplinks for subnet in item.subnets]
    networks += [subnet.network for item in config.routing.networks for subnet in item.subnets]
    return {net.broadcast_address.packed for net in networks if isinstance(net, IPv4Network) and net.prefixlen <= 30}


def own_addresses(config: EdgeConfig) -> set[bytes]:
    """The addresses of the edge on all its ports."""
    own = [subnet.primary for item in config.routing.uplinks for subnet in item.subnets]
    own += [subnet.gateway for item in config.routing.networks for subnet in item.subnets]
    ranges = [item for uplink in config.routing.uplinks for subnet in uplink.subnets for item in subnet.ranges]
    return {address.packed for address in own if address is not None} | {
        (item.first + place).packed for item in ranges for place in range(item.size)
    }


def is_other_icmp(packet: Datagram) -> bool:
    """ICMP that is neither query nor reply nor error."""
    if packet.icmp is None or packet.is_error:
        return False
    queries = (0, 8, 13, 14, 15, 16, 17, 18) if packet.version == 4 else (128, 129)
    return packet.icmp[0] not in queries


def tcp_of_session(d: Difference) -> bool:
    """TCP in a session, forwarded by one of the two and not by the other, or another way."""
    if d.packet.protocol != TCP or not d.hit:
        return False
    kept = (d.kernel_keeps or d.fields == {"port"} or as_it_came(d)) and d.outcome.reason is Reason.SESSION
    return kept or (d.edge_silent and d.kernel_forwards and d.outcome.reason in (Reason.TCP_WINDOW, Reason.TCP_STATE))


def is_martian(*addresses: bytes) -> bool:
    """Is one of them an address that no router forwards to or from?"""
    return any(
        item[0] in (0, 127) or item[0] >= 240 or item[:2] == bytes((169, 254))
        if len(item) == 4
        else item[:15] == bytes(15)
        for item in addresses
    )


def fits(d: Difference) -> bool:
    """Does a TCP segment fit the window of the other end, taken unscaled?"""
    own, peer = d.past.ends.get(d.packet.src), d.past.ends.get(d.packet.dst)
    if own is None or peer is None:
        return True
    room = own.next + max(1, peer.window) if peer.room is None else peer.room
    return ahead(d.packet.behind, room) <= 0


def in_turn(d: Difference) -> bool:
    """Does a TCP segment begin where the last one ended, and acknowledge all that was sent, if anything?"""
    own, peer = d.past.ends.get(d.packet.src), d.past.ends.get(d.packet.dst)
    continues = own is None or d.packet.seq == own.next
    return continues and d.packet.flags & ACK != 0 and peer is not None and d.packet.ack == peer.next


def ahead(one: int, other: int) -> int:
    """``one - other`` on the circle of sequence numbers."""
    return (one - other + 2**31) % 2**32 - 2**31


def own_addresses_on(config: EdgeConfig, port: str) -> set[bytes]:
    """The addresses of the edge on one of its ports."""
    routing = config.routing
    own = [subnet.primary for item in routing.uplinks if item.name == port for subnet in item.subnets]
    own += [subnet.gateway for item in routing.networks if item.name == port for subnet in item.subnets]
    return {address.packed for address in own if address is not None}


def has_own_address(d: Difference) -> bool:
    """Has the edge an address of the packet's family on the port where that came in?"""
    return any(len(own) == len(d.packet.src[0]) for own in own_addresses_on(d.config, d.event.port))


def as_it_came(d: Difference) -> bool:
    """Did the twin forward the packet without a translation?"""
    if not d.kernel_forwards:
        return False
    out = d.kernel[0].packet
    return (out.src, out.dst) == (d.packet.src, d.packet.dst)


def error_about_tcp(d: Difference) -> bool:
    """An ICMP error about a TCP session of the engine's, which the twin does not know any more."""
    about_tcp = d.packet.quote is not None and d.packet.quote.protocol == TCP
    return about_tcp and d.outcome.reason is Reason.RELATED and (d.kernel_keeps or as_it_came(d))


def cut_evenly(d: Difference) -> bool:
    """Is what the engine sent cut to the largest piece that came, or to the MTU, as far as sizes are multiples of 8?"""
    ip, sent = d.event.frame[14:], d.edge[0]
    at, extra = upper(ip)[0], 8 * (d.packet.version == 6)
    most = min(d.config.options.mtu, at + extra + max(span.size for span in d.event.spans))
    if not sent.cuts:
        return len(ip) <= most
    *full, last = sent.cuts
    filled = all(data == (most - extra - head) & ~7 for head, _, data in full)
    return filled and last[0] + extra + last[2] <= most


def overlooked(event: Arrival, version: int) -> set[str]:
    """What Linux overlooks of a packet that comes in pieces, and that it puts together nevertheless; empty if it does
    not: pieces ``within`` others, and over IPv6 pieces that are wrong ``alone``."""
    held: list[Span] = []
    found: set[str] = set()
    furthest, end = 0, None
    for piece in event.spans:
        if (end is not None and piece.last > end) or (not piece.more and piece.last < furthest) or not piece.size:
            if version == 4:
                held, furthest, end = [], 0, None
            else:
                found.add("alone")
            continue
        furthest, end = max(furthest, piece.last), end if piece.more else piece.last
        if any(item.first <= piece.first and piece.last <= item.last for item in held):
            found |= set() if piece in held else {"within"}
        elif any(piece.first < item.last and item.first < piece.last for item in held):
            held, furthest, end = [], 0, None
        else:
            held.append(piece)
        if sum(item.size for item in held) == end:
            return found
    return set()


def as_the_pieces_came(d: Difference) -> bool:
    """Did the twin send pieces on as they came, an error's joined as far as it was read, and the engine cut evenly?"""
    offsets = [offset for sent in d.kernel for _, offset, _ in sent.cuts]
    read_on = 2 if d.packet.is_error else 0
    return set(offsets[read_on:]) <= {span.first for span in d.event.spans} and cut_evenly(d)


def only_df(d: Difference) -> bool:
    """Do the heads, or the quoted ones, differ in nothing but that the engine's has DF?"""
    one, other = d.edge[0].packet, d.kernel[0].packet
    if one.quote is not None and other.quote is not None and "quoted head" in d.fields:
        one, other = one.quote, other.quote
    cleared = one.head[:6] + bytes([one.head[6] & ~0x40]) + one.head[7:]
    return one.version == 4 and d.event.has_df and one.head != cleared and cleared == other.head


def quotes_an_atomic_fragment(d: Difference) -> bool:
    """Does the engine quote the twin's quote, as far as there is room, behind a Fragment header?"""
    ip, other = d.outcome.outputs[0].frame[14:], d.kernel[0].packet.quote
    quoted = ip[upper(ip)[0] + 8 :]
    if other is None or quoted[6:7] != b"\x2c":
        return False
    length = int.from_bytes(quoted[4:6], "big") - 8
    bare = quoted[:4] + length.to_bytes(2, "big") + quoted[40:41] + quoted[7:40] + quoted[48:]
    one, room = dissect(bare), len(other.body) - (other.upper - (len(bare) - upper(bare)[0]))
    one, other = (replace(item, ttl=0, upper=0, body=item.body[:room]) for item in (one, other))
    return one == other


def points_behind_the_header(d: Difference) -> bool:
    """Do both report a parameter problem (RFC 4443 3.4) at the same octet, in a packet with a Fragment header here?"""
    if len(d.edge) != 1 or len(d.kernel) != 1:
        return False
    one, other = d.edge[0].packet, d.kernel[0].packet
    if one.icmp is None or one.icmp[0] != 4 or one.icmp != other.icmp or one.version != 6:
        return False
    here, there = (int.from_bytes(item.body[2:6], "big") for item in (one, other))
    return here == (40 if there == 6 else there + 8)


def named_otherwise(d: Difference) -> bool:
    """Do the answers of the box come from the same address, or Linux's from the one that was called, or from another
    of the port's?"""
    if "src" not in d.fields or d.kernel[0].packet.src[0] == d.packet.dst[0]:
        return True
    own = own_addresses_on(d.config, d.event.port)
    return {d.kernel[0].packet.src[0], d.edge[0].packet.src[0]} <= own
