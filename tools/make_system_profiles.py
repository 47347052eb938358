"""Writes edge/firewall/system_profiles.yaml from a list of shipped application port profiles.

    python tools/make_system_profiles.py SOURCE.yaml [--check]

SOURCE is a YAML list of ``{name, applicationPorts: [{protocol, destinationPorts, sourcePorts?, alg?}], alg?,
icmpType?, icmpCode?}``.  With ``--check`` nothing is written; the exit code says whether the file is up to date.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).resolve().parent.parent / "edge" / "firewall" / "system_profiles.yaml"
HEADER = """\
# Application port profiles that VMware ships (scope SYSTEM): the predefined services of NSX, facts only.
# Written by tools/make_system_profiles.py; do not edit.  One profile a line, both texts in JSON's quotes:
# NAME: SERVICE; SERVICE ...    SERVICE = PROTOCOL [PORTS] [from=PORTS] [icmp=TYPE[/CODE]] [alg=NAME]
"""


def service_text(port: dict[str, Any], profile: dict[str, Any]) -> str:
    """One application port, as the file has it.

    A helper of a profile of several ports belongs to the port that repeats its name.
    """
    parts = [port["protocol"]]
    if port.get("destinationPorts"):
        parts.append(",".join(port["destinationPorts"]))
    if port.get("sourcePorts"):
        parts.append("from=" + ",".join(port["sourcePorts"]))
    if "icmpType" in profile:
        code = f"/{profile['icmpCode']}" if "icmpCode" in profile else ""
        parts.append(f"icmp={profile['icmpType']}{code}")
    alg = port.get("alg") or (profile.get("alg") if len(profile["applicationPorts"]) == 1 else None)
    if alg:
        parts.append(f"alg={alg}")
    return " ".join(parts)


def profile_line(profile: dict[str, Any]) -> str:
    """One profile."""
    services = "; ".join(service_text(port, profile) for port in profile["applicationPorts"])
    return f"{json.dumps(profile['name'])}: {json.dumps(services)}\n"


def main() -> int:
    """Write or check the file; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is out of date")
    arguments = parser.parse_args()
    profiles = yaml.safe_load(arguments.source.read_text(encoding="utf-8"))
    text = HEADER + "".join(map(profile_line, profiles))
    if arguments.check:
        return 0 if TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
