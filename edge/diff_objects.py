"""The objects of an edge as a comparison sees them: each field as the document says it, and as it is compared.

What the model holds is compared as it means: defaults filled in, spellings and references settled.  What the model has
no use for (sections that are not emulated, descriptions, settings that are only carried) is compared on the plain data
of the document, with wrapped lists unwrapped, references by name, and values that ask for nothing left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, Final

from pydantic.alias_generators import to_camel

from edge.addresses import AddressRange
from edge.document import LoadedDocument, schema, services
from edge.document.context import generated_id
from edge.document.values import PROTOCOLS
from edge.firewall.config import ApplicationPortProfile, FirewallGroup, FirewallRule, Section, Service
from edge.masking import SECRET_FIELDS
from edge.model import EdgeConfig, Options
from edge.nat.config import NatRule
from edge.routing.config import Network, StaticRoute, Uplink

HIDDEN = "(hidden)"
"""What is shown of a secret: that there is one."""

VOLATILE = frozenset(
    (
        *("id", "uplinkId", "status", "version", "routerRef", "lastTaskFailureMessage", "orgVdcNetworkCount"),
        "usableForNAT",
        *("totalIpCount", "usedIpCount", "healthStatus", "healthMessage", "detailedHealthMessage", "markedDownBy"),
        *("memberCount", "enabledMemberCount", "upMemberCount"),
    )
)
"""Fields that say how things stand or who is meant, not what was set: no difference."""

_COMPARED = ("securityTags", "ssl/certificateLibrary", "loadBalancer/serviceEngineGroups")
"""Carried sections that say what was set; the others say how things stand."""

REFERENCES = {
    "sourceFirewallGroups": "firewallGroups",
    "destinationFirewallGroups": "firewallGroups",
    "applicationPortProfiles": "applicationPortProfiles",
    "applicationPortProfile": "applicationPortProfiles",
    "members": "orgVdcNetworks",
}
"""Fields that name other objects, and the section these are in."""

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_NAMES = ("name", "displayName", "neighborAddress", "ipAddress", "tag")

_MODELS: Mapping[str, type[schema.Item]] = {
    "edgeGateway": schema.EdgeGateway,
    "edgeGatewayUplinks": schema.Uplink,
    "orgVdcNetworks": schema.Network,
    "firewallGroups": schema.FirewallGroup,
    "applicationPortProfiles": schema.ApplicationPortProfile,
    "userDefinedRules": schema.FirewallRule,
    "defaultRules": schema.FirewallRule,
    "natRules": schema.NatRule,
    "staticRoutes": schema.StaticRoute,
    "options": schema.Options,
}
_PATHS: Mapping[str, tuple[str, ...]] = {
    "edgeGatewayUplinks": ("edgeGateway", "edgeGatewayUplinks"),
    "systemRules": ("firewallRules", "systemRules"),
    "userDefinedRules": ("firewallRules", "userDefinedRules"),
    "defaultRules": ("firewallRules", "defaultRules"),
}
_MODELLED: Mapping[str, frozenset[str]] = {
    "edgeGateway": frozenset(("edgeGatewayUplinks",)),
    "orgVdcNetworks": frozenset(("connection",)),
    "firewallGroups": frozenset(("type", "members", "ipAddresses")),
    "userDefinedRules": frozenset(("action", "active")),
    "defaultRules": frozenset(("action", "active")),
    "natRules": frozenset(("ruleType", "active")),
    "options": frozenset(("timers", "natTieBreak")),
}
"""Keys of a document that are another spelling of a field of the model, or have objects of their own."""


@dataclass(slots=True)
class Value:
    """One field: JSON to show, and what is compared; None is what asks for nothing, given or not."""

    shown: Any
    meaning: Any


class Object:
    """One object of a section; fields of objects inside it have dotted names.

    ``source`` is what it was made of, a value of the model and plain data: two objects of the same sources are equal,
    and what nobody asks for, be it all their fields, is not made.  ``make`` makes the fields, without those that it is
    given the names of.
    """

    __slots__ = ("_fields", "_make", "id", "name", "source")

    def __init__(
        self,
        id: str,
        name: str,
        make: Callable[[AbstractSet[str]], dict[str, Value]],
        source: tuple[Any, object] | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.source = source
        self._make = make
        self._fields: dict[str, Value] | None = None

    @property
    def fields(self) -> dict[str, Value]:
        """Field → value."""
        if self._fields is None:
            self._fields = self._make(frozenset())
        return self._fields

    def fields_beside(self, other: Object) -> tuple[dict[str, Value], dict[str, Value]]:
        """The fields of both, where both are rules without those that the model has alike: most rules of two documents
        differ in little."""
        if self.source is None or other.source is None or type(self.source[0]) is not type(other.source[0]):
            return self.fields, other.fields
        alike = _alike(self.source[0], other.source[0])
        return (self._make(alike), other._make(alike)) if alike else (self.fields, other.fields)

    @property
    def asks(self) -> bool:
        """False where every field asks for nothing: the object may as well not be there.  What is in the model has at
        least a name."""
        return self.source is not None or bool(self.meanings)

    @property
    def meanings(self) -> dict[str, Any]:
        """What is compared, without what asks for nothing."""
        return {key: value.meaning for key, value in self.fields.items() if value.meaning is not None}

    def is_made_like(self, other: Object) -> bool:
        """Is the other made of the very same model and plain data?"""
        mine, others = self.source, other.source
        return mine is not None and others is not None and mine[0] is others[0] and mine[1] is others[1]


class Reference:
    """A reference in plain data.  One whose id an object of the document bears is known by that object's name."""

    def __init__(self, name: str, id: str, known: bool) -> None:
        self.name = name
        self.id = id
        self.known = known

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Reference):
            if self.id and other.id and (self.id == other.id or not (self.known or other.known)):
                return self.id == other.id
            return self.name == other.name
        return self.name == other

    __hash__ = None  # type: ignore[assignment]  # equal to a text, and not to every other reference of that name

    def __repr__(self) -> str:
        return repr(self.name)

    @property
    def shown(self) -> Any:
        """As JSON: by name where that says enough."""
        if self.known or not self.id:
            return self.name
        return {"name": self.name, "id": self.id} if self.name else self.id


