"""Small changes of large rule sets: what differs is found, compiled and laid over what is compiled already."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bench.changes import firewall_of, with_rules
from edge.bench.frames import udp_frame
from edge.bench.profiles import draw_rules
from edge.compiler import Compiled, compile_change, compile_tables
from edge.firewall import overlay
from edge.firewall.compile import compile_rules
from edge.firewall.config import Action, FirewallConfig, FirewallRule, Section
from edge.firewall.overlay import FirewallBase
from edge.flat import ANY_SET, FlatRules
from edge.merging import Merge
from edge.model import EdgeConfig
from edge.runtime import Edge
from native.classify import RuleTable, widths
from native.interning import interned
from native.overlay import OverlaidTable, differences
from tests.unit.test_native_tables import Question, Rule, draw_ranges, draw_services, flat_of, matches


class Thing:
    """Equal to all others: only which one it is tells them apart."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing)

    __hash__ = None  # type: ignore[assignment]


@given(st.lists(st.integers(0, 30), max_size=40), st.randoms(use_true_random=False))
def test_differences_make_one_row_of_the_other(places: list[int], rng: random.Random) -> None:
    before = tuple(Thing() for _ in range(31))
    now = [*before]
    for place in places[:6]:
        match rng.randrange(3):
            case 0:
                now.insert(min(place, len(now)), Thing())
            case 1 if place < len(now):
                del now[place]
            case _ if place < len(now):
                now.insert(rng.randrange(len(now)), now.pop(place))
    found = differences(before, tuple(now), 1000)
    assert found is not None
    made = [*before]
    for begin, end, now_begin, now_end in reversed(found):
        made[begin:end] = now[now_begin:now_end]
    assert [*map(id, made)] == [*map(id, now)]
    assert all(one[1] < other[0] for one, other in pairwise(found))


def test_differences_are_named_up_to_a_bound() -> None:
    before = tuple(Thing() for _ in range(100))
    now = (*before[:10], Thing(), *before[11:50], *before[60:], Thing())
    assert differences(before, now, 13) == [(10, 11, 10, 11), (50, 60, 50, 50), (100, 100, 90, 91)]
    assert differences(before, now, 12) is None
    assert differences(before, before, 0) == []
    assert differences((), before, 100) == [(0, 0, 0, 100)]
    assert differences(before, (), 99) is None


def draw_rule(rng: random.Random) -> Rule:
    return draw_ranges(rng), draw_ranges(rng), draw_services(rng), rng.choice((0, 0, 1, 2)), rng.choice((1, 2, 3, 3))


def draw_question(rng: random.Random) -> Question:
    version = rng.choice((4, 6))
    bases = (0, 0x0A000000, 2**32 - 16) if version == 4 else (0, 1 << 64, (1 << 64) - 8, 2**128 - 16)
    src, dst = (rng.choice(bases) + rng.randrange(16) for _ in range(2))
    protocol, icmp_type, icmp_code = rng.choice((1, 6, 17, 47)), rng.choice((0, 8, 3)), rng.choice((0, 1, 2))
    return version, src, dst, protocol, rng.randrange(8), rng.randrange(8), icmp_type, icmp_code, rng.randrange(4)


