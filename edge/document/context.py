"""What every part of the resolver shares: findings, the rule about things that are not emulated, names and ids."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from edge.document.problems import Findings, Path, described, path_text, quoted, written_path
from edge.document.schema import AnyReference, Item, Reference

NAMESPACE: Final = uuid.UUID("6f0c8d6e-2d0b-5b1c-9a53-7d1f1d1a7e10")
"""The namespace of ids that objects without one get; it never changes."""

T = TypeVar("T")


@dataclass(slots=True)
class Context:
    """Findings of one document, and how it is to be read."""

    findings: Findings
    document: Any = None
    allow_unsupported: bool = False
    limits_are_errors: bool = True
    ids: dict[str, Path] = field(default_factory=dict)

    def shown_path(self, path: Path) -> str:
        """A path for the inside of a message, as the author wrote it."""
        return path_text(written_path(self.document, path))

    def not_emulated(self, path: Path, what: str, instead: str) -> None:
        """Refuse something known that is not emulated, or, where that is allowed, say what happens ``instead``."""
        if self.allow_unsupported:
            self.findings.warning("NOT_EMULATED", path, f"{what} is not emulated; {instead}")
        else:
            self.findings.error("NOT_EMULATED", path, f"{what} is not emulated")

    def limit(self, path: Path, count: int, most: int, what: str) -> None:
        """Hold a count against CloudAPI's limit; ``limits: report`` in the options makes it a warning."""
        if count > most:
            note = self.findings.error if self.limits_are_errors else self.findings.warning
            note("LIMIT_EXCEEDED", path, f"{count:,} {what}; at most {most:,} are allowed")

    def check_fields(self, item: Item, path: Path) -> None:
        """Report the fields of one object that ask for something which is not emulated."""
        asked = item.NOT_EMULATED.keys() & item.model_fields_set
        for name in sorted(asked):
            value = getattr(item, name)
            empty = value is None or value == "" or (isinstance(value, (dict, list)) and inert(value))
            if not empty and value not in item.NOT_EMULATED[name]:
                alias = type(item).model_fields[name].alias or name
                what = quoted(alias) if isinstance(value, (dict, list)) else f"{alias}: {_short(value)}"
                self.not_emulated((*path, alias), what, "the field is left out")

    def identify(self, given: str | None, section: str, name: str, path: Path, seen: Counter[str]) -> str:
        """The id of an object: its own, or a UUIDv5 of section, name and occurrence.  Ids are unique in a document."""
        occurrence = seen[name]
        seen[name] += 1
        if not given:
            return generated_id(section, name, occurrence)
        if given in self.ids:
            other = self.shown_path(self.ids[given])
            self.findings.error("CONFLICT", (*path, "id"), f"{quoted(given)} is the id of {other} too")
        else:
            self.ids[given] = path
        return given


def _short(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else described(value).removeprefix("the number ")


def generated_id(section: str, name: str, occurrence: int) -> str:
    """UUIDv5 (RFC 9562 5.5) of section, name and occurrence, counted from 0."""
    text = f"{section}/{name}/{occurrence}".encode("utf-8", "surrogatepass")
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + text, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    plain = digest.hex()
    return f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:]}"


def inert(value: Any) -> bool:
    """True for a value that asks for nothing: null, false, empty, an object that is switched off or all of whose
    values ask for nothing."""
    if isinstance(value, dict):
        for switch in ("enabled", "enable"):
            if switch in value:
                return value[switch] is None or value[switch] is False
        return value.get("mode") == "DISABLED" or all(inert(inner) for inner in value.values())
    if isinstance(value, list):
        return all(inert(inner) for inner in value)
    return value is None or value is False or value == ""


class Index(Generic[T]):
    """Objects of one kind by id and by name, for references."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.by_id: dict[str, T] = {}
        self.by_name: dict[str, list[T]] = {}
        self.complete = True
        """False when some objects could not be read: a reference that leads nowhere may mean one of them."""
        self._by_unique_name: dict[str, T] = {}  # what find() has settled, where no id can say otherwise

    def add(self, id: str | None, name: str, item: T) -> None:
        """Make an object known.  Objects are told apart by their id, so an id that comes twice keeps its first."""
        if id:
            self.by_id.setdefault(id, item)
        self.by_name.setdefault(name, []).append(item)

    def find_all(self, references: Sequence[AnyReference], path: Path, findings: Findings) -> tuple[T, ...]:
        """The objects that a list of references means, without those that there are not; those are reported."""
        found = []
        for index, reference in enumerate(references):
            if isinstance(reference, str):
                item = self._by_unique_name.get(reference)
            else:
                item = None if reference.get("id") else self._by_unique_name.get(reference.get("name") or "")
            if item is None:
                item = self.find(reference, (*path, index), findings)
            if item is not None:
                found.append(item)
        return tuple(found)

    def find(self, reference: AnyReference, path: Path, findings: Findings) -> T | None:
        """The object that a reference means.  None when there is none, which is then reported."""
        if isinstance(reference, str):
            if reference in self.by_id:
                return self.by_id[reference]
            name = reference
        else:
            id = reference.get("id")
            if id:
                if id in self.by_id:
                    return self.by_id[id]
                self._dangling("id", id, path, findings, reference)
                return None
            name = reference.get("name") or ""
            if not name:
                findings.error("MISSING_FIELD", path, "a reference needs a name or an id")
                return None
        items = self.by_name.get(name) or self.by_name_elsewhere(name)
        if not items:
            self._dangling("name", name, path, findings, None)
            return None
        if len(items) > 1:
            message = f"{len(items)} {self.kind}s bear the name {quoted(name)}; refer to the one you mean by its id"
            findings.error("AMBIGUOUS_REFERENCE", path, message)
            return None
        if name not in self.by_id:
            self._by_unique_name[name] = items[0]
        return items[0]

    def by_name_elsewhere(self, name: str) -> Sequence[T]:  # noqa: ARG002  # a subclass uses it
        """Objects that can be named without being declared: none, unless a subclass knows some."""
        return ()

    def elsewhere_hint(self, name: str) -> str:
        """What to do about an unknown id beside a name that is known elsewhere."""
        return f"{quoted(name)} is known by its name alone"

    def _dangling(self, what: str, word: str, path: Path, findings: Findings, reference: Reference | None) -> None:
        if not self.complete:
            return
        hint = "" if what == "id" else findings.nearest(word, self.by_name)
        beside = (reference.get("name") if reference else None) or ""
        if beside in self.by_name:
            hint = f"; the name beside it, {quoted(beside)}, is known, but an id comes first"
        elif beside and self.by_name_elsewhere(beside):
            hint = f"; {self.elsewhere_hint(beside)}"
        findings.error("DANGLING_REFERENCE", path, f"there is no {self.kind} with the {what} {quoted(word)}{hint}")
