"""What ProfileService has besides the methods of every kind: the profiles that VMware ships."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import Final

from control import names
from control.api.context import ReadCall
from control.api.lists import Fields, page
from control.api.method import Method
from control.errors import NoSuchObjectError
from control.v1 import profile_pb2 as pb
from edge.addresses import PortRange
from edge.errors import ArgumentError
from edge.firewall.config import ApplicationPortProfile, Service
from edge.firewall.system_profiles import PROTOCOLS, system_profile, system_profile_names

MAX_PORT: Final = 65_535
_WORDS = {number: word for word, number in PROTOCOLS.items()}


def get_system_profile(request: pb.GetSystemProfileRequest, _: ReadCall) -> pb.GetSystemProfileResponse:
    """One of them."""
    if not request.name.startswith(names.SYSTEM_PROFILES):
        expected = f"expected {names.SYSTEM_PROFILES} and VMware's name"
        raise ArgumentError("the name of an object is wrong", [("name", expected)])
    found = _shipped().get(request.name)
    if found is None:
        raise NoSuchObjectError(request.name)
    return pb.GetSystemProfileResponse(system_profile=found)


def list_system_profiles(request: pb.ListSystemProfilesRequest, _: ReadCall) -> pb.ListSystemProfilesResponse:
    """A page of them."""
    found, token = page(names.SYSTEM_PROFILES, request, _shipped().values(), _FIELDS)
    return pb.ListSystemProfilesResponse(system_profiles=found, next_page_token=token)


@cache
def _shipped() -> MappingProxyType[str, pb.SystemProfile]:
    """All of them, by name."""
    every = [_message(found) for name in system_profile_names() if (found := system_profile(name))]
    return MappingProxyType({message.name: message for message in every})


def _message(profile: ApplicationPortProfile) -> pb.SystemProfile:
    return pb.SystemProfile(
        name=names.SYSTEM_PROFILES + profile.name, display_name=profile.name, alg=profile.alg,
        services=[_service(service) for service in profile.services], usable_for_nat=_usable_for_nat(profile),
    )  # fmt: skip


def _usable_for_nat(profile: ApplicationPortProfile) -> bool:
    first, *others = profile.services
    return not others and not first.source_ports and len(first.destination_ports) <= 1


def _service(service: Service) -> pb.SystemService:
    return pb.SystemService(
        protocol=_WORDS[service.protocol], icmp_type=service.icmp_type, icmp_code=service.icmp_code,
        destination_ports=map(_ports, service.destination_ports), source_ports=map(_ports, service.source_ports),
    )  # fmt: skip


def _ports(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _is_for(profile: pb.SystemProfile, port: str) -> bool:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= MAX_PORT):
        return False
    named = (text for service in profile.services for text in service.destination_ports)
    return any(int(port) in PortRange.parse(text) for text in named)


_FIELDS: Fields[pb.SystemProfile] = MappingProxyType(
    {
        "alg": lambda profile, alg: profile.alg == alg,
        "protocol": lambda profile, word: any(service.protocol == word for service in profile.services),
        "port": _is_for,
    }
)
HANDLERS = MappingProxyType(
    {
        "ProfileService/GetSystemProfile": Method(get_system_profile),
        "ProfileService/ListSystemProfiles": Method(list_system_profiles),
    }
)
