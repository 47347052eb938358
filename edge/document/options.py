"""The emulator's own switches: from schema objects to the model."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from edge.addresses import PortRange
from edge.document import schema
from edge.document.context import Context
from edge.document.problems import Path
from edge.document.values import PROTOCOLS, Values
from edge.model import (
    STRICT_RFC_TIMERS,
    BlockedPorts,
    Options,
    Profile,
    SessionsOnChange,
    SnatServicePort,
    Timers,
)

FRAGMENTATION_NEEDED = 4
"""A code of ICMP's destination unreachable that hosts take as a word about their path MTU (RFC 1191)."""

_AS_WRITTEN = (
    "limits",
    "tcp_strict",
    "east_west_firewall",
    "reject_code",
    "mtu",
    "icmp_error_rate",
    "max_sessions",
    "max_sessions_per_source",
    "max_half_open",
    "fragment_timeout",
    "max_fragments",
    "seed",
)


def resolve_options(item: schema.Options | None, path: Path, context: Context, values: Values) -> Options:
    """Options of the document over the defaults.  Sets the context's view of CloudAPI's limits."""
    if item is None:
        return Options()
    context.check_fields(item, path)
    given: dict[str, Any] = {name: getattr(item, name) for name in _AS_WRITTEN if getattr(item, name) is not None}
    context.limits_are_errors = item.limits != "report"
    if item.profile is not None:
        given["profile"] = Profile(item.profile)
    given["timers"] = _timers(item.timers, given.get("profile", Profile.NSX))
    if item.sessions_on_change is not None:
        given["sessions_on_change"] = SessionsOnChange(item.sessions_on_change)
    if item.snat_service_port is not None:
        given["snat_service_port"] = SnatServicePort(item.snat_service_port)
    if item.reject_code == FRAGMENTATION_NEEDED:
        message = f"code {FRAGMENTATION_NEEDED}, fragmentation needed, would set the sender's path MTU"
        context.findings.error("OUT_OF_RANGE", (*path, "rejectCode"), message)
    if item.snat_port_range is not None:
        ports = values.ports(item.snat_port_range, (*path, "snatPortRange"))
        if ports is not None and ports.first == 0:
            message = f"port 0 is none that SNAT can use; expected a range within 1-65535, not {ports}"
            context.findings.error("OUT_OF_RANGE", (*path, "snatPortRange"), message)
        elif ports is not None:
            given["snat_port_range"] = ports
    if item.provider_filter is False:
        given["provider_filter"] = ()
    elif isinstance(item.provider_filter, list):
        given["provider_filter"] = _provider_filter(item.provider_filter, (*path, "providerFilter"), values)
    return Options(**given)


def _timers(item: schema.Timers | None, profile: Profile) -> Timers:
    """What the document says of each timer over what the profile does."""
    defaults = STRICT_RFC_TIMERS if profile is Profile.STRICT_RFC else Timers()
    if item is None:
        return defaults
    written = {field.name: getattr(item, field.name) for field in fields(Timers)}
    return replace(defaults, **{name: value for name, value in written.items() if value is not None})


def _provider_filter(items: list[schema.BlockedPorts], path: Path, values: Values) -> tuple[BlockedPorts, ...]:
    blocked: dict[int, list[PortRange]] = {}
    for i, item in enumerate(items):
        for j, text in enumerate(item.ports):
            ports = values.ports(text, (*path, i, "ports", j))
            if ports is not None:
                blocked.setdefault(PROTOCOLS[item.protocol], []).append(ports)
    return tuple(
        BlockedPorts(protocol, tuple(sorted(ports, key=lambda p: (p.first, p.last))))
        for protocol, ports in sorted(blocked.items())
    )
