"""The shape of an edge document: which fields there are, of which type, in which range.

Field names, types and ranges are CloudAPI's (vmware/vcd-api-schemas, ``schemas/openapi``; API 37.2 client models of
vmware/cloud-provider-for-cloud-director).  A model says three things of a known field: it is *emulated* (typed here,
read by the resolver), it is *carried* (read-only or descriptive, any value, ignored), or it is *not emulated*: then
``NOT_EMULATED`` gives the values under which it means nothing.

Whether references lead anywhere, whether addresses and ports can be read and whether values fit together is the
resolver's business: it sees the whole document.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from edge.document.text import MAX_DEPTH

PAGE_KEYS: Final = frozenset(
    ("resultTotal", "pageCount", "page", "pageSize", "associations", "values", "status", "more")
)
"""What CloudAPI puts beside ``values`` around a list."""

PAGE_COUNTS: Final = frozenset(("resultTotal", "pageCount", "page", "pageSize"))
"""Those of them that nothing but a list has."""


def _unwrap(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("values", ""), list | None) and PAGE_KEYS.issuperset(value):
        return value["values"] or []
    return value


def not_too_deep(value: Any) -> Any:
    """Values that are only carried through may be anything, but not so deep that writing them out would fail."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return value
    raise PydanticCustomError("INVALID_VALUE", "nested deeper than the {limit} levels allowed", {"limit": MAX_DEPTH})


Carried = Annotated[Any, BeforeValidator(not_too_deep)]
"""A field that changes nothing here and is kept in the document."""

Text = str | None
Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")]
"""Not empty and on one line: control characters in a name would come out again wherever the name is printed."""


class Reference(TypedDict, total=False):
    """CloudAPI's EntityReference."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    name: str | None
    id: str | None


AnyReference = str | Reference


class Item(BaseModel):
    """Base of every object: exact types, no unknown fields, CloudAPI's spelling."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True)

    NOT_EMULATED: ClassVar[dict[str, tuple[Any, ...]]] = {}
    """Attribute → the values, besides null, '' and empty ones, that ask for nothing."""


class IpRange(Item):
    """A range of addresses of a subnet."""

    start_address: str
    end_address: str


IpRanges = Annotated[list[IpRange], BeforeValidator(_unwrap)]


class UplinkSubnet(Item):
    """A subnet of an uplink, with what is allocated of it."""

    gateway: str
    prefix_length: Annotated[int, Field(ge=1, le=128)]
    ip_ranges: IpRanges | None = None
    primary_ip: Text = None
    enabled: bool | None = None
    dns_server1: Carried = None
    dns_server2: Carried = None
    dns_suffix: Carried = None
    total_ip_count: Carried = None
    used_ip_count: Carried = None
    auto_allocate_ip_ranges: Carried = None

    NOT_EMULATED = {"enabled": (True,)}


class Uplink(Item):
    """A connection to an external network."""

    uplink_id: Text = None
    uplink_name: Name
    subnets: Annotated[list[UplinkSubnet], BeforeValidator(_unwrap)] | None = None
    connected: bool | None = None
    using_ip_space: bool | None = None
    backing_type: Text = None
    dedicated: Carried = None  # whose the external network is; decides who may advertise, not what the edge does
    interface_name: Carried = None
    vrf_lite_backed: Carried = None
    quick_add_allocated_ip_count: Carried = None

    NOT_EMULATED = {
        "connected": (True,),
        "using_ip_space": (False,),
        "backing_type": ("NSXT_TIER0", "NSXT_VRF_TIER0"),  # another one is a segment, not a way to a tier 0
    }


class GatewayBacking(Item):
    """What the gateway is made of."""

    gateway_type: Literal["NSXT_BACKED", "NSXT_IMPORTED", "NSXV_BACKED"] | None = None
    backing_id: Carried = None
    network_provider: Carried = None

    NOT_EMULATED = {"gateway_type": ("NSXT_BACKED", "NSXT_IMPORTED")}


class EdgeGateway(Item):
    """The gateway itself."""

    id: Text = None
    name: Name
    edge_gateway_uplinks: Any = None  # a list of Uplink, validated one by one
    deployment_mode: Literal["ACTIVE_STANDBY", "DISTRIBUTED_ONLY"] | None = None
    using_ip_space: bool | None = None
    description: Text = None
    status: Carried = None
    version: Carried = None
    owner_ref: Carried = None
    org_ref: Carried = None
    org_vdc: Carried = None
    org_vdc_network_count: Carried = None
    gateway_backing: GatewayBacking | None = None
    non_distributed_routing_enabled: bool | None = None
    edge_cluster_config: Carried = None
    service_network_definition: Carried = None
    distributed_routing_enabled: Carried = None  # NSX-V's distributed router; NSX-T edges always have one
    distributed_router_uplink_network_definition: Carried = None

    NOT_EMULATED = {"deployment_mode": ("ACTIVE_STANDBY",), "using_ip_space": (False,)}


ConnectionName = Literal["INTERNAL", "DISTRIBUTED", "NON_DISTRIBUTED", "SUBINTERFACE"]