class Side:
    """One of the two edges.  ``loaded`` None leaves out what is not in the model."""

    def __init__(self, config: EdgeConfig, loaded: LoadedDocument | None) -> None:
        self._config = config
        self._loaded = loaded

    def sections(self) -> dict[str, list[Object]]:
        """Every section's objects, in order."""
        config = self._config
        rules = config.firewall.rules
        made: list[tuple[str, Sequence[Any], Callable[[Any], dict[str, Any]]]] = [
            ("edgeGateway", [config], lambda item: {"name": item.name}),
            ("edgeGatewayUplinks", config.routing.uplinks, _uplink),
            ("orgVdcNetworks", config.routing.networks, _network),
            ("firewallGroups", config.firewall.groups, _group),
            ("applicationPortProfiles", config.firewall.profiles, _profile),
            ("systemRules", [], _words),
            ("userDefinedRules", [rule for rule in rules if rule.section is Section.USER], _words),
            ("defaultRules", [rule for rule in rules if rule.section is Section.DEFAULT], _words),
            ("natRules", config.nat.rules, _words),
            ("staticRoutes", config.routing.static_routes, _static_route),
            ("options", [config.options], _options),
        ]
        found = {section: self._modelled(section, items, describe) for section, items, describe in made}
        if self._loaded is not None:
            found["systemRules"] = self._listed("systemRules", self._raw("systemRules"), services.RULE)
            for own in self._loaded.document:
                found |= self._other_section(own)
        return found

    def rules(self, section: str, items: Mapping[int, Any]) -> dict[int, Object]:
        """Some rules of a section, by their places in it."""
        raw = _unwrapped(self._raw(section)) or []
        shape = _shape(_MODELS[section])

        def made(index: int, item: Any) -> Object:
            written = raw[index] if index < len(raw) else None
            return Object(
                item.id, item.name, partial(self._fields, section, _words, item, written, shape), (item, written)
            )

        return {index: made(index, item) for index, item in items.items()}

    def _modelled(self, section: str, items: Sequence[Any], describe: Callable[[Any], dict[str, Any]]) -> list[Object]:
        """The objects of a section that the model has."""
        written: list[Any] = []
        shape: services.Shape = {}
        if self._loaded is not None and section in _MODELS:
            raw, shape = self._raw(section), _shape(_MODELS[section])
            written = [raw] if section in ("edgeGateway", "options") else _unwrapped(raw) or []
        objects = []
        for index, item in enumerate(items):
            # The default rule of a document without one stands in none.
            raw = written[index] if index < len(written) else None
            make = partial(self._fields, section, describe, item, raw, shape)
            id, name = ("options", "options") if section == "options" else (item.id, item.name)
            objects.append(Object(id, name, make, (item, raw)))
        return objects

    def _fields(
        self,
        section: str,
        describe: Callable[[Any], dict[str, Any]],
        item: Any,
        raw: Any,
        shape: services.Shape,
        without: AbstractSet[str],
    ) -> dict[str, Value]:
        words = _words(item, without) if without else describe(item)
        fields = {key: Value(meaning, meaning) for key, meaning in words.items()}
        if isinstance(raw, dict):
            self._add_document(section, raw, fields, shape, without)
        return fields

    def _raw(self, section: str) -> Any:
        assert self._loaded is not None
        base = _PATHS.get(section, (section,))
        return self._loaded.raw(self._loaded.path(base[0], *base[1:]))

    @cached_property
    def _known(self) -> dict[str, str]:
        """Names by id, of all that a reference can mean."""
        if self._loaded is None:
            return {}
        config = self._config
        known = {config.id: config.name}
        known |= {uplink.id: uplink.name for uplink in config.routing.uplinks}
        known |= {network.id: network.name for network in config.routing.networks}
        known |= {group.id: group.name for group in config.firewall.groups}
        known |= {profile.id: profile.name for profile in config.firewall.profiles}
        pending = [self._loaded.document[own] for own in self._loaded.document]
        while pending:
            value = _unwrapped(pending.pop())
            for item in value if isinstance(value, list) else ():
                if isinstance(item, dict) and isinstance(item.get("id"), str) and isinstance(item.get("name"), str):
                    known.setdefault(item["id"], item["name"])
            if isinstance(value, dict):
                pending += [inner for inner in value.values() if isinstance(inner, (list, dict))]
        return known

    # What the document says beside the model

    def _add_document(
        self,
        section: str,
        raw: dict[str, Any],
        found: dict[str, Value],
        shape: services.Shape,
        without: AbstractSet[str],
    ) -> None:
        """The document's own words for what the model holds, and the fields that it does not hold."""
        for key in _AS_WRITTEN & found.keys() & raw.keys():
            written = _unwrapped(raw[key])
            is_texts = isinstance(written, list) and all(isinstance(entry, str) for entry in written)
            if written and (isinstance(written, str) or is_texts):
                found[key].shown = written
        for key in ("subnets", "applicationPorts"):
            if key in found:
                self._add_to_entries(found[key], _unwrapped(raw.get(key)) or [])
        if isinstance(raw.get("connection"), dict):
            rest = {k: v for k, v in raw["connection"].items() if k not in ("connectionType", "connectionTypeValue")}
            found.update(self._flat({"connection": rest}, {"connection": {"connected": True}}))
        modelled = _MODELLED.get(section, frozenset())
        known = found.keys() | without
        rest = {key: value for key, value in raw.items() if key not in modelled and key not in known}
        if rest:
            found.update(self._flat(rest, shape))

    def _add_to_entries(self, value: Value, written: list[Any]) -> None:
        entries = []
        for entry, raw in zip(value.meaning, written, strict=True):
            rest = self._flat({key: inner for key, inner in raw.items() if key not in entry}, {"enabled": True})
            entries.append(entry | {key: inner.meaning for key, inner in rest.items() if inner.meaning is not None})
        value.meaning = entries
        value.shown = _shown(entries)

    def _other_section(self, own: str) -> dict[str, list[Object]]:
        """The objects of a section that is not emulated, under its canonical name; lists inside it are sections."""
        assert self._loaded is not None
        section = services.section_of(own) or own
        if section in schema.SECTIONS or (section in services.CARRIED and section not in _COMPARED):
            return {}
        label = own if "{id}" in section else section
        shape = services.NOT_EMULATED.get(section) or {}
        value = _unwrapped(self._loaded.document[own])
        if isinstance(value, list):
            return {label: self._listed(label, value, shape)}
        found: dict[str, list[Object]] = {}
        rest: dict[str, Any] = {}
        for key, inner in (value if isinstance(value, dict) else {"value": value}).items():
            listed = _unwrapped(inner)
            if isinstance(listed, list) and any(isinstance(entry, dict) for entry in listed):
                name = f"{label}.{key}"
                found[name] = self._listed(name, listed, shape[key] if isinstance(shape.get(key), Mapping) else {})
            else:
                rest[key] = inner
        given = self._flat(rest, shape)
        return {label: [Object(label, label, lambda _: given)] if given else [], **found}

    def _listed(self, section: str, value: Any, shape: services.Shape) -> list[Object]:
        seen: Counter[str] = Counter()
        objects = []
        for position, item in enumerate(_unwrapped(value) or []):
            raw = item if isinstance(item, dict) else {"value": item}
            names = (raw.get(key) for key in (*_NAMES, "value", "id"))
            name = next((text for text in names if isinstance(text, str) and text), f"number {position + 1}")
            id = raw.get("id")
            if not isinstance(id, str) or not id:
                id = generated_id(section, name, seen[name])
            seen[name] += 1
            objects.append(Object(id, name, partial(self._whole, raw, shape)))
        return objects

    def _whole(self, value: Mapping[str, Any], shape: services.Shape, _without: AbstractSet[str]) -> dict[str, Value]:
        return self._flat(value, shape)

    def _flat(self, value: Mapping[str, Any], shape: services.Shape, prefix: str = "") -> dict[str, Value]:
        """The fields that are given; those of objects inside under dotted names."""
        found: dict[str, Value] = {}
        for key, inner in value.items():
            within = shape.get(key)
            normal = None if key in VOLATILE else self._normal(inner, within)
            if normal is None or (isinstance(normal, (str, list)) and not normal):
                continue
            name = f"{prefix}{key}"
            if isinstance(normal, dict):
                found |= self._flat(inner, within if isinstance(within, Mapping) else {}, f"{name}.")
            else:
                shown = _shown(normal, secret=bool(SECRET_FIELDS.search(key)))
                found[name] = Value(shown, None if _asks_for_nothing(normal, within) else normal)
        return found

    def _normal(self, value: Any, within: Any) -> Any:
        """Plain data in the form that is compared."""
        value = _unwrapped(value)
        shape = within if isinstance(within, Mapping) else {}
        if isinstance(value, str):
            return Reference(self._known[value], value, True) if value in self._known else value
        if isinstance(value, list):
            return [self._normal(entry, within) for entry in value]
        if not isinstance(value, dict):
            return value
        is_texts = all(isinstance(inner, str | None) for inner in value.values())
        if value and is_texts and value.keys() <= {"name", "id"} and not value.keys() & shape.keys():
            name, id = (value.get(key) or "" for key in ("name", "id"))
            return Reference(self._known.get(id, name), id, id in self._known) if name or id else None
        if value.keys() == {"startAddress", "endAddress"}:
            return f"{value['startAddress']}-{value['endAddress']}"
        normal = {key: self._normal(inner, shape.get(key)) for key, inner in value.items() if key not in VOLATILE}
        return {key: inner for key, inner in normal.items() if not _asks_for_nothing(inner, shape.get(key))}


