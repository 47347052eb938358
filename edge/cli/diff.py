"""``t1edge diff``."""

from __future__ import annotations

import click

from edge.cli.common import (
    EdgeCommand,
    ExitCode,
    allow_unsupported_option,
    edge_argument,
    json_option,
    load_edge,
    write_json,
    write_result,
)


@click.command("diff", cls=EdgeCommand, epilog="Example:  t1edge diff acme.yaml acme-next.yaml")
@edge_argument("old", "EDGE1")
@edge_argument("new", "EDGE2")
@allow_unsupported_option
@json_option
def command(old: str, new: str, allow_unsupported: bool, as_json: bool) -> None:
    """Tell what changes from the edge file EDGE1 to EDGE2, object by object, in the words of the documents.

    Exits 1 when there is a difference.
    """
    from edge.diff import diff

    changes = diff(load_edge(old, allow_unsupported), load_edge(new, allow_unsupported))
    if as_json:
        write_json({"changes": [change.to_json() for change in changes]})
    else:
        write_result("\n".join(str(change) for change in changes) or "no difference")
    if changes:
        raise click.exceptions.Exit(ExitCode.DIFFERENT)
