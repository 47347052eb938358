"""The commands that every kind of objects has, made of the kind and of its messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import json_option, write_example, write_json
from edge.cli.control.common import (
    Connection,
    ControlCommand,
    change_options,
    connect,
    end_task,
    etag_option,
    list_options,
    show_object,
    show_task,
    taken_change,
    text_of,
    to_option,
)
from edge.cli.control.follow import wait_options
from edge.cli.control.nouns import Noun
from edge.cli.remote import options_together
from edge.cli.tables import print_table

if TYPE_CHECKING:
    from control.api.shapes import Shape
    from control.kinds import Kind
    from edge.cli.control.finder import Finder

OF_ALL = frozenset({"parent", "validate_only", "request_id", "busy_timeout", "update_mask", "position"})
"""Fields of requests that options of all commands stand for."""

_VERBS = ("list", "get", "create", "update", "delete")
"""In the order of help texts."""


class NounGroup(click.Group):
    """The commands about one kind; nothing of it is loaded before one of them is asked for."""

    def __init__(self, word: str, noun: Noun) -> None:
        first = f"{word} create {noun.example}" if noun.example else f"{word} list"
        super().__init__(word, help=noun.text, epilog=f"Example:  t1edge control {first}")
        self._word = word
        self._noun = noun

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Those of the kind's methods, then the noun's own."""
        from control.kinds import BY_NAME

        methods = BY_NAME[self._noun.kind].methods
        common = [verb for verb in _VERBS if verb.capitalize() in methods]
        return common + [verb for verb in self._noun.verbs if verb not in common]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, None when there is none of that name."""
        own = self._noun.verbs.get(cmd_name)
        if isinstance(own, str):
            command: click.Command = import_module(own).COMMANDS[f"{self._word} {cmd_name}"]
            return command
        if cmd_name not in self.list_commands(ctx):
            return None
        from control.kinds import BY_NAME

        kind = BY_NAME[self._noun.kind]
        if own is not None:
            from edge.cli.control.actions import action_command

            return action_command(self._word, cmd_name, kind, own)
        return _BUILDERS[cmd_name](self._word, self._noun, kind)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The example of the help text, unwrapped so that it can be copied."""
        write_example(self, formatter)


_PLACES = {
    "org": ("ACCOUNT", "The organization (default: the caller's)."),
    "edge": ("EDGE", "The edge (default: the only one)."),
    "vdc": ("VDC", "The data center (default: the only one)."),
    "region": ("REGION", "The region (default: the only one)."),
}


def place_options(kind: Kind) -> Callable[[Any], Any]:
    """``--org``, ``--edge`` and the like, as far as objects of this kind lie in such."""
    from edge.cli.control.finder import places_of

    return options_together(
        *(
            click.option(f"--{place}", f"in_{place}", metavar=_PLACES[place][0], help=_PLACES[place][1])
            for place in places_of(kind)
        )
    )


def taken_finder(kind: Kind, connection: Connection, options: dict[str, Any]) -> Finder:
    """What ``place_options`` describes; taken out of ``options``."""
    from edge.cli.control.finder import Finder, places_of

    return Finder(connection, {place: options.pop(f"in_{place}") for place in places_of(kind)})


def cell(item: Mapping[str, Any], column: str, shape: Shape) -> str:
    """A field, ``a.b`` one within another, as tables show it: others by the ends of their names, words alone."""
    value: Any = item
    field: Shape | None = shape
    for step in column.split("."):
        value = [each.get(step, "") for each in value] if isinstance(value, list) else value.get(step, "")
        field = field.field(step) if field else None
    prefix = field.prefix if field else ""
    return text_of(value, lambda text: short(text).removeprefix(prefix))


def short(text: str) -> str:
    """The end of an object's name."""
    from control.names import is_name, last

    return last(text) if is_name(text) else text


def run_write(
    kind: Kind,
    options: dict[str, Any],
    method: str,
    request: Callable[[Finder], Mapping[str, Any]],
    *,
    as_json: bool,
    secret: str = "",
) -> None:
    """Call a method that answers with a task, and follow it to its end; ``secret``: see :func:`show_task`."""
    change = taken_change(options)
    busy_s = options.pop("busy_timeout", None)
    if busy_s is not None:
        change["busyTimeout"] = f"{busy_s:.9f}s"
    connection = connect(options)
    with connection.client as client:
        answer = client.call(method, {**request(taken_finder(kind, connection, options)), **change})
        answer = end_task(connection, answer, options, validate_only=change["validateOnly"])
    show_task(answer, as_json=as_json, validate_only=change["validateOnly"], secret=secret)


