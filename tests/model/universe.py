"""Tiny universes: edges whose addresses, ports and rules overlap all the time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from edge.addresses import AddressRange, IPAddress, PortRange
from edge.firewall.config import Action, ApplicationPortProfile, Direction, FirewallRule, IpProtocol, Section, Service
from edge.model import (
    PROVIDER_FILTER,
    BlockedPorts,
    EdgeConfig,
    Options,
    Profile,
    SessionsOnChange,
    SnatServicePort,
    Timers,
)
from edge.nat.config import FirewallMatch, NatRule, NatType
from edge.routing.config import Network, StaticRoute, Uplink
from tests.support import default_rule, edge_config, network, service, static_route, uplink

PORTS = (53, 80, 81, 82, 443, 445, 1030, 1031)
OUTSIDE = ("192.0.2.1", "192.0.2.2", "198.51.100.1")
OUTSIDE6 = ("2001:db8:beef::1", "2001:db8:beef::2")
BEHIND_ROUTER = ("10.9.0.1", "10.9.0.5", "2001:db8:9::1")
ODD = (
    "0.0.0.0", "127.0.0.1", "224.0.0.5", "240.0.0.1", "255.255.255.255", "169.254.1.1", "10.0.0.7", "203.0.113.15",
    "::", "::1", "ff02::1", "fe80::1", "0.1.2.3", "10.0.3.7", "2001:db8:a::7",
)  # fmt: skip

UPLINKS = (
    ("INTERNET", "203.0.113.1/28 203.0.113.2-203.0.113.5", "2001:db8:ff::1/124 2001:db8:ff::2-2001:db8:ff::4"),
    ("INTERNET", "203.0.113.1/28 203.0.113.2-203.0.113.3 203.0.113.9", "2001:db8:ff::1/124"),
    ("INTERNET", "203.0.113.1/28 203.0.113.3"),
)
SECOND_UPLINKS = (
    ("WAN2", "198.18.0.1/29 198.18.0.2-198.18.0.3"),
    ("WAN2", "198.18.0.1/29", "2001:db8:fe::1/125 2001:db8:fe::2"),
)
NETWORKS = (
    ("LAN", "10.0.0.1/29", "2001:db8:a::1/125"),
    ("DMZ", "10.0.1.1/29", "2001:db8:b::1/125"),
    ("LAB", "10.0.2.1/30"),
    ("CAGE", "10.0.3.1/29", "2001:db8:c::1/125"),
    ("OLD", "10.0.4.1/31", "10.0.0.9/29"),
)
SERVICES = (
    "tcp", "udp", "icmp", "icmp6", "tcp/80", "tcp/80-82", "udp/53", "tcp/443", "udp/53-54", "icmp/8", "icmp/8.0",
    "icmp6/128", "icmp/13", "tcp/1-65535",
)  # fmt: skip

HELPERS = tuple(
    ApplicationPortProfile(f"{alg} {services}", alg, "SYSTEM", tuple(service(item) for item in services.split()), alg)
    for alg, services in (
        ("FTP", "tcp"), ("FTP", "tcp/80-82"), ("FTP", "tcp/443 udp"), ("TFTP", "udp"), ("TFTP", "udp/53 tcp"),
        ("MS_RPC_TCP", "tcp"), ("FTP", "tcp/1-65535"),
    )
)  # fmt: skip


PACES = ((2, 128), (2, 128), (1, 1), (1, 3), (2, 6))
"""That of an edge, and slower ones, with which sessions have to wait for their end."""


@dataclass(frozen=True, slots=True)
class Universe:
    """An edge and the addresses that exist around it: machines in its networks, addresses of its own outside, the
    rest of the world, and its gateways.  ``calm``: conversations last in it, and ALGs listen.  ``pace``: how fast
    sessions are cleared up whose time is over, see ``set_pace`` of an edge."""

    config: EdgeConfig
    inside: tuple[IPAddress, ...] = ()
    owned: tuple[IPAddress, ...] = ()
    outside: tuple[IPAddress, ...] = ()
    gateways: tuple[IPAddress, ...] = ()
    calm: bool = False
    pace: tuple[int, int] = (2, 128)

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """All of them; those outside count twice."""
        return self.inside + self.owned + self.outside + self.outside + self.gateways


def universe(random: Random) -> Universe:
    """One edge and its surroundings."""
    uplinks = [uplink(*random.choice(UPLINKS))]
    if random.random() < 0.35:
        uplinks.insert(random.randrange(2), uplink(*random.choice(SECOND_UPLINKS)))
    networks = some_networks(random)
    config = edge_config(uplinks=uplinks, networks=networks, options=options(random))
    start = changed_universe(random, Universe(config), everything=True)
    start = with_helpers(random, start) if random.random() < 0.3 else start
    return replace(start, pace=random.choice(PACES))


def changed_universe(random: Random, old: Universe, *, everything: bool = False) -> Universe:
    """The same place with some of it configured anew, and what the change does to sessions."""
    config = old.config
    uplinks, networks = config.routing.uplinks, config.routing.networks
    if not everything:
        if random.random() < 0.15:
            networks = tuple(some_networks(random))
        if random.random() < 0.1:
            uplinks = (*(item for item in uplinks if item.name != "INTERNET"), uplink(*random.choice(UPLINKS)))
    around = Universe(config, *surroundings(uplinks, networks))
    routes = config.routing.static_routes
    if everything or uplinks != config.routing.uplinks or networks != config.routing.networks or random.random() < 0.2:
        routes = tuple(some_routes(random, uplinks, networks))
    firewall = config.firewall
    if everything or random.random() < 0.5:
        firewall = replace(firewall, rules=tuple(firewall_rules(random, around.addresses)))
    nat = config.nat
    if everything or random.random() < 0.5:
        nat = replace(nat, rules=tuple(nat_rules(random, uplinks, networks)))
    chosen = config.options
    if not everything:
        if random.random() < 0.2:
            chosen = options(random)
        modes = (SessionsOnChange.KEEP, SessionsOnChange.RECHECK, SessionsOnChange.RECHECK, SessionsOnChange.FLUSH)
        chosen = replace(chosen, sessions_on_change=random.choice(modes))
    routing = replace(config.routing, uplinks=uplinks, networks=networks, static_routes=routes)
    new = replace(around, config=replace(config, routing=routing, firewall=firewall, nat=nat, options=chosen))
    return with_helpers(random, new) if old.calm and random.random() < 0.8 else new


def with_helpers(random: Random, old: Universe) -> Universe:
    """The same place with rules that let control sessions of FTP and TFTP pass, and more NAT."""
    config = old.config
    listening = FirewallRule(
        "rule-0", "rule 0", Section.USER, Action.ALLOW, logging=random.random() < 0.5, profiles=(HELPERS[0], HELPERS[3])
    )
    others = [item for item in config.firewall.rules if item.id != "rule-0"]
    rules = tuple(sorted((listening, *others), key=lambda item: list(Section).index(item.section)))
    uplinks, networks = config.routing.uplinks, config.routing.networks
    drawn = [rule for _ in range(4) for rule in nat_rules(random, uplinks, networks)]
    translating = (NatType.DNAT, NatType.SNAT)
    kept = [rule for rule in drawn if rule.firewall_match is not FirewallMatch.BYPASS and rule.type in translating]
    if random.random() < 0.4:
        kept = [*way_round(random, uplinks, networks), *kept]
    nat = replace(config.nat, rules=tuple(replace(rule, id=f"nat-{at}", profile=None) for at, rule in enumerate(kept)))
    options = replace(
        config.options,
        timers=Timers() if random.random() < 0.9 else config.options.timers,
        max_sessions=random.choice((30, 1_000_000)),
        max_half_open=100_000,
        mtu=random.choice((1500, 1500, 1500, 68)),
        tcp_strict=random.random() < 0.9,
    )
    firewall = replace(config.firewall, rules=rules)
    return replace(old, config=replace(config, firewall=firewall, nat=nat, options=options), calm=True)


def slightly_changed_universe(random: Random, old: Universe) -> Universe:
    """The same place with another profile, or with some rules of SNAT that have other pools or are other rules."""
    config = old.config
    modes = (SessionsOnChange.KEEP, SessionsOnChange.RECHECK)
    chosen = replace(config.options, sessions_on_change=random.choice(modes))
    if random.random() < 0.5:
        chosen = replace(chosen, profile=next(item for item in Profile if item is not chosen.profile))
    rules = config.nat.rules
    if random.random() < 0.6:
        uplinks = config.routing.uplinks
        owned = [item for up in uplinks for subnet in up.subnets for item in subnet.ranges]
        rules = tuple(other_snat(random, rule, owned) if rule.type is NatType.SNAT else rule for rule in rules)
    return replace(old, config=replace(config, nat=replace(config.nat, rules=rules), options=chosen))


def edited_universe(random: Random, old: Universe, fresh: str) -> Universe:
    """The same place with one to three edits of the firewall's rules: one comes (its id begins with ``fresh``), goes,
    moves, or has other fields.  All others are the same objects."""
    config = old.config
    rules = list(config.firewall.rules)
    for number in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(rules) + 1)
        drawn = random.random()
        if drawn < 0.4 or at == len(rules):
            rule = random.choice(firewall_rules(random, old.addresses))
            rules.insert(at, replace(rule, id=f"{fresh}-{number}", name=f"{fresh} {number}"))
        elif drawn < 0.55:
            del rules[at]
        elif drawn < 0.7:
            rules.insert(random.randrange(len(rules)), rules.pop(at))
        elif drawn < 0.85:
            rule = random.choice(firewall_rules(random, old.addresses))
            rules[at] = replace(rule, id=rules[at].id, name=rules[at].name)
        else:
            rule = rules[at]
            rules[at] = replace(
                rule, action=random.choice(tuple(Action)), enabled=not rule.enabled, logging=not rule.logging
            )
    modes = (SessionsOnChange.KEEP, SessionsOnChange.KEEP, SessionsOnChange.RECHECK)
    chosen = replace(config.options, sessions_on_change=random.choice(modes))
    rules.sort(key=lambda item: list(Section).index(item.section))
    firewall = replace(config.firewall, rules=tuple(rules))
    return replace(old, config=replace(config, firewall=firewall, options=chosen))


def other_snat(random: Random, rule: NatRule, owned: list[AddressRange]) -> NatRule:
    drawn = random.random()
    if drawn < 0.3:
        other = f"{rule.id}-again" if not rule.id.endswith("again") else rule.id.removesuffix("-again")
        return replace(rule, id=other, name=other)
    ranges = [item for item in owned if rule.external is not None and item.version == rule.external.version]
    if drawn < 0.7 and ranges:
        pool = random.choice(ranges)
        last = pool.first + (pool.size - 1)
        return replace(
            rule, external=random.choice((pool, AddressRange(pool.first, pool.first), AddressRange(last, last)))
        )
    return rule


def some_networks(random: Random) -> list[Network]:
    chosen = [item for item in NETWORKS if random.random() < (0.3 if item[0] == "CAGE" else 0.7)] or [NETWORKS[0]]
    kinds = ("DISTRIBUTED", "INTERNAL", "NON_DISTRIBUTED", "NON_DISTRIBUTED")
    return [network(*item, kind="ISOLATED" if item[0] == "CAGE" else random.choice(kinds)) for item in chosen]


def surroundings(uplinks: tuple[Uplink, ...], networks: tuple[Network, ...]) -> tuple[tuple[IPAddress, ...], ...]:
    """Inside, owned, outside, gateways."""
    subnets = [subnet for net in networks for subnet in net.subnets]
    hosts = [
        subnet.network.network_address + place
        for subnet in subnets
        for place in (2, 3)
        if subnet.network.num_addresses > place
    ]
    outer = [subnet for up in uplinks for subnet in up.subnets]
    owned = [item.first + place for subnet in outer for item in subnet.ranges for place in range(item.size)]
    outside = tuple(ip_address(text) for text in (*OUTSIDE, *OUTSIDE6, *BEHIND_ROUTER))
    gateways = (*(subnet.gateway for subnet in subnets), *(subnet.gateway for subnet in outer))
    return tuple(hosts), tuple(owned), outside, gateways


def some_routes(random: Random, uplinks: tuple[Uplink, ...], networks: tuple[Network, ...]) -> list[StaticRoute]:
    routed = [net for net in networks if net.type.value == "NAT_ROUTED"]
    subnets = [(net.name, subnet.network) for net in routed for subnet in net.subnets]
    subnets += [(up.name, subnet.network) for up in uplinks for subnet in up.subnets]
    found = []
    for number in range(random.choice((0, 0, 1, 2, 4))):
        name, subnet = random.choice(subnets)
        if subnet.version == 4:
            cidr = random.choice(
                (
                    "10.9.0.0/29",
                    "10.9.0.0/30",
                    "192.0.2.0/31",
                    "0.0.0.0/0",
                    "10.0.3.0/30",
                    "203.0.113.0/28",
                    "10.0.0.0/8",
                )
            )
        else:
            cidr = random.choice(
                ("2001:db8:9::/64", "2001:db8:beef::/127", "::/0", "2001:db8:c::/125", "2001:db8::/32")
            )
        hop = subnet.network_address + (2 if subnet.num_addresses > 2 else 0)
        scope = random.choice(("", name))
        found.append(
            static_route(cidr, str(hop), scope=scope, distance=random.choice((1, 1, 2, 3)), name=f"route-{number}")
        )
    return found


def options(random: Random) -> Options:
    names = Timers.__dataclass_fields__
    timers = Timers(**{name: random.randrange(1, 6) for name in names}) if random.random() < 0.8 else Timers()
    filters = (
        PROVIDER_FILTER,
        PROVIDER_FILTER,
        (),
        (BlockedPorts(6, (PortRange(81, 81), PortRange(1031, 1032))), BlockedPorts(17, (PortRange(1030, 1031),))),
    )
    pools = (
        PortRange(1030, 1033),
        PortRange(1030, 1031),
        PortRange(1024, 65535),
        PortRange(134, 141),
        PortRange(4000, 4000),
        PortRange(4000, 4009),
    )
    return Options(
        profile=random.choice((Profile.NSX, Profile.NSX, Profile.STRICT_RFC, Profile.STRICT_RFC)),
        tcp_strict=random.random() < 0.7,
        timers=timers,
        provider_filter=random.choice(filters),
        sessions_on_change=random.choice(tuple(SessionsOnChange)),
        east_west_firewall=random.random() < 0.4,
        snat_service_port=random.choice(tuple(SnatServicePort)),
        reject_code=random.choice((13, 13, 0, 1, 9, 10)),
        mtu=random.choice((1500, 1500, 1500, 1280, 1280)),
        icmp_error_rate=random.choice((1000, 1000, 0, 1, 3)),
        fragment_timeout=random.choice((30, 30, 1, 2, 5)),
        max_fragments=random.choice((*[4096] * 6, 1, 3, 8)),
        snat_port_range=random.choice(pools),
        max_sessions=random.choice((3, 8, 30, 1_000_000)),
        max_half_open=random.choice((2, 6, 100_000)),
        max_sessions_per_source=random.choice((None, None, None, 1, 2, 5)),
        seed=random.choice((None, None, 0, 7, 2**64 - 1)),
    )


def some_ranges(random: Random, addresses: tuple[IPAddress, ...]) -> tuple[AddressRange, ...]:
    found = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        match random.randrange(5):
            case 0:
                text = random.choice(
                    (
                        "10.0.0.0/29",
                        "10.0.0.0/8",
                        "0.0.0.0/0",
                        "203.0.113.0/28",
                        "192.0.2.0/30",
                        "::/0",
                        "2001:db8:a::/64",
                        "2001:db8:beef::/127",
                    )
                )
                found.append(AddressRange.parse(text))
            case 1:
                one, other = random.choice(addresses), random.choice(addresses)
                same = other if one.version == other.version else one
                first, last = sorted((int(one), int(same)))
                make = IPv4Address if one.version == 4 else IPv6Address
                found.append(AddressRange(make(first), make(last)))
            case _:
                address = random.choice(addresses)
                found.append(AddressRange(address, address))
    return tuple(found)


def a_profile(random: Random, *services: str) -> ApplicationPortProfile:
    chosen = services or tuple(random.choice(SERVICES) for _ in range(random.choice((1, 1, 2))))
    name = " ".join(chosen)
    return ApplicationPortProfile(name, name, "TENANT", tuple(service(item) for item in chosen))


def some_profiles(random: Random, *, helpers: bool) -> tuple[ApplicationPortProfile, ...]:
    """None for any service, one, or some with application layer gateways."""
    if helpers and random.random() < 0.6:
        return (random.choice(HELPERS), *random.sample(HELPERS, 2))
    return (a_profile(random),) if random.random() < 0.4 else ()


def firewall_rules(random: Random, addresses: tuple[IPAddress, ...]) -> list[FirewallRule]:
    rules = []
    helpers = random.random() < 0.4
    for number in range(random.choice((0, 1, 3, 6, 9))):
        raw: tuple[Service, ...] = ()
        if random.random() < 0.15:
            sources = random.choice(((), (PortRange(4000, 4001),)))
            raw = (Service(random.choice((6, 17)), random.choice(((), (PortRange(80, 80),))), sources),)
        rules.append(
            FirewallRule(
                f"rule-{number}",
                f"rule {number}",
                Section.SYSTEM if random.random() < 0.1 else Section.USER,
                random.choice((Action.ALLOW, Action.ALLOW, Action.ALLOW, Action.DROP, Action.REJECT)),
                random.choice((Direction.IN_OUT, Direction.IN_OUT, Direction.IN, Direction.OUT)),
                random.choice((IpProtocol.IPV4_IPV6, IpProtocol.IPV4_IPV6, IpProtocol.IPV4, IpProtocol.IPV6)),
                enabled=random.random() < 0.9,
                logging=random.random() < 0.4,
                source_addresses=some_ranges(random, addresses) if random.random() < 0.4 else (),
                destination_addresses=some_ranges(random, addresses) if random.random() < 0.4 else (),
                profiles=some_profiles(random, helpers=helpers),
                services=raw,
            )
        )
    rules.sort(key=lambda item: item.section is Section.USER)
    action = random.choice(("DROP", "ALLOW", "ALLOW", "REJECT"))
    return [*rules, default_rule(action, logging=random.random() < 0.3)]


def nat_rules(random: Random, uplinks: tuple[Uplink, ...], networks: tuple[Network, ...]) -> list[NatRule]:
    owned = [item for up in uplinks for subnet in up.subnets for item in subnet.ranges]
    owned = owned or [AddressRange.parse("203.0.113.6")]
    inside = [subnet.network for net in networks for subnet in net.subnets]
    rules = [one_nat_rule(random, f"nat-{number}", owned, inside) for number in range(random.choice((0, 1, 3, 5, 8)))]
    return [*rules, *ways_out(random, owned, inside)] if random.random() < 0.4 else rules


def ways_out(random: Random, owned: list[AddressRange], inside: list) -> list[NatRule]:  # type: ignore[type-arg]
    """SNAT of every network, onto all the addresses of one range."""
    match = random.choice(tuple(FirewallMatch))
    return [
        NatRule(
            f"out-{number}",
            f"out {number}",
            NatType.SNAT,
            random.choice([item for item in owned if item.version == subnet.version]),
            AddressRange.of_network(subnet),
            firewall_match=match,
            priority=1,
        )
        for number, subnet in enumerate(inside)
        if any(item.version == subnet.version for item in owned)
    ]


def way_round(random: Random, uplinks: tuple[Uplink, ...], networks: tuple[Network, ...]) -> list[NatRule]:
    """A machine that is published, and SNAT of its network onto a primary address: others call it by the hairpin."""
    subnet = random.choice([subnet for net in networks for subnet in net.subnets]).network
    outer = [item for up in uplinks for item in up.subnets if item.primary and item.network.version == subnet.version]
    if not outer or subnet.num_addresses < 4:
        return []
    own, published = random.choice(outer), random.choice([item for up in outer for item in up.ranges])
    if own.primary is None:
        return []
    machine = AddressRange(subnet.network_address + 2, subnet.network_address + 2)
    out = AddressRange(own.primary, own.primary)
    external = AddressRange(published.last, published.last)
    return [
        NatRule("round-in", "round in", NatType.DNAT, external, machine),
        NatRule("round-out", "round out", NatType.SNAT, out, AddressRange.of_network(subnet)),
    ]


def one_nat_rule(random: Random, name: str, owned: list[AddressRange], inside: list) -> NatRule:  # type: ignore[type-arg]
    kind = random.choice((NatType.DNAT, NatType.DNAT, NatType.SNAT, NatType.SNAT, *NatType))
    external = random.choice(owned)
    if external.size > 1 and random.random() < 0.5:
        one = external.first + random.randrange(external.size)
        external = AddressRange(one, one)
    if random.random() < 0.05 and external.version == 4:
        external = AddressRange.parse("203.0.113.12-203.0.113.13")
    subnets = [item for item in inside if item.version == external.version]
    if not subnets:
        external = AddressRange.parse("203.0.113.2") if external.version == 6 else external
        subnets = [item for item in inside if item.version == external.version]
    subnet = random.choice(subnets)
    profile = a_profile(random, random.choice(SERVICES)) if random.random() < 0.5 else None
    external_port = None
    internal: AddressRange | None
    first = subnet.network_address + (2 if subnet.num_addresses > 2 else 1)
    if kind in (NatType.DNAT, NatType.NO_DNAT):
        external_port = random.choice(
            (None, PortRange(80, 80), PortRange(80, 82), PortRange(53, 53), PortRange(443, 445))
        )
    if kind is NatType.REFLEXIVE or (kind is NatType.DNAT and random.random() < 0.4):
        internal = AddressRange(first, first + (external.size - 1))
    elif kind is NatType.DNAT:
        internal = AddressRange(first, first)
    else:
        internal = random.choice((AddressRange.of_network(subnet), AddressRange(first, first)))
        if random.random() < 0.15:
            internal = random.choice([item for item in owned if item.version == external.version] or [internal])
    destination = None
    if kind in (NatType.SNAT, NatType.NO_SNAT) and random.random() < 0.3:
        cidr = "192.0.2.0/31" if external.version == 4 else "2001:db8:beef::/127"
        destination = AddressRange.parse(cidr)
    if kind is NatType.NO_DNAT:
        internal = None
    open_side = random.random() < 0.2
    return NatRule(
        name,
        name,
        kind,
        None if kind is NatType.NO_SNAT or (kind is NatType.NO_DNAT and open_side) else external,
        None if kind is NatType.NO_SNAT and open_side else internal,
        external_port,
        None if kind is NatType.REFLEXIVE else profile,
        destination,
        random.choice(tuple(FirewallMatch)),
        random.randrange(3),
        enabled=random.random() < 0.9,
        logging=random.random() < 0.3,
    )
