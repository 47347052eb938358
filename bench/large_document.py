"""Writes or times a large edge document: how long reading and checking it takes, and how much memory.

    python bench/large_document.py [--rules 100000] [--seed 1] [--write FILE]

Without ``--write`` it loads and checks the document in this process and prints one JSON object.  Rules refer to groups
and profiles, and a third of them have inline addresses and raw ports, as a document of that size would.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

GROUPS = 1000
PROFILES = 400


def document(rules: int, seed: int) -> dict[str, Any]:
    """An edge with that many user rules; the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311  # a repeatable document, not a secret

    def address() -> str:
        return str(IPv4Address(0x0A000000 + draw.randrange(1 << 24)))

    groups = [
        {"name": f"group-{i}", "typeValue": "IP_SET", "ipAddresses": [address() for _ in range(draw.randint(1, 12))]}
        for i in range(GROUPS)
    ]
    profiles = [
        {"name": f"profile-{i}", "applicationPorts": [{"protocol": "TCP", "destinationPorts": [str(1000 + i)]}]}
        for i in range(PROFILES)
    ]
    user_rules = []
    for i in range(rules):
        rule: dict[str, Any] = {"name": f"rule-{i}", "actionValue": draw.choice(("ALLOW", "DROP")), "logging": False}
        rule["ipProtocol"] = "IPV4"
        if i % 3:
            rule["sourceFirewallGroups"] = [{"name": f"group-{draw.randrange(GROUPS)}"}]
            rule["destinationFirewallGroups"] = [f"group-{draw.randrange(GROUPS)}" for _ in range(draw.randint(1, 3))]
            rule["applicationPortProfiles"] = [f"profile-{draw.randrange(PROFILES)}"]
        else:
            rule["sourceFirewallIpAddresses"] = [f"{address()}/{draw.randint(20, 32)}"]
            rule["destinationFirewallIpAddresses"] = [address(), f"{address()}/28"]
            layer4 = {"protocol": "UDP", "sourcePorts": [], "destinationPorts": [str(draw.randint(1, 65535))]}
            rule["rawPortProtocols"] = [{"layer4Item": layer4}]
        user_rules.append(rule)
    uplink = {
        "uplinkName": "INTERNET",
        "subnets": [
            {
                "gateway": "203.0.113.1",
                "prefixLength": 24,
                "ipRanges": [{"startAddress": "203.0.113.10", "endAddress": "203.0.113.20"}],
            }
        ],
    }
    return {
        "edgeGateway": {"name": "T1-LARGE", "edgeGatewayUplinks": [uplink]},
        "orgVdcNetworks": [
            {"name": "LAN", "networkType": "NAT_ROUTED", "subnets": [{"gateway": "10.0.0.1", "prefixLength": 8}]}
        ],
        "firewallGroups": groups,
        "applicationPortProfiles": profiles,
        "firewallRules": {"userDefinedRules": user_rules},
        "options": {"limits": "report"},
    }


def main() -> None:
    """Write the document, or read it and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="write the document here and do nothing else")
    parser.add_argument("--read", type=Path, help="time this document instead of making one")
    arguments = parser.parse_args()
    if arguments.write:
        arguments.write.write_text(json.dumps(document(arguments.rules, arguments.seed)), encoding="utf-8")
        return
    from edge.checks import check
    from edge.document import load, loads

    text = None if arguments.read else json.dumps(document(arguments.rules, arguments.seed))
    started = time.perf_counter()
    loaded = load(arguments.read) if text is None else loads(text)
    read = time.perf_counter()
    warnings = check(loaded.config, loaded)
    checked = time.perf_counter()
    result = {
        "rules": len(loaded.config.firewall.rules),
        "load_s": round(read - started, 3),
        "check_s": round(checked - read, 3),
        "warnings": len(warnings),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
