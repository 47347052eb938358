"""Methods that do something, as commands made of their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from control.tenant.fields import references
from control.tenant.references import REFERENCES
from edge.cli.control.common import ControlCommand
from edge.cli.control.fields import field_options, taken_fields
from edge.cli.control.generic import OF_ALL, run_write, taken_position, write_options
from edge.cli.control.nouns import Action

if TYPE_CHECKING:
    from control.kinds import Kind
    from edge.cli.control.finder import Finder


def action_command(word: str, verb: str, kind: Kind, action: Action) -> click.Command:
    """The command of an action on objects of a kind."""
    from control.api.shapes import request_shape

    shape = request_shape(action.method)
    body = shape.inner(action.body) if action.body else shape
    if action.body:
        names = [name for name in kind.model.model_fields if body.field(name)]
    else:
        names = [field.name for field in shape.fields if field.name not in OF_ALL and field.name != action.target]
    table = dict(REFERENCES[kind.name] if action.body else action.names)

    @click.command(
        verb, cls=ControlCommand, help=action.text, epilog=f"Example:  t1edge control {word} {verb} {action.example}"
    )
    @write_options(kind, action.method)
    def command(as_json: bool, name: str = "", **options: Any) -> None:
        fields = taken_fields(body, names, options)

        def request(finder: Finder) -> dict[str, Any]:
            for holder, key, kinds in references(fields, body, table):
                holder[key] = finder.find(kinds, str(holder[key]))
            found = {action.body: fields} if action.body else fields
            if shape.field("parent"):
                found = {"parent": finder.org, **found}
            if action.target:
                found = {action.target: finder.find([kind.name], name), **found}
            if shape.field("position"):
                found = {**found, "position": taken_position(kind, finder, options)}
            return found

        run_write(kind, options, action.method, request, as_json=as_json, secret=action.secret)

    own = field_options([body.inner(name) for name in names], kind.model if action.body else None)
    command.params[:0] = [*([click.Argument(["name"])] if action.target else []), *own]
    return command