def write_options(kind: Kind, method: str) -> Callable[[Any], Any]:
    """Options of a command that calls a method that changes something."""
    from control.api.shapes import request_shape

    shape = request_shape(method)
    own = [place_options(kind)]
    if shape.field("position"):
        own.append(position_options)
    if shape.field("busy_timeout"):
        own.append(busy_option)
    return options_together(*own, wait_options, change_options, to_option, json_option)


busy_option = click.option(
    "--busy-timeout", type=click.FloatRange(0), metavar="SECONDS",
    help="How long to wait for an edge that is busy (default: 10; 0: not at all).",
)  # fmt: skip

position_options = options_together(
    click.option("--before", metavar="NAME", help="Right before this one."),
    click.option("--after", metavar="NAME", help="Right behind this one."),
    click.option("--first", is_flag=True, help="Before all others."),
    click.option("--last", is_flag=True, help="Behind all others."),
)
"""Where an object is to stand among others of its kind."""


def taken_position(kind: Kind, finder: Finder, options: dict[str, Any]) -> dict[str, Any]:
    """What ``position_options`` describes, {} for nothing; taken out of ``options``.  Raises click.UsageError."""
    given = {name: options.pop(name, None) for name in ("before", "after", "first", "last")}
    found = {name: value for name, value in given.items() if value}
    if len(found) > 1:
        raise click.UsageError("--before, --after, --first and --last: only one of them")
    return {name: value if value is True else finder.find([kind.name], value) for name, value in found.items()}


def _list(word: str, noun: Noun, kind: Kind) -> click.Command:
    @click.command("list", cls=ControlCommand, epilog=f"Example:  t1edge control {word} list")
    @options_together(place_options(kind), list_options, to_option, json_option)
    def command(as_json: bool, **options: Any) -> None:
        """List them."""
        list_objects(word, noun, kind, options, as_json=as_json)

    return command


def list_objects(word: str, noun: Noun, kind: Kind, options: dict[str, Any], *, as_json: bool) -> None:
    """List the objects of a kind, wherever ``options`` say."""
    from control.names import camel
    from control.tenant.fields import object_shape

    limit = options.pop("limit")
    query = {"filter": options.pop("filter_text"), "orderBy": options.pop("order_by")}
    connection = connect(options)
    with connection.client:
        finder = taken_finder(kind, connection, options)
        parents = finder.parents(kind)
        found = _listed(kind, finder, parents, query, limit)
    if as_json:
        write_json({camel(kind.list_field): found})
        return
    places = ["name"] if len(parents) > 1 and "name" not in noun.columns else []
    print_table(
        word,
        [*places, *noun.columns],
        [
            [*(item["name"] for _ in places), *(cell(item, column, object_shape(kind)) for column in noun.columns)]
            for item in found
        ],
    )


def _listed(
    kind: Kind, finder: Finder, parents: list[str], query: Mapping[str, str], limit: int
) -> list[dict[str, Any]]:
    """What lies in any of ``parents``, in one order if one is asked for.  Raises click.UsageError if it cannot be."""
    from control.tenant.fields import object_shape
    from edge.cli.control.finder import places_of

    found = [item for parent in parents for item in finder.listed(kind, parent, query, limit)]
    if len(parents) < 2 or not query["orderBy"]:
        return found[:limit]
    name, *direction = query["orderBy"].split()
    field = object_shape(kind).field(name)
    if field is None:
        raise click.UsageError(f"{name} is the order of one list: --{places_of(kind)[-1]} says which")

    def place(item: dict[str, Any]) -> tuple[Any, str]:
        value = item[field.key]
        # Of times, .5 comes before .51: without the letter behind them, they have the order of texts.
        return value.removesuffix("Z") if name.endswith("_time") else value, item["name"]

    return sorted(found, key=place, reverse=direction == ["desc"])[:limit]


def _get(word: str, noun: Noun, kind: Kind) -> click.Command:
    @click.command("get", cls=ControlCommand, epilog=f"Example:  t1edge control {word} get {_example_name(noun)}")
    @click.argument("name")
    @options_together(place_options(kind), to_option, json_option)
    def command(name: str, as_json: bool, **options: Any) -> None:
        """Show one, by its id, display name or whole name."""
        from control.kinds.kind import GET
        from control.names import camel

        connection = connect(options)
        with connection.client as client:
            found = taken_finder(kind, connection, options).find([kind.name], name)
            answer = client.call(kind.method(GET), {"name": found})
        show_object(answer[camel(kind.name)], as_json=as_json)

    return command


