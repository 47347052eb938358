"""A book of edges without a store, and a watcher that remembers."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from control.fleet.book import LeadershipLostError, Outcome, Planned, Wanted, followed
from edge.errors import EdgeError, StoreError

PATIENCE_S = 30.0


def gateway_id(path: str) -> str:
    """The id of an edge's gateway in its document."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, path))


def document(path: str, rules: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """What an edge should run: rules that allow everything, each by its name."""
    return {
        "edgeGateway": {
            "id": gateway_id(path),
            "name": path.rpartition("/")[2],
            "edgeGatewayUplinks": [
                {
                    "uplinkId": gateway_id(f"{path}/uplink"), "uplinkName": "INTERNET",
                    "subnets": [{"gateway": "203.0.113.1", "prefixLength": 24, "primaryIp": "203.0.113.10"}],
                }
            ],
        },
        "orgVdcNetworks": [
            {
                "id": gateway_id(f"{path}/lan"), "name": "LAN", "networkType": "NAT_ROUTED",
                "connection": {"connectionTypeValue": "INTERNAL"},
                "subnets": [{"gateway": "10.20.0.1", "prefixLength": 24}],
            }
        ],
        "firewallRules": {
            "userDefinedRules": [
                {"id": gateway_id(f"{path}/{name}"), "name": name, "actionValue": "ALLOW"} for name in rules
            ],
            "defaultRules": [{"id": gateway_id(f"{path}/default"), "name": "default_rule", "actionValue": "DROP"}],
        },
        **more,
    }  # fmt: skip


@dataclass
class PaperBook:
    """Edges that a test writes down, and what the reconciler tells of them."""

    rows: dict[str, Wanted] = field(default_factory=dict)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    epoch: int = 1
    away: bool = False
    refused: dict[str, EdgeError] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    def want(self, path: str, wanted: Mapping[str, Any], *, address: str = "", uid: str = "") -> None:
        """From now on an edge should run a document."""
        old = self.rows.get(path) or Wanted(path, uid or uuid.uuid4().hex, 0, 0, 0, "", "", "")
        self.documents[path] = copy.deepcopy(dict(wanted))
        self.rows[path] = replace(old, desired=old.desired + 1, status="PENDING", reason="", address=address)

    def edges(self, *, waiting: bool) -> list[Wanted]:
        self._check()
        return [row for row in list(self.rows.values()) if not waiting or row.realized < row.desired]

    def plan(self, path: str) -> Planned | None:
        self._check()
        if path in self.refused:
            raise self.refused[path]
        row = self.rows.get(path)
        return Planned(row, self.documents[path]) if row else None

    def tell(self, epoch: int, outcomes: Sequence[Outcome]) -> None:
        self._check()
        if epoch != self.epoch:
            raise LeadershipLostError("another one leads")
        for outcome in outcomes:
            self.outcomes.append(outcome)
            row = self.rows.get(outcome.path)
            if row is not None and row.uid == outcome.uid:
                assert outcome.reason or outcome.revision >= row.realized, "states never go back"
                self.rows[outcome.path] = followed(row, outcome)

    def agree(self) -> bool:
        """Has every edge what it should?"""
        return all(row.status == "REALIZED" and row.realized == row.desired for row in self.rows.values())

    def _check(self) -> None:
        if self.away:
            raise StoreError("the database is away")


class Counts:
    """A watcher."""

    def __init__(self) -> None:
        self.pushes: Counter[tuple[str, str]] = Counter()
        self.lags: list[float] = []
        self.failures: Counter[str] = Counter()
        self.drifts = 0
        self.leader = False

    def pushed(self, kind: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.pushes[kind, result] += 1

    def realized(self, lag_s: float) -> None:
        self.lags.append(lag_s)

    def failed(self, reason: str) -> None:
        self.failures[reason] += 1

    def leads(self, leads: bool) -> None:
        self.leader = leads

    def drifted(self) -> None:
        self.drifts += 1


async def until(what: str, ask: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first answer that is true."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    while True:
        answer = ask()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        assert loop.time() < end, f"not in {patience_s} s: {what}"
        await asyncio.sleep(0.005)
