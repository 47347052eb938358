"""Application port profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control.access.roles import Permission
from control.kinds.kind import Kind
from control.kinds.on_edge import at_most
from control.objects.profile import ApplicationPortProfile
from control.store import Reader, Record

MAX_PROFILES = 1_000


def _state(_: Reader, record: Record) -> Mapping[str, Any]:
    return {"usable_for_nat": record.value(ApplicationPortProfile).usable_for_nat()}


APPLICATION_PORT_PROFILE = Kind(
    name="application_port_profile",
    form="orgs/*/edges/*/applicationPortProfiles/*",
    service="ProfileService",
    noun="ApplicationPortProfile",
    plural="ApplicationPortProfiles",
    words="Application Port Profile",
    model=ApplicationPortProfile,
    read=Permission.RESOURCES_READ,
    write=Permission.NETWORKS_WRITE,
    rules=at_most(MAX_PROFILES),
    state=_state,
)
