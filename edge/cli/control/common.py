"""What the commands of ``t1edge control`` share: whom they call, as whom, and how answers look."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.cli.common import write_json, write_result
from edge.cli.control import session
from edge.cli.remote import RemoteCommand, checked_tls, taken_tls
from edge.cli.tables import print_table
from edge.printable import printable

if TYPE_CHECKING:
    from control.api.client import ControlClient
    from edge.api.tls import TlsFiles

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

DEFAULT_ADDRESS = "127.0.0.1:7441"
TOKEN_VARIABLE = "T1EDGE_TOKEN"  # noqa: S105 - the name of a variable


class ControlCommand(RemoteCommand):
    """A command that calls a control plane: 3 when it cannot be reached, 1 when it refuses, 2 for invalid input."""

    invalid = frozenset({"INVALID_ARGUMENT", "INVALID_FILTER", "INVALID_PAGE_TOKEN"})


@dataclass(frozen=True, slots=True)
class Connection:
    """Whom to call; ``user`` is whose session it is, '' for an API token of the environment."""

    client: ControlClient
    user: str

    def org(self, given: str) -> str:
        """``orgs/X`` that a command is about: the one that was named, or the caller's own."""
        if given:
            return given if given.startswith("orgs/") else f"orgs/{given}"
        if self.user:
            return "/".join(self.user.split("/")[:2])
        found = self.client.call("OrgService/ListOrgs", {"pageSize": 2})["orgs"]
        if len(found) != 1:
            raise click.UsageError("the token's organization is not known: --org names it")
        return str(found[0]["name"])


def to_option(function: Decorated) -> Decorated:
    """``--to`` and the files of TLS."""
    for option in reversed(
        [
            click.option("--to", metavar="ADDRESS", help="The control plane: HOST:PORT or unix:PATH."),
            click.option("--tls-cert", metavar="FILE", help="PEM: the own certificate, for TLS."),
            click.option("--tls-key", metavar="FILE", help="PEM: its key."),
            click.option("--tls-ca", metavar="FILE", help="PEM: who may have signed the control plane's certificate."),
            click.option("--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
                         help="Seconds to wait for an answer."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def org_option(function: Decorated) -> Decorated:
    """``--org``."""
    return click.option("--org", default="", metavar="ACCOUNT", help="The organization (default: the caller's).")(
        function
    )


def change_options(function: Decorated) -> Decorated:
    """Options of every command that changes something."""
    for option in reversed(
        [
            click.option("--validate-only", is_flag=True, help="Say what would come of it, and change nothing."),
            click.option("--request-id", default="", help="Makes the command safe to repeat, for 24 hours."),
        ]
    ):
        function = option(function)
    return function


def etag_option(function: Decorated) -> Decorated:
    """``--etag``."""
    return click.option("--etag", default="", help="Only if the object is still in this state.")(function)


def list_options(function: Decorated) -> Decorated:
    """Options of every list."""
    for option in reversed(
        [
            click.option("--filter", "filter_text", default="", metavar="TEXT",
                         help='Conditions joined by AND: FIELD = "VALUE".'),
            click.option("--order-by", default="", metavar="FIELD [desc]", help="The order."),
            click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="How many."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def taken_change(options: dict[str, Any]) -> dict[str, Any]:
    """What ``change_options`` describes, as fields of a request; taken out of ``options``."""
    return {"validateOnly": options.pop("validate_only"), "requestId": options.pop("request_id")}


def open_client(options: dict[str, Any], address: str, token: str, tls: TlsFiles | None) -> ControlClient:
    """A client; ``--timeout`` is taken out of ``options``."""
    from control.api.client import ControlClient

    return ControlClient(address, token, checked_tls(address, tls), timeout_s=options.pop("timeout"))


def connect(options: dict[str, Any]) -> Connection:
    """As whom the user last logged in, or by the token of the environment."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        return connect_as_kept(options)
    address = options.pop("to") or DEFAULT_ADDRESS
    return Connection(open_client(options, address, token, taken_tls(options)), "")


def connect_as_kept(options: dict[str, Any]) -> Connection:
    """As whom the user last logged in; a session that began with TLS goes on with it."""
    given, tls = options.pop("to"), taken_tls(options)
    found = session.kept()
    if given not in {None, found.address}:
        raise click.UsageError(f"the session is one of {found.address}: log in to {given} first")
    return Connection(open_client(options, found.address, found.token, tls or found.tls_files()), found.user)


def collect(connection: Connection, name: str, field: str, options: dict[str, Any], **fields: Any) -> list[Any]:
    """The items of a list, at most as many as ``--limit`` says."""
    from itertools import islice

    limit = options.pop("limit")
    request = {"filter": options.pop("filter_text"), "orderBy": options.pop("order_by"), **fields}
    return list(islice(connection.client.pages(name, {**request, "pageSize": min(limit, 1_000)}, field), limit))


def run_list(
    options: dict[str, Any], name: str, field: str, columns: Sequence[str], *, as_json: bool, org: str | None = None
) -> None:
    """Call the List method ``name`` and show what it finds in the organization, None: wherever it is."""
    connection = connect(options)
    with connection.client:
        parent = {} if org is None else {"parent": connection.org(org)}
        found = collect(connection, name, field, options, **parent)
    show_list(field, found, columns, as_json=as_json)


def run_order(
    options: dict[str, Any],
    name: str,
    request: Callable[[Connection], Mapping[str, Any]],
    *,
    as_json: bool,
    secret: str = "",
) -> None:
    """Call a method that answers with a task, and show it; ``secret``: see :func:`show_task`."""
    change = taken_change(options)
    connection = connect(options)
    with connection.client as client:
        answer = client.call(name, {**request(connection), **change})
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"], secret=secret)


def show_list(title: str, items: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list, with these fields as columns for people."""
    found = list(items)
    if as_json:
        write_json({title: found})
        return
    print_table(title, columns, [[str(item.get(column, "")) for column in columns] for item in found])


def show_object(item: Mapping[str, Any], *, as_json: bool) -> None:
    """An object, a field a line."""
    if as_json:
        write_json(dict(item))
        return
    width = max(map(len, item), default=0)
    write_result("\n".join(f"{key.ljust(width)}  {printable(str(value))}" for key, value in item.items()))


def show_task(answer: Mapping[str, Any], *, as_json: bool, validate_only: bool, secret: str = "") -> None:
    """What became of an order; ``secret``: the field of the answer that nobody can read again."""
    if as_json:
        write_json(dict(answer))
        return
    task = answer["task"]
    if validate_only:
        write_result(printable(f"{task['operation']} {task['object']}: could be done"))
        return
    lines = [f"{task['operation']} {task['object']}: {task['status'].removeprefix('TASK_STATUS_')}"]
    if secret:
        lines.append(f"one-time password, shown only now: {answer[secret]}")
    write_result("\n".join(map(printable, lines)))
