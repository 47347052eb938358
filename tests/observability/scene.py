"""An edge that is served, and a Prometheus that scrapes it."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.metrics import Exposition, Reading
from edge.packets.build import build_frame
from edge.packets.text import parse_packet
from edge.runtime import Edge
from edge.state import LinkCounters

PATIENCE_S = 60.0
"""How long something may take that is expected within a second."""


@dataclass
class Served:
    """An edge, and what the service around it would say."""

    edge: Edge
    applies: dict[str, int] = field(default_factory=dict)
    neighbours: dict[str, int] = field(default_factory=dict)
    ports_up: dict[str, bool] = field(default_factory=dict)
    links: dict[str, LinkCounters] = field(default_factory=dict)
    events_lost: int = 0
    pending: bool = False

    def reading(self) -> Reading:
        return Reading.of(
            self.edge,
            applies=self.applies,
            neighbours=self.neighbours,
            ports_up=self.ports_up,
            links=lambda: self.links,
            events_lost=self.events_lost,
            pending_confirmation=self.pending,
        )

    def exposition(self, **options: int) -> Exposition:
        return Exposition(self, version="1.2.3", **options)

    def send(self, port: str, *packets: str, times: int = 1) -> None:
        frames = [(port, build_frame(parse_packet(packet))) for packet in packets] * times
        self.edge.process_batch(frames, time.monotonic_ns(), outputs=False)


def edge_part(page: bytes) -> str:
    """A page without what prometheus-client says of the process."""
    return page.decode().partition("# HELP process_")[0].partition("# HELP python_")[0]


class Prometheus:
    """A process that scrapes so often that a test need not wait."""

    def __init__(self, folder: Path, targets: Sequence[str], rules: Path, job: str = "t1edge") -> None:
        config = {
            "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(targets)}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        try:
            self._address = self._until(self._listening, bool)
            self._until(self._ready, bool)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listening(self) -> str:
        found = re.search(r'msg="Listening on".* address=(\S+)', self._log.read_text())
        return found[1] if found else ""

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    def api(self, path: str, **parameters: str | list[str]) -> Any:
        """The data that a call of its API answers."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"http://{self._address}/api/v1/{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {json.load(error)['error']}") from None

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """(labels, value) of each series now."""
        return [(item["metric"], float(item["value"][1])) for item in self.api("query", query=expression)["result"]]

    def eventually(
        self, expression: str, wanted: Callable[[list[tuple[Mapping[str, str], float]]], bool] = bool
    ) -> list[tuple[Mapping[str, str], float]]:
        """The first answer that is as wanted; by default any that is not empty."""
        return self._until(lambda: self.query(expression), wanted, expression)

    def _until(self, ask: Callable[[], Any], wanted: Callable[[Any], bool], what: str = "Prometheus") -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = ask()
            if wanted(answer):
                return answer
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                raise AssertionError(f"{what}: still {answer!r} (ended: {ended})\n{self._log.read_text()[-2_000:]}")
            time.sleep(0.02)  # between two looks