def _unwrapped(value: Any) -> Any:
    """A list out of the object that CloudAPI wraps it in."""
    if isinstance(value, dict) and isinstance(value.get("values", ""), list | None):
        return value["values"] or []
    return value


def _asks_for_nothing(value: Any, default: Any) -> bool:
    """True for what is the same written out or left out."""
    if isinstance(value, bool):
        return value is (default is True)
    if value is None or (isinstance(value, (str, list, dict)) and not value):
        return True
    return not isinstance(default, Mapping) and default is not None and bool(value == default)


def _shape(model: type[schema.Item]) -> services.Shape:
    """The defaults of the fields of a model that are not emulated."""
    return {
        model.model_fields[name].alias or name: values[0] if len(values) == 1 else None
        for name, values in model.NOT_EMULATED.items()
    } | ({"dhcp": services.DHCP} if model is schema.Network else {})


def _shown(value: Any, *, secret: bool = False) -> Any:
    """A compared value as JSON, secrets hidden."""
    if isinstance(value, list):
        return [_shown(entry, secret=secret) for entry in value]
    if isinstance(value, dict):
        return {key: _shown(inner, secret=bool(SECRET_FIELDS.search(key))) for key, inner in value.items()}
    if secret and value is not None:
        return HIDDEN
    return value.shown if isinstance(value, Reference) else value


