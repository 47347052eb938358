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
        rules = [self._rule(item, (*path, i), seen) for i, item in enumerate(items) if item is not None]
        return tuple(rule for rule in rules if rule is not None)

    def _rule(self, item: schema.NatRule, path: Path, seen: Counter[str]) -> NatRule | None:
        context, findings = self.context, self.context.findings
        id = context.identify(item.id, "natRules", item.name, path, seen)
        context.check_fields(item, path)
        if item.type and item.rule_type and item.type != item.rule_type:
            findings.error("CONFLICT", (*path, "type"), f"ruleType says {item.rule_type}, type says {item.type}")
        written = item.type or item.rule_type
        if written is None:
            findings.error("MISSING_FIELD", (*path, "type"), "the field 'type' is required")
            return None
        kind = NatType(written)
        fits = self._fields_fit(item, kind, path)
        external_of = self.values.range if kind is NatType.SNAT else self.values.address_or_cidr
        external = self._read(item.external_addresses, external_of, (*path, "externalAddresses"))
        internal = self._read(item.internal_addresses, self.values.address_or_cidr, (*path, "internalAddresses"))
        destination = self._read(
            item.snat_destination_addresses, self.values.address_or_cidr, (*path, "snatDestinationAddresses")
        )
        port = None
        if item.dnat_external_port and item.dnat_external_port.strip().upper() != "ANY":
            port = self.values.ports(item.dnat_external_port, (*path, "dnatExternalPort"))
        profile = None
        if item.application_port_profile:
            place = (*path, "applicationPortProfile")
            profile = self.firewall.profiles.find(item.application_port_profile, place, findings)
            if profile is not None and profile.services:
                self._check_profile(profile, place)
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
        if fits:
            self._check_addresses(rule, path)
        return rule

    def _fields_fit(self, item: schema.NatRule, kind: NatType, path: Path) -> bool:
        """Hold the given fields against the table of what a type needs and has."""
        port = (item.dnat_external_port or "").strip()
        given = (
            item.external_addresses,
            item.internal_addresses,
            port if port.upper() != "ANY" else "",
            item.snat_destination_addresses,
            item.application_port_profile,
        )
        fits = True
        for name, value, need in zip(_FIELDS, given, _TABLE[kind], strict=True):
            alias = "applicationPortProfile" if name == "profile" else name
            if need == _REQUIRED and not value:
                message = f"{with_article(kind)} rule needs {quoted(alias)}"
                self.context.findings.error("MISSING_FIELD", (*path, alias), message)
                fits = False
            elif need == _FORBIDDEN and value:
                message = f"{with_article(kind)} rule has no {quoted(alias)}"
                self.context.findings.error("CONFLICT", (*path, alias), message)
                fits = False
        return fits

    @staticmethod
    def _read(text: str | None, reader: object, path: Path) -> AddressRange | None:
        if not text:
            return None
        found = reader(text, path)  # type: ignore[operator]
        return found if isinstance(found, AddressRange) else None

    def _check_profile(self, profile: ApplicationPortProfile, path: Path) -> None:
        """``usableForNAT``: exactly one application port with at most one destination port (or range)."""
        service = profile.services[0] if len(profile.services) == 1 else None
        if service is None or len(service.destination_ports) > 1 or service.source_ports:
            if service is None:
                reason = f"it has {len(profile.services)} application ports"
            elif service.source_ports:
                reason = "it matches source ports"
            else:
                reason = f"it has {len(service.destination_ports)} destination ports"
            message = f"the profile {quoted(profile.name)} is not usable for NAT: {reason}, and one is all NAT can use"
            self.context.findings.error("CONFLICT", path, message)
        self.firewall.check_alg(profile, path)

    def _check_addresses(self, rule: NatRule, path: Path) -> None:
        findings = self.context.findings
        sides = {
            "externalAddresses": rule.external,
            "internalAddresses": rule.internal,
            "snatDestinationAddresses": rule.snat_destination,
        }
        families = {side.version for side in sides.values() if side is not None}
        if len(families) > 1:
            shown = ", ".join(f"{name} {side}" for name, side in sides.items() if side is not None)
            findings.error("CONFLICT", path, f"a NAT rule stays within one family, IPv4 or IPv6: {shown}")
            return
        external, internal = rule.external, rule.internal
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
