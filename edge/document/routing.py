"""Uplinks, networks and static routes: from schema objects to the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.addresses import AddressRange, IPAddress, IPNetwork
from edge.document import schema
from edge.document.context import Context, Index
from edge.document.problems import Path, quoted
from edge.document.services import DHCP, check_fields
from edge.document.values import Values
from edge.routing.config import (
    ConnectionType,
    Network,
    NetworkType,
    NextHop,
    RoutingConfig,
    StaticRoute,
    Subnet,
    Uplink,
    UplinkSubnet,
)


@dataclass(slots=True)
class Attached:
    """A subnet that is attached to the edge: whose it is and where it was written."""

    network: IPNetwork
    port: str
    path: Path
    is_uplink: bool
    own: IPAddress | None


@dataclass(slots=True)
class RoutingResolver:
    """Resolves in the order uplinks, networks, static routes; each later part needs the earlier ones."""

    context: Context
    values: Values
    networks_index: Index[Network] = field(default_factory=lambda: Index("network"))
    attached: list[Attached] = field(default_factory=list)
    complete: bool = True
    _ports: dict[str, Path] = field(default_factory=dict)
    _port_ids: dict[str, str] = field(default_factory=dict)

    def resolve(
        self,
        edge: schema.EdgeGateway | None,
        uplinks: tuple[Sequence[schema.Uplink | None], Path],
        networks: tuple[Sequence[schema.Network | None], Path],
        routes: tuple[Sequence[schema.StaticRoute | None], Path],
    ) -> RoutingConfig:
        """Everything that could be resolved; problems went to the context's findings."""
        seen: Counter[str] = Counter()
        ups = [self._uplink(item, (*uplinks[1], i), seen) for i, item in enumerate(uplinks[0])]
        seen = Counter()
        nets: list[Network | None] = []
        for i, item in enumerate(networks[0]):
            if item is None:
                self.networks_index.complete = False
                nets.append(None)
                continue
            network = self._network(item, (*networks[1], i), seen, edge)
            self.networks_index.add(network.id, network.name, network)
            nets.append(network)
        self.complete = self.complete and None not in ups and None not in nets
        self._check_overlaps()
        seen = Counter()
        static = [self._route(item, (*routes[1], i), seen) for i, item in enumerate(routes[0])]
        return RoutingConfig(
            tuple(u for u in ups if u is not None),
            tuple(n for n in nets if n is not None),
            tuple(r for r in static if r is not None),
        )

    def _port_name(self, name: str, path: Path) -> None:
        if name in self._ports:
            other = self.context.shown_path(self._ports[name])
            message = f"{quoted(name)} is what {other} says too; uplinks and networks are ports, each with its own name"
            self.context.findings.error("DUPLICATE_NAME", path, message)
        self._ports.setdefault(name, path)

    def _uplink(self, item: schema.Uplink | None, path: Path, seen: Counter[str]) -> Uplink | None:
        if item is None:
            return None
        self.context.check_fields(item, path)
        self._port_name(item.uplink_name, (*path, "uplinkName"))
        id = self.context.identify(item.uplink_id, "edgeGatewayUplinks", item.uplink_name, path, seen)
        self._port_ids[id] = item.uplink_name
        subnets = []
        for i, subnet in enumerate(item.subnets or ()):
            resolved = self._uplink_subnet(subnet, item.uplink_name, (*path, "subnets", i))
            if resolved is None:
                self.complete = False
            else:
                subnets.append(resolved)
        return Uplink(id, item.uplink_name, tuple(subnets))

    def _uplink_subnet(self, item: schema.UplinkSubnet, port: str, path: Path) -> UplinkSubnet | None:
        findings = self.context.findings
        self.context.check_fields(item, path)
        found = self.values.subnet(item.gateway, item.prefix_length, path)
        if found is None:
            return None
        gateway, network = found
        ranges: list[AddressRange] = []
        for i, entry in enumerate(item.ip_ranges or ()):
            place = (*path, "ipRanges", i)
            item_range = self._ip_range(entry, network, place)
            if item_range is None:
                continue
            if gateway in item_range:
                findings.error("CONFLICT", place, f"{item_range} holds the gateway {gateway}, the provider's router")
            twin = next((other for other in ranges if other.overlaps(item_range)), None)
            if twin is not None:
                findings.error("CONFLICT", place, f"{item_range} overlaps {twin}, another range of this subnet")
            ranges.append(item_range)
        primary = ranges[0].first if ranges else None
        if item.primary_ip:
            place = (*path, "primaryIp")
            primary = self.values.host(item.primary_ip, place)
            if primary is not None and (primary.version != network.version or primary not in network):
                findings.error("CONFLICT", place, f"{primary} is not in the subnet {network}")
            elif primary == gateway:
                findings.error("CONFLICT", place, f"{primary} is the gateway, the provider's router")
        self.attached.append(Attached(network, port, path, True, primary))
        return UplinkSubnet(gateway, network, tuple(ranges), primary)

    def _ip_range(self, entry: schema.IpRange, network: IPNetwork, path: Path) -> AddressRange | None:
        findings = self.context.findings
        first = self.values.address(entry.start_address, (*path, "startAddress"))
        last = self.values.address(entry.end_address, (*path, "endAddress"))
        if first is None or last is None:
            return None
        for name, address in (("startAddress", first), ("endAddress", last)):
            if address.version != network.version or address not in network:
                findings.error("CONFLICT", (*path, name), f"{address} is not in the subnet {network}")
                return None
        if int(first) > int(last):
            findings.error("INVALID_VALUE", path, f"the range {first}-{last} ends before it starts")
            return None
        return AddressRange(first, last)

    def _network(
        self, item: schema.Network, path: Path, seen: Counter[str], edge: schema.EdgeGateway | None
    ) -> Network:
        context, findings = self.context, self.context.findings
        context.check_fields(item, path)
        check_fields(item.dhcp, DHCP, (*path, "dhcp"), findings)
        self._port_name(item.name, (*path, "name"))
        id = context.identify(item.id, "orgVdcNetworks", item.name, path, seen)
        self._port_ids[id] = item.name
        kind = NetworkType.NAT_ROUTED
        if item.network_type == "ISOLATED":
            kind = NetworkType.ISOLATED
        elif item.network_type not in (None, "NAT_ROUTED"):
            what = f"networkType: {item.network_type}"
            context.not_emulated((*path, "networkType"), what, "the edge is not attached to it, as with ISOLATED")
            kind = NetworkType.ISOLATED
        connection = ConnectionType.INTERNAL
        if item.connection is not None:
            place = (*path, "connection")
            if item.network_type == "ISOLATED":
                findings.error("CONFLICT", place, "an ISOLATED network has no connection to an edge")
            connection = self._connection(item.connection, place, edge)
        subnets = []
        for i, entry in enumerate(item.subnets or ()):
            place = (*path, "subnets", i)
            context.check_fields(entry, place)
            found = self.values.subnet(entry.gateway, entry.prefix_length, place)
            if found is None:
                self.complete = False
                continue
            for j, ip_range in enumerate(entry.ip_ranges or ()):
                self._ip_range(ip_range, found[1], (*place, "ipRanges", j))
            subnets.append(Subnet(*found))
            if kind is NetworkType.NAT_ROUTED:
                self.attached.append(Attached(found[1], item.name, place, False, found[0]))
        return Network(id, item.name, kind, connection, tuple(subnets))

    def _connection(self, item: schema.Connection, path: Path, edge: schema.EdgeGateway | None) -> ConnectionType:
        context = self.context
        context.check_fields(item, path)
        if item.router_ref and edge is not None:
            gateways: Index[schema.EdgeGateway] = Index("edge gateway in this document")
            gateways.add(edge.id, edge.name, edge)
            gateways.find(item.router_ref, (*path, "routerRef"), context.findings)
        value, old = item.connection_type_value, item.connection_type
        if value and old and value != old:
            message = f"connectionType says {old}, connectionTypeValue says {value}"
            context.findings.error("CONFLICT", (*path, "connectionTypeValue"), message)
        value = value or old
        if value == "SUBINTERFACE":
            name = "connectionTypeValue" if item.connection_type_value else "connectionType"
            context.not_emulated((*path, name), "a SUBINTERFACE connection", "the network is taken as INTERNAL")
            value = None
        if value == "NON_DISTRIBUTED" and edge is not None and edge.non_distributed_routing_enabled is False:
            message = "the network is NON_DISTRIBUTED, and nonDistributedRoutingEnabled of the edge gateway is false"
            context.findings.error("CONFLICT", path, message)
        return ConnectionType(value) if value else ConnectionType.INTERNAL

    def _check_overlaps(self) -> None:
        """Subnets of uplinks and routed networks must not overlap: the edge could not tell their machines apart."""
        ordered = sorted(
            self.attached, key=lambda a: (a.network.version, int(a.network.network_address), a.network.prefixlen)
        )
        position = {id(item): number for number, item in enumerate(self.attached)}
        outer: Attached | None = None  # of what came before, the subnet that reaches furthest
        for item in ordered:
            same_family = outer is not None and outer.network.version == item.network.version
            if outer is None or not same_family or not outer.network.overlaps(item.network):
                outer = item
                continue
            first, second = sorted((outer, item), key=lambda one: position[id(one)])
            message = f"{second.network} overlaps {first.network} of {quoted(first.port)}"
            self.context.findings.error("CONFLICT", second.path, message)

    def _route(self, item: schema.StaticRoute | None, path: Path, seen: Counter[str]) -> StaticRoute | None:
        if item is None:
            return None
        findings = self.context.findings
        self.context.check_fields(item, path)
        id = self.context.identify(item.id, "staticRoutes", item.name, path, seen)
        network = self.values.network(item.network_cidr, (*path, "networkCidr"))
        if not item.next_hops:
            findings.error("MISSING_FIELD", (*path, "nextHops"), "a static route needs a next hop")
            return None
        hops = [self._next_hop(hop, network, (*path, "nextHops", i)) for i, hop in enumerate(item.next_hops)]
        if network is None or None in hops:
            return None
        return StaticRoute(id, item.name, network, tuple(hop for hop in hops if hop))

    def _next_hop(self, item: schema.NextHop, network: IPNetwork | None, path: Path) -> NextHop | None:
        findings = self.context.findings
        place = (*path, "ipAddress")
        address = self.values.host(item.ip_address, place)
        scope = self._scope(item.scope, (*path, "scope"))
        if address is None or scope is None:
            return None
        if network is not None and network.version != address.version:
            findings.error("CONFLICT", place, f"the next hop of the IPv{network.version} route is {address}")
            return None
        reachable = (a for a in self.attached if a.network.version == address.version and address in a.network)
        home = next(reachable, None)
        if home is None:
            if self.complete:
                findings.error("CONFLICT", place, f"{address} is in no subnet that is attached to the edge")
            return None
        if address == home.own:
            findings.error("CONFLICT", place, f"{address} is the edge's own address")
            return None
        if scope and scope != home.port:
            message = f"{address} is in a subnet of {quoted(home.port)}, not of {quoted(scope)}"
            findings.error("CONFLICT", place, message)
            return None
        return NextHop(address, item.admin_distance or 1, scope)

    def _scope(self, item: schema.Scope | str | None, path: Path) -> str | None:
        """The port that a scope names, '' for none given, None after a problem."""
        if item is None or item == "":
            return ""
        if isinstance(item, schema.Scope):
            if item.scope_type == "SYSTEM_OWNED":
                self.context.not_emulated(path, "a SYSTEM_OWNED scope", "the next hop is looked up by its address")
                return ""
            if not item.id and not item.name:
                return ""
        ports: Index[str] = Index("uplink or network")
        for id, name in self._port_ids.items():
            ports.add(id, name, name)
        reference: schema.AnyReference = item if isinstance(item, str) else {"id": item.id, "name": item.name}
        if not self.complete:
            return ports.find(reference, path, type(self.context.findings)())
        return ports.find(reference, path, self.context.findings)
