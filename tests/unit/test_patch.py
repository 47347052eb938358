"""Edits of single objects: what is not edited stays as it was written, and every object stays who it was."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.document import from_data
from edge.document.context import generated_id
from edge.errors import ArgumentError, DocumentError, ObjectUnknownError
from edge.patch import Delete, Edit, Move, ObjectRef, Position, Upsert, patch

RULES = "firewallRules.userDefinedRules"


def named(name: str) -> ObjectRef:
    return ObjectRef(name=name)


def document() -> dict[str, Any]:
    return {
        "edgeGateway": {"id": "e1", "name": "T1", "edgeGatewayUplinks": [{"uplinkName": "UP"}]},
        "orgVdcNetworks": {"resultTotal": 1, "pageCount": 1, "values": [{"name": "LAN", "status": "REALIZED"}]},
        "firewallRules": {
            "version": {"version": 3},
            "userDefinedRules": [
                {"id": "i-a", "name": "a", "action": "ALLOW"},
                {"name": "b", "actionValue": "DROP", "comments": "the author's own"},
                {"name": "c", "actionValue": "ALLOW"},
            ],
        },
        "nat/rules": {"values": None},
    }


def rules(changed: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = changed["firewallRules"]["userDefinedRules"]
    return found


def names(changed: dict[str, Any]) -> list[str]:
    return [item["name"] for item in rules(changed)]


def test_what_is_not_edited_is_shared_and_what_was_is_not_changed() -> None:
    before = document()
    kept = copy.deepcopy(before)
    changed = patch(before, [Upsert(RULES, "{name: b, actionValue: REJECT}")])
    assert before == kept
    assert rules(changed)[1] == {"name": "b", "actionValue": "REJECT"}
    assert changed["orgVdcNetworks"] is before["orgVdcNetworks"]
    assert rules(changed)[0] is rules(before)[0]
    assert changed["firewallRules"]["version"] == {"version": 3}


@pytest.mark.parametrize("section", [RULES, "userDefinedRules"])
def test_a_section_inside_another_goes_by_both_names(section: str) -> None:
    assert names(patch(document(), [Delete(section, named("a"))])) == ["b", "c"]


def test_a_new_object_goes_to_the_end_or_to_its_place() -> None:
    new = '{"name": "n", "actionValue": "DROP"}'
    places: list[tuple[Position | None, list[str]]] = [
        (None, ["a", "b", "c", "n"]),
        (Position(), ["a", "b", "c", "n"]),
        (Position(index=0), ["n", "a", "b", "c"]),
        (Position(index=99), ["a", "b", "c", "n"]),
        (Position(before=named("b")), ["a", "n", "b", "c"]),
        (Position(after=ObjectRef(id="i-a")), ["a", "n", "b", "c"]),
    ]
    for position, order in places:
        assert names(patch(document(), [Upsert(RULES, new, position)])) == order


def test_a_replaced_object_keeps_its_place_and_its_id() -> None:
    changed = patch(document(), [Upsert(RULES, "name: a\nactionValue: DROP")])
    assert rules(changed)[0] == {"id": "i-a", "name": "a", "actionValue": "DROP"}
    moved = patch(document(), [Upsert(RULES, "name: a\nactionValue: DROP", Position())])
    assert names(moved) == ["b", "c", "a"]


def test_an_object_is_replaced_by_its_id_and_may_get_another_name() -> None:
    changed = patch(document(), [Upsert(RULES, "{id: i-a, name: z, actionValue: DROP}")])
    assert names(changed) == ["z", "b", "c"]
    generated = generated_id("userDefinedRules", "b", 0)
    changed = patch(document(), [Upsert(RULES, json.dumps({"id": generated, "name": "z", "actionValue": "DROP"}))])
    assert [item.get("id") for item in rules(changed)] == ["i-a", generated, None]


def test_an_id_that_nobody_has_is_a_new_object() -> None:
    changed = patch(document(), [Upsert(RULES, "{id: new, name: b, actionValue: DROP}", Position(index=0))])
    # The older b keeps the id that was generated for it, though it is the second of its name now.
    assert rules(changed)[2] == {
        "id": generated_id("userDefinedRules", "b", 0),
        "name": "b",
        "actionValue": "DROP",
        "comments": "the author's own",
    }


def test_objects_move() -> None:
    for position, order in [
        (Position(), ["b", "c", "a"]),
        (Position(index=1), ["b", "a", "c"]),
        (Position(index=7), ["b", "c", "a"]),
        (Position(before=named("c")), ["b", "a", "c"]),
        (Position(after=named("c")), ["b", "c", "a"]),
        (Position(after=named("b")), ["b", "a", "c"]),
    ]:
        assert names(patch(document(), [Move(RULES, named("a"), position)])) == order
    assert names(patch(document(), [Move(RULES, named("c"), Position(before=named("a")))])) == ["c", "a", "b"]


def test_a_wrapped_list_stays_wrapped_and_its_count_goes_along() -> None:
    changed = patch(document(), [Upsert("orgVdcNetworks", "{name: DMZ}"), Upsert("natRules", "{name: n}")])
    assert changed["orgVdcNetworks"] == {
        "resultTotal": 2,
        "pageCount": 1,
        "values": [{"name": "LAN", "status": "REALIZED"}, {"name": "DMZ"}],
    }
    assert changed["nat/rules"] == {"values": [{"name": "n"}]}
    assert "natRules" not in changed


def test_a_section_that_is_not_there_is_made() -> None:
    changed = patch({"edgeGateway": {"name": "T1"}}, [Upsert(RULES, "{name: r}"), Upsert("staticRoutes", "{name: s}")])
    assert changed["firewallRules"] == {"userDefinedRules": [{"name": "r"}]}
    assert changed["staticRoutes"] == [{"name": "s"}]


def test_uplinks_have_names_and_ids_of_their_own() -> None:
    changed = patch(document(), [Upsert("edgeGatewayUplinks", "{uplinkName: UP, connected: true}")])
    assert changed["edgeGateway"]["edgeGatewayUplinks"] == [{"uplinkName": "UP", "connected": True}]
    id = generated_id("edgeGatewayUplinks", "UP", 0)
    changed = patch(document(), [Delete("edgeGateway.edgeGatewayUplinks", ObjectRef(id=id))])
    assert changed["edgeGateway"]["edgeGatewayUplinks"] == []


def test_sections_of_one_object_are_replaced() -> None:
    changed = patch(document(), [Upsert("options", "{mtu: 1400}"), Upsert("edgeGateway", "{name: T2}")])
    assert changed["options"] == {"mtu": 1400}
    assert changed["edgeGateway"] == {"id": "e1", "edgeGatewayUplinks": [{"uplinkName": "UP"}], "name": "T2"}
    with pytest.raises(ArgumentError, match="'options' is one object"):
        patch(document(), [Delete("options", named("x"))])


def test_edits_see_what_those_before_them_did() -> None:
    edits: list[Edit] = [
        Upsert(RULES, "{name: n}", Position(index=0)),
        Move(RULES, named("n"), Position(after=named("b"))),
        Delete(RULES, named("a")),
    ]
    assert names(patch(document(), edits)) == ["b", "n", "c"]


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (Delete(RULES, named("x")), "edits[1].delete.object"),
        (Delete(RULES, ObjectRef(id="x")), "edits[1].delete.object"),
        (Move(RULES, named("x"), Position()), "edits[1].move.object"),
        (Move(RULES, named("a"), Position(before=named("x"))), "edits[1].move.position.before"),
        (Upsert(RULES, "{name: x}", Position(after=named("y"))), "edits[1].upsert.position.after"),
        (Delete("staticRoutes", named("x")), "edits[1].delete.object"),
    ],
)
def test_what_is_not_there_is_told(edit: Edit, path: str) -> None:
    with pytest.raises(ObjectUnknownError) as caught:
        patch(document(), [Delete(RULES, named("b")), edit])
    assert caught.value.violations[0][0] == path


@pytest.mark.parametrize(
    ("edit", "path", "message"),
    [
        (Delete("natRule", named("x")), "edits[0].section", "did you mean 'natRules'"),
        (Delete("firewallRules.natRules", named("x")), "edits[0].section", "no section"),
        (Delete("bundle", named("x")), "edits[0].section", "no section"),
        (Delete("orgVdcNetworks.values", named("x")), "edits[0].section", "no section"),
        (Delete(RULES, ObjectRef()), "edits[0].delete.object", "an id or a name"),
        (Move(RULES, named("a"), Position(before=ObjectRef(id="i-a"))), "edits[0].move.position.before", "itself"),
    ],
)
def test_what_cannot_be_meant_is_told(edit: Edit, path: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        patch(document(), [edit])
    assert caught.value.violations[0][0] == path
    assert caught.value.reason == "INVALID_ARGUMENT"


def test_no_edit_is_no_change() -> None:
    with pytest.raises(ArgumentError, match="nothing to change"):
        patch(document(), [])


@pytest.mark.parametrize(
    ("text", "code", "path", "place"),
    [
        ("{name: a", "SYNTAX", "edits[0].upsert.object", (2, 1)),
        ("name: a\nlogging: true\nlogging: false", "DUPLICATE_KEY", "edits[0].upsert.object.logging", (3, 1)),
        ("[1]", "WRONG_TYPE", "edits[0].upsert.object", (1, 1)),
        ("", "SYNTAX", "edits[0].upsert.object", (1, 1)),
        ("{actionValue: DROP}", "MISSING_FIELD", "edits[0].upsert.object.name", (None, None)),
    ],
)
def test_an_object_that_cannot_be_read_is_told_with_its_place(
    text: str, code: str, path: str, place: tuple[int | None, int | None]
) -> None:
    with pytest.raises(DocumentError) as caught:
        patch(document(), [Upsert(RULES, text)])
    (problem,) = caught.value.problems
    assert (problem.code, problem.path, (problem.line, problem.column)) == (code, path, place)


def test_a_name_that_two_bear_names_neither() -> None:
    twice = patch(document(), [Upsert(RULES, "{id: two, name: a}")])
    for edit in (Delete(RULES, named("a")), Upsert(RULES, "{name: a}"), Move(RULES, named("a"), Position())):
        with pytest.raises(DocumentError) as caught:
            patch(twice, [edit])
        assert caught.value.problems[0].code == "AMBIGUOUS_REFERENCE"
    assert names(patch(twice, [Delete(RULES, ObjectRef(id="two"))])) == ["a", "b", "c"]


def test_an_object_that_takes_a_former_name_is_somebody_else() -> None:
    first = generated_id("userDefinedRules", "b", 0)
    renamed = patch(document(), [Upsert(RULES, json.dumps({"id": first, "name": "z", "actionValue": "DROP"}))])
    again = patch(renamed, [Upsert(RULES, "{name: b, actionValue: ALLOW}")])
    loaded = from_data(again).config.firewall.rules
    assert len({rule.id for rule in loaded}) == len(loaded)
    assert next(rule.id for rule in loaded if rule.name == "z") == first


EDITS = st.lists(
    st.tuples(
        st.sampled_from(("upsert", "new", "delete", "move", "rename")),
        st.integers(0, 5),
        st.sampled_from("abc"),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(EDITS)
def test_every_object_keeps_its_id_whatever_is_edited(edits: list[tuple[str, int, str, int]]) -> None:
    """Rules are known by their comment: whatever happens to their names, ids do not wander between them."""
    data = document()
    data["firewallRules"]["userDefinedRules"] = [
        {"name": name, "actionValue": "DROP", "comments": str(number)} for number, name in enumerate("abaca")
    ]
    fresh = 100
    for kind, which, name, index in edits:
        before = {item["comments"]: rule.id for item, rule in zip(rules(data), user_rules(data), strict=True)}
        place = Position(index=index)
        if kind == "new" or not before:
            fresh += 1
            body = {"id": f"new{fresh}", "name": name, "actionValue": "DROP", "comments": str(fresh)}
            edit: Edit = Upsert(RULES, json.dumps(body), place)
        else:
            comment, id = list(before.items())[which % len(before)]
            old = next(item["name"] for item in rules(data) if item["comments"] == comment)
            body = {"id": id, "name": name if kind == "rename" else old, "actionValue": "DROP", "comments": comment}
            edit = {"delete": Delete(RULES, ObjectRef(id=id)), "move": Move(RULES, ObjectRef(id=id), place)}.get(
                kind, Upsert(RULES, json.dumps(body))
            )
        data = patch(data, [edit])
        after = {item["comments"]: rule.id for item, rule in zip(rules(data), user_rules(data), strict=True)}
        assert {key: id for key, id in after.items() if key in before} == {
            key: id for key, id in before.items() if key in after
        }
        assert len(set(after.values())) == len(after)


def user_rules(data: dict[str, Any]) -> list[Any]:
    loaded = from_data({key: value for key, value in data.items() if key in ("edgeGateway", "firewallRules")})
    return [rule for rule in loaded.config.firewall.rules if rule.section.value == "userDefinedRules"]
