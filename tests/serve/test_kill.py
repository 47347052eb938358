"""kill -9 while a client applies one configuration after another: what was acknowledged is there again.

``T1EDGE_KILLS`` says how often (12).  The seed is fixed; ``T1EDGE_KILL_SEED`` gives another.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from pathlib import Path

from edge.api.client import Conditions, UnreachableError
from edge.errors import EdgeError
from edge.verdicts import Reason
from tests.serve.process import Service, Wire
from tests.support import SAMPLE
from tests.waiting import wait_for

KILLS = int(os.environ.get("T1EDGE_KILLS", "12"))
SEED = int(os.environ.get("T1EDGE_KILL_SEED", "1"))
OPEN_FILES = {"lock", "revisions.sqlite3", "revisions.sqlite3-wal", "revisions.sqlite3-shm"}
LONGEST_START_S = 30.0
"""Generous: what other work the machine has is not known here."""

_log = logging.getLogger(__name__)


def document(number: int) -> str:
    """A configuration that is recognized by what it does: TCP port 1000 + number is open, no other."""
    rule = f"{{name: out, actionValue: ALLOW, sourceFirewallGroups: [lan], applicationPortProfiles: [p{number}]}}"
    profile = f'- {{name: p{number}, applicationPorts: [{{protocol: TCP, destinationPorts: ["{1000 + number}"]}}]}}'
    return SAMPLE.replace("{name: out, actionValue: ALLOW, sourceFirewallGroups: [lan]}", rule).replace(
        "applicationPortProfiles:\n", f"applicationPortProfiles:\n  {profile}\n"
    )


class Writer:
    """A client that applies documents one after another until nobody answers."""

    def __init__(self, service: Service, first: int) -> None:
        self._service = service
        self.sent = self.acknowledged = first - 1
        self.unexpected: list[str] = []
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        with self._service.client() as client:
            while True:
                self.sent += 1
                try:
                    found = client.apply(document(self.sent), Conditions(comment=str(self.sent)))
                except UnreachableError:
                    return
                except EdgeError as error:
                    self.unexpected.append(str(error))
                    return
                assert found.changes
                self.acknowledged = self.sent

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.unexpected == []


def runs(service: Service) -> int:
    """Which document runs; the packets have to agree."""
    with service.client() as client, Wire(service) as wire:
        number = int(client.config()[0].comment or "0")
        ports = range(max(number - 2, 0), number + 3)
        packets = [f"tcp 10.20.0.5:{4000 + port} > 198.51.100.7:{1000 + port} S" for port in ports]
        expected = [Reason.FW_RULE if port == number or not number else Reason.FW_DEFAULT for port in ports]
        assert wire.send("LAN-ACME", *packets) == expected
        return number


def checked(service: Service, acknowledged: int, sent: int) -> int:
    """Which document runs: the last that was acknowledged, or the one that was on its way; all before it are stored."""
    last = runs(service)
    assert acknowledged <= last <= sent, (acknowledged, last, sent)
    with service.client() as client:
        comments = [int(revision.comment or "0") for revision in client.revisions()]
    assert comments == list(range(last, -1, -1))
    return last


def test_what_was_acknowledged_survives_kill_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    file, data = tmp_path / "edge.yaml", tmp_path / "data"
    file.write_text(SAMPLE)
    starts: list[float] = []
    acknowledged = sent = 0
    for _ in range(KILLS):
        with Service(tmp_path, file, "--data", str(data)) as service:
            starts.append(service.started_in)
            last = checked(service, acknowledged, sent)
            writer = Writer(service, last + 1)
            wait_for("one is acknowledged", lambda writer=writer, last=last: writer.acknowledged > last)
            time.sleep(rng.random() * 0.3)
            service.kill()
            writer.join()
        acknowledged, sent = writer.acknowledged, writer.sent
        assert {path.name for path in data.iterdir()} <= OPEN_FILES
        assert {path.name for path in tmp_path.iterdir()} == {"data", "edge.yaml", "edge.sock"}
    with Service(tmp_path, file, "--data", str(data)) as service:
        starts.append(service.started_in)
        checked(service, acknowledged, sent)
        service.stop()
    assert {path.name for path in data.iterdir()} == {"lock", "revisions.sqlite3"}
    assert {path.name for path in tmp_path.iterdir()} == {"data", "edge.yaml"}
    starts.sort()
    median, longest = starts[len(starts) // 2], starts[-1]
    _log.info("%d kills, %d acknowledged, starts: median %.2f s, longest %.2f s", KILLS, acknowledged, median, longest)
    assert acknowledged >= KILLS
    assert longest < LONGEST_START_S


def test_what_waits_to_be_confirmed_does_not_survive(tmp_path: Path) -> None:
    file, data = tmp_path / "edge.yaml", tmp_path / "data"
    file.write_text(SAMPLE)
    with Service(tmp_path, file, "--data", str(data)) as service:
        with service.client() as client:
            client.apply(document(1), Conditions(comment="1"))
            client.apply(document(2), Conditions(comment="2", confirm_within_s=600))
        assert runs(service) == 2
        service.kill()
    with Service(tmp_path, file, "--data", str(data)) as service:
        assert runs(service) == 1
        with service.client() as client:
            assert client.apply(document(3), Conditions(comment="3", confirm_within_s=600)).revision.number == 4
            client.confirm(client.config()[0].etag)
        service.kill()
    with Service(tmp_path, file, "--data", str(data)) as service:
        assert runs(service) == 3
