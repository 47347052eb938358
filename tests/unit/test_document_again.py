"""A document read with the help of the one before it is the document read from the beginning."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.diff import diff
from edge.document import from_data, loads
from edge.errors import DocumentError
from edge.patch import Delete, Edit, Move, ObjectRef, Position, Upsert, patch
from tests.support import SAMPLE

USER, DEFAULT, NAT = "firewallRules.userDefinedRules", "firewallRules.defaultRules", "natRules"


def outcome(call: Any) -> Any:
    """What reading came to: all of it, or all problems."""
    try:
        loaded = call()
    except DocumentError as error:
        return "refused", error.problems
    return "read", loaded.config, loaded.problems, loaded.document, loaded.path("natRules", 0)


RULE = st.fixed_dictionaries(
    {"name": st.sampled_from(("in-web", "out", "x", "y"))},
    optional={
        "id": st.sampled_from(("1", "2", "3")),
        "actionValue": st.sampled_from(("ALLOW", "DROP", "NO")),
        "sourceFirewallGroups": st.lists(st.sampled_from(("lan", "web-srv", "unknown")), max_size=2),
        "applicationPortProfiles": st.lists(st.sampled_from(("web-8080", "SSH", "FTP")), max_size=1),
        "enabled": st.booleans(),
        "appliedTo": st.just({"name": "x"}),
    },
)
NAT_RULE = st.fixed_dictionaries(
    {"name": st.sampled_from(("pub-web", "internet", "x"))},
    optional={
        "id": st.sampled_from(("1", "2", "3")),
        "type": st.sampled_from(("SNAT", "DNAT", "NO_SNAT")),
        "externalAddresses": st.sampled_from(("203.0.113.10", "10.20.0.9", "nonsense")),
        "internalAddresses": st.sampled_from(("10.20.0.0/24", "10.20.0.10")),
        "applicationPortProfile": st.sampled_from(("web-8080", "HTTP", "nobody")),
    },
)
PLACE = st.builds(Position, index=st.integers(0, 4))


def edits_of(section: str, body: st.SearchStrategy[Any]) -> st.SearchStrategy[Edit]:
    names = st.builds(ObjectRef, name=st.sampled_from(("in-web", "out", "x", "pub-web", "internet", "default_rule")))
    return st.one_of(
        st.builds(Upsert, st.just(section), body.map(json.dumps), st.none() | PLACE),
        st.builds(Delete, st.just(section), names),
        st.builds(Move, st.just(section), names, PLACE),
    )


EDITS = st.lists(
    st.one_of(edits_of(USER, RULE), edits_of(DEFAULT, RULE), edits_of(NAT, NAT_RULE)), min_size=1, max_size=6
)


@settings(max_examples=120, deadline=None)
@given(EDITS, st.booleans(), st.sampled_from((0, 3, 64)))
def test_it_is_the_same_as_from_the_beginning(edits: list[Edit], allow_unsupported: bool, few: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("edge.document.again.FEW", few)
        agrees_with_the_beginning(SAMPLE, edits, allow_unsupported)


@pytest.mark.parametrize("few", [0, 64])
def test_a_name_that_is_none_is_told(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.document.again.FEW", few)
    loaded = loads(SAMPLE)
    data = patch(loaded.document, [Upsert(USER, json.dumps({"id": "1", "name": ["x"], "actionValue": "DROP"}))])
    assert outcome(lambda: loaded.changed(data)) == outcome(lambda: from_data(copy.deepcopy(data)))
    assert outcome(lambda: loaded.changed(data))[0] == "refused"


@contextmanager
def two_rules_are_most() -> Iterator[None]:
    """CloudAPI's limit, for a while."""
    with pytest.MonkeyPatch.context() as patched:
        for module in ("again", "firewall"):
            patched.setattr(f"edge.document.{module}.MAX_USER_RULES", 2)
        yield


@settings(max_examples=80, deadline=None)
@given(edits=EDITS, limits=st.sampled_from(("report", "report", "vcd")))
def test_many_rules_are_told_as_from_the_beginning(edits: list[Edit], limits: str) -> None:
    with two_rules_are_most():
        agrees_with_the_beginning(with_limits(limits), edits, True)


@two_rules_are_most()
def test_many_rules_are_no_reason_to_read_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loads(with_limits("report"))
    for number in range(3):
        data = patch(loaded.document, [Upsert(USER, json.dumps({"name": f"n{number}", "actionValue": "DROP"}))])
        expected = outcome(lambda data=data: from_data(copy.deepcopy(data)))
        with monkeypatch.context() as patched:
            patched.setattr("edge.document.from_data", None)
            loaded = loaded.changed(data)
        assert outcome(lambda found=loaded: found) == expected
    assert [problem.code for problem in loaded.problems] == ["LIMIT_EXCEEDED"]


def with_limits(limits: str) -> str:
    """The sample with the option."""
    document = loads(SAMPLE).document
    return json.dumps(document | {"options": document.get("options", {}) | {"limits": limits}})


