"""Plain data to schema objects, piece by piece, with every complaint in our own words.

A list of objects is validated in one go while all is well.  When something is not, each object is kept without the
fields that are wrong: the rest of it, and what refers to it, is still checked.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from edge.document.problems import Findings, Path, described, one_of, quoted
from edge.document.schema import PAGE_COUNTS, PAGE_KEYS, Item

T = TypeVar("T", bound=Item)

_PLACEHOLDER = "?"  # for a required field that cannot be read; all of those are texts
_REFERENCE = "expected a name, an id or {name, id}"


def validate_one(model: type[T], value: Any, path: Path, findings: Findings) -> T | None:
    """``value`` as a ``model``, without the fields that something is wrong with; None when it is no object at all.

    Whatever follows from a field that was left out is muted: the author has been told of that field.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    _report(model, value, path, errors, findings)
    if not isinstance(value, dict):
        return None
    rest = dict(value)
    wrong = {error["loc"][0] for error in errors} - _without_wrong_entries(model, rest, path, errors, findings)
    rest = {key: inner for key, inner in rest.items() if key not in wrong}
    for name, info in model.model_fields.items():
        alias = info.alias or name
        if alias in wrong:
            findings.mute((*path, alias))
            if info.is_required():
                rest[alias] = _PLACEHOLDER
    return model.model_validate(rest)


def _without_wrong_entries(
    model: type[Item], rest: dict[Any, Any], path: Path, errors: list[Any], findings: Findings
) -> set[Any]:
    """Put placeholders for the wrong entries of lists of texts and references into ``rest``, so that the others are
    still looked at.  The keys of those lists."""
    entries: dict[Any, set[int]] = {}
    whole = set()
    for error in errors:
        inner = _walk(rest, error["loc"])
        if len(inner) > 1 and isinstance(inner[1], int) and _takes_texts(_field(model, error["loc"][:1])):
            entries.setdefault(inner[0], set()).add(inner[1])
        else:
            whole.add(error["loc"][0])
    for key in entries.keys() - whole:
        written = rest[key]
        items = list(written["values"] if isinstance(written, dict) else written)
        for index in entries[key]:
            items[index] = _PLACEHOLDER
            findings.mute((*path, key, index))
        rest[key] = items
    return entries.keys() - whole


def validate_list(model: type[T], value: Any, path: Path, findings: Findings) -> list[T | None]:
    """The objects of a bare or wrapped list; None for each entry that is no object, and for a list that is none."""
    if value is None:
        return []
    if isinstance(value, dict) and "values" not in value and not PAGE_COUNTS.isdisjoint(value):
        findings.error("MISSING_FIELD", (*path, "values"), "the list itself, 'values', is missing")
        return [None]
    if isinstance(value, dict) and isinstance(value.get("values", ""), list | None):
        for key in value:
            if key not in PAGE_KEYS:
                message = f"no such field beside 'values'{findings.nearest(str(key), PAGE_KEYS)}"
                findings.error("UNKNOWN_FIELD", (*path, key), message, at_key=True)
        value = value["values"] or []
    if not isinstance(value, list):
        findings.error("WRONG_TYPE", path, f"expected a list, not {described(value)}")
        return [None]
    try:
        return cast(list[T | None], _adapter(model).validate_python(value))
    except ValidationError:
        return [validate_one(model, item, (*path, index), findings) for index, item in enumerate(value)]


_ADAPTERS: dict[type[Item], TypeAdapter[Any]] = {}


def _adapter(model: type[T]) -> TypeAdapter[list[T]]:
    # Building an adapter costs a millisecond; this is a cache, not state.
    if model not in _ADAPTERS:
        _ADAPTERS[model] = TypeAdapter(list[model])  # type: ignore[valid-type]
    return _ADAPTERS[model]


def _report(model: type[Item], value: Any, path: Path, errors: list[Any], findings: Findings) -> None:
    """One finding for each mistake; the several that a union makes of one mistake are joined."""
    told: set[Path] = set()
    paths = [_walk(value, error["loc"]) for error in errors]
    # What has a mistake inside: branches of a union that refuse it as a whole have nothing to add.
    inside = {inner[:length] for inner in paths for length in range(len(inner))}
    for error, inner in zip(errors, paths, strict=True):
        where = (*path, *inner)
        kind: str = error["type"]
        if _in_union(error["loc"]) and inner in inside:
            continue
        if where in told and kind != "extra_forbidden":
            continue
        told.add(where)
        field = _field(model, error["loc"])
        code, message = _worded(kind, error, field, findings)
        if kind == "extra_forbidden":
            message = f"no such field{findings.nearest(str(inner[-1]), _known_fields(model, error['loc']))}"
        elif kind == "missing":
            message = f"the field {quoted(str(inner[-1]))} is required"
        findings.error(code, where, message, at_key=kind == "extra_forbidden")


def _in_union(loc: tuple[Any, ...]) -> bool:
    """True for the location of a whole branch: pydantic names it at the end."""
    last = loc[-1] if loc else None
    return isinstance(last, str) and (last in ("str", "bool", "Reference", "Scope") or last.startswith("list["))


