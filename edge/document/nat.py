"""NAT rules: from schema objects to the model, each type with the fields it needs and none that it has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.addresses import AddressRange
from edge.document import schema
from edge.document.context import Context
from edge.document.firewall import FirewallResolver, enabled
from edge.document.problems import Path, quoted, with_article
from edge.document.routing import RoutingResolver
from edge.document.values import Values
from edge.firewall.config import ApplicationPortProfile
from edge.nat.config import FirewallMatch, NatRule, NatType

MAX_POOL: Final = 65_536
"""Addresses of one SNAT pool: the emulator's own limit, it counts the use of each."""

_FIELDS: Final = ("externalAddresses", "internalAddresses", "dnatExternalPort", "snatDestinationAddresses", "profile")
_REQUIRED, _OPTIONAL, _FORBIDDEN = "required", "optional", "forbidden"
_TABLE: Final = {
    #                     external   internal   port       destination profile
    NatType.DNAT: (_REQUIRED, _REQUIRED, _OPTIONAL, _FORBIDDEN, _OPTIONAL),
    NatType.SNAT: (_REQUIRED, _REQUIRED, _FORBIDDEN, _OPTIONAL, _OPTIONAL),
    NatType.NO_DNAT: (_OPTIONAL, _FORBIDDEN, _OPTIONAL, _FORBIDDEN, _OPTIONAL),
    NatType.NO_SNAT: (_FORBIDDEN, _OPTIONAL, _FORBIDDEN, _OPTIONAL, _OPTIONAL),
    NatType.REFLEXIVE: (_REQUIRED, _REQUIRED, _FORBIDDEN, _FORBIDDEN, _FORBIDDEN),
}

_TRANSLATED: Final = {
    NatType.DNAT: ("internalAddresses",),
    NatType.SNAT: ("externalAddresses",),
    NatType.REFLEXIVE: ("externalAddresses", "internalAddresses"),
}
"""The sides that packets are given the addresses of."""