# What the model holds, in the words of a document

_AS_WRITTEN = frozenset(
    (
        *("externalAddresses", "internalAddresses", "snatDestinationAddresses", "dnatExternalPort", "networkCidr"),
        *("ipAddresses", "sourceFirewallIpAddresses", "destinationFirewallIpAddresses", "snatPortRange"),
    )
)
"""Fields that the document may spell in another way than the model."""


def _texts(ranges: Iterable[AddressRange]) -> list[str]:
    return [str(item) for item in ranges]


def _uplink(item: Uplink) -> dict[str, Any]:
    subnets = [
        {
            "gateway": str(subnet.gateway),
            "prefixLength": subnet.network.prefixlen,
            "ipRanges": [f"{item.first}-{item.last}" for item in subnet.ranges],
            "primaryIp": str(subnet.primary) if subnet.primary else None,
        }
        for subnet in item.subnets
    ]
    return {"uplinkName": item.name, "subnets": subnets}


def _network(item: Network) -> dict[str, Any]:
    return {
        "name": item.name,
        "networkType": item.type.value,
        "connection.connectionTypeValue": item.connection.value,
        "subnets": [{"gateway": str(s.gateway), "prefixLength": s.network.prefixlen} for s in item.subnets],
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


def _value(item: StrEnum) -> str:
    return item.value


def _names(items: Iterable[FirewallGroup | ApplicationPortProfile]) -> list[str]:
    return [item.name for item in items]


def _services(items: Iterable[Service]) -> list[dict[str, Any]]:
    return [_service(item) for item in items]


def _text(item: object) -> str | None:
    return str(item) if item else None


def _itself(item: Any) -> Any:
    return item


_RULE_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "name": ("name", _itself),
    "actionValue": ("action", _value),
    "direction": ("direction", _value),
    "ipProtocol": ("ip_protocol", _value),
    "enabled": ("enabled", _itself),
    "logging": ("logging", _itself),
    "sourceFirewallGroups": ("source_groups", _names),
    "sourceFirewallIpAddresses": ("source_addresses", _texts),
    "destinationFirewallGroups": ("destination_groups", _names),
    "destinationFirewallIpAddresses": ("destination_addresses", _texts),
    "applicationPortProfiles": ("profiles", _names),
    "rawPortProtocols": ("services", _services),
}
"""Field of a document -> attribute of the model's rule, and its words."""