@pytest.mark.parametrize("width", widths())
@pytest.mark.parametrize("limits", [{}, {"small": 0}, {"cell_words": 1}, {"small": 0, "cell_words": 1}], ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_first_match_among_what_is_left_and_what_has_come(seed: int, limits: dict[str, int], width: int) -> None:
    rng = random.Random(seed)
    rules = [draw_rule(rng) for _ in range(rng.choice((0, 1, 64, 200)))]
    dead = {number for number in range(len(rules)) if rng.random() < rng.choice((0, 0.2, 0.9))}
    before = sorted(rng.randrange(len(rules) + 1) for _ in range(rng.choice((0, 1, 20))))
    added = [draw_rule(rng) for _ in before]
    table = OverlaidTable(
        RuleTable(flat_of(rules), width, **limits), array("I", dead), RuleTable(flat_of(added)), array("I", before)
    )
    # In the order in which they are tried: what has come stands before the rule it names.
    order = [
        (place, 0, len(rules) + number, rule) for number, (place, rule) in enumerate(zip(before, added, strict=True))
    ]
    order += [(number, 1, number, rule) for number, rule in enumerate(rules) if number not in dead]
    order.sort(key=lambda item: item[:3])
    for _ in range(200):
        asked = draw_question(rng)
        expected = next((number for _, _, number, rule in order if matches(rule, asked)), None)
        assert table.lookup(*asked) == expected, asked


def test_what_cannot_lie_over_a_table_is_refused() -> None:
    rules = [(None, None, None, 0, 3)] * 3
    base, none, one = RuleTable(flat_of(rules)), array("I"), RuleTable(flat_of(rules[:1]))
    with pytest.raises(ValueError, match="no rule 3 of 3 to leave out"):
        OverlaidTable(base, array("I", [3]), RuleTable(FlatRules()), none)
    with pytest.raises(ValueError, match="before rule 4 of 3 is no place for rule 0"):
        OverlaidTable(base, none, one, array("I", [4]))
    with pytest.raises(ValueError, match="before rule 1 of 3 is no place for rule 1"):
        OverlaidTable(base, none, RuleTable(flat_of(rules[:2])), array("I", [2, 1]))
    with pytest.raises(ValueError, match="numbered by places"):
        OverlaidTable(base, none, one, none)
    elsewhere = FlatRules()
    elsewhere.append(7, source=ANY_SET, destination=ANY_SET)
    with pytest.raises(ValueError, match="numbered by places"):
        OverlaidTable(RuleTable(elsewhere), none, RuleTable(FlatRules()), none)


@pytest.fixture(scope="module")
def large() -> EdgeConfig:
    """Somewhat more rules than are compiled anew whatever changes."""
    return firewall_of(draw_rules("acl1", overlay.MOST + 100, 1))


def test_a_small_change_shares_what_is_compiled(large: EdgeConfig) -> None:
    rules = large.firewall.rules
    before = Compiled.of(large, compile_tables(large))
    dropped = replace(rules[500], action=Action.REJECT)
    disabled = replace(rules[7], enabled=False)
    config = with_rules(large, (*rules[:7], disabled, *rules[8:500], dropped, *rules[501:900], *rules[901:]))
    found = compile_change(config, before)
    tables = found.tables
    for name in ("routing", "links", "firewall", "nat", "options"):
        assert getattr(tables, name) is getattr(before.tables, name)
    assert tables.overlay is not None
    assert list(tables.overlay.dead) == [7, 500, 900]
    assert (tables.overlay.added.ids, list(tables.overlay.before)) == (["rule-500"], [501])
    assert found.firewall_ids == {rule.id for rule in config.firewall.rules}
    again = compile_change(large, found)
    assert again.tables == before.tables
    assert again.tables.overlay is None


def test_numbers_of_rules_are_those_of_enabled_ones(large: EdgeConfig) -> None:
    rules = tuple(replace(rule, enabled=number % 2 == 0) for number, rule in enumerate(large.firewall.rules))
    config = with_rules(large, rules)
    enabled = replace(rules[101], enabled=True)
    found = compile_change(
        with_rules(large, (*rules[:101], enabled, *rules[102:])), Compiled.of(config, compile_tables(config))
    )
    assert found.tables.overlay is not None
    assert (list(found.tables.overlay.dead), list(found.tables.overlay.before)) == ([], [51])


def test_other_parts_are_compiled_where_they_change(large: EdgeConfig) -> None:
    before = Compiled.of(large, compile_tables(large))
    changed = replace(large, options=replace(large.options, mtu=1400), nat=replace(large.nat, rules=()))
    tables = compile_change(changed, before).tables
    assert tables == compile_tables(changed)
    assert tables.firewall is before.tables.firewall
    assert tables.routing is before.tables.routing


@pytest.mark.parametrize("change", ["many", "one id twice", "few rules", "an id twice already"])
def test_what_does_not_fit_is_compiled_anew(large: EdgeConfig, change: str) -> None:
    config, rules = large, large.firewall.rules
    match change:
        case "many":
            now = tuple(replace(rule, logging=True) for rule in rules[: overlay.MOST // 2 + 1])
            now += rules[overlay.MOST // 2 + 1 :]
        case "one id twice":
            now = (replace(rules[0], id=rules[1].id), *rules[1:])
        case "few rules":
            config = with_rules(large, rules[:100])
            now = rules[:99]
        case _:
            config = with_rules(large, (replace(rules[0], id=rules[1].id), *rules[1:]))
            now = config.firewall.rules[1:]
    changed = with_rules(large, now)
    found = compile_change(changed, Compiled.of(config, compile_tables(config)))
    assert found.tables == compile_tables(changed)
    assert found.base.rules is changed.firewall.rules


def test_a_running_edge_knows_rules_that_have_come_and_gone(large: EdgeConfig) -> None:
    edge = Edge(large)
    rules = large.firewall.rules
    came = replace(rules[3], id="came", name="came")
    edge.apply(with_rules(large, (*rules[:3], came, *rules[4:])))
    assert edge.revision == 2
    assert edge.rule_counters().keys() == {rule.id for rule in (*edge.config.firewall.rules, *large.nat.rules)}
    assert "came" in edge.rule_counters()
    edge.apply(large)
    assert "came" not in edge.rule_counters()


def test_what_lies_over_rules_becomes_one_table_with_them(large: EdgeConfig) -> None:
    rng = random.Random(5)
    rules = [replace(rule, enabled=rng.random() < 0.9) for rule in large.firewall.rules]
    base = FirewallBase.of(tuple(rules), compile_rules(rules))
    for number in range(60):
        place = rng.randrange(len(rules) - 1)
        match number % 4:
            case 0:
                rules[place] = replace(rules[place], action=rng.choice([*Action]), logging=True)
            case 1:
                rules.insert(place, replace(rules[rng.randrange(len(rules))], id=f"came-{number}"))
            case 2:
                del rules[place]
            case _:
                rules.insert(rng.randrange(len(rules)), rules.pop(place))
    now = FirewallConfig(tuple(rules))
    laid = overlay.overlaid(base, now)
    assert laid is not None
    assert laid[0] is not None
    merged = base.merged(laid[0], now.rules, laid[1])
    assert merged == FirewallBase.of(now.rules, compile_rules(rules))


def test_more_than_may_be_laid_over_rules_is_merged_by_the_change(large: EdgeConfig) -> None:
    before = Compiled.of(large, compile_tables(large))
    count = overlay.LAID // 2
    most = logging_from(large, 0, count)
    laid = compile_change(most, before)
    assert laid.base is before.base
    one_more = logging_from(most, count, count + 1)
    found = compile_change(one_more, laid)
    assert found.tables == compile_tables(one_more)
    assert found.base == Compiled.of(one_more, found.tables).base
    assert found.base.rules is one_more.firewall.rules


def merge_due(edge: Edge) -> Merge:
    """The work of making one table of what an edge runs."""
    merge = edge.merging()
    assert merge is not None
    return merge


def logging_from(config: EdgeConfig, first: int, end: int) -> EdgeConfig:
    """Some rules log now."""
    rules = config.firewall.rules
    some = (replace(rule, logging=True) for rule in rules[first:end])
    return with_rules(config, (*rules[:first], *some, *rules[end:]))


def test_the_next_change_lies_over_what_was_merged(large: EdgeConfig) -> None:
    edge = Edge(large)
    half = overlay.MERGED // 2
    edge.apply(logging_from(large, 0, half - 1))
    assert edge.merging() is None
    edge.apply(logging_from(large, 0, half))
    merge = merge_due(edge)
    edge.apply(logging_from(edge.config, half, half + 1))
    merge.build()
    assert edge.merged(merge)
    assert edge.merging() is None
    edge.apply(logging_from(edge.config, half + 1, half + 2))
    assert edge.revision == 5
    assert edge._compiled is not None
    assert edge._compiled.base is merge.base
    assert edge._compiled.tables.overlay is not None
    assert list(edge._compiled.tables.overlay.dead) == [half, half + 1]
    assert edge.merging() is None


def test_a_merge_that_comes_too_late_is_forgotten(large: EdgeConfig) -> None:
    edge = Edge(large)
    edge.apply(logging_from(large, 0, overlay.MERGED))
    merge, other = merge_due(edge), merge_due(edge)
    merge.build()
    other.build()
    assert edge.merged(merge)
    edge.apply(logging_from(edge.config, 900, 901))
    assert not edge.merged(other)
    edge.apply(with_rules(large, tuple(replace(rule) for rule in large.firewall.rules)))
    assert edge._compiled is not None
    assert edge._compiled.base.rules is edge.config.firewall.rules


def test_a_merge_that_fails_is_not_tried_again(large: EdgeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = Edge(large)
    edge.apply(logging_from(large, 0, overlay.MERGED))
    merge = merge_due(edge)

    def full(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("edge.merging.FirewallPart", full)
        with pytest.raises(MemoryError):
            merge.build()
    assert edge.merged(merge)
    assert merge.base is None
    edge.apply(logging_from(edge.config, 900, 901))
    assert edge.merging() is None
    assert edge._compiled is not None
    assert edge._compiled.tables.overlay is not None
    assert edge._compiled.tables.overlay.size == 2 * overlay.MERGED + 2
    edge.apply(logging_from(large, 0, overlay.LAID))
    assert edge._compiled.tables.overlay is None
    edge.apply(logging_from(edge.config, overlay.LAID, overlay.LAID + overlay.MERGED))
    assert edge.merging() is not None


def test_counters_of_rules_are_the_same_over_what_was_merged(large: EdgeConfig) -> None:
    edge = Edge(large)
    # A rule of its own in front of all others.
    mine = FirewallRule("mine", "mine", Section.USER, Action.ALLOW)
    edge.apply(with_rules(large, (mine, *logging_from(large, 0, overlay.MERGED).firewall.rules)))
    source, destination = 0x0A140005, 0x08080808
    edge.process("LAN", udp_frame(source, 1024, destination, 53), 1)
    merge = merge_due(edge)
    merge.build()
    edge.merged(merge)
    moved = edge.config.firewall.rules
    edge.apply(with_rules(edge.config, (moved[1], moved[0], *moved[2:])))
    assert edge._compiled is not None
    assert edge._compiled.base is merge.base
    assert edge.rule_counters()["mine"].hits == 1
    edge.process("LAN", udp_frame(source, 1025, destination, 53), 2)
    assert edge.rule_counters()["mine"].hits == 2
    assert {session.firewall_rule_id for session in edge.sessions()} == {"mine"}


def test_numbers_are_given_anew_to_what_is_named() -> None:
    offsets, items = array("I", [0, 2, 3, 5, 5]), array("Q", [1, 2, 9, 1, 2])
    columns = [array("I", [2, 7, 3]), array("I", [0, 2, 3])]
    assert interned([(offsets, [(items, 1)])], columns, 7) == [(array("I", [0, 2, 2]), [array("Q", [1, 2])])]
    assert columns == [array("I", [0, 7, 1]), array("I", [0, 0, 1])]
    nothing = array("I", [0])
    assert interned([(nothing, [(array("Q"), 1)])], [array("I", [7])], 7) == [(nothing, [array("Q")])]
    with pytest.raises(ValueError, match="no number 4 of 4"):
        interned([(offsets, [(items, 1)])], [array("I", [4])], 7)
    with pytest.raises(ValueError, match="no number 0 of 0"):
        interned([(nothing, [(array("Q"), 1)])], [array("I", [0])], 7)
    with pytest.raises(ValueError, match="one number for each rule"):
        interned([(offsets, [(items, 1)])], [array("I", [1]), array("I")], 7)
    with pytest.raises(ValueError, match="not of one whole"):
        interned([(offsets, [(items, 2)])], [array("I", [1])], 7)
    with pytest.raises(ValueError, match="all that is named"):
        interned([(offsets, [(items, 1)]), (nothing, [(array("Q"), 1)])], [array("I", [1])], 7)
    with pytest.raises(ValueError, match="no room"):
        interned([(offsets, [(items, 1)])] * 3, [array("I", [1])], 7)
