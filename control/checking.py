"""Whether what tenants want of their edges can be had: plans, held against the edge's own check of documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from control import gather
from control.edge_rules import Trouble, check_size, troubles
from control.planner import RULES, EdgeInputs, Plan, plan
from control.store import Reader, WriteUnit
from edge.document import LoadedDocument, from_data
from edge.errors import ArgumentError, DocumentError, Problem

_PLACE = re.compile(rf"({re.escape(RULES)}|orgVdcNetworks|firewallGroups|applicationPortProfiles|natRules|staticRoutes)"
                    r"(?:\[(\d+)\])(?:\.(.*))?")  # fmt: skip
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_FIELDS = {"name": "display_name", "subnets": "gateway_cidrs", "connection": "connection_type"}
"""Fields of documents that have other names here."""


def checked_plan(inputs: EdgeInputs, places: Mapping[str, str]) -> tuple[Plan, LoadedDocument]:
    """The document of an edge, and as the edge reads it.

    Raises ArgumentError with a violation for everything that does not hold together: of the objects in ``places``
    (name -> field of the request) at their fields, of others by their names; and LimitReachedError.
    """
    check_size(inputs)
    found = list(troubles(inputs))
    planned = plan(inputs)
    try:
        loaded = from_data(planned.document)
    except DocumentError as error:
        found += [_trouble(problem, planned, inputs.edge.name) for problem in error.problems if _is_error(problem)]
    else:
        if not found:
            return planned, loaded
    raise ArgumentError(f"{inputs.edge.name} cannot have this", list(_violations(found, places)))


def checked(unit: WriteUnit, edge: str) -> Mapping[str, Any]:
    """The document that an edge is to run at the end of a unit.  Raises ArgumentError for what it would not take."""
    return checked_plan(gather.inputs(unit, edge), unit.places)[0].document


def planned(state: Reader, edge: str) -> Mapping[str, Any]:
    """The document that an edge should run."""
    return plan(gather.inputs(state, edge)).document


def check_edges(unit: WriteUnit) -> None:
    """Hold the edges of a unit against what they would get.  Raises ArgumentError and LimitReachedError."""
    for edge in unit.touched():
        checked_plan(gather.inputs(unit, edge), unit.places)


def _is_error(problem: Problem) -> bool:
    return problem.severity == "error"


def _trouble(problem: Problem, planned: Plan, edge: str) -> Trouble:
    """A problem of a document, said of the object that it comes of."""
    match = _PLACE.match(problem.path)
    if match is None or match[2] is None:
        field = problem.path if problem.path.startswith("options") else ""
        return Trouble(edge, field, problem.message)
    section, index, rest = match[1], int(match[2]), match[3] or ""
    head, dot, tail = rest.partition(".")
    word, bracket, number = head.partition("[")
    if section == "orgVdcNetworks":
        dot = tail = ""
    field = _CAPITAL.sub(r"_\1", _FIELDS.get(word, word)).lower() + bracket + number
    return Trouble(planned.objects[section][index], field + dot + _CAPITAL.sub(r"_\1", tail).lower(), problem.message)


def _violations(found: list[Trouble], places: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What the request says comes first; what others have to say of it only where that is all."""
    first = {(each.object, each.field): each for each in reversed(found)}
    found = [each for each in found if each is first[each.object, each.field]]
    own = [each for each in found if each.object in places]
    for each in own:
        place = places[each.object]
        yield ".".join(part for part in (place, each.field) if part), each.text
    for each in found if not own else ():
        yield "", f"{each.object}{f', {each.field}' if each.field else ''}: {each.text}"
