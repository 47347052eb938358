"""How long one ``t1edge trace`` takes, interpreter start included: median and range of the whole process in seconds.

Run it as ``python bench/trace_time.py [--runs N] [--most SECONDS]``; the edge has 40 firewall rules beside its others.
With ``--most`` the exit code is 1 when the median is above it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EDGE = """\
edgeGateway:
  name: forty
  edgeGatewayUplinks:
    - uplinkName: INTERNET
      subnets: {values: [{gateway: 203.0.113.1, prefixLength: 24, primaryIp: 203.0.113.10,
                          ipRanges: {values: [{startAddress: 203.0.113.10, endAddress: 203.0.113.11}]}}]}
orgVdcNetworks:
  - {name: LAN, networkType: NAT_ROUTED, subnets: {values: [{gateway: 10.20.0.1, prefixLength: 24}]}}
natRules:
  - {name: internet, type: SNAT, externalAddresses: 203.0.113.10, internalAddresses: 10.20.0.0/24, priority: 100}
firewallRules:
  userDefinedRules:
"""
PACKET = "udp 10.20.0.10:4000 > 198.51.100.53:53"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--most", type=float, help="exit 1 when the median is above so many seconds")
    given = parser.parse_args()
    rules = [
        f"    - {{name: block-{n}, actionValue: DROP, sourceFirewallIpAddresses: [192.0.2.{n}]}}\n" for n in range(39)
    ]
    rules.append("    - {name: out, actionValue: ALLOW, direction: OUT}\n")
    times = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "forty.yaml")
        path.write_text(EDGE + "".join(rules), encoding="utf-8")
        for _ in range(given.runs):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "edge.cli", "trace", path, PACKET], capture_output=True, text=True, check=True
            )
            times.append(time.perf_counter() - began)
            if "ALLOW (FW_RULE)" not in done.stdout:
                print(done.stdout, file=sys.stderr)
                return 1
    median = statistics.median(times)
    print(f"median {median:.3f} s, {min(times):.3f} to {max(times):.3f} s in {given.runs} runs")
    return int(given.most is not None and median > given.most)


if __name__ == "__main__":
    sys.exit(main())
