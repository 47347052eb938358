"""Values that many objects have."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from edge.errors import ArgumentError

MAX_NAME = 128


def _visible(text: str) -> str:
    """Raises ValueError for what would move a cursor, or cannot be seen."""
    if not text.isprintable():
        raise ValueError("expected no control or invisible characters")
    if text != text.strip():
        raise ValueError("expected no spaces around it")
    return text


DisplayName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(_visible)]
"""A name for people: 1 to 128 visible characters."""


class Value(BaseModel):
    """Base of the models: frozen, and nothing unknown is let in.  What was given is not repeated in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


Model = TypeVar("Model", bound=Value)


def checked(model: type[Model], fields: dict[str, Any], place: str) -> Model:
    """A model of what a caller gave at ``place`` of a request.  Raises ArgumentError, a violation for each problem."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        violations = [
            (".".join([place, *map(str, item["loc"])]), _said(item["msg"]))
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise ArgumentError(f"the {place} is wrong", violations) from None


def _said(text: str) -> str:
    return (
        text.removeprefix("Value error, ")
        .replace("String should", "expected to")
        .replace("Input should", "expected to")
    )
