"""Secrets of a document: hidden where it is shown, and put back where it comes in again as it was shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from edge.document import services
from edge.document.problems import Path

PLACEHOLDER: Final = "********"
"""What is shown of a secret; where it is given for one, the secret stays as it is."""

SECRET_FIELDS: Final = re.compile("preSharedKey|peerCode|privateKey|password|passphrase|secret", re.IGNORECASE)
"""Fields that hold secrets."""


def masked(value: Any, *, secret: bool = False) -> Any:
    """Plain data with a placeholder for every secret."""
    if isinstance(value, dict):
        return {
            key: masked(inner, secret=secret or bool(SECRET_FIELDS.search(str(key)))) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [masked(inner, secret=secret) for inner in value]
    return PLACEHOLDER if secret and value not in (None, "") and not isinstance(value, bool) else value


def unmasked(document: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """A document with the secrets of a known one in place of placeholders, and the paths of those that it has not got.

    Objects of lists are told by their id, else by their name where it is unique, else by their place.
    """
    missing: list[Path] = []
    sections = {services.section_of(str(key)): value for key, value in known.items()}
    own = {key: known.get(key, sections.get(services.section_of(str(key)))) for key in document}
    return {key: _unmasked(value, own[key], (key,), False, missing) for key, value in document.items()}, missing


def _unmasked(value: Any, known: Any, path: Path, secret: bool, missing: list[Path]) -> Any:
    if isinstance(value, dict):
        if "values" in value and isinstance(known, list):
            known = {"values": known}
        held = known if isinstance(known, dict) else {}
        return {
            key: _unmasked(inner, held.get(key), (*path, key), secret or bool(SECRET_FIELDS.search(str(key))), missing)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        if isinstance(known, dict):
            known = known.get("values")
        partners = _partners(value, known if isinstance(known, list) else [])
        return [
            _unmasked(inner, partner, (*path, index), secret, missing)
            for index, (inner, partner) in enumerate(zip(value, partners, strict=True))
        ]
    if secret and value == PLACEHOLDER:
        if known not in (None, "") and not isinstance(known, dict | list):
            return known
        missing.append(path)
    return value


def _partners(items: list[Any], known: list[Any]) -> list[Any]:
    """For each item the known one that it stands for, None where there is none."""
    by_id = {item["id"]: item for item in known if isinstance(item, dict) and isinstance(item.get("id"), str)}
    counts = Counter(_name(item) for item in known)
    by_name = {_name(item): item for item in known if counts[_name(item)] == 1}
    found: list[Any] = []
    for index, item in enumerate(items):
        name = _name(item)
        if isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"] in by_id:
            found.append(by_id[item["id"]])
        elif name is not None:
            found.append(by_name.get(name))
        else:
            found.append(known[index] if index < len(known) else None)
    return found


def _name(item: Any) -> str | None:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else None