def agrees_with_the_beginning(text: str, edits: list[Edit], allow_unsupported: bool) -> None:
    """One edit on top of the other, the document read again after each."""
    loaded = loads(text)
    for edit in edits:
        try:
            data = patch(loaded.document, [edit])
        except Exception:  # noqa: BLE001  # edits that cannot be made are another test's
            continue
        whole = outcome(lambda data=data: from_data(copy.deepcopy(data), allow_unsupported=allow_unsupported))
        quick = outcome(lambda data=data, last=loaded: last.changed(data, allow_unsupported=allow_unsupported))
        assert quick == whole
        if whole[0] == "read":
            shared = loaded.changed(data, allow_unsupported=allow_unsupported)
            apart = from_data(copy.deepcopy(data), allow_unsupported=allow_unsupported)
            assert diff(loaded, shared) == diff(loaded, apart)
            loaded = shared


@pytest.mark.parametrize(
    "edit",
    [
        Upsert(USER, "{name: n, actionValue: DROP, sourceFirewallGroups: [lan]}", Position(index=1)),
        Upsert(USER, "{name: out, actionValue: REJECT}"),
        Delete(USER, ObjectRef(name="out")),
        Delete(DEFAULT, ObjectRef(name="default_rule")),
        Upsert(DEFAULT, "{name: default_rule, actionValue: ALLOW}"),
        Upsert(NAT, "{name: n, type: NO_SNAT, internalAddresses: 10.20.0.5}"),
        Move(NAT, ObjectRef(name="internet"), Position(index=0)),
    ],
)
def test_what_did_not_change_is_not_read_again(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loads(SAMPLE)
    data = patch(loaded.document, [edit])
    expected = from_data(copy.deepcopy(data)).config
    monkeypatch.setattr("edge.document.from_data", None)
    quick = loaded.changed(data)
    assert quick.config == expected
    assert quick.config.routing is loaded.config.routing
    kept = {id(rule) for rule in loaded.config.firewall.rules}
    assert sum(id(rule) not in kept for rule in quick.config.firewall.rules) <= 1
    # And once more, on top of that.
    again_data = patch(data, [Upsert(USER, "{name: last, actionValue: DROP}")])
    assert quick.changed(again_data).config.firewall.rules[-2].name == "last"


@pytest.mark.parametrize(
    "edit",
    [
        Upsert("firewallGroups", "{name: g, typeValue: IP_SET, ipAddresses: [10.1.1.1]}"),
        Upsert("options", "{mtu: 1400}"),
        Upsert("firewallRules.systemRules", "{name: s, actionValue: DROP}"),
        Upsert("orgVdcNetworks", "{name: N, subnets: [{gateway: 10.77.0.1, prefixLength: 24}]}"),
    ],
)
def test_what_else_changes_is_read_from_the_beginning(edit: Edit) -> None:
    loaded = loads(SAMPLE)
    data = patch(loaded.document, [edit])
    assert loaded.changed(data).config == from_data(copy.deepcopy(data)).config


def test_lists_that_say_more_are_read_from_the_beginning() -> None:
    data = loads(SAMPLE).document | {"natRules": {"values": loads(SAMPLE).document["natRules"], "resultTotal": 2}}
    loaded = from_data(data)
    assert loaded.problems == ()
    shorter = data | {"natRules": {"values": data["natRules"]["values"][:1], "resultTotal": 2}}
    assert [problem.code for problem in loaded.changed(shorter).problems] == ["INCOMPLETE_LIST"]


def test_a_page_of_a_list_within_a_rule_is_told() -> None:
    loaded = loads(SAMPLE)
    page = {"values": [{"name": "lan"}], "resultTotal": 3}
    rule = {"name": "n", "actionValue": "DROP", "sourceFirewallGroups": page}
    data = patch(loaded.document, [Upsert(USER, json.dumps(rule))])
    found = loaded.changed(data)
    assert [problem.code for problem in found.problems] == ["INCOMPLETE_LIST"]
    assert found.problems == from_data(copy.deepcopy(data)).problems


def test_too_many_rules_are_told() -> None:
    loaded = loads(SAMPLE)
    many = [{"name": f"r{number}", "actionValue": "DROP"} for number in range(1001)]
    data = loaded.document | {"firewallRules": loaded.document["firewallRules"] | {"userDefinedRules": many}}
    with pytest.raises(DocumentError, match="LIMIT_EXCEEDED"):
        loaded.changed(data)


def test_one_object_in_two_places_is_two_rules() -> None:
    one = {"name": "twice", "actionValue": "DROP"}
    loaded = loads(SAMPLE)
    rules = loaded.document["firewallRules"]
    for count in (2, 3):
        data = loaded.document | {"firewallRules": rules | {"userDefinedRules": [one] * count}}
        loaded = loaded.changed(data)
        assert loaded.config == from_data(copy.deepcopy(data)).config
        assert len({rule.id for rule in loaded.config.firewall.rules}) == count + 1
