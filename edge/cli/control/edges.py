"""What ``t1edge control edges`` has besides the commands of every kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import json_option, write_json, write_result
from edge.cli.control.common import (
    ControlCommand,
    change_options,
    connect,
    org_option,
    show_object,
    taken_change,
    to_option,
)
from edge.cli.remote import options_together
from edge.cli.tables import print_table
from edge.printable import printable

if TYPE_CHECKING:
    from control.api.client import ControlClient
    from edge.document import LoadedDocument

_edge_options = options_together(org_option, to_option, json_option)


@click.command("show", cls=ControlCommand, epilog="Example:  t1edge control edges show T1-ACME")
@click.argument("name")
@_edge_options
def show(name: str, org: str, as_json: bool, **options: Any) -> None:
    """Show an edge: how it is doing, its settings, what uses its public addresses."""
    connection = connect(options)
    with connection.client as client:
        found = _named(connection, name, org)
        edge = client.call("EdgeGatewayService/GetEdgeGateway", {"name": found})["edgeGateway"]
        allocations = _allocations(client, found)
    if as_json:
        write_json({"edgeGateway": edge, "ipAllocations": allocations})
        return
    show_object(edge, as_json=False)
    write_result("")
    _show_allocations(allocations)


@click.command("addresses", cls=ControlCommand, epilog="Example:  t1edge control edges addresses T1-ACME")
@click.argument("name")
@_edge_options
def addresses(name: str, org: str, as_json: bool, **options: Any) -> None:
    """List the public addresses of an edge, with what uses each."""
    connection = connect(options)
    with connection.client as client:
        allocations = _allocations(client, _named(connection, name, org))
    if as_json:
        write_json({"ipAllocations": allocations})
    else:
        _show_allocations(allocations)


@click.command("document", cls=ControlCommand, epilog="Example:  t1edge control edges document T1-ACME > edge.json")
@click.argument("name")
@options_together(org_option, to_option)
def document(name: str, org: str, **options: Any) -> None:
    """Print the document that an edge is to have, as t1edge check, trace and diff read it."""
    connection = connect(options)
    with connection.client as client:
        write_json(edge_document(client, _named(connection, name, org)))


@click.command(
    "trace",
    cls=ControlCommand,
    epilog="Example:  t1edge control edges trace T1-ACME 'tcp 198.51.100.99:40000 > 203.0.113.11:80 S'",
)
@click.argument("name")
@click.argument("packets", metavar="PACKET...", nargs=-1, required=True)
@_edge_options
def trace(name: str, packets: tuple[str, ...], org: str, as_json: bool, **options: Any) -> None:
    """Show what the edge NAME does to each PACKET under the document that it is to have, beginning without sessions."""
    from edge.cli.trace import emphasized
    from edge.trace import new_edge, render, trace_packets

    connection = connect(options)
    with connection.client as client:
        loaded = loaded_document(client, _named(connection, name, org))
    results = trace_packets(new_edge(loaded.config), packets)
    if as_json:
        write_json({"packets": [result.to_json() for result in results]})
    else:
        write_result("\n\n".join(render(result, emphasized) for result in results))


@click.command(
    "enroll",
    cls=ControlCommand,
    epilog="Example:  t1edge control edges enroll T1-ACME --address edge1.example.net:7440",
)
@click.argument("name")
@click.option("--address", metavar="HOST:PORT", required=True, help="Where the control plane is to reach the edge.")
@change_options
@_edge_options
def enroll(name: str, address: str, org: str, as_json: bool, **options: Any) -> None:
    """Print a token with which t1edge edge enroll, on another machine, takes the edge NAME over: once, within an hour.

    It takes a session of a system administrator.
    """
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        request = {"edge": _named(connection, name, org), "address": address, **change}
        answer = client.call("EdgeHostService/CreateEnrollmentToken", request)
    if as_json:
        write_json(answer)
    else:
        write_result(printable(f"{name}: could enrol" if change["validateOnly"] else answer["token"]))


@click.command(
    "host", cls=ControlCommand, epilog="Example:  t1edge control edges host T1-ACME --address 127.0.0.1:7440"
)
@click.argument("name")
@click.option(
    "--address",
    metavar="ADDRESS",
    help="HOST:PORT or unix:PATH of a t1edge serve on the control plane's own machine; empty: in its own process.",
)
@change_options
@_edge_options
def host(name: str, address: str | None, org: str, as_json: bool, **options: Any) -> None:
    """Show where an edge runs, or with --address let it run there."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        edge = _named(connection, name, org)
        if address is None:
            answer = client.call("EdgeHostService/GetEdgeHost", {"edge": edge})
        else:
            request = {"edgeHost": {"edge": edge, "address": address}, **change}
            answer = client.call("EdgeHostService/SetEdgeHost", request)
    if as_json:
        write_json(answer)
    else:
        show_object(answer["edgeHost"], as_json=False)


