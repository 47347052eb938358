"""``t1edge control apply``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import ExitCode, json_option, message, paint, plural, write_json, write_result
from edge.cli.control.common import Connection, ControlCommand, connect, file_option, org_option, to_option
from edge.cli.control.follow import followed, wait_options
from edge.printable import printable

if TYPE_CHECKING:
    from control.tenant.document import Tenant
    from control.tenant.plan import Plan, Step
    from edge.api.client import CallError
    from edge.cli.control.finder import Finder
    from edge.errors import EdgeError

_METHOD = "ChangeSetService/ApplyChangeSet"
_MAX_STEPS = 1_000
_MAX_BYTES = 900_000
_REQUEST = re.compile(r"requests\[(\d+)\]\.?")
_COLOURS = {"+": "green", "-": "red", "~": "yellow", ">": "yellow"}


class ApplyCommand(ControlCommand):
    """What the document says wrongly exits 2, also where only the control plane could tell."""

    def exit_code(self, error: EdgeError) -> ExitCode:
        """How the command ends because of ``error``."""
        return ExitCode.USAGE if error.reason == "INVALID_DOCUMENT" else super().exit_code(error)


@click.command("apply", cls=ApplyCommand, epilog="Example:  t1edge control apply -f acme.yaml --prune")
@file_option("The tenant, YAML or JSON.")
@click.option("--prune", is_flag=True, help="Delete what sections of the document do not name.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--validate-only", is_flag=True, help="Show the plan, let the control plane judge it, change nothing.")
@org_option
@wait_options
@to_option
@json_option
def command(
    file: str, prune: bool, yes: bool, validate_only: bool, org: str, no_wait: bool, as_json: bool, **options: Any
) -> None:
    """Make the tenant as the document FILE says: networks, settings of edges, what lies on them, machines.

    Shows first what would change, and asks. What the document has no section for is left alone, and so is, without
    --prune, what its sections do not name. Data centers and edges are ordered, not made here.
    """
    connection = connect(options)
    with connection.client:
        tenant, finder = _read(connection, file, org)
        found = _plan(tenant, finder, prune=prune)
        _show(found, as_json=as_json)
        tasks = []
        previews: list[dict[str, Any]] = []
        if found.steps and validate_only:
            previews = _judge(connection, tenant, finder.org, found.steps)
        elif found.steps:
            if not yes:
                click.confirm(f"{plural(len(found.steps), 'change')}: make them?", abort=True, err=True)
            tasks = list(_made(connection, tenant, finder.org, found.steps, wait=not no_wait))
    if as_json:
        said = {"changes": [change.to_json() for change in found.changes], "tasks": tasks}
        write_json({**said, "previews": previews} if validate_only else said)
    elif not found.steps:
        write_result("nothing to do")
    elif validate_only:
        for preview in previews:
            _show_running(preview)
        write_result("could be done")
    else:
        write_result(f"{plural(len(found.steps), 'change')}: {_status(tasks)}")


def make(connection: Connection, file: str) -> Plan:
    """Make a tenant as a document says, without asking.  Raises DocumentError, CallError, TaskFailedError."""
    tenant, finder = _read(connection, file, "")
    found = _plan(tenant, finder, prune=False)
    for _ in _made(connection, tenant, finder.org, found.steps, wait=True):
        pass
    return found


def _read(connection: Connection, file: str, org: str) -> tuple[Tenant, Finder]:
    """A document, and where to look up names for it."""
    from control.tenant.document import read_tenant
    from edge.cli.control.finder import Finder

    tenant = read_tenant(file)
    if org and tenant.organization and org.removeprefix("orgs/") != tenant.organization.removeprefix("orgs/"):
        raise click.UsageError(f"the document is {tenant.organization}'s, not {org}'s")
    return tenant, Finder(connection, {"org": org or tenant.organization})


def _plan(tenant: Tenant, finder: Finder, *, prune: bool) -> Plan:
    from control.tenant.plan import plan
    from control.tenant.there import There

    return plan(tenant, There(finder.org, finder), prune=prune)


def _show(found: Plan, *, as_json: bool) -> None:
    if found.unnamed:
        stay = "stays" if found.unnamed == 1 else "stay"
        message(f"{plural(found.unnamed, 'object')} that the document does not name {stay} (--prune deletes)")
    if found.uncompared:
        message("a secret is not compared where one is set already (update sets another one)")
    for change in found.changes if not as_json else ():
        text = printable(str(change), lines=True)
        first, feed, rest = text.partition("\n")
        write_result(paint(first, _COLOURS[first[0]]) + feed + rest)


def _show_running(preview: Mapping[str, Any]) -> None:
    """What an edge runs at the moment, and what would be another in that."""
    running = preview.get("running")
    if running is None:
        return
    what = {"RUNNING_KIND_STORED": "what it should have now", "RUNNING_KIND_OTHER": "not what it should have now"}
    which = f": revision {running['revision']}, etag {running['etag']}" if running["etag"] else ""
    message(printable(f"{preview['edge']} runs {what.get(running['kind'], 'what is not known here')}{which}"))
    for change in running["changes"]:
        kind = change["kind"].removeprefix("CHANGE_KIND_").lower()
        message(printable(f"  {kind} in what runs: {change['section']}[{change['name']}]"))


def _judge(connection: Connection, tenant: Tenant, org: str, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Let the control plane look at what would be done: what edges would get.  Raises DocumentError or CallError."""
    parts = list(_parts(steps))
    answer = _call(connection, tenant, {"parent": org, "validateOnly": True}, parts[0])
    if len(parts) > 1:
        message(f"only the first {len(parts[0]):,} of {plural(len(steps), 'change')} could be judged beforehand")
    previews: list[dict[str, Any]] = answer["previews"]
    return previews