_NAT_RULE_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "name": ("name", _itself),
    "type": ("type", _value),
    "externalAddresses": ("external", _text),
    "internalAddresses": ("internal", _text),
    "dnatExternalPort": ("external_port", _text),
    "snatDestinationAddresses": ("snat_destination", _text),
    "applicationPortProfile": ("profile", lambda item: item.name if item else None),
    "firewallMatch": ("firewall_match", _value),
    "priority": ("priority", _itself),
    "enabled": ("enabled", _itself),
    "logging": ("logging", _itself),
}
_RULES: Final[Mapping[type[Any], Mapping[str, tuple[str, Callable[[Any], Any]]]]] = {
    FirewallRule: _RULE_FIELDS,
    NatRule: _NAT_RULE_FIELDS,
}


_READ: Final = {kind: attrgetter(*(name for name, _ in fields.values())) for kind, fields in _RULES.items()}


def _words(item: FirewallRule | NatRule, without: AbstractSet[str] = frozenset()) -> dict[str, Any]:
    """A rule in the words of a document."""
    fields = _RULES[type(item)]
    return {key: words(getattr(item, name)) for key, (name, words) in fields.items() if key not in without}


def _alike(one: object, other: object) -> AbstractSet[str]:
    """The fields that two rules have alike, whatever their documents call what they refer to."""
    if type(one) not in _READ:
        return frozenset()
    read = _READ[type(one)]
    return {
        key
        for key, mine, others in zip(_RULES[type(one)], read(one), read(other), strict=True)
        if (not mine and not others if key in REFERENCES else mine is others or mine == others)
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
            shown |= {f"timers.{to_camel(key)}": seconds for key, seconds in asdict(value).items()}
            continue
        if item.name == "provider_filter":
            value = [
                {"protocol": _PROTOCOL_NAMES[wall.protocol], "ports": [str(port) for port in wall.ports]}
                for wall in value
            ]
        elif item.name == "snat_port_range":
            value = str(value)
        shown[to_camel(item.name)] = value.value if isinstance(value, StrEnum) else value
    return shown
