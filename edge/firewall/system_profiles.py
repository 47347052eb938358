"""The application port profiles that VMware ships, which a document can name without declaring them.

Read from ``system_profiles.yaml`` beside this module, and only when a document asks for one; the file's lines are
simple enough to need no YAML reader.  Transport and helper of each: see the sources in ``docs/config.md``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from edge.addresses import PortRange
from edge.firewall.config import ApplicationPortProfile, Service

PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMPv4": 1, "ICMPv6": 58, "IGMP": 2}
"""The protocols of shipped profiles, by the names that they have there."""


@cache
def _lines() -> dict[str, str]:
    """Profile name → its services in text form."""
    text = Path(__file__).with_name("system_profiles.yaml").read_text(encoding="utf-8")
    pairs = (line.partition('": "') for line in text.splitlines() if line.startswith('"'))
    return {json.loads(name + '"'): json.loads('"' + services) for name, _, services in pairs}


def system_profile_names() -> tuple[str, ...]:
    """All names, in the order of the file."""
    return tuple(_lines())


def system_profile(name: str) -> ApplicationPortProfile | None:
    """The shipped profile of that name, or None.  Its id is ``system:`` and the name: each installation has its own."""
    services = _lines().get(name)
    if services is None:
        return None
    parsed = [_service(text) for text in services.split("; ")]
    alg = next((helper for _, helper in parsed if helper), "")
    return ApplicationPortProfile(f"system:{name}", name, "SYSTEM", tuple(service for service, _ in parsed), alg)


def _service(text: str) -> tuple[Service, str]:
    """``TCP 21 alg=FTP`` → the service and the helper that is tied to it."""
    protocol, *parts = text.split()
    destination = source = ""
    icmp_type = icmp_code = None
    alg = ""
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            destination = part
        elif key == "from":
            source = value
        elif key == "icmp":
            kind, _, code = value.partition("/")
            icmp_type, icmp_code = int(kind), int(code) if code else None
        elif key == "alg":
            alg = value
    return Service(PROTOCOLS[protocol], _ports(destination), _ports(source), icmp_type, icmp_code), alg


def _ports(text: str) -> tuple[PortRange, ...]:
    return tuple(sorted(map(PortRange.parse, text.split(",")), key=lambda p: p.first)) if text else ()
