"""Edges that both sides can be, and the traffic that both can be asked about.

These are the tiny universes of :mod:`tests.model.universe` and the traffic of :mod:`tests.model.traffic`, without what
the kernel has no notion of (REFLEXIVE rules, limits on sessions), what would need the clock, and bytes that are no
packets.  What is left out, and why, is listed in ``docs/fidelity.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import pairwise
from random import Random
from typing import NamedTuple

from edge.addresses import PortRange
from edge.firewall.config import FirewallRule
from edge.model import EdgeConfig, Profile, Timers
from edge.nat.config import FirewallMatch, NatRule, NatType
from tests.model.frames import parts_of
from tests.model.pieces import DONT, taken_apart
from tests.model.traffic import PacketEvent, Traffic
from tests.model.universe import Universe, universe
from tests.twin.phrases import InexpressibleError
from tests.twin.ruleset import ruleset
from tests.twin.wire import ICMP, ICMP6, TCP, UDP, Datagram, checksums_right, dissect, upper

HOUR = 3600
ROUTER_ALERT = 0x94
PROTOCOLS = {4: (ICMP, TCP, UDP, 50, 59, 255), 6: (TCP, UDP, ICMP6, 50, 255)}


def place(random: Random) -> Universe:
    """A universe that nftables can express."""
    while True:
        drawn = universe(random)
        fitted = replace(drawn, config=fit(random, drawn.config))
        try:
            ruleset(fitted.config)
        except InexpressibleError:
            continue
        return fitted


def fit(random: Random, config: EdgeConfig) -> EdgeConfig:
    """The configuration with rules, timers and limits that a test without a clock can use."""
    blocked = {
        port
        for item in config.options.provider_filter
        for ports in item.ports
        for port in (1030, 1061)
        if port in ports
    }
    ranges = [PortRange(1024, 65535)] * 3 + ([] if blocked else [PortRange(1030, 1061)])
    options = replace(
        config.options,
        timers=Timers(**dict.fromkeys(Timers.__dataclass_fields__, HOUR)),
        mtu=random.choice((1500, 1500, 1300)),
        snat_port_range=random.choice(ranges),
        max_sessions=1_000_000,
        max_half_open=1_000_000,
        max_sessions_per_source=None,
        max_fragments=4096,
        profile=Profile.NSX,
        icmp_error_rate=0,
    )
    rules = tuple(changed(rule) for rule in config.nat.rules if rule.type is not NatType.REFLEXIVE)
    firewall = replace(config.firewall, rules=tuple(without_helpers(rule) for rule in config.firewall.rules))
    return replace(config, options=options, nat=replace(config.nat, rules=rules), firewall=firewall)


def without_helpers(rule: FirewallRule) -> FirewallRule:
    """The rule with profiles that listen to nobody."""
    return replace(rule, profiles=tuple(replace(profile, alg="") for profile in rule.profiles))


def changed(rule: NatRule) -> NatRule:
    """Which address of a pool the firewall would see is chosen differently here and there: only one, then."""
    public = rule.external
    if (
        rule.type is not NatType.SNAT
        or rule.firewall_match is not FirewallMatch.MATCH_EXTERNAL_ADDRESS
        or public is None
    ):
        return rule
    return replace(rule, external=replace(public, last=public.first))


class Span(NamedTuple):
    """A piece of what follows a packet's IP headers: from which byte to which, MF, DF, and whether zeroes are in the
    place of the bytes."""

    first: int
    last: int
    more: bool
    keeps: bool = False
    zeroed: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Arrival(PacketEvent):
    """A packet that comes whole, or as these pieces in this order."""

    spans: tuple[Span, ...] = ()
    identification: int = 0

    @property
    def is_atomic(self) -> bool:
        """It comes whole, with an IPv6 Fragment header that says so (RFC 6946)."""
        return any(item.first == 0 and not item.more for item in self.spans)

    @property
    def has_df(self) -> bool:
        """A piece has DF."""
        return any(item.keeps for item in self.spans)

    def pieces(self, packet: bytes) -> list[bytes]:
        """What comes of an IP packet that is as long as this one."""
        if not self.spans:
            return [packet]
        whole = taken_apart(Random(0), self.frame[:14] + packet)
        assert whole is not None, "a packet that is to be cut has to be one"
        whole = replace(whole, identification=self.identification)
        return [
            replace(
                whole,
                data=bytes(item.size) if item.zeroed else whole.data[item.first : item.last],
                offset=item.first,
                more=item.more,
                flags=DONT if item.keeps else 0,
            ).frame(b"")
            for item in self.spans
        ]


class Packets(Traffic):
    """Draws packets one by one; the clock stands still."""

    def __init__(self, random: Random, universe: Universe) -> None:
        super().__init__(random, universe)
        self._number = random.getrandbits(16)

    def packet(self) -> Arrival:
        """The next one that both sides can take."""
        while True:
            self._said = None
            port, data, came = self._hairpin.popleft() if self._hairpin else (*self._packet(), None)
            data = plain(data)
            if self.random.random() < 0.01:
                port = self.random.choice(self.universe.config.ports)
            if came is None and admissible(data) and not self.is_masked(port, data):
                return self.arrival(port, data)

    def arrival(self, port: str, data: bytes) -> Arrival:
        """The packet, in pieces now and then."""
        random, (at, protocol) = self.random, upper(data[14:])
        size, least, first = len(data) - 14 - at, 20 if protocol == TCP else 8, 24 if protocol == TCP else 8
        drawn, has_df = random.random(), data[12] == 8 and data[20] & 0x40 != 0
        if at == 40 and size >= least and drawn > 0.98:
            return Arrival(port, data, 0, spans=(Span(0, size, more=False),), identification=self.number())
        if size <= first or at not in (20, 24, 40) or drawn < (0.9 if has_df else 0.7):
            return Arrival(port, data, 0)
        step = random.choice((8, 16, 512, 1232)) if size < 200 else random.choice((256, 512, 1232, 1400))
        starts = [0, *range(random.choice((first, first + 8, max(first, step))), size, step)]
        spans = [Span(start, end, end < size) for start, end in pairwise([*starts, size]) if start < end]
        if len(spans) == 1:
            return Arrival(port, data, 0)
        spans = dont_fragment(random, spans) if has_df else spans
        if random.random() < 0.3:
            spans = mishap(random, spans)
        return Arrival(port, data, 0, spans=tuple(in_any_order(random, spans)), identification=self.number())

    def number(self) -> int:
        """An identification that no other datagram has: fragments that are left over are nobody's."""
        self._number = (self._number + 1) % 2**16
        return self._number

    def is_masked(self, port: str, data: bytes) -> bool:
        """Does it pretend to be from the edge, and is not by the provider's router, which returns such packets?"""
        routing, (src, _) = self.universe.config.routing, dissect(data[14:]).src
        by_uplink = any(uplink.name == port for uplink in routing.uplinks)
        owned = ip_address(src) in self.universe.owned
        gateways = {subnet.gateway.packed for network in routing.networks for subnet in network.subnets}
        return src in gateways or (owned and not by_uplink)


