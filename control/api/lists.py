"""Pages of lists that are in no table: made of messages with a name and a display name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from control.filters import read_query, wrong_token

_SHOWN: Final = "display_name"

T = TypeVar("T")
Fields = Mapping[str, Callable[[T, str], bool]]
"""A field to select by -> is it equal to this text, in an item?"""


def page(scope: str, request: Any, items: Iterable[T], more: Fields[T]) -> tuple[list[T], str]:
    """The page of ``items`` that a List request asks for, and the token of the next one; ``scope`` names the list.

    They are selected by their display names and by ``more``, and ordered by their display names.  Raises as
    :func:`control.filters.read_query` does.
    """
    fields: Fields[Any] = {_SHOWN: lambda item, text: bool(item.display_name == text), **more}
    query = read_query(
        scope, filter_text=request.filter, order_by=request.order_by, page_size=request.page_size,
        page_token=request.page_token, fields=fields, orders=(_SHOWN,), default_order=_SHOWN,
    )  # fmt: skip
    after = query.after
    if after is not None and not all(isinstance(part, str) for part in after):
        raise wrong_token()
    fitting = [item for item in items if all(fields[field](item, text) for field, text in query.conditions)]
    fitting.sort(key=_place, reverse=query.descending)
    if after is not None:
        fitting = [item for item in fitting if (_place(item) < after if query.descending else _place(item) > after)]
    found = fitting[: query.size]
    return found, query.token(*_place(found[-1])) if len(fitting) > len(found) else ""


def _place(item: Any) -> tuple[str, str]:
    return item.display_name, item.name