def _create(word: str, noun: Noun, kind: Kind) -> click.Command:
    from control.api.shapes import request_shape
    from control.kinds.kind import CREATE
    from control.tenant.fields import object_shape
    from edge.cli.control.fields import option_of, taken_fields, taken_options

    method, shape = kind.method(CREATE), object_shape(kind)
    names = [name for name in kind.model.model_fields if shape.field(name)]
    whole = request_shape(method)
    besides = [field.name for field in whole.fields if field.name not in {*OF_ALL, kind.name, f"{kind.name}_id"}]

    @click.command("create", cls=ControlCommand, epilog=f"Example:  t1edge control {word} create {noun.example}")
    @click.argument("name", required=False)
    @click.option("--id", "own_id", default="", help="The last part of its name, for good (default: made of NAME).")
    @write_options(kind, method)
    def command(name: str | None, own_id: str, as_json: bool, **options: Any) -> None:
        """Make one that people call NAME."""
        more = taken_options(whole, besides, options)
        fields = taken_fields(shape, names, options)
        if name is not None:
            fields["displayName"] = name
        if "displayName" not in fields:
            raise click.UsageError("NAME is missing")

        def request(finder: Finder) -> dict[str, Any]:
            parent = finder.parent(kind)
            finder.resolve(kind, fields, shape, parent)
            position = taken_position(kind, finder, options)
            found = {f"{kind.name}_id": own_id, kind.name: fields, **more}
            return found | ({"parent": parent} if parent else {}) | ({"position": position} if position else {})

        run_write(kind, options, method, request, as_json=as_json)

    _add_fields(command, [shape.inner(name) for name in names if name != "display_name"], kind)
    command.params += [option_of(whole.inner(name)) for name in besides]
    return command


def _update(word: str, noun: Noun, kind: Kind) -> click.Command:
    from control.kinds.kind import UPDATE
    from control.tenant.fields import object_shape
    from edge.cli.control.fields import taken_fields

    method, shape = kind.method(UPDATE), object_shape(kind)
    names = [name for name in kind.changeable() if shape.field(name)]

    @click.command(
        "update", cls=ControlCommand, epilog=f"Example:  t1edge control {word} update {_example_name(noun)} ..."
    )
    @click.argument("name")
    @etag_option
    @write_options(kind, method)
    def command(name: str, etag: str, as_json: bool, **options: Any) -> None:
        """Change one: only what is given.  A list that is given takes the place of the one that was there."""
        fields = taken_fields(shape, names, options)
        if not fields:
            raise click.UsageError("nothing to change was given")

        def request(finder: Finder) -> dict[str, Any]:
            found = finder.find([kind.name], name)
            finder.resolve(kind, fields, shape, found.rpartition("/")[0].rpartition("/")[0])
            given = {key: value for key, value in fields.items() if value is not None}
            return {kind.name: {"name": found, "etag": etag, **given}, "updateMask": ",".join(fields)}

        run_write(kind, options, method, request, as_json=as_json)

    _add_fields(command, [shape.inner(name) for name in names], kind)
    return command


def _delete(word: str, noun: Noun, kind: Kind) -> click.Command:
    from control.kinds.kind import DELETE

    method = kind.method(DELETE)

    @click.command("delete", cls=ControlCommand, epilog=f"Example:  t1edge control {word} delete {_example_name(noun)}")
    @click.argument("name")
    @etag_option
    @write_options(kind, method)
    def command(name: str, etag: str, as_json: bool, **options: Any) -> None:
        """Delete one that nothing needs."""
        run_write(
            kind,
            options,
            method,
            lambda finder: {"name": finder.find([kind.name], name), "etag": etag},
            as_json=as_json,
        )

    return command


def _add_fields(command: click.Command, shapes: list[Shape], kind: Kind) -> None:
    """Give a command the options of fields, behind its arguments."""
    from edge.cli.control.fields import field_options

    at = sum(isinstance(param, click.Argument) for param in command.params)
    command.params[at:at] = field_options(shapes, kind.model)


def _example_name(noun: Noun) -> str:
    return noun.example.partition(" ")[0] or "NAME"


_BUILDERS: Mapping[str, Callable[[str, Noun, Kind], click.Command]] = {
    "list": _list,
    "get": _get,
    "create": _create,
    "update": _update,
    "delete": _delete,
}