def _walk(value: Any, loc: tuple[Any, ...]) -> Path:
    """The path that a pydantic location means: without the names of union branches."""
    path: list[str | int] = []
    for position, step in enumerate(loc):
        if isinstance(value, dict) and "values" in value and isinstance(step, int):
            value = value["values"]
        if (isinstance(value, list) and isinstance(step, int)) or (isinstance(value, dict) and step in value):
            path.append(step)
            value = value[step]
        elif isinstance(value, dict) and position == len(loc) - 1 and not _in_union(loc):
            path.append(step)  # a missing field
    return tuple(path)


def _worded(kind: str, error: Any, field: FieldInfo | None, findings: Findings) -> tuple[str, str]:
    given = error["input"]
    context = error.get("ctx", {})
    if kind in ("missing", "extra_forbidden"):
        return ("MISSING_FIELD" if kind == "missing" else "UNKNOWN_FIELD"), ""  # worded where the path is known
    if kind == "literal_error":
        words = [str(word) for word in _literals(field.annotation if field else None)] or [context["expected"]]
        if not isinstance(given, str):
            return "WRONG_TYPE", f"expected {one_of(words)}, not {described(given)}"
        return "INVALID_VALUE", f"expected {one_of(words)}, not {quoted(given)}{findings.nearest(given, words)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        low, high = _bounds(field)
        shown = described(given).removeprefix("the number ")
        return "OUT_OF_RANGE", f"expected a number from {low} to {high}, not {shown}"
    if kind == "invalid_key":
        return "WRONG_TYPE", f"a key must be a text, not {described(given)}"
    if kind == "string_unicode":
        return "INVALID_VALUE", "half of a surrogate pair stands for no character"
    if kind == "string_too_long":
        return "LIMIT_EXCEEDED", f"{len(given):,} characters; at most {context['max_length']:,} are allowed"
    if kind in ("string_too_short", "string_pattern_mismatch"):
        reason = f"{quoted(given)} has control characters; a name is one line of text" if given else "must not be empty"
        return "INVALID_VALUE", reason
    if kind == "list_type" and isinstance(given, dict) and "values" not in given and not PAGE_COUNTS.isdisjoint(given):
        return "MISSING_FIELD", "the list itself, 'values', is missing"
    if kind.isupper():
        return kind, error["msg"]
    return "WRONG_TYPE", _expected(kind, given, error["loc"], field)


def _expected(kind: str, given: Any, loc: tuple[Any, ...], field: FieldInfo | None) -> str:
    hint = ""
    if field is not None and _is_reference(field.annotation) and kind != "list_type":
        return f"{_REFERENCE}, not {described(given)}"
    if _in_union(loc) and field is not None and bool in get_args(field.annotation):
        return f"expected true, false or a list, not {described(given)}"
    if kind == "string_type":
        expected = "a text"
        hint = "; put it in quotes" if isinstance(given, (int, float)) else ""
    elif kind == "bool_type":
        expected = "true or false"
    elif kind == "int_type":
        expected = "a whole number"
        hint = "; take the quotes off" if isinstance(given, str) and given.isdecimal() else ""
    elif kind == "list_type":
        expected = "a list"
        if isinstance(given, dict) and isinstance(given.get("values"), list):
            return "unknown fields beside 'values'"
    else:
        expected = "an object"
    return f"expected {expected}, not {described(given)}{hint}"


# Looking into annotations: only for the wording of errors.


def _parts(annotation: Any) -> list[Any]:
    """An annotation and everything inside its unions, lists and Annotated wrappers."""
    parts = [annotation]
    origin = get_origin(annotation)
    if origin in (Union, UnionType, list) or hasattr(annotation, "__metadata__"):
        for argument in get_args(annotation):
            parts += _parts(argument)
    return parts


def _takes_texts(field: FieldInfo | None) -> bool:
    """True for a list whose entries are texts, or references, which may be."""
    parts = _parts(field.annotation) if field else []
    return any(get_origin(part) is list for part in parts) and str in parts


def _is_reference(annotation: Any) -> bool:
    return any(is_typeddict(part) for part in _parts(annotation))


def _literals(annotation: Any) -> tuple[Any, ...]:
    return next((get_args(part) for part in _parts(annotation) if get_origin(part) is Literal), ())


def _bounds(field: FieldInfo | None) -> tuple[str, str]:
    low = high = ""
    if field is not None:
        metadata = [*field.metadata]
        for part in _parts(field.annotation):
            for extra in getattr(part, "__metadata__", ()):
                metadata += extra.metadata if isinstance(extra, FieldInfo) else [extra]
        for item in metadata:
            if isinstance(item, Ge):
                low = f"{item.ge:,}"
            elif isinstance(item, Le):
                high = f"{item.le:,}"
    return low, high


def _field(model: type[BaseModel], loc: tuple[Any, ...]) -> FieldInfo | None:
    found: FieldInfo | None = None
    current: type[BaseModel] | None = model
    for step in loc:
        if not isinstance(step, str) or current is None:
            continue
        for info in current.model_fields.values():
            if info.alias == step:
                found = info
                current = _model_in(info.annotation)
                break
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next((p for p in _parts(annotation) if isinstance(p, type) and issubclass(p, BaseModel)), None)


def _known_fields(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The fields of the object that an unknown one stands in."""
    if len(loc) > 1 and any(step == "Reference" for step in loc[:-1]):
        return ["name", "id"]
    field = _field(model, loc[:-1])
    inner = (_model_in(field.annotation) if field else None) or model
    return [info.alias or name for name, info in inner.model_fields.items()]
