"""What the commands of ``t1edge control`` share: whom they call, as whom, and how answers look."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import ExitCode, json_option, write_json, write_result
from edge.cli.control import session
from edge.cli.remote import Decorated, RemoteCommand, options_together, service_options, taken_tls
from edge.cli.tables import print_table
from edge.errors import EdgeError
from edge.printable import printable

if TYPE_CHECKING:
    from control.api.client import ControlClient
    from edge.api.tls import TlsFiles

DEFAULT_ADDRESS = "127.0.0.1:7441"
TOKEN_VARIABLE = "T1EDGE_TOKEN"  # noqa: S105 - the name of a variable


class ControlCommand(RemoteCommand):
    """A command that calls a control plane: 3 when it cannot be reached, 1 when it refuses or a task fails, 4 when a
    task has not ended in time, 2 for invalid input."""

    invalid = frozenset({"INVALID_ARGUMENT", "INVALID_FILTER", "INVALID_PAGE_TOKEN"})

    def exit_code(self, error: EdgeError) -> ExitCode:
        """How the command ends because of ``error``."""
        tasks = {"TASK_FAILED": ExitCode.DIFFERENT, "TASK_RUNS_ON": ExitCode.INCONCLUSIVE}
        return tasks.get(error.reason) or super().exit_code(error)


@dataclass(frozen=True, slots=True)
class Connection:
    """Whom to call; ``user`` is whose session it is, '' for an API token of the environment.

    ``timeout_s``: how long an answer, or the end of a task, may take.
    """

    client: ControlClient
    user: str
    timeout_s: float

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


to_option = service_options("control plane", None)
"""``--to``, the files of TLS, ``--timeout``."""

org_option = click.option("--org", default="", metavar="ACCOUNT", help="The organization (default: the caller's).")
"""``--org``."""

etag_option = click.option("--etag", default="", help="Only if the object is still in this state.")
"""``--etag``."""

change_options = options_together(
    click.option("--validate-only", is_flag=True, help="Say what would come of it, and change nothing."),
    click.option("--request-id", default="", help="Makes the command safe to repeat, for 24 hours."),
)
"""Options of every command that changes something."""

list_options = options_together(
    click.option("--filter", "filter_text", default="", metavar="TEXT",
                 help='Conditions joined by AND: FIELD = "VALUE".'),
    click.option("--order-by", default="", metavar="FIELD [desc]", help="The order."),
    click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="How many."),
)  # fmt: skip
"""Options of every list."""


def add_list(group: click.Group, method: str, field: str, columns: Sequence[str], *, text: str, example: str) -> None:
    """Give ``group`` a command that lists what the List method finds in an organization."""

    @group.command(
        "list", cls=ControlCommand, help=text, epilog=f"Example:  t1edge control {group.name} list {example}"
    )
    @options_together(org_option, list_options, to_option, json_option)
    def list_(org: str, as_json: bool, **options: Any) -> None:
        run_list(options, method, field, columns, as_json=as_json, org=org)


def file_option(text: str) -> Callable[[Decorated], Decorated]:
    """``--file``, which is needed."""
    path = click.Path(dir_okay=False)
    return click.option("-f", "--file", "file", required=True, metavar="FILE", type=path, help=text)


def taken_change(options: dict[str, Any]) -> dict[str, Any]:
    """What ``change_options`` describes, as fields of a request; taken out of ``options``."""
    return {"validateOnly": options.pop("validate_only"), "requestId": options.pop("request_id")}


def open_client(options: dict[str, Any], address: str, token: str, tls: TlsFiles | None) -> ControlClient:
    """A client; ``--timeout`` is taken out of ``options``."""
    from control.api.client import ControlClient

    return ControlClient(address, token, tls, timeout_s=options.pop("timeout"))


def connect(options: dict[str, Any]) -> Connection:
    """As whom the user last logged in, or by the token of the environment."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        return connect_as_kept(options)
    address, timeout_s = options.pop("to") or DEFAULT_ADDRESS, options["timeout"]
    return Connection(open_client(options, address, token, taken_tls(options)), "", timeout_s)


def connect_as_kept(options: dict[str, Any]) -> Connection:
    """As whom the user last logged in; a session that began with TLS goes on with it."""
    given, tls = options.pop("to"), taken_tls(options)
    found = session.kept()
    if given not in {None, found.address}:
        raise click.UsageError(f"the session is one of {found.address}: log in to {given} first")
    timeout_s = options["timeout"]
    client = open_client(options, found.address, found.token, tls or found.tls_files())
    return Connection(client, found.user, timeout_s)


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
        answer = end_task(connection, answer, options, validate_only=change["validateOnly"])
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"], secret=secret)


def show_list(title: str, items: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list, with these fields as columns for people."""
    found = list(items)
    if as_json:
        write_json({title: found})
        return
    print_table(title, columns, [[text_of(item.get(column, "")) for column in columns] for item in found])


def show_object(item: Mapping[str, Any], *, as_json: bool) -> None:
    """An object, a field a line."""
    if as_json:
        write_json(dict(item))
        return
    width = max(map(len, item), default=0)
    write_result("\n".join(f"{key.ljust(width)}  {printable(text_of(value))}" for key, value in item.items()))


def text_of(value: Any, shorten: Callable[[str], str] = str) -> str:
    """A value of an answer for people; ``shorten`` is applied to each text in it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={text_of(inner, shorten)}" for key, inner in value.items())
    if isinstance(value, list):
        return ("; " if any(isinstance(item, dict) for item in value) else ", ").join(
            text_of(item, shorten) for item in value
        )
    return shorten(str(value))


def end_task(
    connection: Connection, answer: Mapping[str, Any], options: dict[str, Any], *, validate_only: bool
) -> dict[str, Any]:
    """The answer with its task at its end, unless nobody wants to wait for that.

    Raises TaskFailedError or TaskRunsOnError.
    """
    from edge.cli.control.follow import followed

    no_wait = options.pop("no_wait", False)
    if validate_only or no_wait:
        return dict(answer)
    return {**answer, "task": followed(connection.client, answer["task"], connection.timeout_s)}


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
