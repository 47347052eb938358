"""Sections that are known and not emulated, or only carried: their keys and the fields inside.

The fields are CloudAPI's (vmware/vcd-api-schemas, ``schemas/openapi``; vmware/go-vcloud-director, ``types/v56``).  They
are here so that a misspelt one is an error today, and not on the day the service is emulated, and so that a difference
can tell a default written out from a change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from edge.document import schema
from edge.document.problems import Findings, Path

Shape = Mapping[str, Any]
"""Field → the Shape of what stands there (for a list: of each of its entries), or else its default, None for none."""


def _fields(names: str, **more: Any) -> Shape:
    return {**dict.fromkeys(names.split()), **more}


_RANGE: Final = _fields("startAddress endAddress")
_PROPERTIES: Final = _fields(
    "",
    securityType="DEFAULT",
    ikeConfiguration=_fields("ikeVersion encryptionAlgorithms digestAlgorithms dhGroups saLifeTime"),
    tunnelConfiguration=_fields(
        "perfectForwardSecrecyEnabled dfPolicy encryptionAlgorithms digestAlgorithms dhGroups saLifeTime"
    ),
    dpdConfiguration=_fields("probeInterval"),
)
_TUNNEL: Final = _fields(
    "id name description preSharedKey certificateRef caCertificateRef version status",
    enabled=True,
    logging=False,
    authenticationMode="PSK",
    securityType="DEFAULT",
    connectorInitiationMode="INITIATOR",
    localEndpoint=_fields("localId localAddress localNetworks"),
    remoteEndpoint=_fields("remoteId remoteAddress remoteNetworks"),
    connectionProperties=_PROPERTIES,
)
_L2VPN_TUNNEL: Final = _fields(
    "id name description localEndpointIp localEndpointIP remoteEndpointIp remoteEndpointIP tunnelInterface "
    "preSharedKey connectorInitiationMode peerCode version status",
    enabled=True,
    logging=False,
    sessionMode="SERVER",
    stretchedNetworks=_fields("networkRef tunnelId"),
)
_ZONE: Final = _fields("id displayName upstreamServers dnsDomainNames")
_DNS: Final = _fields(
    "listenerIp snatRuleExternalIpAddress version status",
    enabled=False,
    snatRuleEnabled=False,
    defaultForwarderZone=_ZONE,
    conditionalForwarderZones=_ZONE,
)
DHCP: Final = _fields(
    "ipAddress dnsServers version status",
    enabled=False,
    leaseTime=86_400,
    mode="EDGE",
    dhcpPools=_fields("maxLeaseTime defaultLeaseTime", enabled=True, ipRange=_RANGE),
)
_DHCP_BINDING: Final = _fields(
    "id name description bindingType macAddress ipAddress leaseTime dnsServers version",
    dhcpV4BindingConfig=_fields("gatewayIpAddress hostName"),
    dhcpV6BindingConfig=_fields("domainNames sntpServers"),
)
_BGP: Final = _fields(
    "localASNumber version status",
    enabled=False,
    ecmp=False,
    gracefulRestart=_fields("", mode="HELPER_ONLY", restartTimer=180, staleRouteTimer=600),
)
_BGP_NEIGHBOR: Final = _fields(
    "id neighborAddress remoteASNumber neighborPassword allowASIn ipAddressTypeFiltering gracefulRestartMode "
    "inRoutesFilterRef outRoutesFilterRef version",
    keepAliveTimer=60,
    holdDownTimer=180,
    bfd=_fields("", enabled=False, bfdInterval=1000, declareDeadMultiple=3),
)
_PREFIX_LIST: Final = _fields(
    "id name description version", prefixes=_fields("network action greaterThanEqualTo lessThanEqualTo")
)
_QOS_PROFILE: Final = _fields(
    "id name description committedBandwidth burstSize excessAction nsxTManagerRef displayName"
)
_HEALTH: Final = "healthStatus healthMessage detailedHealthMessage"
_VIRTUAL_SERVICE: Final = _fields(
    f"id name description status gatewayRef loadBalancerPoolRef serviceEngineGroupRef certificateRef virtualIpAddress "
    f"ipv6VirtualIpAddress {_HEALTH}",
    enabled=True,
    transparentModeEnabled=False,
    applicationProfile=_fields("name type systemDefined"),
    servicePorts=_fields(
        "portStart portEnd", sslEnabled=False, tcpUdpProfile=_fields("name systemDefined", type="TCP_PROXY")
    ),
)
_POOL: Final = _fields(
    f"id name description status gatewayRef memberGroupRef caCertificateRefs commonNameCheckEnabled domainNames "
    f"memberCount enabledMemberCount upMemberCount virtualServiceRefs {_HEALTH}",
    enabled=True,
    algorithm="LEAST_CONNECTIONS",
    defaultPort=80,
    gracefulTimeoutPeriod=1,
    passiveMonitoringEnabled=True,
    sslEnabled=False,
    healthMonitors=_fields("name type systemDefined"),
    persistenceProfile=_fields("name type value"),
    members=_fields("ipAddress port healthStatus detailedHealthMessage markedDownBy", ratio=1, enabled=True),
)
_LOAD_BALANCER: Final = _fields(
    "supportedFeatureSet licenseType serviceNetworkDefinition ipv6ServiceNetworkDefinition loadBalancerCloudRef "
    "status version",
    enabled=False,
    transparentModeEnabled=False,
    pools=_POOL,
    virtualServices=_VIRTUAL_SERVICE,
)
RULE: Final = _fields(
    " ".join(info.alias or name for name, info in schema.FirewallRule.model_fields.items()),
    enabled=True,
    logging=False,
    direction="IN_OUT",
    ipProtocol="IPV4_IPV6",
)
VM_CRITERIA: Final = _fields("", rules=_fields("attributeType attributeValue operator"))

NOT_EMULATED: Final[Mapping[str, Shape | None]] = {
    "ipsecTunnels": _TUNNEL,
    "ipsec/tunnels/{id}": _TUNNEL,
    "ipsec/tunnels/{id}/connectionProperties": _PROPERTIES,
    "l2vpnTunnels": _L2VPN_TUNNEL,
    "l2vpn/tunnels/{id}": _L2VPN_TUNNEL,
    "dns": _DNS,
    "dhcp": DHCP,
    "dhcpForwarder": _fields("dhcpServers version status", enabled=False),
    "slaacProfile": _fields(
        "version status", enabled=False, mode="DISABLED", dnsConfig=_fields("domainNames dnsServerIpv6Addresses")
    ),
    "qos": _fields("version status", ingressProfile=_QOS_PROFILE, egressProfile=_QOS_PROFILE),
    "bgp": _BGP,
    "routing/bgp/neighbors": _BGP_NEIGHBOR,
    "routing/bgp/prefixLists": _PREFIX_LIST,
    "routeAdvertisement": _fields("subnets version status", enable=False),
    "loadBalancer": _LOAD_BALANCER,
    "loadBalancer/virtualServices": _VIRTUAL_SERVICE,
    "loadBalancer/pools": _POOL,
    "distributedFirewall": RULE,
    "vdcGroups/{id}/dfwPolicies/default/rules": RULE,
    "orgVdcNetworks/{id}/dhcp": DHCP,
    "orgVdcNetworks/{id}/dhcp/bindings": _DHCP_BINDING,
    "ipSpaces": None,
    # One object of a list that has a section of its own, and a list of edges: a document describes one.
    "edgeGateways": None,
    "firewall/rules/{id}": None,
    "nat/rules/{id}": None,
    "firewallGroups/{id}": None,
}
"""Sections that must ask for nothing, with the fields of their objects; None where any are taken."""

CARRIED: Final = (
    "bundle",
    "apiVersion",
    "usedIpAddresses",
    "securityTags",
    "ipsec/tunnels/defaultConnectionProperties",
    "ipsec/tunnels/{id}/status",
    "ipsec/tunnels/{id}/statistics",
    "l2vpn/tunnels/{id}/status",
    "l2vpn/tunnels/{id}/metrics",
    "loadBalancer/virtualServiceSummaries",
    "loadBalancer/poolSummaries",
    "loadBalancer/serviceEngineGroups",
    "firewallGroups/summaries",
    "firewallGroups/{id}/associatedVMs",
    "orgVdcNetworks/{id}/allocatedIpAddresses",
    "externalNetworks/{id}/availableIpAddresses",
    "ssl/certificateLibrary",
)
"""Sections that say something about an edge and change nothing of what it does."""

ENDPOINTS: Final = {
    "firewall/rules": "firewallRules",
    "nat/rules": "natRules",
    "ipsec/tunnels": "ipsecTunnels",
    "l2vpn/tunnels": "l2vpnTunnels",
    "routing/staticRoutes": "staticRoutes",
    "routing/advertisement": "routeAdvertisement",
    "routing/bgp": "bgp",
}
"""Keys of a bundle of CloudAPI answers, named after the endpoint, and the section that each one is."""

KNOWN_KEYS: Final = (*schema.SECTIONS, *NOT_EMULATED, *CARRIED, *ENDPOINTS)

_PATTERNS: Final = [
    (re.compile(re.escape(key).replace(r"\{id\}", "[^/]+")), key) for key in KNOWN_KEYS if "{id}" in key
]


def section_of(key: str) -> str | None:
    """The section that a key of a document stands for, ``{id}`` in place of an id; None for a key that is unknown."""
    if key in ENDPOINTS:
        return ENDPOINTS[key]
    if key in KNOWN_KEYS:
        return key
    return next((section for pattern, section in _PATTERNS if pattern.fullmatch(key)), None)


def check_fields(value: Any, shape: Shape | None, path: Path, findings: Findings) -> None:
    """Report the fields of an object, or of the objects of a list, bare or wrapped, that a shape does not have; and a
    list's page counts without the list."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_fields(item, shape, (*path, index), findings)
    elif isinstance(value, dict):
        if isinstance(value.get("values", ""), list | None):
            check_fields(value["values"], shape, path, findings)
            shape = dict.fromkeys(schema.PAGE_KEYS)
        elif not schema.PAGE_COUNTS.isdisjoint(value):
            findings.error("MISSING_FIELD", (*path, "values"), "the list itself, 'values', is missing")
            return
        for key, inner in value.items():
            if shape is None:
                continue
            if key not in shape:
                message = f"no such field{findings.nearest(str(key), shape)}"
                findings.error("UNKNOWN_FIELD", (*path, key), message, at_key=True)
            elif isinstance(shape[key], Mapping):
                check_fields(inner, shape[key], (*path, key), findings)