def _made(
    connection: Connection, tenant: Tenant, org: str, steps: Sequence[Step], *, wait: bool
) -> Iterator[dict[str, Any]]:
    """The tasks of all changes, at their end.  Each change set holds as a whole or not at all."""
    for part in _parts(steps):
        task = _call(connection, tenant, {"parent": org}, part)["task"]
        yield followed(connection.client, task, connection.timeout_s) if wait else task


def _parts(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """As few change sets as there can be."""
    part: list[Step] = []
    size = 0
    for step in steps:
        length = len(str(step.request))
        if part and (len(part) == _MAX_STEPS or size + length > _MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(step)
        size += length
    yield part


def _call(connection: Connection, tenant: Tenant, about: Mapping[str, Any], steps: Sequence[Step]) -> dict[str, Any]:
    """A change set.  Raises DocumentError for what the document says wrongly, else CallError."""
    from control.api.shapes import request_shape
    from edge.api.client import CallError

    requests = [
        {"@type": f"type.googleapis.com/control.v1.{request_shape(step.method).name}", **step.request} for step in steps
    ]
    try:
        return connection.client.call(_METHOD, {**about, "requests": requests})
    except CallError as error:
        _refuse(tenant, steps, error)
        raise


def _refuse(tenant: Tenant, steps: Sequence[Step], error: CallError) -> None:
    """Raises DocumentError if the problems are of objects of the document."""
    from edge.document.problems import Finding

    findings = []
    for problem in error.problems:
        found = _REQUEST.match(problem.path)
        wanted = steps[int(found[1])].wanted if found and int(found[1]) < len(steps) else None
        if found is None or wanted is None:
            return
        inner = problem.path[found.end() :].removeprefix(f"{wanted.kind.name}").lstrip(".")
        path = tenant.written.place_of(wanted.path, inner)
        findings.append(Finding(problem.code or error.code, path, problem.message))
    tenant.written.refuse(findings)


def _status(tasks: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(str(task["status"]).removeprefix("TASK_STATUS_") for task in tasks))
