"""Whoever covers a rule is among those whose addresses contain its."""

from __future__ import annotations

from random import Random

import pytest

from edge.checks.coverage import match_covers
from edge.checks.firewall import Matches
from edge.firewall.compile import compile_rules
from edge.firewall.config import Action, FirewallRule, Section
from native.containment import contained
from tests.model.universe import universe


def test_no_rule_that_covers_another_is_left_out() -> None:
    covers = left_out = 0
    for seed in range(60):
        rules = [rule for rule in universe(Random(seed)).config.firewall.rules if rule.enabled]
        flat = compile_rules(rules).rules
        matches = Matches().of(rules)
        for number, match in enumerate(matches):
            found = set(contained(flat, number, False)), set(contained(flat, number, True))
            for other, another in enumerate(matches):
                assert other in found[0] or not match_covers(another, match)
                assert other in found[1] or not match_covers(match, another)
                covers += match_covers(another, match)
                left_out += other not in found[0]
    assert covers > 500
    assert left_out > 500


def test_a_rule_that_is_not_there_is_refused() -> None:
    flat = compile_rules([FirewallRule("1", "1", Section.USER, Action.DROP)]).rules
    assert list(contained(flat, 0, True)) == [0]
    with pytest.raises(IndexError, match="no rule 1 of 1"):
        contained(flat, 1, True)
