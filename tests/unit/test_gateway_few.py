"""Few edits of many rules: what is found out about them alone is what a look at everything finds."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import diff_again
from edge.checks import again
from edge.diff import compare
from edge.errors import EdgeError
from edge.gateway import draft as drafting
from edge.gateway import stored_text
from edge.gateway.draft import Draft, Known, Order, draft, new_warnings
from edge.gateway.stored_text import StoredText
from edge.patch import Delete, Edit, Move, ObjectRef, Position, Upsert
from edge.store import unpacked
from native.containment import contained
from tests.support import SAMPLE

USER, DEFAULT, NAT = "firewallRules.userDefinedRules", "firewallRules.defaultRules", "natRules"

NAMES = ("in-web", "out", "a", "b", "c", "d")
ADDRESSES = st.lists(
    st.sampled_from(("10.20.0.0/24", "10.20.0.0/25", "10.20.0.128/25", "10.20.0.7", "0.0.0.0/0", "2001:db8::/32")),
    min_size=1,
    max_size=2,
    unique=True,
)
SERVICES = st.sampled_from(
    (
        {"protocol": "TCP"},
        {"protocol": "TCP", "destinationPorts": ["80-90"]},
        {"protocol": "ICMPv6"},
        {"protocol": "UDP"},
    )
)
RULE = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES), "actionValue": st.sampled_from(("DROP", "REJECT", "ALLOW", "DROP", "NO"))},
    optional={
        "id": st.sampled_from(("1", "2", "3")),
        "sourceFirewallIpAddresses": ADDRESSES,
        "destinationFirewallIpAddresses": ADDRESSES,
        "sourceFirewallGroups": st.lists(st.sampled_from(("lan", "web-srv", "unknown")), max_size=2),
        "rawPortProtocols": st.lists(SERVICES.map(lambda item: {"layer4Item": item}), max_size=1),
        "ipProtocol": st.sampled_from(("IPV4", "IPV6", "IPV4_IPV6")),
        "direction": st.sampled_from(("IN", "OUT", "IN_OUT")),
        "enabled": st.booleans(),
        "description": st.sampled_from(("one", "other")),
    },
)
NAMED = st.builds(ObjectRef, name=st.sampled_from(NAMES))
PLACE = st.builds(Position, index=st.integers(0, 9))
SECTION = st.sampled_from((USER, USER, USER, DEFAULT, NAT))
EDIT = st.one_of(
    st.builds(Upsert, SECTION, RULE.map(json.dumps), st.none() | PLACE),
    st.builds(Upsert, SECTION, RULE.map(json.dumps), st.none() | PLACE),
    st.builds(Delete, SECTION, NAMED),
    st.builds(Move, SECTION, NAMED, PLACE),
)


@pytest.fixture(autouse=True, scope="module")
def _few_rules_are_many() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(drafting, "FEWEST", 1)
        patched.setattr(drafting, "overlaid", overlaid_few)
        patched.setattr(stored_text, "FEWEST", 1)
        patched.setattr(stored_text, "ITEMS", 2)
        yield


def overlaid_few(*arguments: Any) -> Any:
    """The edge's own, for few rules."""
    from edge.firewall import overlay

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(overlay, "FEWEST", 1)
        return overlay.overlaid(*arguments)


def document(rules: list[dict[str, Any]]) -> Any:
    """The sample with other rules in front of its own."""
    found = from_data_of(SAMPLE)
    found["firewallRules"]["userDefinedRules"] = [*rules, *found["firewallRules"]["userDefinedRules"]]
    return found


def from_data_of(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)


def told_in_full(made: Draft) -> Any:
    """Warnings and changes, looked for from the beginning."""
    assert made.base is not None
    base, known = Known(made.base.loaded), Known(made.known.loaded)
    return new_warnings(base, known), compare(base.objects, known.objects, whole=False)


def first(rules: list[dict[str, Any]]) -> Draft | None:
    """A document to begin with, if these rules are any."""
    try:
        return draft(Order(json.dumps(document(rules)), allow_unsupported=False), None, None)
    except EdgeError:
        return None


