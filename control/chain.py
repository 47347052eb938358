"""The chain of audit records: each has the SHA-256 of the one before it, and of itself.

A record's hash is that of the UTF-8 bytes of its canonical JSON: every field but ``hash``, keys sorted, no spaces, no
escapes beyond those that JSON demands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from control.errors import AuditError

FIRST = "0" * 64
"""What the first record has for the hash of the one before."""

FIELDS = frozenset(
    {
        *("org", "number", "time_ns", "actor", "method", "object", "outcome", "details", "request_id"),
        *("previous_hash", "hash"),
    }
)


def hash_of(record: Mapping[str, Any]) -> str:
    """The hash that a record should have, hexadecimal."""
    content = {key: value for key, value in record.items() if key != "hash"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def exported(record: Mapping[str, Any]) -> str:
    """A record as a line of JSON."""
    return json.dumps(dict(record), sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record of a chain: a later one cannot be left off unseen by who knows this."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


def verify(lines: Iterable[str], known: str = "") -> dict[str, Head]:
    """Check exported records; the heads of the chains by organization.  ``known``: a head that has to be among them.

    Raises AuditError naming the first wrong one.
    """
    heads: dict[str, Head] = {}
    missing = known
    for place, line in enumerate(lines, 1):
        record = _record(line, place)
        org, number = record["org"], record["number"]
        before = heads.get(org, Head(0, FIRST))
        name = f"line {place}: record {number} of {org}"
        if number != before.number + 1:
            raise AuditError(f"{name}: record {before.number + 1} should stand here: one was removed or moved")
        if record["previous_hash"] != before.hash:
            raise AuditError(f"{name}: it does not follow from record {before.number}: one of the two was changed")
        if record["hash"] != hash_of(record):
            raise AuditError(f"{name}: it was changed: its content does not have its hash")
        heads[org] = Head(number, record["hash"])
        if str(heads[org]) == missing:
            missing = ""
    if missing:
        raise AuditError(f"the record {missing} is missing: the newest were removed, or all are others")
    return heads


def _record(line: str, place: int) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_once)
    except KeyError:
        raise AuditError(f"line {place}: a key stands there twice") from None
    except (ValueError, RecursionError):
        raise AuditError(f"line {place}: no JSON") from None
    if (
        not isinstance(record, dict)
        or record.keys() != FIELDS
        or any(type(record[key]) is not int for key in ("number", "time_ns"))
    ):
        raise AuditError(f"line {place}: no audit record")
    if not all(_is_text(value) for key, value in record.items() if key not in {"number", "time_ns"}):
        raise AuditError(f"line {place}: no audit record")
    return record


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON.  Others might read the other value of a key that stands there twice.  Raises KeyError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise KeyError
    return found


def _is_text(value: object) -> bool:
    """Something that has a form in UTF-8, which a lone surrogate has not."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
