"""How the objects on an edge go together, as far as the edge's document does not say it: pure."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from itertools import pairwise

from control.errors import LimitReachedError
from control.objects.nat import TRANSLATING
from control.planner import EdgeInputs
from edge.addresses import AddressRange, IPNetwork, merge_ranges

Intervals = list[tuple[int, int]]

MAX_ENTRIES = 25_000
"""The emulator's own limit: addresses, ports, references and members of groups on one edge."""

_ANYWHERE = ("0.0.0.0/0",)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with an object, and with which field of it."""

    object: str
    field: str
    text: str


def check_size(inputs: EdgeInputs) -> None:
    """Raises LimitReachedError for more than an edge is given: everybody's changes wait while one is checked."""
    count = sum(
        len(value.source_firewall_groups) + len(value.destination_firewall_groups)
        + len(value.source_firewall_ip_addresses) + len(value.destination_firewall_ip_addresses)
        + len(value.application_port_profiles)
        + sum(len(raw.layer4_item.source_ports) + len(raw.layer4_item.destination_ports)
              for raw in value.raw_port_protocols)
        for value in (item.value for item in inputs.firewall_rules)
    )  # fmt: skip
    count += sum(len(item.value.ip_addresses) for item in inputs.ip_sets)
    count += sum(len(item.value.members) for item in inputs.security_groups)
    count += len(inputs.machines) * sum(bool(item.value.vm_criteria) for item in inputs.security_groups)
    for profile in inputs.application_port_profiles:
        count += sum(1 + len(port.destination_ports) for port in profile.value.application_ports)
    for tunnel in inputs.ipsec_tunnels:
        count += len(tunnel.value.local_endpoint.local_networks) + len(tunnel.value.remote_endpoint.remote_networks)
    if count > MAX_ENTRIES:
        text = f"what lies on an edge has at most {MAX_ENTRIES:,} addresses, ports and references, not {count:,}"
        raise LimitReachedError(f"{inputs.edge.name}: {text}")


def troubles(inputs: EdgeInputs) -> Iterator[Trouble]:
    """Everything that does not go together."""
    owned = frozenset(ip_address(str(address)) for address in inputs.edge.value.public_addresses)
    attached = [ip_interface(cidr).network for item in inputs.networks for cidr in item.value.gateway_cidrs]
    yield from _nat_rules(inputs, owned)
    yield from _members(inputs)
    yield from _dynamic(inputs)
    yield from _tunnels(inputs, owned)
    yield from _services(inputs, owned, [*attached, ip_interface(inputs.uplink.value.gateway_cidr).network])


def _nat_rules(inputs: EdgeInputs, owned: frozenset[object]) -> Iterator[Trouble]:
    for item in inputs.nat_rules:
        text = item.value.external_addresses
        if item.value.type not in TRANSLATING or not text:
            continue
        found = AddressRange.parse(text)
        if found.size > len(owned) or any(found.first + number not in owned for number in range(found.size)):
            yield Trouble(item.name, "external_addresses", f"expected public addresses of the edge, not {text}")


def _members(inputs: EdgeInputs) -> Iterator[Trouble]:
    networks = {item.name for item in inputs.networks}
    for group in inputs.security_groups:
        for index, name in enumerate(group.value.members):
            if name not in networks:
                yield Trouble(group.name, f"members[{index}]", f"{name} is no network of this edge")
    for route in inputs.static_routes:
        for index, hop in enumerate(route.value.next_hops):
            if hop.scope and hop.scope not in networks:
                yield Trouble(route.name, f"next_hops[{index}].scope", f"{hop.scope} is no network of this edge")


def _dynamic(inputs: EdgeInputs) -> Iterator[Trouble]:
    if "/vdcGroups/" in inputs.edge.value.owner:
        return
    for item in inputs.security_groups:
        if item.value.vm_criteria:
            text = "a data center owns this edge; groups by criteria are for edges of data center groups"
            yield Trouble(item.name, "vm_criteria", text)


def _tunnels(inputs: EdgeInputs, owned: frozenset[object]) -> Iterator[Trouble]:
    policies = []
    for item in sorted(inputs.ipsec_tunnels, key=lambda each: each.name):
        local, remote = item.value.local_endpoint, item.value.remote_endpoint
        if ip_address(local.local_address) not in owned:
            text = f"expected a public address of the edge, not {local.local_address}"
            yield Trouble(item.name, "local_endpoint.local_address", text)
        if item.value.enabled:
            networks = remote.remote_networks or _ANYWHERE
            policies.append((item.name, _ranges(local.local_networks), _ranges(networks)))
    for one, other in _meeting(policies):
        for name, with_ in ((one, other), (other, one)):
            text = f"the networks overlap those of {with_}: one of the two would never be used"
            yield Trouble(name, "remote_endpoint.remote_networks", text)


def _meeting(policies: Iterable[tuple[str, Intervals, Intervals]]) -> Iterator[tuple[str, str]]:
    """Pairs of tunnels that want the same packets.

    The other side's networks are walked along from the lowest address up; what stands open at a point are this side's
    networks of the tunnels that are met there, in order and none over another.
    """
    steps, local = [], {}
    for name, mine, theirs in policies:
        local[name] = mine
        for first, last in theirs:
            steps += [(first, True, name), (last + 1, False, name)]
    still_open: list[tuple[int, int, str]] = []
    for _, begins, name in sorted(steps):
        for first, last in local[name]:
            place = bisect(still_open, (first, last, name))
            if not begins:
                del still_open[place - 1 : place]
                continue
            beside = still_open[max(place - 1, 0) : place + 1]
            met = next((other for start, end, other in beside if start <= last and first <= end), None)
            if met is not None:
                yield met, name
                return
            still_open.insert(place, (first, last, name))


def _services(inputs: EdgeInputs, owned: frozenset[object], attached: list[IPNetwork]) -> Iterator[Trouble]:
    pools: dict[str, str] = {}
    ports: list[tuple[str, str, int, int, str, int]] = []
    for item in sorted(inputs.virtual_services, key=lambda each: each.name):
        address = ip_address(item.value.virtual_ip_address)
        if address not in owned and any(address in network for network in attached):
            text = f"{address} is in a subnet that is attached to the edge, and no public address of its own"
            yield Trouble(item.name, "virtual_ip_address", text)
        pool = item.value.load_balancer_pool
        if pool in pools:
            yield Trouble(item.name, "load_balancer_pool", f"{pool} stands behind {pools[pool]} already")
            yield Trouble(pools[pool], "load_balancer_pool", f"{pool} stands behind {item.name} already")
        pools[pool] = item.name
        for index, port in enumerate(item.value.service_ports if item.value.enabled else ()):
            protocol = "UDP" if port.tcp_udp_profile == "UDP_FAST_PATH" else "TCP"
            ports.append((str(address), protocol, port.port_start, port.port_end or port.port_start, item.name, index))
    for one, other in pairwise(sorted(ports)):
        # The first two that overlap are neighbours here.
        if one[:2] == other[:2] and other[2] <= one[3]:
            for mine, theirs in ((one, other), (other, one)):
                text = f"at {mine[0]}, ports {theirs[2]}-{theirs[3]} are those of {theirs[4]}"
                yield Trouble(mine[4], f"service_ports[{mine[5]}]", text)


def _ranges(texts: Iterable[str]) -> Intervals:
    """Networks of both families as intervals of numbers, in order and none over another; IPv6 lies above IPv4."""
    merged = merge_ranges([AddressRange.parse(text) for text in texts])
    above = {4: 0, 6: 1 << 32}
    return [(int(each.first) + above[each.version], int(each.last) + above[each.version]) for each in merged]
