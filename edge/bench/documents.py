"""Edge documents that the benchmarks run."""

from __future__ import annotations

from typing import Any

PUBLIC = "203.0.113"
"""The uplink's subnet: .1 is the gateway, .10 what everybody leaves with."""


def snat_document(user_rules: list[dict[str, object]]) -> dict[str, object]:
    """An edge with one network, 10.20.0.0/16, that leaves by SNAT to one address, if these firewall rules let it."""
    subnet = {
        "gateway": "203.0.113.1",
        "prefixLength": 24,
        "primaryIp": "203.0.113.10",
        "ipRanges": [{"startAddress": "203.0.113.10", "endAddress": "203.0.113.11"}],
    }
    return {
        "edgeGateway": {"name": "T1-BENCH", "edgeGatewayUplinks": [{"uplinkName": "INTERNET", "subnets": [subnet]}]},
        "orgVdcNetworks": [
            {
                "name": "LAN",
                "networkType": "NAT_ROUTED",
                "connection": {"connectionTypeValue": "INTERNAL"},
                "subnets": [{"gateway": "10.20.0.1", "prefixLength": 16}],
            }
        ],
        "firewallRules": {"userDefinedRules": user_rules},
        "natRules": [
            {
                "name": "internet",
                "type": "SNAT",
                "externalAddresses": "203.0.113.10",
                "internalAddresses": "10.20.0.0/16",
            }
        ],
    }


def established_document() -> dict[str, object]:
    """The edge of established sessions: ten firewall rules, the last of which lets everything out, and SNAT."""
    closed: list[dict[str, object]] = [
        {
            "name": f"service-{number}",
            "actionValue": "DROP",
            "sourceFirewallIpAddresses": [f"10.20.{200 + number}.0/24"],
            "destinationFirewallIpAddresses": [f"192.0.2.{number}"],
            "rawPortProtocols": [{"layer4Item": {"protocol": "TCP", "destinationPorts": [str(8000 + number)]}}],
        }
        for number in range(9)
    ]
    out: dict[str, object] = {"name": "out", "actionValue": "ALLOW", "sourceFirewallIpAddresses": ["10.20.0.0/16"]}
    return snat_document([*closed, out])


def ipv6_document() -> dict[str, object]:
    """The same edge with IPv6 on either side, which is routed, not translated."""
    document: dict[str, Any] = established_document()
    document["edgeGateway"]["edgeGatewayUplinks"][0]["subnets"].append(
        {"gateway": "2001:db8:ff::1", "prefixLength": 64, "primaryIp": "2001:db8:ff::10"}
    )
    document["orgVdcNetworks"][0]["subnets"].append({"gateway": "2001:db8:20::1", "prefixLength": 64})
    rules = document["firewallRules"]["userDefinedRules"]
    rules[-1]["sourceFirewallIpAddresses"].append("2001:db8:20::/64")
    return document


SERVER = "10.20.0.9"
SERVED_AS = f"{PUBLIC}.11"


def translated_document() -> dict[str, object]:
    """The edge of established sessions with a server inside that everybody outside reaches by DNAT."""
    document: dict[str, Any] = established_document()
    document["firewallRules"]["userDefinedRules"].append(
        {"name": "in", "actionValue": "ALLOW", "destinationFirewallIpAddresses": [SERVER]}
    )
    document["natRules"].append(
        {"name": "server", "type": "DNAT", "externalAddresses": SERVED_AS, "internalAddresses": SERVER}
    )
    return document