@click.command("former-hosts", cls=ControlCommand, epilog="Example:  t1edge control edges former-hosts")
@options_together(to_option, json_option)
def former_hosts(as_json: bool, **options: Any) -> None:
    """List the hosts that edges have left and that still run what they were told: they are cleared when they answer."""
    with connect(options).client as client:
        answer = client.call("EdgeHostService/ListFormerHosts", {})
    if as_json:
        write_json(answer)
        return
    rows = [
        [host["edge"], host["address"], host.get("leaveTime", ""), host["reason"], host["message"]]
        for host in answer["formerHosts"]
    ]
    print_table("former hosts", ("edge", "address", "since", "reason", "message"), rows)


@click.command(
    "forget-host",
    cls=ControlCommand,
    epilog="Example:  t1edge control edges forget-host orgs/US1134362/edges/T1-ACME edge1.example.net:7440",
)
@click.argument("edge")
@click.argument("address")
@change_options
@options_together(to_option, json_option)
def forget_host(edge: str, address: str, as_json: bool, **options: Any) -> None:
    """Give up clearing ADDRESS, which EDGE has left: the host is gone for good. Both as former-hosts shows them."""
    change = taken_change(options)
    with connect(options).client as client:
        answer = client.call("EdgeHostService/ForgetFormerHost", {"edge": edge, "address": address, **change})
    if as_json:
        write_json(answer)
    else:
        write_result(printable(f"{address}: {'could be forgotten' if change['validateOnly'] else 'forgotten'}"))


def edge_document(client: ControlClient, edge: str) -> dict[str, Any]:
    """The document of an edge, as JSON."""
    answer = client.call("EdgeGatewayService/GetEdgeDocument", {"name": edge})
    found: dict[str, Any] = json.loads(answer["document"])
    return found


def loaded_document(client: ControlClient, edge: str) -> LoadedDocument:
    """The document of an edge, read."""
    from edge.document import from_data

    return from_data(edge_document(client, edge))


def _named(connection: Any, name: str, org: str) -> str:
    from edge.cli.control.finder import Finder

    return Finder(connection, {"org": org}).find(["edge_gateway"], name)


def _allocations(client: ControlClient, edge: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.call("EdgeGatewayService/ListIpAllocations", {"parent": edge})["ipAllocations"]
    return found


def _show_allocations(allocations: list[dict[str, Any]]) -> None:
    rows = [
        [item["address"], ", ".join(f"{user['category']} {user['displayName']}" for user in item["users"]) or "free"]
        for item in allocations
    ]
    print_table("public addresses", ("address", "used by"), rows)


COMMANDS = {
    "edges show": show,
    "edges addresses": addresses,
    "edges document": document,
    "edges trace": trace,
    "edges enroll": enroll,
    "edges host": host,
    "edges former-hosts": former_hosts,
    "edges forget-host": forget_host,
}