def dont_fragment(random: Random, spans: list[Span]) -> list[Span]:
    """The pieces of a packet with DF, which have it all, or not all."""
    if random.random() < 0.6:
        return [item._replace(keeps=True) for item in spans]
    return [item._replace(keeps=random.random() < 0.5) for item in spans]


def in_any_order(random: Random, spans: list[Span]) -> list[Span]:
    """The pieces as they come, one with other bytes behind the true one."""
    found = list(spans)
    random.choice((random.shuffle, list.reverse, list.copy))(found)
    for place, item in enumerate(found):
        true = item._replace(zeroed=False)
        if item.zeroed and true in found[place:]:
            behind = found.index(true)
            found[place], found[behind] = true, item
    return found


def mishap(random: Random, spans: list[Span]) -> list[Span]:
    """The pieces of a datagram after something that happens on the way, or that somebody with bad intentions does.

    What comes of it is the same datagram, or none, and no piece is a whole by itself."""
    place = random.randrange(len(spans))
    one, end = spans[place], spans[-1].last
    others = spans[:place] + spans[place + 1 :]
    match random.randrange(8):
        case 0:
            return [*spans, one]
        case 1:  # other bytes at the same place
            return [*spans, one._replace(zeroed=True)]
        case 2 if one.size > 8:  # some bytes of it once more
            return [*spans, one._replace(first=one.first + 8)]
        case 3:
            return others
        case 4 if one.first > 8 or (one.first and one.more):
            return [*others, one._replace(first=one.first - 8)]
        case 5 if one.more and (one.first or one.last + 8 < end):
            return [*others, one._replace(last=min(one.last + 8, end), more=one.last + 8 < end)]
        case 6:  # another end
            beyond = -(-end // 8) * 8
            return [*spans, Span(beyond, beyond + 8, more=False, zeroed=True)]
    return [*spans, one._replace(last=one.first, more=True)] if one.first else spans


def plain(data: bytes) -> bytes:
    """The frame without tags and padding."""
    at = 14
    while data[at - 2 : at] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    ip = data[at:]
    if not ip:
        return data[:14]
    length = int.from_bytes(ip[2:4], "big") if ip[0] >> 4 == 4 else 40 + int.from_bytes(ip[4:6], "big")
    return data[:12] + data[at - 2 : at] + ip[:length]


def admissible(data: bytes) -> bool:
    """Is the frame a whole packet, and no fragment, of a protocol that both sides treat alike?"""
    parts = parts_of(data)
    if parts is None:
        return False
    ip = data[14:]
    if parts.version == 4 and (int.from_bytes(ip[6:8], "big") & 0xBFFF or not has_idle_options(ip)):
        return False
    if parts.protocol not in PROTOCOLS[parts.version]:
        return False
    try:
        return checksums_right(ip) and not is_unsound(dissect(ip).quote)
    except (IndexError, ValueError):
        return False


def has_idle_options(ip: bytes) -> bool:
    """Is there nothing among an IPv4 packet's options that Linux writes to, obeys or complains of?"""
    at, end = 20, (ip[0] & 15) * 4
    while at < end and ip[at] != 0:
        if ip[at] == 1:
            at += 1
            continue
        if ip[at] != ROUTER_ALERT or ip[at + 1 : at + 2] != b"\x04":
            return False
        at += 4
    return at <= end


def is_unsound(quote: Datagram | None) -> bool:
    """Is the quoted packet a fragment, or may be one, or of no IP version, which Linux does not look at?"""
    if quote is None:
        return False
    if quote.head[0] >> 4 != quote.version:
        return True
    return quote.protocol == 44 or (quote.version == 4 and int.from_bytes(quote.head[6:8], "big") & 0xBFFF != 0)