_NO_HOSTS: Final = tuple(map(AddressRange.parse, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8")))
"""Unspecified, loopback, multicast and reserved addresses."""


@dataclass(slots=True)
class NatResolver:
    """Resolves NAT rules; needs the profiles and the attached subnets to be resolved."""

    context: Context
    values: Values
    firewall: FirewallResolver
    routing: RoutingResolver

    def resolve(self, items: Sequence[schema.NatRule | None], path: Path) -> tuple[NatRule, ...]:
        """The rules, in order."""
        seen: Counter[str] = Counter()
        rules = [self.rule(item, (*path, i), seen) for i, item in enumerate(items) if item is not None]
        return tuple(rule for rule in rules if rule is not None)

    def rule(self, item: schema.NatRule, path: Path, seen: Counter[str]) -> NatRule | None:
        """One rule; ``seen`` counts the names of those before it.  None for one of no known type, which is reported."""
        context, findings = self.context, self.context.findings
        id = context.identify(item.id, "natRules", item.name, path, seen)
        context.check_fields(item, path)
        if item.type and item.rule_type and item.type != item.rule_type:
            findings.error("CONFLICT", (*path, "type"), f"ruleType says {item.rule_type}, type says {item.type}")
        written = item.type or item.rule_type
        if written is None:
            findings.missing(path, "type", "ruleType")
        kind = NatType(written) if written else None
        forbidden = self._misfits(item, kind, path) if kind else set()
        external_of = self.values.range if kind is NatType.SNAT else self.values.address_or_cidr
        external = self._read(item.external_addresses, external_of, (*path, "externalAddresses"))
        internal = self._read(item.internal_addresses, self.values.address_or_cidr, (*path, "internalAddresses"))
        destination = self._read(
            item.snat_destination_addresses, self.values.address_or_cidr, (*path, "snatDestinationAddresses")
        )
        port = None
        if item.dnat_external_port and item.dnat_external_port.strip().upper() != "ANY":
            place = (*path, "dnatExternalPort")
            port = self.values.ports(item.dnat_external_port, place)
            if port is not None and port.first == 0:
                findings.error("OUT_OF_RANGE", place, f"no packet is sent to port 0; expected 1-65535, not {port}")
        profile = None
        if item.application_port_profile not in (None, ""):
            place = (*path, "applicationPortProfile")
            profile = self.firewall.profiles.find(item.application_port_profile, place, findings)
            if profile is not None and profile.services:
                self._check_profile(profile, place)
        if kind is None:
            return None
        rule = NatRule(
            id,
            item.name,
            kind,
            external,
            internal,
            port,
            profile,
            destination,
            FirewallMatch(item.firewall_match) if item.firewall_match else FirewallMatch.MATCH_INTERNAL_ADDRESS,
            item.priority or 0,
            enabled(context, item.enabled, item.active, path),
            item.logging is True,
        )
        self._check_addresses(rule, forbidden, path)
        return rule

    def _misfits(self, item: schema.NatRule, kind: NatType, path: Path) -> set[str]:
        """Hold the given fields against the table of what a type needs and has.  The given ones that it has not."""
        port = (item.dnat_external_port or "").strip()
        given = (
            item.external_addresses,
            item.internal_addresses,
            port if port.upper() != "ANY" else "",
            item.snat_destination_addresses,
            item.application_port_profile,
        )
        misfits = set()
        for name, value, need in zip(_FIELDS, given, _TABLE[kind], strict=True):
            alias = "applicationPortProfile" if name == "profile" else name
            if need == _REQUIRED and not value:
                message = f"{with_article(kind)} rule needs {quoted(alias)}"
                self.context.findings.error("MISSING_FIELD", (*path, alias), message)
            elif need == _FORBIDDEN and value:
                message = f"{with_article(kind)} rule has no {quoted(alias)}"
                self.context.findings.error("CONFLICT", (*path, alias), message)
                misfits.add(alias)
        return misfits

    @staticmethod
    def _read(text: str | None, reader: object, path: Path) -> AddressRange | None:
        if not text:
            return None
        found = reader(text, path)  # type: ignore[operator]
        return found if isinstance(found, AddressRange) else None

    def _check_profile(self, profile: ApplicationPortProfile, path: Path) -> None:
        """``usableForNAT``: exactly one application port with at most one destination port (or range)."""
        count, ports = len(profile.services), len(profile.services[0].destination_ports)
        reason = ""
        if count > 1:
            reason = f"it has {count} application ports, and one is all NAT can use"
        elif profile.id in self.firewall.not_for_nat:
            reason = self.firewall.not_for_nat[profile.id]
        elif profile.services[0].source_ports:
            reason = "it matches source ports, which NAT cannot"
        elif ports > 1:
            reason = f"it has {ports} destination ports, and one is all NAT can use"
        if reason:
            message = f"the profile {quoted(profile.name)} is not usable for NAT: {reason}"
            self.context.findings.error("CONFLICT", path, message)
        self.firewall.check_alg(profile, path)

    def _check_addresses(self, rule: NatRule, forbidden: set[str], path: Path) -> None:
        """How the addresses of a rule go together, without those it should not have at all."""
        findings = self.context.findings
        given = {
            "externalAddresses": rule.external,
            "internalAddresses": rule.internal,
            "snatDestinationAddresses": rule.snat_destination,
        }
        sides = {name: side for name, side in given.items() if side is not None and name not in forbidden}
        for name in _TRANSLATED.get(rule.type, ()):
            if name in sides and any(sides[name].overlaps(odd) for odd in _NO_HOSTS):
                message = f"{sides[name]} is, or holds, an address that no machine can have: NAT cannot translate to it"
                findings.error("CONFLICT", (*path, name), message)
        external, internal = sides.get("externalAddresses"), sides.get("internalAddresses")
        if len({side.version for side in sides.values()}) > 1:
            shown = ", ".join(f"{name} {side}" for name, side in sides.items())
            findings.error("CONFLICT", path, f"a NAT rule stays within one family, IPv4 or IPv6: {shown}")
            internal = None
        if external is None:
            return
        if internal is not None:
            sizes = f"{external.size:,} external to {internal.size:,} internal addresses"
            if rule.type is NatType.DNAT and internal.size not in (1, external.size):
                message = f"DNAT maps onto one address or onto as many as it matches, not {sizes}"
                findings.error("CONFLICT", (*path, "internalAddresses"), message)
            elif rule.type is NatType.REFLEXIVE and internal.size != external.size:
                message = f"REFLEXIVE maps as many addresses as it matches, not {sizes}"
                findings.error("CONFLICT", (*path, "internalAddresses"), message)
        if rule.type is NatType.SNAT and external.size > MAX_POOL:
            message = f"an SNAT pool of {external.size:,} addresses; the emulator holds at most {MAX_POOL:,}"
            findings.error("LIMIT_EXCEEDED", (*path, "externalAddresses"), message)
        if rule.type in (NatType.DNAT, NatType.REFLEXIVE):
            for subnet in self.routing.attached:
                if not subnet.is_uplink and external.overlaps(AddressRange.of_network(subnet.network)):
                    message = f"{external} lies in {subnet.network} of the attached network {quoted(subnet.port)}"
                    findings.error("CONFLICT", (*path, "externalAddresses"), message)
                    break
