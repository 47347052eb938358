"""Edges that both sides can be, and the traffic that both can be asked about.

These are the tiny universes of :mod:`tests.model.universe` and the traffic of :mod:`tests.model.traffic`, without what
the kernel has no notion of (REFLEXIVE rules, limits on sessions), what would need the clock, and bytes that are no
packets.  What is left out, and why, is listed in ``docs/fidelity.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from random import Random

from edge.addresses import PortRange
from edge.firewall.config import FirewallRule
from edge.model import EdgeConfig, Profile, Timers
from edge.nat.config import FirewallMatch, NatRule, NatType
from tests.model.frames import parts_of
from tests.model.pieces import taken_apart
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


@dataclass(frozen=True, slots=True)
class Arrival(PacketEvent):
    """A packet that comes whole, or as pieces with these bytes of what follows its IP headers, in this order."""

    spans: tuple[tuple[int, int], ...] = ()
    identification: int = 0

    def pieces(self, packet: bytes) -> list[bytes]:
        """What comes of an IP packet that is as long as this one."""
        if not self.spans:
            return [packet]
        whole = taken_apart(Random(0), self.frame[:14] + packet)
        assert whole is not None, "a packet that is to be cut has to be one"
        end = max(last for _, last in self.spans)
        return [
            replace(
                whole, data=whole.data[first:last], offset=first, more=last < end, identification=self.identification
            ).frame(b"")
            for first, last in self.spans
        ]


class Packets(Traffic):
    """Draws packets one by one; the clock stands still."""

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
        size, first = len(data) - 14 - at, 24 if protocol == TCP else 8
        may_be_cut = size > first and data[20:22] != b"\x40\0" and at in (20, 24, 40)
        if not may_be_cut or random.random() < 0.7:
            return Arrival(port, data, 0)
        step = random.choice((8, 16, 512, 1232)) if size < 200 else random.choice((256, 512, 1232, 1400))
        starts = [0, *range(random.choice((first, first + 8, max(first, step))), size, step)]
        spans = [(start, end) for start, end in zip(starts, [*starts[1:], size], strict=True) if start < end]
        if len(spans) == 1:
            return Arrival(port, data, 0)
        random.choice((random.shuffle, list.reverse, list.copy))(spans)
        return Arrival(port, data, 0, spans=tuple(spans), identification=random.getrandbits(16))

    def is_masked(self, port: str, data: bytes) -> bool:
        """Does it pretend to be from the edge, and is not by the provider's router, which returns such packets?"""
        routing, (src, _) = self.universe.config.routing, dissect(data[14:]).src
        by_uplink = any(uplink.name == port for uplink in routing.uplinks)
        owned = ip_address(src) in self.universe.owned
        gateways = {subnet.gateway.packed for network in routing.networks for subnet in network.subnets}
        return src in gateways or (owned and not by_uplink)


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
