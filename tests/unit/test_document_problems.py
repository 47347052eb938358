"""Bad documents: each line is one mistake in an otherwise good document, and where and as what it is reported.

(what is wrong, text to replace in tests/data/edge.yaml, its replacement, "line:column path CODE" of each problem)
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.document import loads
from edge.errors import DocumentError

GOOD = (Path(__file__).parent.parent / "data" / "edge.yaml").read_text(encoding="utf-8")

MISTAKES: list[tuple[str, ...]] = [
    ("unknown field", "logging: true", "loging: true", "20:45 firewallRules.userDefinedRules[0].loging UNKNOWN_FIELD"),
    ("yaml 1.1 boolean", "logging: true", "logging: yes", "20:54 firewallRules.userDefinedRules[0].logging WRONG_TYPE"),
    ("number as name", "name: in-web", "name: 5", "19:14 firewallRules.userDefinedRules[0].name WRONG_TYPE"),
    ("no name", "name: in-web, ", "", "19:7 firewallRules.userDefinedRules[0].name MISSING_FIELD"),
    ("empty name", "name: in-web", 'name: ""', "19:14 firewallRules.userDefinedRules[0].name INVALID_VALUE"),
    (
        "unknown group",
        "[web-srv]",
        "[web-srvv]",
        "19:88 firewallRules.userDefinedRules[0].destinationFirewallGroups[0] DANGLING_REFERENCE",
    ),
    (
        "unknown id beside a known name",
        "[web-srv]",
        "[{name: web-srv, id: x}]",
        "19:88 firewallRules.userDefinedRules[0].destinationFirewallGroups[0] DANGLING_REFERENCE",
    ),
    (
        "text for a list",
        "[web-srv]",
        "web-srv",
        "19:87 firewallRules.userDefinedRules[0].destinationFirewallGroups WRONG_TYPE",
    ),
    (
        "number as reference",
        "[web-srv]",
        "[5]",
        "19:88 firewallRules.userDefinedRules[0].destinationFirewallGroups[0] WRONG_TYPE",
    ),
    (
        "unknown field of a reference",
        "[web-srv]",
        "[{nam: web-srv}]",
        "19:89 firewallRules.userDefinedRules[0].destinationFirewallGroups[0].nam UNKNOWN_FIELD",
    ),
    (
        "empty reference",
        "[web-srv]",
        "[{}]",
        "19:88 firewallRules.userDefinedRules[0].destinationFirewallGroups[0] MISSING_FIELD",
    ),
    (
        "enum in lower case",
        "actionValue: ALLOW",
        "actionValue: allow",
        "19:35 firewallRules.userDefinedRules[0].actionValue INVALID_VALUE",
    ),
    (
        "number for an enum",
        "actionValue: ALLOW",
        "actionValue: 5",
        "19:35 firewallRules.userDefinedRules[0].actionValue WRONG_TYPE",
    ),
    (
        "action in lower case, by its older name",
        "actionValue: ALLOW",
        "action: allow",
        "19:30 firewallRules.userDefinedRules[0].action INVALID_VALUE",
    ),
    (
        "NAT type in lower case, by its older name",
        "type: DNAT",
        "ruleType: dnat",
        "24:31 natRules[0].ruleType INVALID_VALUE",
    ),
    (
        "group type in lower case, by its older name",
        "typeValue: IP_SET",
        "type: ip_set",
        "13:27 firewallGroups[0].type INVALID_VALUE",
    ),
    ("no action", ", actionValue: ALLOW", "", "19:7 firewallRules.userDefinedRules[0].actionValue MISSING_FIELD"),
    (
        "two actions",
        "actionValue: ALLOW",
        "action: ALLOW, actionValue: DROP",
        "19:50 firewallRules.userDefinedRules[0].actionValue CONFLICT",
    ),
    (
        "enabled and not active",
        "actionValue: ALLOW",
        "actionValue: ALLOW, enabled: true, active: false",
        "19:65 firewallRules.userDefinedRules[0].active CONFLICT",
    ),
    (
        "context profiles",
        "actionValue: ALLOW",
        "actionValue: ALLOW, networkContextProfiles: [{name: x}]",
        "19:66 firewallRules.userDefinedRules[0].networkContextProfiles NOT_EMULATED",
    ),
    (
        "applied to",
        "actionValue: ALLOW",
        "actionValue: ALLOW, appliedTo: {name: LAN-ACME}",
        "19:53 firewallRules.userDefinedRules[0].appliedTo NOT_EMULATED",
    ),
    (
        "excluded groups",
        "actionValue: ALLOW",
        "actionValue: ALLOW, sourceGroupsExcluded: true",
        "19:64 firewallRules.userDefinedRules[0].sourceGroupsExcluded NOT_EMULATED",
    ),
    (
        "inline address",
        "actionValue: ALLOW",
        "actionValue: ALLOW, sourceFirewallIpAddresses: [10.0.0.0/8, 10.0.0]",
        "19:82 firewallRules.userDefinedRules[0].sourceFirewallIpAddresses[1] INVALID_VALUE",
    ),
    (
        "raw port",
        "actionValue: ALLOW",
        'actionValue: ALLOW, rawPortProtocols: [{layer4Item: {protocol: TCP, sourcePorts: ["70000"]}}]',
        "19:104 firewallRules.userDefinedRules[0].rawPortProtocols[0].layer4Item.sourcePorts[0] OUT_OF_RANGE",
    ),
    (
        "raw protocol",
        "actionValue: ALLOW",
        "actionValue: ALLOW, rawPortProtocols: [{layer4Item: {protocol: GRE}}]",
        "19:85 firewallRules.userDefinedRules[0].rawPortProtocols[0].layer4Item.protocol INVALID_VALUE",
    ),
    ("negative priority", "priority: 10", "priority: -1", "25:81 natRules[0].priority OUT_OF_RANGE"),
    ("priority past the last", "priority: 10", "priority: 2147481600", "25:81 natRules[0].priority OUT_OF_RANGE"),
    ("priority as text", "priority: 10", 'priority: "10"', "25:81 natRules[0].priority WRONG_TYPE"),
    ("priority as fraction", "priority: 10", "priority: 1.5", "25:81 natRules[0].priority WRONG_TYPE"),
    (
        "port as number",
        'dnatExternalPort: "80"',
        "dnatExternalPort: 80",
        "24:84 natRules[0].dnatExternalPort WRONG_TYPE",
    ),
    (
        "ports backwards",
        'dnatExternalPort: "80"',
        'dnatExternalPort: "90-80"',
        "24:84 natRules[0].dnatExternalPort INVALID_VALUE",
    ),
    (
        "port past the last",
        'dnatExternalPort: "80"',
        'dnatExternalPort: "90000"',
        "24:84 natRules[0].dnatExternalPort OUT_OF_RANGE",
    ),
    (
        "port by name",
        'dnatExternalPort: "80"',
        "dnatExternalPort: http",
        "24:84 natRules[0].dnatExternalPort INVALID_VALUE",
    ),
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
        "set entry backwards",
        "10.20.0.20-10.20.0.25",
        "10.20.0.20-10.20.0.2",
        "13:66 firewallGroups[0].ipAddresses[1] INVALID_VALUE",
    ),
    (
        "set entry cut short",
        "10.20.0.20-10.20.0.25",
        "10.20.0.20-2",
        "13:66 firewallGroups[0].ipAddresses[1] INVALID_VALUE",
    ),
    (
        "unknown member",
        "members: [LAN-ACME]",
        "members: [LAN]",
        "14:54 firewallGroups[1].members[0] DANGLING_REFERENCE",
    ),
    (
        "one name for two groups of two types",
        "name: lan, typeValue: STATIC_MEMBERS",
        "name: web-srv, typeValue: STATIC_MEMBERS",
        "19:88 firewallRules.userDefinedRules[0].destinationFirewallGroups[0] AMBIGUOUS_REFERENCE",
        "21:62 firewallRules.userDefinedRules[1].sourceFirewallGroups[0] DANGLING_REFERENCE",
    ),
    (
        "one name for two groups of one type",
        "name: lan, typeValue: STATIC_MEMBERS, members: [LAN-ACME]",
        "name: web-srv, typeValue: IP_SET",
        "14:12 firewallGroups[1].name DUPLICATE_NAME",
        "19:88 firewallRules.userDefinedRules[0].destinationFirewallGroups[0] AMBIGUOUS_REFERENCE",
        "21:62 firewallRules.userDefinedRules[1].sourceFirewallGroups[0] DANGLING_REFERENCE",
    ),
    (
        "addresses in a static group",
        "typeValue: IP_SET",
        "typeValue: STATIC_MEMBERS",
        "13:61 firewallGroups[0].ipAddresses CONFLICT",
    ),
    ("no group type", "typeValue: IP_SET, ", "", "13:5 firewallGroups[0].typeValue MISSING_FIELD"),
    (
        "criteria",
        "typeValue: IP_SET, ipAddresses: [10.20.0.10, 10.20.0.20-10.20.0.25]",
        "typeValue: VM_CRITERIA",
        "13:32 firewallGroups[0].typeValue NOT_EMULATED",
    ),
    (
        "unknown protocol",
        "protocol: TCP",
        "protocol: GRE",
        "16:52 applicationPortProfiles[0].applicationPorts[0].protocol INVALID_VALUE",
    ),
    (
        "profile port as number",
        '"8080"',
        "8080",
        "16:76 applicationPortProfiles[0].applicationPorts[0].destinationPorts[0] WRONG_TYPE",
    ),
    ("profile with two ports in NAT", '"8080"', '"8080", "9090"', "25:61 natRules[0].applicationPortProfile CONFLICT"),
    (
        "ICMP with ports",
        "protocol: TCP",
        "protocol: ICMPv4",
        "16:78 applicationPortProfiles[0].applicationPorts[0].destinationPorts CONFLICT",
    ),
    (
        "profile without ports",
        'applicationPorts: [{protocol: TCP, destinationPorts: ["8080"]}]',
        "applicationPorts: []",
        "16:40 applicationPortProfiles[0].applicationPorts MISSING_FIELD",
    ),
    (
        "shipped profile with two ports in NAT",
        "applicationPortProfile: web-8080",
        "applicationPortProfile: DNS IN",
        "25:61 natRules[0].applicationPortProfile CONFLICT",
    ),
    (
        "unknown profile",
        "[web-8080], logging",
        "[web-8081], logging",
        "20:34 firewallRules.userDefinedRules[0].applicationPortProfiles[0] DANGLING_REFERENCE",
    ),
    (
        "gateway of an application",
        "[web-8080], logging",
        "[FTP], logging",
        "20:33 firewallRules.userDefinedRules[0].applicationPortProfiles NOT_EMULATED",
    ),
    (
        "DNAT onto a range",
        "internalAddresses: 10.20.0.10",
        "internalAddresses: 10.20.0.10-10.20.0.11",
        "25:25 natRules[0].internalAddresses INVALID_VALUE",
    ),
    (
        "DNAT onto more than it matches",
        "internalAddresses: 10.20.0.10,",
        "internalAddresses: 10.20.0.0/29,",
        "25:25 natRules[0].internalAddresses CONFLICT",
    ),
    (
        "DNAT of an inside address",
        "externalAddresses: 203.0.113.11",
        "externalAddresses: 10.20.0.77",
        "24:52 natRules[0].externalAddresses CONFLICT",
    ),
    ("DNAT without target", "internalAddresses: 10.20.0.10, ", "", "24:5 natRules[0].internalAddresses MISSING_FIELD"),
    (
        "DNAT with a destination",
        "type: DNAT",
        "type: DNAT, snatDestinationAddresses: 10.0.0.1",
        "24:59 natRules[0].snatDestinationAddresses CONFLICT",
    ),
    (
        "SNAT with a port",
        "type: SNAT",
        'type: SNAT, dnatExternalPort: "80"',
        "26:52 natRules[1].dnatExternalPort CONFLICT",
    ),
    (
        "SNAT without source",
        ", internalAddresses: 10.20.0.0/24",
        "",
        "26:5 natRules[1].internalAddresses MISSING_FIELD",
    ),
    ("NO_SNAT with an external address", "type: SNAT", "type: NO_SNAT", "26:56 natRules[1].externalAddresses CONFLICT"),
    ("NO_DNAT with an internal address", "type: SNAT", "type: NO_DNAT", "26:89 natRules[1].internalAddresses CONFLICT"),
    ("REFLEXIVE of unequal sizes", "type: SNAT", "type: REFLEXIVE", "26:91 natRules[1].internalAddresses CONFLICT"),
    (
        "REFLEXIVE with a profile",
        "type: DNAT",
        "type: REFLEXIVE",
        "24:89 natRules[0].dnatExternalPort CONFLICT",
        "25:61 natRules[0].applicationPortProfile CONFLICT",
    ),
    ("no NAT type", "type: SNAT, ", "", "26:5 natRules[1].type MISSING_FIELD"),
    (
        "two NAT types",
        "type: SNAT",
        "ruleType: SNAT, type: NO_SNAT",
        "26:44 natRules[1].type CONFLICT",
        "26:72 natRules[1].externalAddresses CONFLICT",
    ),
    ("unknown NAT type", "type: SNAT", "type: PAT", "26:28 natRules[1].type INVALID_VALUE"),
    ("old port field", "type: DNAT", 'type: DNAT, internalPort: "8080"', "24:47 natRules[0].internalPort NOT_EMULATED"),
    (
        "VPN mode",
        "type: DNAT",
        "type: DNAT, policyBasedVpnMode: MATCH",
        "24:53 natRules[0].policyBasedVpnMode NOT_EMULATED",
    ),
    (
        "families mixed",
        "internalAddresses: 10.20.0.0/24",
        'internalAddresses: "2001:db8::/64"',
        "26:5 natRules[1] CONFLICT",
    ),
    (
        "pool too large",
        "externalAddresses: 203.0.113.10",
        "externalAddresses: 203.0.0.0/8",
        "26:53 natRules[1].externalAddresses LIMIT_EXCEEDED",
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
    ("DNS on", "dns: {}", "dns: {enabled: true}", "29:6 dns NOT_EMULATED"),
    (
        "a tunnel under its endpoint's key",
        "ipsecTunnels: []",
        "ipsec/tunnels: {values: [{name: hq}]}",
        "28:26 ipsec/tunnels.values[0] NOT_EMULATED",
    ),
    ("a pool", "pools: []", "pools: [{name: p}]", "30:15 loadBalancer NOT_EMULATED"),
    ("one section twice", "ipsecTunnels: []", "ipsec/tunnels: []\nipsecTunnels: []", "29:1 ipsecTunnels DUPLICATE_KEY"),
    ("unknown section", "dns: {}", "firewalRules: {}", "29:1 firewalRules UNKNOWN_FIELD"),
    (
        "unknown field beside values",
        "natRules:",
        "natRules: {values: [], foo: 1}\nx:",
        "23:24 natRules.foo UNKNOWN_FIELD",
        "24:1 x UNKNOWN_FIELD",
    ),
    ("unknown limits", "options: {}", "options: {limits: none}", "31:19 options.limits INVALID_VALUE"),
    ("strict-rfc", "options: {}", "options: {profile: strict-rfc}", "31:20 options.profile NOT_EMULATED"),
    ("mtu", "options: {}", "options: {mtu: 1279}", "31:16 options.mtu OUT_OF_RANGE"),
    (
        "sessions per source",
        "options: {}",
        "options: {maxSessionsPerSource: 10}",
        "31:33 options.maxSessionsPerSource NOT_EMULATED",
    ),
    ("fragments", "options: {}", "options: {maxFragments: 5}", "31:25 options.maxFragments NOT_EMULATED"),
    ("fragment timeout", "options: {}", "options: {fragmentTimeout: 31}", "31:28 options.fragmentTimeout NOT_EMULATED"),
    ("timer 0", "options: {}", "options: {timers: {tcpFirst: 0}}", "31:30 options.timers.tcpFirst OUT_OF_RANGE"),
    (
        "timer past the last",
        "options: {}",
        "options: {timers: {udpFirst: 4320001}}",
        "31:30 options.timers.udpFirst OUT_OF_RANGE",
    ),
    (
        "unknown timer",
        "options: {}",
        "options: {timers: {tcpEstablish: 5}}",
        "31:20 options.timers.tcpEstablish UNKNOWN_FIELD",
    ),
    ("SNAT port 0", "options: {}", 'options: {snatPortRange: "0-5"}', "31:26 options.snatPortRange OUT_OF_RANGE"),
    ("number for the filter", "options: {}", "options: {providerFilter: 5}", "31:27 options.providerFilter WRONG_TYPE"),
    (
        "filter of SCTP",
        "options: {}",
        'options: {providerFilter: [{protocol: SCTP, ports: ["445"]}]}',
        "31:39 options.providerFilter[0].protocol INVALID_VALUE",
    ),
    ("negative seed", "options: {}", "options: {seed: -1}", "31:17 options.seed OUT_OF_RANGE"),
    ("reject code", "options: {}", "options: {rejectCode: 16}", "31:23 options.rejectCode OUT_OF_RANGE"),
    ("frag-needed as reject", "options: {}", "options: {rejectCode: 4}", "31:23 options.rejectCode OUT_OF_RANGE"),
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
    (
        "one id twice",
        "name: in-web",
        "id: r1, name: in-web}\n    - {id: r1, name: x",
        "19:7 firewallRules.userDefinedRules[0].actionValue MISSING_FIELD",
        "20:12 firewallRules.userDefinedRules[1].id CONFLICT",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), [(m[1], m[2], m[3:]) for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_mistake_is_reported_where_it_stands(old: str, new: str, expected: tuple[str, ...]) -> None:
    assert old in GOOD
    with pytest.raises(DocumentError) as caught:
        loads(GOOD.replace(old, new, 1), file="edge.yaml")
    problems = caught.value.problems
    assert [f"{p.line}:{p.column} {p.path} {p.code}" for p in problems] == list(expected)
    assert all(p.severity == "error" and p.message and p.file == "edge.yaml" for p in problems)


def test_the_document_without_mistakes_loads() -> None:
    assert loads(GOOD, file="edge.yaml").problems == ()


def test_every_mistake_of_a_document_is_reported_at_once() -> None:
    text = GOOD
    chosen = (
        "unknown field",
        "negative priority",
        "unknown member",
        "no gateway",
        "DNS on",
        "unknown limits",
        "pool too large",
    )
    for mistake in MISTAKES:
        if mistake[0] in chosen:
            text = text.replace(mistake[1], mistake[2], 1)
    with pytest.raises(DocumentError) as caught:
        loads(text)
    codes = sorted(problem.code for problem in caught.value.problems)
    assert codes == [
        "DANGLING_REFERENCE",
        "INVALID_VALUE",
        "LIMIT_EXCEEDED",
        "MISSING_FIELD",
        "NOT_EMULATED",
        "OUT_OF_RANGE",
        "UNKNOWN_FIELD",
    ]
    assert str(caught.value).count("\n") == len(codes) - 1


def test_every_mistake_of_one_object_is_reported_at_once() -> None:
    text = (
        "edgeGateway: {name: T1}\n"
        "natRules:\n"
        "  - {type: DNAT, externalAddresses: bad, dnatExternalPort: x, priority: -1, applicationPortProfile: nope}\n"
    )
    with pytest.raises(DocumentError) as caught:
        loads(text)
    assert [f"{p.path} {p.code}" for p in caught.value.problems] == [
        "natRules[0].name MISSING_FIELD",
        "natRules[0].internalAddresses MISSING_FIELD",
        "natRules[0].externalAddresses INVALID_VALUE",
        "natRules[0].dnatExternalPort INVALID_VALUE",
        "natRules[0].priority OUT_OF_RANGE",
        "natRules[0].applicationPortProfile DANGLING_REFERENCE",
    ]
