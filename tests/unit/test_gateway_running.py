"""Change after change of many rules is held against what runs: each is small, and is what the whole document makes."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.bench.documents import snat_document
from edge.checks import check
from edge.diff import diff
from edge.document import loads
from edge.firewall import overlay
from edge.gateway import Gateway
from edge.gateway.draft import keeping
from edge.gateway.values import Applied
from edge.gateway.workshop import Workshop
from edge.patch import Upsert
from edge.serving import ServeSettings, _reload
from tests.gateways import run

COUNT = overlay.FEWEST + 20
SECTION = "firewallRules.userDefinedRules"

THREAD = (1 << 30, 1 << 30)
HELPER = (0, 0)
TEXTS = (1 << 12, 1 << 30)
"""The helper reads texts, a thread what is stored of them: they pack well."""


def document(*refusing: int) -> dict[str, Any]:
    """An edge that drops what goes to any of many networks, but for some that it refuses."""
    rules: list[dict[str, object]] = [
        {
            "name": f"rule {number}",
            "actionValue": "DROP",
            "sourceFirewallGroups": [{"name": "some"}] if number in (20, 21) else [],
            "destinationFirewallIpAddresses": [f"100.{number >> 8}.{number & 255}.0/24"],
        }
        for number in range(COUNT)
    ]
    for number in refusing:
        rules[number] = refuses(number)
    groups = [
        {"name": name, "typeValue": "IP_SET", "ipAddresses": [f"10.20.{number}.0/24"]}
        for number, name in enumerate(("some", "spare"))
    ]
    return {**snat_document(rules), "firewallGroups": groups, "options": {"limits": "report"}}


def refuses(number: int) -> dict[str, object]:
    """A rule once it is changed."""
    return {
        "name": f"rule {number}",
        "actionValue": "REJECT",
        "sourceFirewallGroups": [{"name": "some"}],
        "destinationFirewallIpAddresses": [f"100.0.{number}.0/24"],
    }


PACKETS = [f"udp 10.20.0.5:5000 > 100.0.{number}.1:53" for number in (3, 7, 9, 11, 12, 13, 20)]


class Life:
    """An edge that is changed, and what its document was before and is now."""

    def __init__(self, gateway: Gateway, document: dict[str, Any]) -> None:
        self.gateway = gateway
        self.document = document
        self.number = 1
        self.rules = gateway.edge.config.firewall.rules

    async def apply(self, now: dict[str, Any], others: int) -> None:
        """Replace the document; so many rules are others then."""
        await self.is_whole(await self.gateway.apply(json.dumps(now)), now, others)

    async def patch(self, rule: dict[str, Any], others: int = 1, codes: tuple[str, ...] = ()) -> None:
        """Change one rule; that earns warnings of these codes."""
        now = deepcopy(self.document)
        rules = now["firewallRules"]["userDefinedRules"]
        (at,) = (at for at, item in enumerate(rules) if item["name"] == rule["name"])
        rules[at] = rule
        made = await self.gateway.patch([Upsert(SECTION, json.dumps(rule))], etag=self.gateway.running.etag)
        assert tuple(item.code for item in made.warnings) == codes
        await self.is_whole(made, now, others, warned=False)

    async def is_whole(self, made: Applied, now: dict[str, Any], others: int, *, warned: bool = True) -> None:
        """What was just done is what applying the whole document does."""
        loaded = loads(json.dumps(now))
        assert [*made.changes] == diff(loads(json.dumps(self.document)), loaded)
        if warned:
            expected = [*loaded.problems, *check(loaded.config, loaded)]
            assert [(item.code, item.path, item.message) for item in made.warnings] == [
                (item.code, item.path, item.message) for item in expected
            ]
        self.number += 1
        assert made.revision.number == self.gateway.running.number == self.number
        await self.is_now(now, others)

    async def is_now(self, now: dict[str, Any], others: int) -> None:
        """The edge does what one does that is made of the whole document, and so many rules have become others."""
        gateway = self.gateway
        fresh = Gateway(seed=1)
        await fresh.start(json.dumps(now))
        assert gateway.running.etag == fresh.running.etag
        assert gateway.edge.config == fresh.edge.config
        assert (await gateway.trace(PACKETS)).results == (await fresh.trace(PACKETS)).results
        await fresh.close()
        self.document = now
        before, self.rules = self.rules, gateway.edge.config.firewall.rules
        assert len({*map(id, self.rules)} - {*map(id, before)}) == others
        compiled = gateway.edge._compiled
        assert compiled is not None
        came = {*map(id, self.rules)} - {*map(id, compiled.base.rules)}
        assert (compiled.tables.overlay is None) is (not came)
        assert len(came) < 10
        known = gateway._running.known
        assert known is None or known.loaded.config is gateway.edge.config


@pytest.mark.parametrize("limits", [THREAD, HELPER, TEXTS], ids=["in a thread", "in the helper", "texts in the helper"])
def test_each_change_is_held_against_what_runs(limits: tuple[int, int], tmp_path: Path) -> None:
    async def test() -> None:
        gateway = Gateway(seed=1, workshop=Workshop(large_text=limits[0], large_stored=limits[1]))
        try:
            await gateway.start(json.dumps(document()))
            life = Life(gateway, document())
            await life.apply(document(7), 1)
            await life.apply(document(7, 9), 1)
            await life.apply(document(7, 9, 11), 1)
            await life.patch(refuses(12))
            await life.is_whole(await gateway.rollback(), document(7, 9, 11), 1)
            await life.patch(refuses(13))
            same_as_3 = {**refuses(12), "destinationFirewallIpAddresses": ["100.0.3.0/24"]}
            await life.patch(same_as_3, codes=("SHADOWED_RULE",))
            file = tmp_path / "edge.json"
            file.write_text(json.dumps(document(3, 7, 9, 11, 13)))
            settings = ServeSettings(str(file), "", None, None, (), None, allow_unsupported=False)
            await _reload(gateway, settings)
            life.number += 1
            assert gateway.running.number == life.number
            await life.is_now(document(3, 7, 9, 11, 13), 2)
            await life.patch(refuses(12))
            await gateway.apply(json.dumps(document(7)), confirm_within_s=3600)
            gateway._not_confirmed(gateway.running.number)
            while gateway.running.number != life.number:
                await asyncio.sleep(0.01)
            life.number += 1  # that of what was taken back is not used again
            await life.is_now(document(3, 7, 9, 11, 12, 13), 0)
            await life.patch(refuses(10))
        finally:
            await gateway.close()

    run(test)


def test_groups_and_profiles_of_earlier_readings_do_not_stay() -> None:
    first = loads(json.dumps(document())).config
    kept = keeping(first, loads(json.dumps(document(7, 9))).config)
    some = first.firewall.groups[0]
    assert kept.firewall.groups[0] is some
    assert kept.firewall.rules[7] is not first.firewall.rules[7]
    for number in (7, 9, 20):
        assert kept.firewall.rules[number].source_groups[0] is some


def test_equal_groups_of_rules_and_of_the_edge_may_be_others() -> None:
    first, again = loads(json.dumps(document())), loads(json.dumps(document())).config
    config = replace(first.config, firewall=replace(first.config.firewall, groups=again.firewall.groups))
    unused = [item for item in check(config, first) if item.code == "UNUSED_GROUP"]
    assert [item.path for item in unused] == ["firewallGroups[1]"]
