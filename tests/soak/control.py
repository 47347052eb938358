"""A control plane that is killed again and again while it is written to: nothing acknowledged is lost, its edge agrees
with it, and the audit trail holds.

Rules are made and deleted one after another, each under a request id.  A kill at any moment leaves one call at most
without an answer: it is made again, under the same id, and what is there then is what all answers together say.

``python -m tests.soak.control [--kills N] [--seed S]``
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control import chain
from control.api.client import ControlClient, audit_line
from control.serving import EDGES, FIRST_LOGIN
from edge.api.client import UnreachableError
from tests.control.test_commands import Served
from tests.control.world import enrolled
from tests.waiting import wait_for

ORG = "orgs/US1"
EDGE = f"{ORG}/edges/T1-US1-MIA"
MOST = 30
"""So many rules at most."""


@dataclass
class Writer:
    """Makes and deletes rules until nobody answers; knows which there have to be."""

    token: str
    rng: random.Random
    rules: list[str] = field(default_factory=list)
    calls: int = 0
    pending: tuple[str, dict[str, Any]] | None = None

    def write(self, address: str) -> None:
        """Until the process dies."""
        with ControlClient(address, self.token, timeout_s=10.0) as client:
            try:
                while True:
                    self.step(client)
            except UnreachableError:
                return

    def step(self, client: ControlClient) -> None:
        """One call; the one that had no answer first."""
        if self.pending is None:
            self.calls += 1
            again = {"requestId": f"call-{self.calls}"}
            if len(self.rules) >= MOST or (self.rules and self.rng.random() < 0.4):
                name = self.rng.choice(self.rules)
                self.pending = "FirewallService/DeleteFirewallRule", {"name": name, **again}
            else:
                rule = {"displayName": f"r{self.calls}", "actionValue": "ALLOW"}
                request = {"parent": EDGE, "firewallRule": rule, "firewallRuleId": f"r{self.calls}", **again}
                self.pending = "FirewallService/CreateFirewallRule", request
        name, request = self.pending
        client.call(name, request)
        self.pending = None
        if name.endswith("CreateFirewallRule"):
            self.rules.append(f"{EDGE}/firewallRules/{request['firewallRuleId']}")
        else:
            self.rules.remove(request["name"])


def administrator(folder: Path, address: str) -> str:
    """The provider's first login; the token of the session."""
    one_time = (folder / "data" / FIRST_LOGIN).read_text(encoding="ascii").strip()
    with ControlClient(address) as client:
        request = enrolled(client, "orgs/system", "administrator", one_time)
        confirmed = client.call("SessionService/ConfirmSecondFactor", request)
        return str(confirmed["session"]["token"])


def furnish(client: ControlClient) -> None:
    """A tenant with an edge."""
    client.call("OrgService/CreateOrg", {"org": {"accountId": "US1", "displayName": "x"}})
    client.call("RegionService/CreateRegion", {"regionId": "MIA", "region": {"displayName": "Miami"}})
    network = {"displayName": "Internet", "gatewayCidr": "203.0.113.1/24", "pools": ["203.0.113.10-203.0.113.14"]}
    request = {"parent": "regions/MIA", "providerNetworkId": "internet", "providerNetwork": network}
    client.call("RegionService/CreateProviderNetwork", request)
    quota = {"vcpu": 20, "memoryGb": 50, "storageGb": 200}
    vdc = {"region": "regions/MIA", "plan": "VDC_PLAN_POOL", "quota": quota}
    client.call("OrderService/OrderVdc", {"parent": ORG, "vdc": vdc})


def check(folder: Path, client: ControlClient, writer: Writer) -> None:
    """Everything that was acknowledged is there, on the edge too, and nothing else."""
    found = [
        rule["name"] for rule in client.pages("FirewallService/ListFirewallRules", {"parent": EDGE}, "firewallRules")
    ]
    assert sorted(found) == sorted(writer.rules), (found, writer.rules)

    def agrees() -> bool:
        state = client.call("EdgeGatewayService/GetEdgeGateway", {"name": EDGE})["edgeGateway"]["state"]
        return state["status"] == "EDGE_STATUS_REALIZED" and running(folder) == [
            name.rpartition("/")[2] for name in found
        ]

    wait_for("the edge agrees", agrees)
    open_tasks = {"parent": ORG, "filter": 'status = "TASK_STATUS_RUNNING"'}
    assert list(client.pages("TaskService/ListTasks", open_tasks, "tasks")) == []
    records = client.pages("AuditService/ListAuditRecords", {"parent": ORG}, "records")
    lines = [audit_line(record) for record in records]
    chain.verify(lines)
    told = [json.loads(line) for line in lines]
    changes = [record for record in told if record["method"].startswith("FirewallService/")]
    assert len(changes) == writer.calls, "a record of each change, and of each one only"


def running(folder: Path) -> list[str]:
    """The rules of the revision that the edge would come back to."""
    with sqlite3.connect(folder / "data" / EDGES) as db:
        [packed] = db.execute("SELECT document FROM revisions ORDER BY number DESC LIMIT 1").fetchone()
    return [rule["name"] for rule in json.loads(zlib.decompress(packed))["firewallRules"]["userDefinedRules"]]


def soak(folder: Path, kills: int, seed: int) -> Writer:
    """So many kills; what was written."""
    rng = random.Random(seed)
    writer = None
    for number in range(kills):
        served = Served(folder, "--metrics", "none")
        try:
            if writer is None:
                writer = Writer(administrator(folder, served.address), rng)
                with ControlClient(served.address, writer.token) as client:
                    furnish(client)
            elif number % 10 == 0:
                with ControlClient(served.address, writer.token) as client:
                    if writer.pending is not None:
                        writer.step(client)
                    check(folder, client, writer)
            thread = threading.Thread(target=writer.write, args=(served.address,))
            thread.start()
            time.sleep(rng.random() * 0.5)  # any moment
            served.process.kill()
            thread.join()
        finally:
            served.process.kill()
            served.process.communicate()
    assert writer is not None
    served = Served(folder, "--metrics", "none")
    try:
        with ControlClient(served.address, writer.token) as client:
            if writer.pending is not None:
                writer.step(client)
            check(folder, client, writer)
    finally:
        served.process.kill()
        served.process.communicate()
    return writer


def main() -> None:
    """Print what was done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        writer = soak(Path(folder), given.kills, given.seed)
    sys.stdout.write(
        f"{given.kills} kills, {writer.calls} changes: nothing lost, the edge agrees, the audit trail holds\n"
    )


if __name__ == "__main__":
    main()
