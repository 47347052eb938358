"""An edge's ports, addresses and routes as what ``ip -batch`` and sysctl understand.

Linux routes every packet by itself; the edge sends the answers of a session, and its own, back by the port where they
came in.  That is policy routing here: the rule set (:mod:`tests.twin.ruleset`) marks packets, tables look at the marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from edge.model import EdgeConfig, Timers
from edge.routing.config import NetworkType, StaticRoute

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

ENTERED, LEAVES, HAIRPIN = 0x000000FF, 0x0000FF00, 0x00800000
"""Bits of the mark: the number of the port where a packet came in, and of the one where it has to leave, each plus one;
to an address of the edge, and yet out to the provider's router."""

NOWHERE_TABLE, FIRST_TABLE = 99, 100


def sysctls(config: EdgeConfig) -> dict[str, str]:
    """Paths below ``/proc/sys/net`` and their values: a router that answers without limits, and the edge's timers."""
    found = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}
    for scope in ("all", "default"):
        found |= {
            f"ipv4/conf/{scope}/rp_filter": "0",
            f"ipv4/conf/{scope}/accept_local": "1",
            f"ipv4/conf/{scope}/send_redirects": "0",
            f"ipv6/conf/{scope}/accept_dad": "0",
            f"ipv6/conf/{scope}/accept_ra": "0",
            f"ipv6/conf/{scope}/autoconf": "0",
        }
    found |= {
        "ipv6/conf/default/addr_gen_mode": "1",
        "ipv4/icmp_ratemask": "0",
        "ipv4/icmp_ratelimit": "0",
        "ipv4/icmp_errors_use_inbound_ifaddr": "1",
        "ipv4/fwmark_reflect": "1",
        "ipv6/icmp/ratelimit": "0",
        "ipv6/fwmark_reflect": "1",
        "ipv4/ipfrag_time": "3600",
        "ipv4/ipfrag_max_dist": "0",
        "netfilter/nf_conntrack_frag6_timeout": "3600",
        "netfilter/nf_conntrack_checksum": "0",
        "netfilter/nf_conntrack_tcp_loose": "0" if config.options.tcp_strict else "1",
    }
    return found | {f"netfilter/nf_conntrack_{name}": str(value) for name, value in timers(config.options.timers)}


def timers(edge: Timers) -> Iterator[tuple[str, int]]:
    """The kernel's timers that have a counterpart."""
    yield "tcp_timeout_syn_sent", edge.tcp_first
    yield "tcp_timeout_syn_recv", edge.tcp_opening
    yield "tcp_timeout_established", edge.tcp_established
    yield "tcp_timeout_fin_wait", edge.tcp_closing
    yield "tcp_timeout_close_wait", edge.tcp_closing
    yield "tcp_timeout_last_ack", edge.tcp_fin_wait
    yield "tcp_timeout_time_wait", edge.tcp_closed
    yield "tcp_timeout_close", edge.tcp_closed
    # These two shorten others when packets repeat or go unacknowledged, for which the edge has no timer of its own.
    yield "tcp_timeout_max_retrans", edge.tcp_established
    yield "tcp_timeout_unacknowledged", edge.tcp_established
    yield "udp_timeout", edge.udp_first
    yield "udp_timeout_stream", edge.udp_multiple
    yield "icmp_timeout", edge.icmp_first
    yield "icmpv6_timeout", edge.icmp_first
    yield "generic_timeout", edge.other


def batch(config: EdgeConfig, version: int) -> list[str]:
    """Lines for ``ip -4 -batch -`` or ``ip -6 -batch -``, the devices being there."""
    lines = ["link set lo up", *(f"link set p{n} mtu {config.options.mtu} up" for n in range(len(config.ports)))]
    detail = " nodad" if version == 6 else ""
    for device, address, network in addresses(config, version):
        lines.append(f"addr add {address}/{network.prefixlen} dev {device} noprefixroute{detail}")
    for rank, (network, device) in enumerate(routes(config, version), 1):
        lines.append(f"route add {network} dev {device} metric {rank}")
    lines += [f"route replace local {address} dev lo table local" for address in owned(config, version)]
    lines.append(f"route add default dev p0 table {NOWHERE_TABLE}")
    return lines + list(policy(config))


