"""What an edge's configuration has in a rule, in the words of nftables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge.addresses import AddressRange, PortRange
from edge.firewall.config import Action, FirewallRule, Service
from edge.nat.config import NatRule, NatType

MOST_RULES = 127
MOST_PAIRS = 1024
"""Addresses or ports that are written out one by one."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
REJECT_NAMES = {
    0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable",
    9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited",
}  # fmt: skip
FAMILY = {4: "ip", 6: "ip6"}
NFPROTO = {4: "meta nfproto ipv4", 6: "meta nfproto ipv6"}


class InexpressibleError(Exception):
    """nftables has no words for this, or too many would be needed."""


@dataclass(frozen=True, slots=True)
class View:
    """As what the firewall sees a packet: with the destination that was called, with another source than it has."""

    called: bool = False
    source: AddressRange | None = None


def chain(name: str, lines: Iterable[str]) -> list[str]:
    """A chain that others jump to."""
    return [f"chain {name} {{", *(f"  {line}" for line in lines), "}"]


def hooked(name: str, hook: str, lines: Iterable[str]) -> list[str]:
    """A chain that the kernel calls."""
    return chain(name, [f"type {hook};", *lines])


def names(ports: Iterable[str]) -> str:
    """A set of devices."""
    return "{ " + ", ".join(f'"{port}"' for port in ports) + " }"


def span(item: AddressRange | None) -> str:
    """Addresses as nftables writes them."""
    assert item is not None
    return str(item.first) if item.size == 1 else f"{item.first}-{item.last}"


def port_set(ports: Iterable[PortRange]) -> str:
    """Ports that may overlap."""
    merged: list[PortRange] = []
    for item in sorted(ports, key=lambda ports: (ports.first, ports.last)):
        if merged and item.first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(merged[-1].last, item.last))
        else:
            merged.append(item)
    return "{ " + ", ".join(str(item) for item in merged) + " }"


def numbered(rules: Iterable[NatRule], types: tuple[NatType, ...]) -> dict[int, NatRule]:
    """The enabled rules of some types by number, in order of evaluation."""
    if any(rule.enabled and rule.type is NatType.REFLEXIVE for rule in rules):
        raise InexpressibleError("REFLEXIVE rules translate without a session where others have one")
    order = sorted((rule for rule in rules if rule.enabled and rule.type in types), key=lambda rule: rule.priority)
    if len(order) > MOST_RULES:
        raise InexpressibleError(f"more than {MOST_RULES} NAT rules of a kind")
    return dict(enumerate(order, 1))


def few(count: int) -> int:
    """A number of things that are written out one by one."""
    if count > MOST_PAIRS:
        raise InexpressibleError(f"{count} addresses or ports, {MOST_PAIRS} are the most")
    return count


def versions(addresses: AddressRange | None) -> tuple[int, ...]:
    """The families that a rule speaks of."""
    return (4, 6) if addresses is None else (addresses.version,)


def icmp_of_other_family(service: Service, version: int) -> bool:
    """ICMP over IPv6, or ICMPv6 over IPv4: that is neither."""
    return (service.protocol, version) in ((1, 6), (58, 4))


def protocol_match(protocol: int) -> str:
    """By number."""
    return f"meta l4proto {protocol}"


def absurd_flags() -> list[int]:
    """Combinations of FIN, SYN, RST and ACK that no end sends, apart from none of them."""
    every = [a | b | c | d for a in (0, FIN) for b in (0, SYN) for c in (0, RST) for d in (0, ACK)]
    return [flags for flags in every if (flags & SYN and flags & (FIN | RST)) or flags & (FIN | ACK) == FIN]


def inbound_protocols(rule: NatRule, version: int) -> Iterator[str]:
    """What a DNAT or NO_DNAT rule asks of protocol and port; a DNAT's port counts only beside a profile."""
    service = rule.profile.services[0] if rule.profile is not None else None
    if service is None:
        ports = rule.external_port if rule.type is NatType.NO_DNAT else None
        yield "" if ports is None else f"meta l4proto {{ tcp, udp }} th dport {ports}"
    elif not icmp_of_other_family(service, version):
        ports = rule.external_port or next(iter(service.destination_ports), None)
        has_ports = ports is not None and service.protocol in (6, 17)
        yield f"{protocol_match(service.protocol)}{f' th dport {ports}' if has_ports else ''}"


def destinations(rule: NatRule) -> Iterator[str]:
    """Where a DNAT rule leads, address by address and port by port where they map in order."""
    outside, inside = rule.external, rule.internal
    assert outside is not None
    assert inside is not None
    many = inside.size > 1 and outside != inside
    for place in range(few(outside.size) if many else 1):
        match = f"{FAMILY[outside.version]} daddr {outside.first + place} " if many else ""
        target = inside.first + place
        for port_match, port in target_ports(rule):
            shown = f"[{target}]:{port}" if port and inside.version == 6 else f"{target}{f':{port}' if port else ''}"
            yield f"{match}{port_match}dnat {FAMILY[inside.version]} to {shown}"


def target_ports(rule: NatRule) -> Iterator[tuple[str, int | None]]:
    """Condition and new port, None to leave it as it is."""
    service = rule.profile.services[0] if rule.profile is not None else None
    target = service.destination_ports[0] if service is not None and service.destination_ports else None
    matched = rule.external_port or target
    if service is None or target is None or matched is None or matched == target or service.protocol not in (6, 17):
        yield "", None
    elif matched.size == target.size > 1:
        for place in range(few(matched.size)):
            yield f"{protocol_match(service.protocol)} th dport {matched.first + place} ", target.first + place
    else:
        yield f"{protocol_match(service.protocol)} ", target.first


def service_matches(rule: FirewallRule, version: int, view: View) -> Iterator[str]:
    """A condition for each of a rule's services."""
    if rule.any_service:
        yield ""
    for service in (*(item for profile in rule.profiles for item in profile.services), *rule.services):
        if icmp_of_other_family(service, version):
            continue
        parts = [protocol_match(service.protocol)]
        if service.protocol in (6, 17):
            if service.source_ports:
                parts.append(f"th sport {port_set(service.source_ports)}")
            if service.destination_ports:
                place = "ct original proto-dst" if view.called else "th dport"
                parts.append(f"{place} {port_set(service.destination_ports)}")
        elif service.protocol in (1, 58):
            word = "icmp" if service.protocol == 1 else "icmpv6"
            if service.icmp_type is not None:
                parts.append(f"{word} type {service.icmp_type}")
            if service.icmp_code is not None:
                parts.append(f"{word} code {service.icmp_code}")
        yield " ".join(parts)


def verdicts(action: Action, version: int, code: int) -> tuple[str, ...]:
    """What a rule does; REJECT takes two lines, each for what the other does not match."""
    if action is Action.ALLOW:
        return ("accept",)
    if action is Action.DROP:
        return ("drop",)
    answer = f"icmp type {REJECT_NAMES[code]}" if version == 4 else "icmpv6 type admin-prohibited"
    return ("meta l4proto tcp reject with tcp reset", f"reject with {answer}")
