"""Values that many objects have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from control import names
from edge.errors import ArgumentError

MAX_NAME = 128


def _visible(text: str) -> str:
    """Raises ValueError for what would move a cursor, or cannot be seen."""
    if not text.isprintable():
        raise ValueError("expected no control or invisible characters")
    if text != text.strip():
        raise ValueError("expected no spaces around it")
    return text


def _text(text: str) -> str:
    """Raises ValueError for control characters other than the ends of lines."""
    if not all(line.isprintable() for line in text.split("\n")):
        raise ValueError("expected no control or invisible characters")
    return text


DisplayName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(_visible)]
"""A name for people: 1 to 128 visible characters."""


Lines = AfterValidator(_text)
Description = Annotated[str, StringConstraints(max_length=1_024), Lines]
"""Some lines for people, or none."""


def reference(*forms: str) -> AfterValidator:
    """The type of a name of another object, of one of these forms."""

    def check(text: str) -> str:
        if any(names.fits(text, form) for form in forms):
            return text
        raise ValueError(f"expected {' or '.join(forms)}")

    return AfterValidator(check)


class Value(BaseModel):
    """Base of the models: frozen, and nothing unknown is let in.  What was given is not repeated in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


Model = TypeVar("Model", bound=Value)


def checked(model: type[Model], fields: dict[str, Any], place: str) -> Model:
    """A model of what a caller gave at ``place`` of a request.  Raises ArgumentError, a violation for each problem."""
    try:
        # What callers send has types of its own: lists are for tuples, and words for enumerations.
        return model.model_validate(fields, strict=False)
    except ValidationError as error:
        items = error.errors(include_input=False, include_url=False, include_context=False)
        violations = [(_path(place, item["loc"]), _said(item["msg"])) for item in items if not _follows(item, items)]
        raise ArgumentError(f"the {place} is wrong", violations) from None


def _path(place: str, location: tuple[int | str, ...]) -> str:
    return place + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _follows(item: Any, items: Sequence[Any]) -> bool:
    """Is a list too short only because what it has is wrong?"""
    size = len(item["loc"])
    return item["type"] == "too_short" and any(
        len(other["loc"]) > size and other["loc"][:size] == item["loc"] for other in items
    )


def _said(text: str) -> str:
    return (
        text.removeprefix("Value error, ")
        .replace("String should", "expected to")
        .replace("Tuple should", "expected to")
        .replace(" after validation", "")
        .replace("Field required", "expected a value")
        .replace("Input should", "expected to")
    )
