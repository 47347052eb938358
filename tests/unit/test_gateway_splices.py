"""A small change of many rules reaches a served edge as what has changed, whoever has read it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from edge.bench.documents import snat_document
from edge.document import from_data, loads
from edge.firewall import overlay
from edge.firewall.config import Action, FirewallConfig
from edge.gateway import Gateway
from edge.gateway.draft import keeping
from edge.gateway.helper import Splices
from edge.patch import Move, ObjectRef, Position, Upsert
from tests.gateways import SAMPLE, run, served
from tests.waiting import PATIENCE_S

COUNT = overlay.FEWEST + 20
SECTION = "firewallRules.userDefinedRules"
PACKET = "udp 10.20.0.5:5000 > 100.0.7.1:53"
CHANGED = {"name": "rule 7", "actionValue": "REJECT", "destinationFirewallIpAddresses": ["100.0.7.0/24"]}


def document() -> dict[str, Any]:
    """An edge that drops what goes to any of many networks."""
    rules: list[dict[str, object]] = [
        {
            "name": f"rule {number}",
            "actionValue": "DROP",
            "destinationFirewallIpAddresses": [f"100.{number >> 8}.{number & 255}.0/24"],
        }
        for number in range(COUNT)
    ]
    return {**snat_document(rules), "options": {"limits": "report"}}


@pytest.mark.parametrize("large", [0, 1 << 30], ids=["in the helper", "in a thread"])
@pytest.mark.parametrize("whole", [False, True], ids=["patch", "apply"])
def test_what_stays_stays_the_same_object(large: int, whole: bool) -> None:
    async def verdict(gateway: Gateway) -> str:
        return (await gateway.trace([PACKET])).results[0].verdict.name

    async def test() -> None:
        async with served(json.dumps(document()), large=large) as gateway:
            before = gateway.edge.config.firewall.rules
            assert await verdict(gateway) == "DROP"
            if whole:
                now = document()
                now["firewallRules"]["userDefinedRules"][7] = CHANGED
                await gateway.apply(json.dumps(now), confirm_within_s=3600)
            else:
                await gateway.patch(
                    [Upsert(SECTION, json.dumps(CHANGED))], etag=gateway.running.etag, confirm_within_s=3600
                )
            after = gateway.edge.config.firewall.rules
            assert [number for number, rule in enumerate(after) if rule is not before[number]] == [7]
            assert after[7].action is Action.REJECT
            compiled = gateway.edge._compiled
            assert compiled is not None
            assert compiled.tables.overlay is not None
            assert list(compiled.tables.overlay.dead) == [7]
            assert await verdict(gateway) == "REJECT"
            gateway._not_confirmed(gateway.running.number)
            until = time.monotonic() + PATIENCE_S
            while gateway.running.number == 2:
                assert time.monotonic() < until, f"revision 2 was not confirmed and still runs after {PATIENCE_S} s"
                await asyncio.sleep(0.01)
            assert gateway.edge.config.firewall.rules == before
            assert await verdict(gateway) == "DROP"
            move = Move(SECTION, ObjectRef(name="rule 7"), Position(index=COUNT))
            await gateway.patch([move], etag=gateway.running.etag)
            moved = gateway.edge.config.firewall.rules
            assert moved == (*before[:7], *before[8:COUNT], before[7], *before[COUNT:])
            assert len({*map(id, moved)} - {*map(id, before)}) <= 1

    run(test)


def test_splices_make_the_rules_of_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    config = from_data(document()).config.firewall
    rules = config.rules
    now = FirewallConfig((*rules[3:500], rules[1], *rules[500:-1], rules[0]))
    found = Splices.between(config, now)
    assert found is not None
    assert sum(len(others) for _, _, others in found.rules) == 2
    assert [*map(id, found.applied(config))] == [*map(id, now.rules)]
    with pytest.raises(AssertionError, match="the helper's base"):
        found.applied(now)
    monkeypatch.setattr("edge.gateway.helper.MOST", 9)
    assert Splices.between(config, FirewallConfig(rules[10:])) is None


def test_equal_parts_of_a_configuration_are_kept() -> None:
    first, again = loads(SAMPLE).config, loads(SAMPLE.replace("priority: 10}", "priority: 11}")).config
    kept = keeping(first, again)
    assert kept == again
    assert kept.routing is first.routing
    assert kept.nat is again.nat
    assert all(one is other for one, other in zip(kept.firewall.rules, first.firewall.rules, strict=True))
