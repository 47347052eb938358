"""Fields of objects as options, and what is given for them as JSON."""

from __future__ import annotations

import json
import types
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import click

from control.api.shapes import Shape, ShapeKind
from control.tenant.fields import Fields

if TYPE_CHECKING:
    from pydantic import BaseModel


def field_options(shapes: list[Shape], model: type[BaseModel] | None = None) -> list[click.Option]:
    """An option for each field, its words those of the model; ``--set`` for whatever is said more easily as JSON, and
    ``--file`` for all at once."""
    return [
        *(option_of(shape, model) for shape in shapes),
        click.Option(
            ["--set", "settings"], multiple=True, metavar="FIELD=JSON", help="Any field, as JSON; null: not given."
        ),
        click.Option(
            ["-f", "--file", "file"], metavar="FILE", type=click.Path(dir_okay=False),
            help="The whole object, YAML or JSON; options come on top.",
        ),
    ]  # fmt: skip


def taken_fields(shape: Shape, names: list[str], options: dict[str, Any]) -> Fields:
    """What was given for the fields of an object; taken out of ``options``.  Raises DocumentError, click.UsageError."""
    settings, file = options.pop("settings"), options.pop("file")
    found = read_object(shape, names, file) if file else {}
    found |= taken_options(shape, names, options)
    for setting in settings:
        name, equals, text = setting.partition("=")
        field = shape.field(name)
        if not equals or field is None or field.name not in names:
            raise click.BadParameter(f"{setting!r}: expected FIELD=JSON, FIELD one of {', '.join(names)}", None, None,
                                     "--set")  # fmt: skip
        try:
            found[field.key] = json.loads(text)
        except ValueError:
            raise click.BadParameter(f"{setting!r}: {text!r} is not JSON", None, None, "--set") from None
    return {key: _worded(shape.inner(key), value) for key, value in found.items()}


def taken_options(shape: Shape, names: list[str], options: dict[str, Any]) -> Fields:
    """What the options of these fields say; taken out of ``options``."""
    found = {}
    for name in names:
        given, own = options.pop(_variable(name), None), shape.inner(name)
        if given is not None and given != ():
            found[own.key] = _worded(own, list(given) if own.many else given)
    return found


def _worded(shape: Shape, value: Any) -> Any:
    """A value with the contract's prefixes before its words."""
    if isinstance(value, list):
        return [_worded(shape, item) for item in value]
    if shape.kind is ShapeKind.WORD and isinstance(value, str):
        return value if value.startswith(shape.prefix) else shape.prefix + value.upper()
    if shape.kind is ShapeKind.OBJECT and isinstance(value, dict):
        fields = {key: shape.field(key) for key in value}
        return {key: _worded(field, value[key]) if field else value[key] for key, field in fields.items()}
    return value


def read_object(shape: Shape, names: list[str], file: str) -> Fields:
    """An object in a file, with no keys but these.  Raises DocumentError."""
    from control.tenant.written import Written

    written = Written.read(file)
    found = written.object((), written.data, shape, {field.name for field in shape.fields if field.name in names})
    written.check()
    return found


def option_of(shape: Shape, model: type[BaseModel] | None = None) -> click.Option:
    """The option of a field."""
    flag = "--" + option_name(shape)
    about: dict[str, Any] = {"help": shape.comment, "default": None, "multiple": shape.many}
    words = choices(model.model_fields[shape.name].annotation) if model else ()
    if shape.kind is ShapeKind.FLAG:
        about |= {"multiple": False}
        flag = f"{flag}/--no-{option_name(shape)}"
    elif words or shape.kind is ShapeKind.WORD:
        words = words or shape.words
        about |= {"type": click.Choice(words, case_sensitive=False), "metavar": f"[{'|'.join(words)}]"}
    elif shape.kind is ShapeKind.NUMBER:
        about["type"] = click.INT
    elif shape.kind is ShapeKind.FRACTION:
        about["type"] = click.FLOAT
    elif shape.kind in {ShapeKind.OBJECT, ShapeKind.MAP}:
        keys = ", ".join(field.key for field in shape.fields)
        told = f"{shape.comment} Keys: {keys}." if keys else shape.comment
        about |= {"type": ObjectType(shape), "metavar": "KEY=VALUE,...", "help": told.strip()}
    else:
        about["metavar"] = "TEXT"
    return click.Option([flag, _variable(shape.name)], **about)


def _variable(name: str) -> str:
    """Out of the way of the commands' own options."""
    return f"field_{name}"


def option_name(shape: Shape) -> str:
    """``ip-address`` for the field ``ip_addresses``, which can be given several times."""
    name = shape.name.replace("_", "-")
    if shape.many:
        for end, one in (("sses", "ss"), ("ies", "y"), ("criteria", "criterion"), ("s", "")):
            if name.endswith(end):
                return name.removesuffix(end) + one
    return name


def choices(annotation: Any) -> tuple[str, ...]:
    """The words that a model lets in, () if there are no such."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return choices(get_args(annotation)[0])
    if origin is Literal:
        return tuple(map(str, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(str(item.value) for item in annotation)
    if origin in {Union, types.UnionType, tuple, list}:
        return next((found for found in map(choices, get_args(annotation)) if found), ())
    return ()


class ObjectType(click.ParamType[Any]):
    """``enabled=true,pools=10.0.0.2-10.0.0.9,pools=...``, or JSON."""

    name = "object"

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """JSON of a text."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.lstrip().startswith("{") else self._read(value)
        except ValueError as error:
            return self.fail(f"{value!r}: {error}", param, ctx)

    def _read(self, text: str) -> Fields:
        found: Fields = {}
        for part in text.split(",") if text else ():
            key, equals, value = part.partition("=")
            if not equals:
                raise ValueError("expected KEY=VALUE, with commas between, or JSON")
            if self._shape.kind is ShapeKind.MAP:
                found[key] = scalar(value)
            else:
                _put(found, self._shape, key, value)
        return found


def _put(found: Fields, shape: Shape, key: str, text: str) -> None:
    """Set a field, ``a.b`` one within another.  Raises ValueError."""
    name, _, rest = key.partition(".")
    field = shape.field(name)
    if field is None:
        raise ValueError(f"there is no {name!r}, only {', '.join(item.key for item in shape.fields)}")
    if rest and field.kind is ShapeKind.OBJECT and not field.many:
        _put(found.setdefault(field.key, {}), field, rest, text)
        return
    value = _value(field, text)
    if field.many:
        found.setdefault(field.key, []).append(value)
    elif field.key in found:
        raise ValueError(f"{field.key!r} is given twice")
    else:
        found[field.key] = value


def _value(shape: Shape, text: str) -> Any:
    if shape.kind is ShapeKind.FLAG:
        if text not in {"true", "false"}:
            raise ValueError(f"{shape.key!r}: expected true or false")
        return text == "true"
    if shape.kind is ShapeKind.NUMBER:
        return int(text)
    if shape.kind is ShapeKind.FRACTION:
        return float(text)
    if shape.kind in {ShapeKind.OBJECT, ShapeKind.MAP}:
        raise ValueError(f"{shape.key!r} holds fields of its own: give it as JSON")
    return text


def scalar(text: str) -> Any:
    """A value of a map: JSON where it is that, text otherwise."""
    try:
        return json.loads(text)
    except ValueError:
        return text