@settings(max_examples=150, deadline=None)
@given(st.lists(RULE, max_size=8), st.lists(st.lists(EDIT, min_size=1, max_size=2), max_size=5))
def test_few_edits_are_told_as_all_are(rules: list[dict[str, Any]], patches: list[list[Edit]]) -> None:
    made = first(rules)
    for edits in patches if made else ():
        assert made is not None
        try:
            after = draft(Order(edits, allow_unsupported=False), made.stored, made.known, made.config)
        except EdgeError:
            continue
        text = json.dumps(after.known.loaded.document, ensure_ascii=False, separators=(",", ":"))
        assert unpacked(after.stored.packed) == text
        content = json.dumps(after.known.loaded.document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        assert after.stored.etag == hashlib.sha256(b"0" + content.encode()).hexdigest()[:32]
        if after.equal:
            continue
        warnings, changes = after.told()
        expected, differences = told_in_full(after)
        assert warnings == expected
        assert changes == differences or not differences
        made = after


def test_the_short_way_is_taken() -> None:
    # What the other test would not notice: that it compares the long way with itself.
    rules = [{"name": name, "actionValue": "DROP", "destinationFirewallIpAddresses": ["10.20.0.7"]} for name in "abc"]
    made = first(rules)
    assert made is not None
    edit = Upsert(USER, json.dumps({**rules[0], "destinationFirewallIpAddresses": ["10.20.0.0/25"]}))
    after = draft(Order([edit], allow_unsupported=False), made.stored, made.known, made.config)
    assert made.known.checked is not None
    found = drafting.few_new_warnings(made.known, after.known)
    assert found is not None
    # The two behind it were covered already, and are by what the first is now.
    assert [(problem.code, problem.message.split("'")[1]) for problem in found] == [("SHADOWED_RULE", "in-web")]
    assert after.known.checked is not None
    assert {rule.name: by.name for rule, by in after.known.checked.covered.values()} == {
        "b": "a",
        "c": "a",
        "in-web": "a",
    }
    changes = diff_again.diff_few(made.known.loaded, after.known.loaded)
    assert changes is not None
    assert [(change.name, [item.field for item in change.fields]) for change in changes] == [
        ("a", ["destinationFirewallIpAddresses"])
    ]
    assert made.known.text is not None
    assert after.known.text is not None
    pieces, before = after.known.text._pieces, made.known.text._pieces
    assert [piece in before for piece in pieces].count(False) < len(pieces)


def test_a_rule_that_covers_many_is_looked_at_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [
        {"name": name, "actionValue": "DROP", "destinationFirewallIpAddresses": [f"10.20.0.{number}"]}
        for number, name in enumerate("bcdefghi")
    ]
    made = first([{"name": "a", "actionValue": "DROP"}, *rules])
    assert made is not None
    edit = Upsert(USER, json.dumps({"name": "a", "actionValue": "DROP", "logging": True}))
    after = draft(Order([edit], allow_unsupported=False), made.stored, made.known, made.config)
    assert drafting.few_new_warnings(made.known, after.known) == []
    looked = []
    monkeypatch.setattr(again, "MOST_SEARCHED", 40)
    monkeypatch.setattr(again, "contained", lambda *arguments: looked.append(arguments) or contained(*arguments))
    assert drafting.few_new_warnings(made.known, after.known) is None
    assert 0 < len(looked) < 5


def test_a_packed_text_is_one_stream() -> None:
    text = StoredText({"a": 1, "rules": {"values": [{"b": 1, "a": "ä"}] * 5}}, ["rules"])
    packed = text.packed()
    items = ",".join(['{"b":1,"a":"ä"}'] * 5)
    assert zlib.decompress(packed).decode() == '{"a":1,"rules":{"values":[' + items + "]}}"
    with pytest.raises(ValueError, match="JSON"):
        StoredText({"rules": [float("nan")]}, ["rules"])


def test_a_rule_that_stays_may_be_the_one_that_moves() -> None:
    made = first([])
    assert made is not None
    edit = Upsert(USER, json.dumps({"name": "in-web", "actionValue": "DROP"}), Position(index=1))
    after = draft(Order([edit], allow_unsupported=False), made.stored, made.known, made.config)
    assert after.told() == told_in_full(after)
