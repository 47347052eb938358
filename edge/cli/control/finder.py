"""Objects by the short names that people use: an id or a display name, wherever there is only one of that name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from control.kinds import BY_NAME, KINDS, Kind
from control.names import SYSTEM_PROFILES, camel, is_id
from control.tenant.fields import Fields, references
from control.tenant.references import REFERENCES
from edge.cli.control.nouns import NOUNS
from edge.firewall.system_profiles import system_profile_names

if TYPE_CHECKING:
    from control.api.shapes import Shape
    from edge.cli.control.common import Connection

BY_FORM = {kind.form: kind for kind in KINDS}

_EVERYTHING: Mapping[str, str] = MappingProxyType({})
_PLACES = {"edge_gateway": "edge", "vdc": "vdc", "region": "region"}


def words_of(kind: Kind) -> str:
    """What a kind's command is called, for messages."""
    return next((word for word, noun in NOUNS.items() if noun.kind == kind.name), kind.words)


def places_of(kind: Kind) -> list[str]:
    """The options that say where objects of a kind lie, from the outside inwards."""
    found = []
    form = kind.parent
    while form:
        found.append("org" if form == "orgs/*" else _PLACES[BY_FORM[form].name])
        form = form.rpartition("/")[0].rpartition("/")[0]
    return found[::-1]


class Finder:
    """Looks up names in what the control plane has; ``given`` says where, by :func:`places_of`."""

    def __init__(self, connection: Connection, given: dict[str, str | None]) -> None:
        self.connection = connection
        self._given = given
        self._org = ""

    @property
    def org(self) -> str:
        """The organization's name, looked up when it is needed."""
        self._org = self._org or self.connection.org(self._given.get("org") or "")
        return self._org

    def listed(
        self, kind: Kind, parent: str, query: Mapping[str, str] = _EVERYTHING, limit: int = sys.maxsize
    ) -> list[dict[str, Any]]:
        """The objects of a kind in another one; ``query``: filter and orderBy, as the request has them."""
        from control.kinds.kind import LIST

        request = {**query, "pageSize": min(limit, 1_000)} | ({"parent": parent} if parent else {})
        return list(islice(self.connection.client.pages(kind.method(LIST), request, camel(kind.list_field)), limit))

    def parents(self, kind: Kind) -> list[str]:
        """Every object that those of a kind may lie in, as far as it was said where."""
        if not kind.parent:
            return [""]
        if kind.parent == "orgs/*":
            return [self.org]
        outer = BY_FORM[kind.parent]
        given = self._given.get(_PLACES[outer.name])
        if given:
            return [self.find([outer.name], given)]
        return [item["name"] for place in self.parents(outer) for item in self.listed(outer, place)]

    def parent(self, kind: Kind) -> str:
        """The one object that a new one is to lie in.  Raises click.UsageError."""
        found = self.parents(kind)
        if len(found) != 1:
            option = f"--{places_of(kind)[-1]}"
            several = f"there are several, {option} says which: {', '.join(sorted(found))}"
            raise click.UsageError(several if found else f"there is nothing for it to lie in: {option}")
        return found[0]

    def find(self, kinds: Sequence[str], text: str) -> str:
        """The name of the object that is called ``text``.  Raises CallError, or click.UsageError for several."""
        if "/" in text:
            return text
        found = list(dict.fromkeys(name for kind in kinds for name in self._candidates(BY_NAME[kind], text)))
        if len(found) == 1:
            return found[0]
        if found:
            raise click.UsageError(f"{text!r} may be one of {', '.join(found)}: give the whole name")
        if "application_port_profile" in kinds and text in system_profile_names():
            return f"{SYSTEM_PROFILES}{text}"
        from edge.api.client import CallError
        from edge.errors import Problem

        what = " or ".join(BY_NAME[kind].words for kind in kinds)
        raise CallError("OBJECT_UNKNOWN", [Problem("OBJECT_UNKNOWN", "", f"there is no {what} {text!r}")])

    def resolve(self, kind: Kind, fields: Fields, shape: Shape, parent: str) -> None:
        """Put whole names where an object in ``parent`` refers to others by short ones."""
        nearby = Finder(self.connection, {**self._given, **self._around(kind, fields, parent)})
        for holder, key, kinds in references(fields, shape, REFERENCES.get(kind.name, {})):
            holder[key] = nearby.find(kinds, str(holder[key]))

    def _around(self, kind: Kind, fields: Fields, parent: str) -> dict[str, str]:
        """Where the objects lie that one in ``parent`` can refer to."""
        found = {}
        if parent.startswith("orgs/"):
            found["org"] = "/".join(parent.split("/")[:2])
        if BY_FORM.get(kind.parent) is not None:
            found[_PLACES[BY_FORM[kind.parent].name]] = parent
        if kind.name == "machine":
            found["region"] = self.connection.client.call("VdcService/GetVdc", {"name": parent})["vdc"]["region"]
        elif fields.get("region"):
            found["region"] = self.find(["region"], str(fields["region"]))
        return found

    def _candidates(self, kind: Kind, text: str) -> Iterable[str]:
        from control.kinds.kind import GET
        from edge.api.client import CallError

        for parent in self.parents(kind):
            place = f"{parent}/{kind.form.split('/')[-2]}".removeprefix("/")
            if is_id(text):
                try:
                    answer = self.connection.client.call(kind.method(GET), {"name": f"{place}/{text}"})
                except CallError as error:
                    if error.code != "OBJECT_UNKNOWN":
                        raise
                else:
                    yield str(answer[camel(kind.name)]["name"])
            if "display_name" in kind.model.model_fields:
                wanted = text.replace("\\", "\\\\").replace('"', '\\"')
                yield from (
                    item["name"] for item in self.listed(kind, parent, {"filter": f'display_name = "{wanted}"'})
                )
