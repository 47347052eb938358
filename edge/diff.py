"""What changed between two edges, object by object, in the words of the documents.

Objects are paired by id; those that are left, by name and, among equals, by content.  So a pasted answer of the API and
a file written by hand compare, and a rule put in above three others of the same name is one rule added, not four
changed.  Fields are compared as they mean, not as they are spelled: ``{values: [...]}`` or a bare list, a reference by
name or by id, a default written out or left out are no differences.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from edge.addresses import AddressRange
from edge.document import LoadedDocument
from edge.document.context import generated_id
from edge.document.problems import quoted
from edge.document.values import PROTOCOLS
from edge.firewall.config import ApplicationPortProfile, FirewallGroup, FirewallRule, Section, Service
from edge.model import EdgeConfig, Options
from edge.nat.config import NatRule
from edge.routing.config import Network, StaticRoute, Uplink

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_REFERENCES = {
    "sourceFirewallGroups": "firewallGroups",
    "destinationFirewallGroups": "firewallGroups",
    "applicationPortProfiles": "applicationPortProfiles",
    "applicationPortProfile": "applicationPortProfiles",
    "members": "orgVdcNetworks",
}
"""Fields that name other objects, and the section these are in."""


class ChangeKind(StrEnum):
    """What became of an object."""

    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"
    MOVED = "MOVED"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of an object; values are JSON values, None for a field that was or is not given."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One object's change.  ``section`` is its key in a document; positions count from 1 within it.

    ``moved`` says that it changed places with others, not just that some before it came or went.  What changed and
    moved has ``kind`` CHANGED.
    """

    kind: ChangeKind
    section: str
    name: str
    id: str
    old_position: int | None = None
    new_position: int | None = None
    fields: tuple[FieldChange, ...] = ()
    moved: bool = False

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this change."""
        return {
            "kind": self.kind.value,
            "section": self.section,
            "name": self.name,
            "id": self.id,
            "oldPosition": self.old_position,
            "newPosition": self.new_position,
            "moved": self.moved,
            "fields": [asdict(item) for item in self.fields],
        }

    def __str__(self) -> str:
        sign = {"ADDED": "+", "REMOVED": "-", "CHANGED": "~", "MOVED": ">"}[self.kind.value]
        place = ""
        if self.moved:
            place = f", from place {self.old_position} to {self.new_position}"
        elif self.kind in (ChangeKind.ADDED, ChangeKind.REMOVED):
            place = f", place {self.new_position or self.old_position}"
        lines = [f"{sign} {self.section} {quoted(self.name)} {self.kind.value.lower()}{place}"]
        for item in self.fields:
            if self.kind is ChangeKind.ADDED:
                lines.append(f"    {item.field}: {_shown(item.new)}")
            elif self.kind is ChangeKind.CHANGED:
                lines.append(f"    {item.field}: {_shown(item.old)} -> {_shown(item.new)}")
        return "\n".join(lines)


def diff(old: LoadedDocument | EdgeConfig, new: LoadedDocument | EdgeConfig) -> list[Change]:
    """Every object that was added, removed, changed or moved, section by section in the order of a document.

    Descriptions and comments, which change nothing an edge does, are compared where both sides are documents.
    """
    before, after = (
        _Side(side.config, side) if isinstance(side, LoadedDocument) else _Side(side, None) for side in (old, new)
    )
    changes: list[Change] = []
    renamed: dict[tuple[str, str], str] = {}
    for section, ordered in _SECTIONS.items():
        changes += _section_changes(section, before.objects(section), after.objects(section), ordered, renamed)
    return changes


def render(changes: Iterable[Change]) -> str:
    """All changes as text, one block each."""
    return "\n".join(map(str, changes))


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value.isprintable() and len(value) <= 200 else quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) + "}"
    return str(value)


# Objects in the words of a document

_SECTIONS = {
    "edgeGateway": False,
    "edgeGatewayUplinks": True,
    "orgVdcNetworks": False,
    "firewallGroups": False,
    "applicationPortProfiles": False,
    "userDefinedRules": True,
    "defaultRules": True,
    "natRules": True,
    "staticRoutes": True,
    "options": False,
}
"""Sections, and whether their order means anything."""

_PATHS: Mapping[str, tuple[str, ...]] = {
    "edgeGatewayUplinks": ("edgeGateway", "edgeGatewayUplinks"),
    "userDefinedRules": ("firewallRules", "userDefinedRules"),
    "defaultRules": ("firewallRules", "defaultRules"),
}


@dataclass(slots=True)
class _Object:
    id: str
    name: str
    fields: dict[str, Any]


class _Side:
    """One of the two edges."""

    def __init__(self, config: EdgeConfig, loaded: LoadedDocument | None) -> None:
        self._config = config
        self._loaded = loaded

    def objects(self, section: str) -> list[_Object]:
        """The objects of a section, in order."""
        config = self._config
        rules = config.firewall.rules
        if section == "edgeGateway":
            found = [_Object(config.id, config.name, {"name": config.name})]
        elif section == "edgeGatewayUplinks":
            found = [_Object(item.id, item.name, _uplink(item)) for item in config.routing.uplinks]
        elif section == "orgVdcNetworks":
            found = [_Object(item.id, item.name, _network(item)) for item in config.routing.networks]
        elif section == "firewallGroups":
            found = [_Object(item.id, item.name, _group(item)) for item in config.firewall.groups]
        elif section == "applicationPortProfiles":
            found = [_Object(item.id, item.name, _profile(item)) for item in config.firewall.profiles]
        elif section == "natRules":
            found = [_Object(item.id, item.name, _nat_rule(item)) for item in config.nat.rules]
        elif section == "staticRoutes":
            found = [_Object(item.id, item.name, _static_route(item)) for item in config.routing.static_routes]
        elif section == "options":
            return [_Object("options", "options", _options(config.options))]
        else:
            wanted = Section(section)
            found = [_Object(r.id, r.name, _firewall_rule(r)) for r in rules if r.section is wanted]
        self._add_texts(section, found)
        return found

    def _add_texts(self, section: str, objects: list[_Object]) -> None:
        """Descriptions and comments, which the model has no use for."""
        if self._loaded is None:
            return
        base = _PATHS.get(section, (section,))
        for index, item in enumerate(objects):
            steps: tuple[str | int, ...] = base[1:] if section == "edgeGateway" else (*base[1:], index)
            raw = self._loaded.raw(self._loaded.path(base[0], *steps))
            for key in ("description", "comments"):
                text = raw.get(key) if isinstance(raw, dict) else None
                if text:
                    item.fields[key] = text


def _texts(ranges: Iterable[AddressRange]) -> list[str]:
    return [str(item) for item in ranges]


def _uplink(item: Uplink) -> dict[str, Any]:
    return {
        "uplinkName": item.name,
        "subnets": [
            {
                "gateway": str(subnet.gateway),
                "prefixLength": subnet.network.prefixlen,
                "ipRanges": _texts(subnet.ranges),
                "primaryIp": str(subnet.primary) if subnet.primary else None,
            }
            for subnet in item.subnets
        ],
    }


def _network(item: Network) -> dict[str, Any]:
    subnets = [{"gateway": str(s.gateway), "prefixLength": s.network.prefixlen} for s in item.subnets]
    return {
        "name": item.name,
        "networkType": item.type.value,
        "connectionTypeValue": item.connection.value,
        "subnets": subnets,
    }


def _group(item: FirewallGroup) -> dict[str, Any]:
    members = {"members": list(item.members)} if item.members else {"ipAddresses": _texts(item.ranges)}
    return {"name": item.name, "typeValue": item.type_value, **members}


def _service(item: Service) -> dict[str, Any]:
    shown: dict[str, Any] = {"protocol": _PROTOCOL_NAMES.get(item.protocol, str(item.protocol))}
    shown["destinationPorts"] = [str(port) for port in item.destination_ports]
    if item.source_ports:
        shown["sourcePorts"] = [str(port) for port in item.source_ports]
    return shown


def _profile(item: ApplicationPortProfile) -> dict[str, Any]:
    return {"name": item.name, "scope": item.scope, "applicationPorts": [_service(s) for s in item.services]}


def _firewall_rule(item: FirewallRule) -> dict[str, Any]:
    return {
        "name": item.name,
        "actionValue": item.action.value,
        "direction": item.direction.value,
        "ipProtocol": item.ip_protocol.value,
        "enabled": item.enabled,
        "logging": item.logging,
        "sourceFirewallGroups": [group.name for group in item.source_groups],
        "sourceFirewallIpAddresses": _texts(item.source_addresses),
        "destinationFirewallGroups": [group.name for group in item.destination_groups],
        "destinationFirewallIpAddresses": _texts(item.destination_addresses),
        "applicationPortProfiles": [profile.name for profile in item.profiles],
        "rawPortProtocols": [_service(service) for service in item.services],
    }


def _nat_rule(item: NatRule) -> dict[str, Any]:
    return {
        "name": item.name,
        "type": item.type.value,
        "externalAddresses": str(item.external) if item.external else None,
        "internalAddresses": str(item.internal) if item.internal else None,
        "dnatExternalPort": str(item.external_port) if item.external_port else None,
        "snatDestinationAddresses": str(item.snat_destination) if item.snat_destination else None,
        "applicationPortProfile": item.profile.name if item.profile else None,
        "firewallMatch": item.firewall_match.value,
        "priority": item.priority,
        "enabled": item.enabled,
        "logging": item.logging,
    }


def _static_route(item: StaticRoute) -> dict[str, Any]:
    hops = [
        {"ipAddress": str(hop.address), "adminDistance": hop.admin_distance, "scope": hop.scope or None}
        for hop in item.next_hops
    ]
    return {"name": item.name, "networkCidr": str(item.network), "nextHops": hops}


def _options(options: Options) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for item in fields(Options):
        value = getattr(options, item.name)
        if item.name == "timers":
            value = {to_camel(key): seconds for key, seconds in asdict(value).items()}
        elif item.name == "provider_filter":
            value = [
                {"protocol": _PROTOCOL_NAMES[wall.protocol], "ports": [str(port) for port in wall.ports]}
                for wall in value
            ]
        elif item.name == "snat_port_range":
            value = str(value)
        shown[to_camel(item.name)] = value.value if isinstance(value, StrEnum) else value
    return shown


# Comparing


def _section_changes(
    section: str,
    before: Sequence[_Object],
    after: Sequence[_Object],
    ordered: bool,
    renamed: dict[tuple[str, str], str],
) -> list[Change]:
    """The changes of one section.  ``renamed`` gathers (section, old name) → new name, so that what refers to an object
    by its id is not said to have changed with its name."""
    partner = {new: old for old, new in _paired(section, before, after)}
    for position, old in partner.items():
        if before[old].name != after[position].name:
            renamed[section, before[old].name] = after[position].name
    gone = set(range(len(before))) - set(partner.values())
    moved = _moved([partner[new] for new in sorted(partner)]) if ordered else set()
    changes: list[tuple[int, Change]] = []
    for old in gone:
        item = before[old]
        given = tuple(FieldChange(key, value, None) for key, value in item.fields.items())
        changes.append((old, Change(ChangeKind.REMOVED, section, item.name, item.id, old + 1, None, given)))
    for new, item in enumerate(after):
        if new not in partner:
            given = tuple(FieldChange(key, None, value) for key, value in item.fields.items())
            changes.append((new, Change(ChangeKind.ADDED, section, item.name, item.id, None, new + 1, given)))
            continue
        old = partner[new]
        was = before[old].fields
        different = tuple(
            FieldChange(key, was.get(key), item.fields.get(key))
            for key in dict.fromkeys((*was, *item.fields))
            if _current(key, was.get(key), renamed) != item.fields.get(key)
        )
        has_moved = old in moved
        if different or has_moved:
            kind = ChangeKind.CHANGED if different else ChangeKind.MOVED
            change = Change(kind, section, item.name, item.id, old + 1, new + 1, different, has_moved)
            changes.append((new, change))
    return [change for _, change in sorted(changes, key=lambda pair: pair[0])]


def _current(key: str, value: Any, renamed: Mapping[tuple[str, str], str]) -> Any:
    """An old value with the new names of what it refers to."""
    section = _REFERENCES.get(key)
    if section is None or not renamed:
        return value
    if isinstance(value, list):
        return [renamed.get((section, name), name) for name in value]
    return renamed.get((section, value), value)


def _paired(section: str, before: Sequence[_Object], after: Sequence[_Object]) -> list[tuple[int, int]]:
    """(old, new) positions of what is the same object: by id, by name and content, by name alone."""
    old_left, new_left = dict.fromkeys(range(len(before))), dict.fromkeys(range(len(after)))
    pairs: list[tuple[int, int]] = []

    def pair_by(key: Callable[[_Object, int], object]) -> None:
        waiting: dict[object, list[int]] = defaultdict(list)
        for position in reversed(old_left):
            waiting[key(before[position], position)].append(position)
        for position in list(new_left):
            found = waiting.get(key(after[position], position))
            if found:
                old = found.pop()
                pairs.append((old, position))
                del old_left[old], new_left[position]

    if section in ("edgeGateway", "options"):
        return [(0, 0)]
    own = [_own_ids(section, side) for side in (before, after)]
    common = own[0] & own[1]
    pair_by(lambda item, position: item.id if item.id in common else (position, id(item)))
    pair_by(lambda item, _: (item.name, repr(item.fields)))
    pair_by(lambda item, _: item.name)
    return pairs


def _own_ids(section: str, objects: Sequence[_Object]) -> set[str]:
    """Ids that were given, not made of section, name and occurrence: those say no more than the name does."""
    seen: dict[str, int] = defaultdict(int)
    own = set()
    for item in objects:
        occurrence = seen[item.name]
        seen[item.name] += 1
        if item.id != generated_id(section, item.name, occurrence):
            own.add(item.id)
    return own


def _moved(order: Sequence[int]) -> set[int]:
    """Old positions, given in their new order, that have to move: all but a longest run that kept its order."""
    tails: list[int] = []
    ends: list[int] = []
    previous: dict[int, int | None] = {}
    for old in order:
        at = bisect_left(tails, old)
        previous[old] = ends[at - 1] if at else None
        tails[at : at + 1] = [old]
        ends[at : at + 1] = [old]
    kept: set[int] = set()
    step = ends[-1] if ends else None
    while step is not None:
        kept.add(step)
        step = previous[step]
    return set(order) - kept
