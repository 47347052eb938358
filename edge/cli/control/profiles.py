"""What ``t1edge control profiles`` has of its own: the profiles that VMware ships, beside those of an edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from control.kinds import BY_NAME
from control.kinds.kind import GET
from control.names import SYSTEM_PROFILES
from edge.cli.common import json_option
from edge.cli.control.common import (
    ControlCommand,
    collect,
    connect,
    list_options,
    show_list,
    show_object,
    text_of,
    to_option,
)
from edge.cli.control.generic import list_objects, place_options, taken_finder
from edge.cli.control.nouns import NOUNS
from edge.cli.remote import options_together

_KIND = BY_NAME["application_port_profile"]


@click.command(
    "list", cls=ControlCommand, epilog="Example:  t1edge control profiles list --system --filter 'port=8443'"
)
@click.option("--system", is_flag=True, help="Those that VMware ships, which rules of every edge can name.")
@options_together(place_options(_KIND), list_options, to_option, json_option)
def list_(system: bool, as_json: bool, **options: Any) -> None:
    """List those of an edge, or with --system those that VMware ships.

    VMware's can be selected by display_name, alg, protocol and port, too.
    """
    if not system:
        list_objects("profiles", NOUNS["profiles"], _KIND, options, as_json=as_json)
        return
    if options.pop("in_org") or options.pop("in_edge"):
        raise click.UsageError("--system: they are the same on every edge")
    connection = connect(options)
    with connection.client:
        found = collect(connection, "ProfileService/ListSystemProfiles", "systemProfiles", options)
    shown = found if as_json else [_readable(item) for item in found]
    show_list("systemProfiles", shown, ("displayName", "services", "alg", "usableForNat"), as_json=as_json)


@click.command("get", cls=ControlCommand, epilog="Example:  t1edge control profiles get HTTPS")
@click.argument("name")
@options_together(place_options(_KIND), to_option, json_option)
def get(name: str, as_json: bool, **options: Any) -> None:
    """Show one, by its id, display name or whole name; VMware's where the edge has none of that name."""
    connection = connect(options)
    with connection.client as client:
        found = taken_finder(_KIND, connection, options).find([_KIND.name], name)
        if found.startswith(SYSTEM_PROFILES):
            item = client.call("ProfileService/GetSystemProfile", {"name": found})["systemProfile"]
            show_object(item if as_json else _readable(item), as_json=as_json)
            return
        answer = client.call(_KIND.method(GET), {"name": found})
    show_object(answer["applicationPortProfile"], as_json=as_json)


def _readable(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A profile of VMware's for people."""
    return {**profile, "services": "; ".join(map(_service, profile["services"]))}


def _service(service: Mapping[str, Any]) -> str:
    parts = [service["protocol"], text_of(service["destinationPorts"])]
    parts += [f"from {text_of(service['sourcePorts'])}"] if service["sourcePorts"] else []
    parts += [f"{word} {service[key]}" for key, word in (("icmpType", "type"), ("icmpCode", "code")) if key in service]
    return " ".join(filter(None, parts))


COMMANDS = {"profiles list": list_, "profiles get": get}
