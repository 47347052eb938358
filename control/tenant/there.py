"""What the control plane has of a tenant, as far as a document speaks of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from control.kinds import BY_NAME, Kind
from control.names import is_name

Item = dict[str, Any]
_Names = defaultdict[str, set[str]]


class Lists(Protocol):
    """Whoever asks the control plane."""

    def listed(self, kind: Kind, parent: str) -> list[Item]:
        """The objects of a kind in another one."""

    def parents(self, kind: Kind) -> list[str]:
        """Every object that those of a kind may lie in."""


@dataclass(slots=True)
class There:
    """Objects by kind and by what they lie in, and names that are about to be."""

    org: str
    lists: Lists
    items: dict[tuple[str, str], list[Item]] = field(default_factory=dict)
    names: dict[tuple[str, str], dict[str, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    """(kind, what it lies in) -> id or display name -> the names of the objects that are called so."""
    _shown: dict[str, str] = field(default_factory=dict)

    def read(self, kind: Kind, parent: str) -> list[Item]:
        """The objects of a kind in another one; asked for once."""
        key = (kind.name, parent)
        if key not in self.items:
            self.items[key] = self.lists.listed(kind, parent)
            for item in self.items[key]:
                self.call(kind, parent, item["name"], item.get("displayName", ""))
        return self.items[key]

    def call(self, kind: Kind, parent: str, name: str, display_name: str) -> None:
        """An object can be referred to from now on."""
        called = self.names[kind.name, parent]
        self._shown[name] = display_name
        for text in {name.rpartition("/")[2], display_name} - {""}:
            called[text].add(name)

    def find(self, kinds: Iterable[str], text: str, parents: Iterable[str]) -> str | None:
        """The object of that name in one of these places, None if there is none.

        Raises LookupError with the names of several.
        """
        found: set[str] = set()
        for parent in parents:
            for kind in kinds:
                if BY_NAME[kind].parent == form(parent):
                    self.read(BY_NAME[kind], parent)
                    found |= self.names[kind, parent][text]
        if len(found) > 1:
            raise LookupError(", ".join(sorted(found)))
        return next(iter(found), None)

    def shared(self, kinds: Iterable[str], text: str, parent: str) -> str | None:
        """The provider's object of that name, as far as it can be used in ``parent``; None if there is none.

        Raises LookupError with the names of several.
        """
        found: set[str] = set()
        for kind in (BY_NAME[name] for name in kinds):
            places = [] if kind.parent.startswith("orgs/") else [""]
            if kind.parent == "regions/*":
                vdc = next((item for item in self.read(BY_NAME["vdc"], self.org) if item["name"] == parent), None)
                places = [vdc["region"]] if vdc else self.lists.parents(kind)
            for place in places:
                self.read(kind, place)
                found |= self.names[kind.name, place][text]
        if len(found) > 1:
            raise LookupError(", ".join(sorted(found)))
        return next(iter(found), None)

    def display(self, text: str) -> str:
        """What people call the object of a name; any other text as it is."""
        if not is_name(text):
            return text
        return self._shown.get(text) or text.rpartition("/")[2]


def form(name: str) -> str:
    """The form of a name."""
    return "/".join("*" if index % 2 else part for index, part in enumerate(name.split("/")))
