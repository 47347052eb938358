"""Filters, orders and pages of lists, as callers write them.

A filter is the part of AIP-160 that selects by equality: ``role = "ROLE_STAFF" AND email = "a@example.com"``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from control.errors import BadFilterError, BadPageTokenError
from edge.errors import ArgumentError

DEFAULT_PAGE = 50
MAX_PAGE = 1_000
MAX_TEXT = 1_024

_TERM = re.compile(r'\s*([a-z_]{1,64})\s*=\s*(?:"((?:[^"\\]|\\["\\])*)"|([^\s"=()]+))(?:\s+(?:AND\s+(?=\S)|$)|\s*$)')
_ORDER = re.compile(r"\s*([a-z_]{1,64})(?:\s+(asc|desc))?\s*")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which rows, in which order, and where to begin: ``after`` is the order's value and the key of the row before."""

    conditions: tuple[tuple[str, str], ...] = ()
    order: str = ""
    descending: bool = False
    size: int = DEFAULT_PAGE
    after: tuple[str | int, str | int] | None = None
    list_id: str = ""

    def token(self, value: str | int, key: str | int) -> str:
        """The page token for what comes behind a row."""
        text = json.dumps([self.list_id, value, key])
        return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def read_query(
    scope: str,
    *,
    filter_text: str,
    order_by: str,
    page_size: int,
    page_token: str,
    fields: Collection[str],
    orders: Collection[str],
    default_order: str,
) -> ListQuery:
    """A list request; ``scope`` names what is listed.  Raises BadFilterError, BadPageTokenError or ArgumentError."""
    if page_size < 0:
        raise ArgumentError("the page size is wrong", [("page_size", "expected 0 or more")])
    conditions = read_filter(filter_text, fields)
    order, descending = _read_order(order_by or default_order, orders)
    seed = json.dumps([scope, conditions, order, descending])
    list_id = hashlib.sha256(seed.encode()).hexdigest()[:16]
    return ListQuery(
        conditions=conditions,
        order=order,
        descending=descending,
        size=min(page_size or DEFAULT_PAGE, MAX_PAGE),
        after=_read_token(page_token, list_id) if page_token else None,
        list_id=list_id,
    )


def read_filter(text: str, fields: Collection[str]) -> tuple[tuple[str, str], ...]:
    """The conditions of a filter.  Raises BadFilterError."""
    if len(text) > MAX_TEXT:
        raise BadFilterError("the filter is too long", [("filter", f"expected at most {MAX_TEXT} characters")])
    found, position = [], 0
    while position < len(text.rstrip()):
        match = _TERM.match(text, position)
        if match is None:
            expected = f'expected FIELD = "VALUE" joined by AND, at character {position + 1}'
            raise BadFilterError("the filter cannot be read", [("filter", expected)])
        field, quoted, bare = match.groups()
        if field not in fields:
            expected = f"there is no field {field!r} to select by, only {', '.join(sorted(fields))}"
            raise BadFilterError("the filter has an unknown field", [("filter", expected)])
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
        if "\0" in value:
            raise BadFilterError("the filter cannot be read", [("filter", "expected no control characters")])
        found.append((field, value))
        position = match.end()
    return tuple(found)


def _read_order(text: str, orders: Collection[str]) -> tuple[str, bool]:
    match = _ORDER.fullmatch(text) if len(text) <= MAX_TEXT else None
    if match is None or match[1] not in orders:
        expected = f'expected one of {", ".join(sorted(orders))}, perhaps followed by "desc"'
        raise BadFilterError("the order cannot be used", [("order_by", expected)])
    return match[1], match[2] == "desc"


def wrong_token() -> BadPageTokenError:
    """A page token that is none of this list's."""
    return BadPageTokenError(
        "the page token does not belong to this list",
        [("page_token", "expected the next_page_token of an answer to the same request")],
    )


def _read_token(token: str, list_id: str) -> tuple[str | int, str | int]:
    wrong = wrong_token()
    try:
        made_for, value, key = json.loads(base64.b64decode(token.encode("ascii"), b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise wrong from None
    if made_for != list_id or not all(type(item) in {str, int} for item in (value, key)):
        raise wrong
    if not all(abs(item) < 1 << 63 if isinstance(item, int) else _is_storable(item) for item in (value, key)):
        raise wrong
    return value, key


def _is_storable(text: str) -> bool:
    """Can a database have it?  JSON can escape what UTF-8 does not have."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