class Connection(Item):
    """How a network hangs on the edge."""

    router_ref: AnyReference | None = None
    connection_type: ConnectionName | None = None
    connection_type_value: ConnectionName | None = None
    connected: bool | None = None

    NOT_EMULATED = {"connected": (True,)}


class NetworkSubnet(Item):
    """A subnet of a network."""

    gateway: str
    prefix_length: Annotated[int, Field(ge=1, le=128)]
    ip_ranges: IpRanges | None = None
    enabled: bool | None = None
    dns_server1: Carried = None
    dns_server2: Carried = None
    dns_suffix: Carried = None
    primary_ip: Carried = None
    total_ip_count: Carried = None
    used_ip_count: Carried = None

    NOT_EMULATED = {"enabled": (True,)}


class Network(Item):
    """An organization network."""

    id: Text = None
    name: Name
    network_type: Literal["NAT_ROUTED", "ISOLATED", "DIRECT", "OPAQUE", "CROSS_VDC"] | None = None
    connection: Connection | None = None
    guest_vlan_tagging_allowed: bool | None = None
    subnets: Annotated[list[NetworkSubnet], BeforeValidator(_unwrap)] | None = None
    dhcp: Carried = None
    description: Text = None
    status: Carried = None
    version: Carried = None
    owner_ref: Carried = None
    org_ref: Carried = None
    org_vdc: Carried = None
    org_vdc_is_nsx_t_backed: Annotated[Carried, Field(alias="orgVdcIsNsxTBacked")] = None
    backing_network_id: Carried = None
    backing_network_type: Carried = None
    parent_network_id: Carried = None
    is_default_network: Carried = None
    shared: Carried = None
    enable_dual_subnet_network: Carried = None
    last_task_failure_message: Carried = None
    retain_nic_resources: Carried = None
    cross_vdc_network_id: Carried = None
    cross_vdc_network_location_id: Carried = None
    overlay_id: Carried = None
    total_ip_count: Carried = None
    used_ip_count: Carried = None
    route_advertised: Carried = None  # what the provider's router is told
    security_groups: Carried = None
    segment_profile_template_ref: Carried = None

    NOT_EMULATED = {"dhcp": (), "guest_vlan_tagging_allowed": (False,)}


GroupType = Literal["IP_SET", "STATIC_MEMBERS", "SECURITY_GROUP", "VM_CRITERIA"]


class FirewallGroup(Item):
    """An IP set, a static group of networks, or a group of machines by criteria."""

    id: Text = None
    name: Name
    type_value: GroupType | None = None
    type: GroupType | None = None
    ip_addresses: Annotated[list[str], BeforeValidator(_unwrap)] | None = None
    members: Annotated[list[AnyReference], BeforeValidator(_unwrap)] | None = None
    vm_criteria: Carried = None
    description: Text = None
    status: Carried = None
    version: Carried = None
    owner_ref: Carried = None
    org_ref: Carried = None
    edge_gateway_ref: Carried = None
    network_provider_scope: Carried = None


Ports = Annotated[list[str], BeforeValidator(_unwrap)]


class ApplicationPort(Item):
    """One protocol of a profile."""

    name: Text = None
    protocol: Literal["TCP", "UDP", "ICMPv4", "ICMPv6"]
    destination_ports: Ports | None = None


class ApplicationPortProfile(Item):
    """A named list of application ports."""

    id: Text = None
    name: Name
    scope: Literal["SYSTEM", "PROVIDER", "TENANT"] | None = None
    application_ports: Annotated[list[ApplicationPort], BeforeValidator(_unwrap)] | None = None
    usable_for_nat: Annotated[bool | None, Field(alias="usableForNAT")] = None
    description: Text = None
    status: Carried = None
    version: Carried = None
    owner_ref: Carried = None
    org_ref: Carried = None
    context_entity_id: Carried = None
    network_provider_scope: Carried = None


class Layer4Item(Item):
    """A protocol with ports of both sides, in firewall rules of version 2."""

    protocol: Literal["TCP", "UDP", "ICMPv4", "ICMPv6"]
    source_ports: Ports | None = None
    destination_ports: Ports | None = None


class RawPortProtocol(Item):
    """The wrapper that version 2 puts around it."""

    layer4_item: Layer4Item


References = Annotated[list[AnyReference], BeforeValidator(_unwrap)]
Addresses = Annotated[list[str], BeforeValidator(_unwrap)]


class FirewallRule(Item):
    """A rule, of either version of the API."""

    id: Text = None
    name: Name
    action_value: Literal["ALLOW", "DROP", "REJECT"] | None = None
    action: Literal["ALLOW", "DROP", "REJECT"] | None = None
    direction: Literal["IN", "OUT", "IN_OUT"] | None = None
    ip_protocol: Literal["IPV4", "IPV6", "IPV4_IPV6"] | None = None
    enabled: bool | None = None
    active: bool | None = None
    logging: bool | None = None
    source_firewall_groups: References | None = None
    destination_firewall_groups: References | None = None
    application_port_profiles: References | None = None
    source_firewall_ip_addresses: Addresses | None = None
    destination_firewall_ip_addresses: Addresses | None = None
    raw_port_protocols: Annotated[list[RawPortProtocol], BeforeValidator(_unwrap)] | None = None
    comments: Annotated[str, Field(max_length=2048)] | None = None
    network_context_profiles: Carried = None
    applied_to: Carried = None
    relative_position: Carried = None
    source_groups_excluded: bool | None = None
    destination_groups_excluded: bool | None = None
    description: Text = None
    status: Carried = None
    version: Carried = None
    logging_id: Carried = None

    NOT_EMULATED = {
        "network_context_profiles": (),
        "applied_to": (),
        "relative_position": (),
        "source_groups_excluded": (False,),
        "destination_groups_excluded": (False,),
    }


