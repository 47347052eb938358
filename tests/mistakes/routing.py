"""Mistakes in the gateway, its uplinks, the networks and static routes; see tests/unit/test_document_problems.py."""

from __future__ import annotations

MISTAKES: list[tuple[str, ...]] = [
    (
        "long prefix",
        "prefixLength: 24",
        "prefixLength: 33",
        "5:63 edgeGateway.edgeGatewayUplinks[0].subnets.values[0].prefixLength OUT_OF_RANGE",
    ),
    (
        "no prefix",
        "prefixLength: 24",
        "prefixLength: 0",
        "5:63 edgeGateway.edgeGatewayUplinks[0].subnets.values[0].prefixLength OUT_OF_RANGE",
    ),
    (
        "gateway is the network",
        "gateway: 10.20.0.1",
        "gateway: 10.20.0.0",
        "11:34 orgVdcNetworks[0].subnets.values[0].gateway CONFLICT",
    ),
    (
        "gateway is broadcast",
        "gateway: 10.20.0.1",
        "gateway: 10.20.0.255",
        "11:34 orgVdcNetworks[0].subnets.values[0].gateway CONFLICT",
    ),
    (
        "gateway is loopback",
        "gateway: 10.20.0.1",
        "gateway: 127.0.0.1",
        "11:34 orgVdcNetworks[0].subnets.values[0].gateway INVALID_VALUE",
    ),
    (
        "no address",
        "gateway: 10.20.0.1",
        "gateway: 10.20.0.300",
        "11:34 orgVdcNetworks[0].subnets.values[0].gateway INVALID_VALUE",
    ),
    (
        "address with a zone",
        "gateway: 10.20.0.1",
        'gateway: "fe80::1%eth0"',
        "11:34 orgVdcNetworks[0].subnets.values[0].gateway INVALID_VALUE",
    ),
    ("no gateway", "gateway: 10.20.0.1, ", "", "11:24 orgVdcNetworks[0].subnets.values[0].gateway MISSING_FIELD"),
    (
        "subnets overlap",
        "gateway: 10.20.0.1, prefixLength: 24",
        "gateway: 203.0.113.129, prefixLength: 25",
        "11:24 orgVdcNetworks[0].subnets.values[0] CONFLICT",
    ),
    (
        "primary outside",
        "primaryIp: 203.0.113.10",
        "primaryIp: 203.0.114.10",
        "5:78 edgeGateway.edgeGatewayUplinks[0].subnets.values[0].primaryIp CONFLICT",
    ),
    (
        "primary is the gateway",
        "primaryIp: 203.0.113.10",
        "primaryIp: 203.0.113.1",
        "5:78 edgeGateway.edgeGatewayUplinks[0].subnets.values[0].primaryIp CONFLICT",
    ),
    (
        "range backwards",
        "endAddress: 203.0.113.11",
        "endAddress: 203.0.113.9",
        "6:47 edgeGateway.edgeGatewayUplinks[0].subnets.values[0].ipRanges.values[0] INVALID_VALUE",
    ),
    (
        "range outside",
        "endAddress: 203.0.113.11",
        "endAddress: 203.0.114.1",
        "6:88 edgeGateway.edgeGatewayUplinks[0].subnets.values[0].ipRanges.values[0].endAddress CONFLICT",
    ),
    (
        "range holds the gateway",
        "startAddress: 203.0.113.10",
        "startAddress: 203.0.113.1",
        "6:47 edgeGateway.edgeGatewayUplinks[0].subnets.values[0].ipRanges.values[0] CONFLICT",
    ),
    (
        "next hop nowhere",
        "staticRoutes: []",
        "staticRoutes: [{name: r, networkCidr: 10.99.0.0/16, nextHops: [{ipAddress: 10.30.0.1}]}]",
        "27:76 staticRoutes[0].nextHops[0].ipAddress CONFLICT",
    ),
    (
        "next hop is the edge",
        "staticRoutes: []",
        "staticRoutes: [{name: r, networkCidr: 10.99.0.0/16, nextHops: [{ipAddress: 10.20.0.1}]}]",
        "27:76 staticRoutes[0].nextHops[0].ipAddress CONFLICT",
    ),
    (
        "next hop of the other family",
        "staticRoutes: []",
        'staticRoutes: [{name: r, networkCidr: 10.99.0.0/16, nextHops: [{ipAddress: "2001:db8::1"}]}]',
        "27:76 staticRoutes[0].nextHops[0].ipAddress CONFLICT",
    ),
    (
        "no next hop",
        "staticRoutes: []",
        "staticRoutes: [{name: r, networkCidr: 10.99.0.0/16}]",
        "27:16 staticRoutes[0].nextHops MISSING_FIELD",
    ),
    (
        "distance 0",
        "staticRoutes: []",
        "staticRoutes: [{name: r, networkCidr: 10.99.0.0/16, nextHops: [{ipAddress: 10.20.0.9, adminDistance: 0}]}]",
        "27:102 staticRoutes[0].nextHops[0].adminDistance OUT_OF_RANGE",
    ),
    (
        "route to an address",
        "staticRoutes: []",
        "staticRoutes: [{name: r, networkCidr: 10.99.0.1, nextHops: [{ipAddress: 10.20.0.9}]}]",
        "27:39 staticRoutes[0].networkCidr INVALID_VALUE",
    ),
    (
        "scope elsewhere",
        "staticRoutes: []",
        (
            "staticRoutes: [{name: r, networkCidr: 10.99.0.0/16, nextHops: "
            "[{ipAddress: 10.20.0.9, scope: {name: INTERNET}}]}]"
        ),
        "27:76 staticRoutes[0].nextHops[0].ipAddress CONFLICT",
    ),
    (
        "unknown scope",
        "staticRoutes: []",
        "staticRoutes: [{name: r, networkCidr: 10.99.0.0/16, nextHops: [{ipAddress: 10.20.0.9, scope: {name: FOO}}]}]",
        "27:94 staticRoutes[0].nextHops[0].scope DANGLING_REFERENCE",
    ),
    (
        "system-owned scope",
        "staticRoutes: []",
        (
            "staticRoutes: [{name: r, networkCidr: 10.99.0.0/16, nextHops: "
            "[{ipAddress: 10.20.0.9, scope: {name: T0, scopeType: SYSTEM_OWNED}}]}]"
        ),
        "27:94 staticRoutes[0].nextHops[0].scope NOT_EMULATED",
    ),
    (
        "network named like the uplink",
        "name: LAN-ACME",
        "name: INTERNET",
        "8:11 orgVdcNetworks[0].name DUPLICATE_NAME",
        "14:54 firewallGroups[1].members[0] DANGLING_REFERENCE",
    ),
    (
        "subinterface",
        "connectionTypeValue: INTERNAL",
        "connectionTypeValue: SUBINTERFACE",
        "10:39 orgVdcNetworks[0].connection.connectionTypeValue NOT_EMULATED",
    ),
    (
        "isolated and connected",
        "networkType: NAT_ROUTED",
        "networkType: ISOLATED",
        "10:17 orgVdcNetworks[0].connection CONFLICT",
    ),
    (
        "direct network",
        "networkType: NAT_ROUTED",
        "networkType: DIRECT",
        "9:18 orgVdcNetworks[0].networkType NOT_EMULATED",
    ),
    (
        "another router",
        "connection: {",
        "connection: {routerRef: T1-OTHER, ",
        "10:29 orgVdcNetworks[0].connection.routerRef DANGLING_REFERENCE",
    ),
    (
        "disconnected network",
        "connection: {",
        "connection: {connected: false, ",
        "10:29 orgVdcNetworks[0].connection.connected NOT_EMULATED",
    ),
    (
        "disconnected uplink",
        "- uplinkName: INTERNET",
        "- uplinkName: INTERNET\n      connected: false",
        "5:18 edgeGateway.edgeGatewayUplinks[0].connected NOT_EMULATED",
    ),
    (
        "IP spaces",
        "- uplinkName: INTERNET",
        "- uplinkName: INTERNET\n      usingIpSpace: true",
        "5:21 edgeGateway.edgeGatewayUplinks[0].usingIpSpace NOT_EMULATED",
    ),
    (
        "distributed only",
        "name: T1-ACME",
        "name: T1-ACME\n  deploymentMode: DISTRIBUTED_ONLY",
        "3:19 edgeGateway.deploymentMode NOT_EMULATED",
    ),
    (
        "DHCP of a network",
        "name: LAN-ACME",
        "name: LAN-ACME\n    dhcp: {enabled: true}",
        "9:11 orgVdcNetworks[0].dhcp NOT_EMULATED",
    ),
]
