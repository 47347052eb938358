"""An edge's firewall and NAT as an nftables rule set.

What the edge decides in one go is spread over hooks here: ``arrive`` (behind connection tracking) finds the DNAT
rule, ``translate`` applies it, ``landed`` refuses what is not to be routed, ``passing`` and ``visiting`` are the
firewall, and ``depart`` applies the SNAT rule that ``passing`` found.  The mark carries what one hook tells the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network

from edge.addresses import AddressRange, merge_ranges
from edge.firewall.config import Direction, FirewallRule, IpProtocol, Section
from edge.model import EdgeConfig, SnatServicePort
from edge.nat.config import FirewallMatch, NatType
from edge.routing.config import NetworkType
from tests.twin.links import ENTERED, HAIRPIN, owned
from tests.twin.phrases import (
    FAMILY,
    NFPROTO,
    InexpressibleError,
    View,
    absurd_flags,
    chain,
    destinations,
    few,
    hooked,
    icmp_of_other_family,
    inbound_protocols,
    names,
    numbered,
    port_set,
    protocol_match,
    service_matches,
    span,
    verdicts,
    versions,
)

INBOUND, OUTBOUND = 0x007F0000, 0x7F000000
"""Bits of the mark: the number of the NAT rule for the destination, and for the source, each from 1."""

SESSION = "ct mark != 0 ct state established,related"
"""A packet of a session.  What goes from one distributed network to another, or to the edge itself, has none there, and
is tracked here without a mark."""

NOWHERE_4 = "127.0.0.0/8, 0.0.0.0/8, 169.254.0.0/16"
NEVER_FROM_4 = f"{NOWHERE_4}, 224.0.0.0-255.255.255.255"
NOWHERE_6 = "::-::1, fe80::/10"
NEVER_FROM_6 = f"{NOWHERE_6}, ff00::/8"


def ruleset(config: EdgeConfig) -> str:
    """The text for ``nft -f``.  Raises InexpressibleError."""
    return "\n".join(("table inet edge {", *Writer(config).lines(), "}", ""))


class Writer:
    """Writes the rule set of one configuration."""

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config
        self.ports = {name: f"p{number}" for number, name in enumerate(config.ports)}
        self.uplinks = [self.ports[item.name] for item in config.routing.uplinks]
        networks = config.routing.networks
        self.cages = [self.ports[item.name] for item in networks if item.type is NetworkType.ISOLATED]
        self.distributed = [self.ports[item.name] for item in networks if item.distributed]
        inner = {*self.cages, *self.distributed}
        self.border = [port for port in self.ports.values() if port not in inner]
        self.inbound = numbered(config.nat.rules, (NatType.DNAT, NatType.NO_DNAT))
        self.outbound = numbered(config.nat.rules, (NatType.SNAT, NatType.NO_SNAT))
        self.sets: list[str] = []

    def lines(self) -> list[str]:
        """All of it."""
        chains = [
            *self.raw(), *self.arrive(), *self.find_inbound(), *self.translate(), *self.landed(), *self.passing(),
            *self.visiting(), *self.find_outbound(), *self.views(), *self.depart(),
        ]  # fmt: skip
        noise = "icmpv6 type { 133, 134, 135, 136, 143 } drop"
        return [*self.sets, *chains, *hooked("own", "filter hook output priority 0", [noise])]

    # --- before routing -----------------------------------------------------------------------------------------------

    def raw(self) -> list[str]:
        """Where it came in; what no router lets pass."""
        lines = [f'iifname "{port}" meta mark set {number + 1}' for number, port in enumerate(self.ports.values())]
        lines += self.multicast()
        for port in self.cages:
            lines.append(f'iifname "{port}" meta nfproto ipv4 reject with icmp type net-unreachable')
            lines.append(f'iifname "{port}" reject with icmpv6 type no-route')
        lines.append(f"ip saddr {{ {NEVER_FROM_4} }} drop")
        lines.append(f"ip daddr {{ {NOWHERE_4} }} drop")
        lines.append(f"ip6 saddr {{ {NEVER_FROM_6} }} drop")
        lines.append(f"ip6 daddr {{ {NOWHERE_6} }} drop")
        return hooked("first", "filter hook prerouting priority -300", lines)

    def multicast(self) -> list[str]:
        """Multicast, and broadcast on what is attached."""
        routing = self.config.routing
        networks = [subnet.network for uplink in routing.uplinks for subnet in uplink.subnets]
        networks += [
            subnet.network for net in routing.networks if net.type is not NetworkType.ISOLATED for subnet in net.subnets
        ]
        ends = {str(net.broadcast_address) for net in networks if isinstance(net, IPv4Network) and net.prefixlen <= 30}
        return [
            f"ip daddr {{ {', '.join(['224.0.0.0/4', '255.255.255.255', *sorted(ends)])} }} drop",
            "ip6 daddr ff00::/8 drop",
        ]

    def arrive(self) -> list[str]:
        """Answers go back where their session came from; for everything else the NAT rule is found."""
        lines = [
            f"{SESSION} goto known",
            "ct state new ct mark 0 ct mark set meta mark and 0xff",
            *self.provider("iifname"),
            "icmp type { 3, 4, 5, 11, 12 } accept",
            "icmpv6 type 0-127 accept",
        ]
        hairpin = f"meta mark set meta mark or {HAIRPIN:#x} accept"
        routing = self.config.routing
        primary = {subnet.primary for uplink in routing.uplinks for subnet in uplink.subnets}
        known = [
            f"ct direction reply ct mark {number} meta mark set meta mark and {ENTERED:#x} or {number << 8:#x} accept"
            for number in range(1, len(self.ports) + 1)
        ]
        entries = [str(number) for number, port in enumerate(self.ports.values(), 1) if port in self.distributed]
        began = f"ct direction original ct mark {{ {', '.join(entries)} }}"
        for version in (4, 6) if self.distributed else ():
            for address in owned(self.config, version):
                to = f"{FAMILY[version]} daddr {address}"
                verdict = "goto called" if address in primary else hairpin
                lines += [f"iifname {names(self.distributed)} {to} {verdict}", f"{began} {to} {verdict}"]
                known.append(f"{began} {to} {hairpin}")
        if self.border:
            lines.append(f"iifname {names(self.border)} goto inbound")
        called = [f"{match} {hairpin}" for _, match in self.inbound_matches()]
        return [
            *chain("called", [*called, "accept"]),
            *chain("known", known),
            *hooked("arrive", "filter hook prerouting priority -150", lines),
        ]

    def provider(self, which: str) -> Iterator[str]:
        """The ports that the provider blocks."""
        for blocked in self.config.options.provider_filter:
            word = {6: "tcp", 17: "udp"}[blocked.protocol]
            if blocked.ports:
                yield f"{which} {names(self.uplinks)} {word} dport {port_set(blocked.ports)} drop"

    def inbound_matches(self) -> Iterator[tuple[int, str]]:
        """Number and condition of each rule for destinations; several lines where it takes several."""
        for number, rule in self.inbound.items():
            for version in versions(rule.external):
                address = f"ip{'6' * (version == 6)} daddr {span(rule.external)}" if rule.external else NFPROTO[version]
                for protocol in inbound_protocols(rule, version):
                    yield number, f"{address} {protocol}".rstrip()

    def find_inbound(self) -> list[str]:
        """The first rule that matches, in the mark."""
        lines = [
            f"{match} meta mark set meta mark or {number << 16:#x} accept" for number, match in self.inbound_matches()
        ]
        return chain("inbound", lines)

    def translate(self) -> list[str]:
        """DNAT by the rule in the mark."""
        chains, jumps = [], []
        for number, rule in self.inbound.items():
            if rule.type is NatType.DNAT:
                chains += chain(f"to_{number}", destinations(rule))
                jumps.append(f"meta mark and {INBOUND:#x} == {number << 16:#x} goto to_{number}")
        return [*chains, *hooked("translate", "nat hook prerouting priority -100", jumps)]

    def landed(self) -> list[str]:
        """What has nowhere to go, DNAT done."""
        lines = [f"{SESSION} accept", *self.multicast()]
        for network in self.config.routing.networks:
            if network.type is NetworkType.ISOLATED:
                for subnet in network.subnets:
                    version, to = subnet.network.version, f"daddr {subnet.network}"
                    answer = "icmp type net-unreachable" if version == 4 else "icmpv6 type no-route"
                    lines.append(f"{FAMILY[version]} {to} reject with {answer}")
        return hooked("landed", "filter hook prerouting priority -90", lines)

    # --- firewall -----------------------------------------------------------------------------------------------------

    def passing(self) -> list[str]:
        """What is forwarded: sessions, then what has none."""
        lines = [
            "ct state related icmp type 5 goto unknown",
            "ct state related icmpv6 type 0 goto unknown",
            f"{SESSION} accept",
            "goto unknown",
        ]
        unknown = []
        if self.distributed and not self.config.options.east_west_firewall:
            between = f"iifname {names(self.distributed)} oifname {names(self.distributed)}"
            unknown += [f"{between} ct mark set 0", f"{between} accept"]
        unknown += self.provider("oifname")
        if self.border:
            unknown.append(f"oifname {names(self.border)} jump outbound")
        unknown += [
            "icmp type { 3, 4, 5, 11, 12 } drop",
            "icmpv6 type 0-127 drop",
            *self.beginnings(),
        ]
        return [
            *chain("unknown", [*unknown, "goto judge"]),
            *hooked("passing", "filter hook forward priority 0; policy drop", lines),
        ]

    def visiting(self) -> list[str]:
        """What the edge itself takes: from networks everything, from uplinks what the firewall admits."""
        lines = [
            # No session, so no DNAT, but the edge would not have taken it for its own.
            *(
                f"meta l4proto tcp ct state invalid meta mark and {INBOUND:#x} == {number << 16:#x} drop"
                for number, rule in self.inbound.items()
                if rule.type is NatType.DNAT
            ),
            "ct mark set 0",
            f"iifname != {names(self.uplinks)} accept",
            "icmp type { 3, 4, 5, 11, 12 } drop",
            "icmpv6 type 0-127 drop",
            *self.beginnings(),
            "goto judge",
        ]
        return hooked("visiting", "filter hook input priority 0; policy drop", lines)

    def beginnings(self) -> list[str]:
        """What begins nothing is dropped; what BYPASS spares the rules is accepted."""
        begins = "tcp flags & (fin|syn|rst|ack)"
        absurd = [
            f"{begins} == 0x0 drop",
            f"{begins} == {{ {', '.join(hex(flags) for flags in absurd_flags())} }} drop",
        ]
        bypass = [
            f"meta mark and {mask:#x} == {number << shift:#x} accept"
            for rules, mask, shift in ((self.inbound, INBOUND, 16), (self.outbound, OUTBOUND, 24))
            for number, rule in rules.items()
            if rule.firewall_match is FirewallMatch.BYPASS and rule.type in (NatType.DNAT, NatType.SNAT)
        ]
        strict = [f"{begins} != syn drop"] if self.config.options.tcp_strict else []
        unasked = ["icmp type { 0, 14, 16, 18 } drop", "icmpv6 type 129 drop"]
        return [*absurd, "meta l4proto tcp ct state invalid drop", *bypass, *unasked, *strict]

    def views(self) -> list[str]:
        """The rules once for each way to see packets, and which way holds for which."""
        chains, jumps = [], []
        by_source: list[tuple[str, AddressRange | None]] = [
            (f"meta mark and {OUTBOUND:#x} == {number << 24:#x} ", rule.external)
            for number, rule in self.outbound.items()
            if rule.type is NatType.SNAT and rule.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS
        ]
        called = [
            f"meta mark and {INBOUND:#x} == {number << 16:#x} "
            for number, rule in self.inbound.items()
            if rule.type is NatType.DNAT and rule.firewall_match is FirewallMatch.MATCH_EXTERNAL_ADDRESS
        ]
        for place, (source_match, source) in enumerate([*by_source, ("", None)]):
            for called_match in (*called, ""):
                name = f"rules_{place}{'_called' if called_match else ''}"
                if f"chain {name} {{" not in chains:
                    chains += chain(name, self.rules(View(bool(called_match), source)))
                jumps.append(f"{source_match}{called_match}goto {name}")
        return [*chains, *chain("judge", jumps)]

    def rules(self, view: View) -> list[str]:
        """Every enabled firewall rule in order."""
        order = [Section.SYSTEM, Section.USER, Section.DEFAULT]
        rules = sorted(self.config.firewall.rules, key=lambda rule: order.index(rule.section))
        return [line for number, rule in enumerate(rules) if rule.enabled for line in self.rule(number, rule, view)]

    def rule(self, number: int, rule: FirewallRule, view: View) -> Iterator[str]:
        """One firewall rule, for each family and each service by itself."""
        families = {IpProtocol.IPV4: (4,), IpProtocol.IPV6: (6,), IpProtocol.IPV4_IPV6: (4, 6)}[rule.ip_protocol]
        for version in families:
            matches = [NFPROTO[version]]
            if rule.direction is not Direction.IN_OUT:
                matches.append(f"{'iifname' if rule.direction is Direction.IN else 'oifname'} {names(self.uplinks)}")
            source = self.address_match(f"src_{number}", rule.source_groups, rule.source_addresses, version)
            target = self.address_match(f"dst_{number}", rule.destination_groups, rule.destination_addresses, version)
            if not rule.any_source:
                if source is None or not self.source_fits(rule, view, version):
                    continue
                if view.source is None:
                    matches.append(f"{FAMILY[version]} saddr {source}")
            if not rule.any_destination:
                if target is None:
                    continue
                matches.append(f"{'ct original ' if view.called else ''}{FAMILY[version]} daddr {target}")
            for service in service_matches(rule, version, view):
                for verdict in verdicts(rule.action, version, self.config.options.reject_code):
                    yield " ".join((*matches, service, verdict)).replace("  ", " ")

    def address_match(
        self, name: str, groups: Iterable[object], inline: Sequence[AddressRange], version: int
    ) -> str | None:
        """The name of a set of addresses, made when it is first asked for; None when no address would be in it."""
        ranges = [item for group in groups for item in group.ranges]  # type: ignore[attr-defined]
        own = [item for item in merge_ranges([*ranges, *inline]) if item.version == version]
        if not own:
            return None
        text = f"set {name}_{version} {{ type ipv{version}_addr; flags interval; elements = {{ "
        text += ", ".join(span(item) for item in own) + " } }"
        if text not in self.sets:
            self.sets.append(text)
        return f"@{name}_{version}"

    def source_fits(self, rule: FirewallRule, view: View, version: int) -> bool:
        """Is the public source, which is known before it is there, one of the rule's?  True where the packet's counts.

        Raises InexpressibleError where that depends on which address of a pool is taken."""
        if view.source is None:
            return True
        if view.source.version != version:
            return False
        ranges = [*(item for group in rule.source_groups for item in group.ranges), *rule.source_addresses]
        inside = {any(view.source.first + place in item for item in ranges) for place in range(few(view.source.size))}
        if len(inside) > 1:
            raise InexpressibleError(f"the rule {rule.id!r} tells the addresses of a pool apart")
        return inside.pop()

    # --- behind the firewall ------------------------------------------------------------------------------------------

    def find_outbound(self) -> list[str]:
        """The first rule that matches, in the mark.  ICMP errors meet none."""
        lines = ["icmp type { 3, 4, 5, 11, 12 } accept", "icmpv6 type 0-127 accept"]
        lines = [line.replace("accept", "return") for line in lines]
        for number, rule in self.outbound.items():
            for version in versions(rule.internal or rule.snat_destination or rule.external):
                parts = [NFPROTO[version]]
                if rule.internal is not None:
                    parts.append(f"{FAMILY[version]} saddr {span(rule.internal)}")
                if rule.snat_destination is not None:
                    parts.append(f"{FAMILY[version]} daddr {span(rule.snat_destination)}")
                service = rule.profile.services[0] if rule.profile is not None else None
                if service is not None:
                    if icmp_of_other_family(service, version):
                        continue
                    parts.append(protocol_match(service.protocol))
                    ports = service.destination_ports[:1]
                    counts = self.config.options.snat_service_port is SnatServicePort.MATCH
                    if counts and ports and service.protocol in (6, 17):
                        parts.append(f"th dport {port_set(ports)}")
                lines.append(f"{' '.join(parts)} meta mark set meta mark or {number << 24:#x} return")
        return chain("outbound", lines)

    def depart(self) -> list[str]:
        """SNAT by the rule in the mark."""
        jumps, chains, ports = [], [], self.config.options.snat_port_range
        for number, rule in self.outbound.items():
            if rule.type is not NatType.SNAT:
                continue
            pool = rule.external
            assert pool is not None, "an SNAT rule without addresses passes no border"
            if pool.version == 4:
                to, plain = f"snat ip to {pool.first}-{pool.last}", f"snat ip to {pool.first}-{pool.last}"
            else:
                to, plain = f"snat ip6 to [{pool.first}]-[{pool.last}]", f"snat ip6 to {pool.first}-{pool.last}"
            if pool.size == 1:
                address = str(pool.first) if pool.version == 4 else f"[{pool.first}]"
                to, plain = f"snat {FAMILY[pool.version]} to {address}", f"snat {FAMILY[pool.version]} to {pool.first}"
            drawn = f"meta l4proto {{ tcp, udp }} {to}:{ports.first}-{ports.last} fully-random"
            chains += chain(f"from_{number}", [drawn, plain])
            jumps.append(f"meta mark and {OUTBOUND:#x} == {number << 24:#x} goto from_{number}")
        return [*chains, *hooked("depart", "nat hook postrouting priority 100", jumps)]