def owned(config: EdgeConfig, version: int) -> list[IPAddress]:
    """The addresses of the uplinks that are the edge's."""
    subnets = [subnet for uplink in config.routing.uplinks for subnet in uplink.subnets]
    found = {item.first + place for subnet in subnets for item in subnet.ranges for place in range(item.size)}
    found |= {subnet.primary for subnet in subnets if subnet.primary is not None}
    return sorted(address for address in found if address.version == version)


def addresses(config: EdgeConfig, version: int) -> Iterator[tuple[str, IPAddress, IPNetwork]]:
    """Device, address and network of each address that the edge has on a port."""
    ports = {name: f"p{number}" for number, name in enumerate(config.ports)}
    for uplink in config.routing.uplinks:
        for there in uplink.subnets:
            if there.primary is not None and there.primary.version == version:
                yield ports[uplink.name], there.primary, there.network
    for network in config.routing.networks:
        for subnet in network.subnets:
            if subnet.gateway.version == version:
                yield ports[network.name], subnet.gateway, subnet.network


def routes(config: EdgeConfig, version: int) -> list[tuple[IPNetwork, str]]:
    """The main table, the preferred one of equal prefixes first: connected, static by distance, default."""
    ports = {name: f"p{number}" for number, name in enumerate(config.ports)}
    attached: list[tuple[str, list[IPNetwork]]] = [
        (uplink.name, [subnet.network for subnet in uplink.subnets]) for uplink in config.routing.uplinks
    ]
    attached += [
        (network.name, [subnet.network for subnet in network.subnets])
        for network in config.routing.networks
        if network.type is not NetworkType.ISOLATED
    ]
    found = [(network, name) for name, networks in attached for network in networks]
    by_distance = sorted(config.routing.static_routes, key=lambda item: _best(item)[0])
    found += [(route.network, _leads_to(route, attached)) for route in by_distance]
    uplinks = attached[: len(config.routing.uplinks)]
    for everything, own in ((IPv4Network("0.0.0.0/0"), 4), (IPv6Network("::/0"), 6)):
        found += [(everything, name) for name, networks in uplinks if any(net.version == own for net in networks)]
    return [(network, ports[name]) for network, name in found if network.version == version]


def _best(route: StaticRoute) -> tuple[int, int]:
    """Distance and place of the next hop that is used."""
    return min((hop.admin_distance, place) for place, hop in enumerate(route.next_hops))


def _leads_to(route: StaticRoute, attached: list[tuple[str, list[IPNetwork]]]) -> str:
    hop = route.next_hops[_best(route)[1]]
    if hop.scope:
        return hop.scope
    return next(name for name, networks in attached if any(hop.address in network for network in networks))


def policy(config: EdgeConfig) -> Iterator[str]:
    """Which table is asked, in order of preference."""
    for number in range(len(config.ports)):
        table = FIRST_TABLE + number
        yield f"route add default dev p{number} table {table}"
        yield f"rule add pref 10 iif lo fwmark {number + 1:#x}/{ENTERED:#x} lookup {table}"
        yield f"rule add pref 20 fwmark {number + 1 << 8:#x}/{LEAVES:#x} lookup {table}"
    yield f"rule add pref 30 fwmark {HAIRPIN:#x}/{HAIRPIN:#x} lookup main"
    yield "rule add pref 100 lookup local"
    yield "rule del pref 0"
    # A rule that rejects looks for a route back without a mark; the answer itself has one.
    yield f"rule add pref 40000 iif lo lookup {NOWHERE_TABLE}"