class FirewallRules(Item):
    """The three lists are validated rule by rule."""

    status: Carried = None
    version: Carried = None
    system_rules: Any = None
    user_defined_rules: Any = None
    default_rules: Any = None


NatTypeName = Literal["DNAT", "SNAT", "NO_DNAT", "NO_SNAT", "REFLEXIVE"]


class NatRule(Item):
    """A NAT rule of any type."""

    id: Text = None
    name: Name
    type: NatTypeName | None = None
    rule_type: NatTypeName | None = None
    external_addresses: Text = None
    internal_addresses: Text = None
    dnat_external_port: Text = None
    snat_destination_addresses: Text = None
    application_port_profile: AnyReference | None = None
    firewall_match: Literal["MATCH_INTERNAL_ADDRESS", "MATCH_EXTERNAL_ADDRESS", "BYPASS"] | None = None
    priority: Annotated[int, Field(ge=0, le=2_147_481_599)] | None = None
    enabled: bool | None = None
    active: bool | None = None
    logging: bool | None = None
    internal_port: Text = None
    applied_to: Carried = None
    policy_based_vpn_mode: Literal["BYPASS", "MATCH"] | None = None
    system_rule: bool | None = None
    description: Text = None
    status: Carried = None
    version: Carried = None

    NOT_EMULATED = {
        "internal_port": ("ANY",),
        "applied_to": (),
        "policy_based_vpn_mode": ("BYPASS",),
        "system_rule": (False,),
    }


class Scope(Item):
    """The port that a next hop is reached by."""

    id: Text = None
    name: Text = None
    scope_type: Literal["NETWORK", "SYSTEM_OWNED"] | None = None


class NextHop(Item):
    """One next hop of a static route."""

    ip_address: str
    admin_distance: Annotated[int, Field(ge=1, le=255)] | None = None
    scope: Scope | str | None = None


class StaticRoute(Item):
    """A route of the tenant's own."""

    id: Text = None
    name: Name
    network_cidr: str
    next_hops: Annotated[list[NextHop], BeforeValidator(_unwrap)] | None = None
    description: Text = None
    system_owned: bool | None = None
    status: Carried = None
    version: Carried = None

    NOT_EMULATED = {"system_owned": (False,)}


Seconds = Annotated[int, Field(ge=1, le=4_320_000)]
Count = Annotated[int, Field(ge=1, le=16_777_216)]


class Timers(Item):
    """Idle timeouts."""

    tcp_first: Seconds | None = None
    tcp_opening: Seconds | None = None
    tcp_established: Seconds | None = None
    tcp_fin_wait: Seconds | None = None
    tcp_closing: Seconds | None = None
    tcp_closed: Seconds | None = None
    udp_first: Seconds | None = None
    udp_single: Seconds | None = None
    udp_multiple: Seconds | None = None
    icmp_first: Seconds | None = None
    icmp_error_reply: Seconds | None = None
    other: Seconds | None = None


class BlockedPorts(Item):
    """Ports of one protocol that the provider drops."""

    protocol: Literal["TCP", "UDP"]
    ports: Ports


class Options(Item):
    """The emulator's own switches."""

    profile: Literal["nsx", "strict-rfc"] | None = None
    limits: Literal["vcd", "report"] | None = None
    tcp_strict: bool | None = None
    timers: Timers | None = None
    provider_filter: bool | list[BlockedPorts] | None = None
    nat_tie_break: Literal["LIST_ORDER"] | None = None
    sessions_on_change: Literal["KEEP", "RECHECK", "FLUSH"] | None = None
    east_west_firewall: bool | None = None
    snat_service_port: Literal["IGNORE", "MATCH"] | None = None
    reject_code: Annotated[int, Field(ge=0, le=15)] | None = None
    mtu: Annotated[int, Field(ge=1280, le=65_535)] | None = None
    icmp_error_rate: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    fragment_timeout: Annotated[int, Field(ge=1, le=255)] | None = None
    snat_port_range: Text = None
    max_sessions: Count | None = None
    max_sessions_per_source: Count | None = None
    max_half_open: Count | None = None
    max_fragments: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None


SECTIONS: Final = (
    "edgeGateway",
    "orgVdcNetworks",
    "firewallGroups",
    "applicationPortProfiles",
    "firewallRules",
    "natRules",
    "staticRoutes",
    "options",
)
"""The sections that are emulated; :mod:`edge.document.services` has the others."""
