"""The difference between planned documents as edits: made to the one, they give the other."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from control.fleet.edits import MOST, edits_between
from edge.patch import Delete, Move, Upsert, patch

Document = dict[str, Any]


def document(rules: list[str], nat: list[str] | None = None, **options: Any) -> Document:
    """A planned document as far as edits care: its objects have ids."""
    return {
        "edgeGateway": {"id": "gw", "name": "T1", "edgeGatewayUplinks": [{"uplinkId": "u", "uplinkName": "WAN"}]},
        "firewallGroups": [{"id": "g", "name": "g"}],
        "firewallRules": {
            "userDefinedRules": [{"id": rule[0], "name": rule} for rule in rules],
            "defaultRules": [{"id": "default", "name": "default"}],
        },
        "natRules": [{"id": rule[0], "name": rule} for rule in nat or []],
        "options": options,
    }


def made(before: Document, after: Document) -> list[Any]:
    """The edits, which have been tried."""
    edits = edits_between(before, after)
    assert edits is not None
    found = patch(copy.deepcopy(before), edits) if edits else before
    assert json.dumps(found, sort_keys=True) == json.dumps(after, sort_keys=True)
    return edits


def test_what_is_equal_needs_no_edits() -> None:
    assert made(document(["a", "b"]), document(["a", "b"])) == []


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ("a b c", "a x b c", [Upsert]),
        ("a b c", "a c", [Delete]),
        ("a b c", "a b2 c", [Upsert]),
        ("a b c", "c a b", [Move]),
        ("a b c", "c2 a b", [Upsert]),
        ("a b c", "x y", [Delete, Delete, Delete, Upsert, Upsert]),
        ("", "a b", [Upsert, Upsert]),
    ],
)
def test_edits_are_few(before: str, after: str, kinds: list[type]) -> None:
    edits = made(document(before.split()), document(after.split()))
    assert [type(edit) for edit in edits] == kinds


def test_what_is_one_object_is_replaced() -> None:
    after = document(["a"], mtu=1400)
    after["edgeGateway"] = {**after["edgeGateway"], "edgeGatewayUplinks": [{"uplinkId": "u", "uplinkName": "MPLS"}]}
    assert [edit.section for edit in made(document(["a"]), after)] == ["edgeGateway", "options"]


def test_random_documents_are_reached() -> None:
    rng = random.Random(5)

    def some() -> list[str]:
        ids = rng.sample("abcdefghijklmnop", rng.randrange(12))
        return [id + rng.choice(["", "", "2"]) for id in ids]

    for _ in range(500):
        made(document(some(), some()), document(some(), some()))


def test_what_cannot_be_said_briefly_is_not_said() -> None:
    many = [{"id": f"r{number}", "name": "x"} for number in range(MOST + 1)]
    before, after = document([]), document([])
    after["natRules"] = many
    assert edits_between(before, after) is None
    assert edits_between(before, {**before, "staticRoutes": []}) is None
    assert edits_between(before, {**before, "natRules": [{"name": "without an id"}]}) is None
    assert edits_between(before, {**before, "natRules": [{"id": "a"}, {"id": "a"}]}) is None
    assert edits_between(before, {**before, "firewallRules": {"userDefinedRules": []}}) is None
    assert edits_between({**before, "dns": {}}, {**before, "dns": None}) is None
