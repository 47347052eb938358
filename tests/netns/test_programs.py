"""curl, dig, ssh and iperf3 between namespaces: what the edge's trace predicts is what becomes of them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from edge.api.client import Conditions
from tests.netns.lab import Lab
from tests.netns.peers import LONG_S, REACHED, REFUSED, SHORT_S, SILENT, Answerer
from tests.netns.prediction import combined, predicted, traced
from tests.netns.programs import Call, IperfServers, Outcome, make_key, page_or_name, ssh_server
from tests.netns.scenes import (
    CLIENTS,
    FIRST_MEASURED,
    INSIDE,
    LOGIN,
    NAMES,
    OUTSIDE,
    SERVERS,
    WEB,
    WEB_INSIDE,
    calls,
    places,
    scene,
)
from tests.netns.served import populated, serve

pytestmark = pytest.mark.needs("netns", "programs")

SCENES, CALLS = 5, 40
SEED = int(os.environ.get("T1EDGE_SERVED_SEED", "1"))

_log = logging.getLogger(__name__)


@contextmanager
def answering(lab: Lab, folder: Path) -> Iterator[Path]:
    """Web, names and logins on every address of both sides; the key that lets in."""
    key = make_key(folder / "key")
    ports = (WEB, WEB_INSIDE, NAMES)
    with (
        Answerer(lab.server, OUTSIDE, ports, speak=page_or_name),
        Answerer(lab.client, INSIDE, ports, speak=page_or_name),
        ssh_server(lab.server, OUTSIDE, LOGIN, key, folder),
        ssh_server(lab.client, INSIDE, LOGIN, key, folder),
    ):
        yield key


def made(lab: Lab, call: Call, expected: str, key: Path) -> Outcome:
    """What becomes of a call; one that should get no answer is not waited for as long."""
    patience_s = SHORT_S if expected == SILENT else LONG_S
    if not call.program.startswith("iperf3"):
        return call.made(patience_s, key)
    servers = IperfServers(*places(lab, call.destination), call.port)
    try:
        found = call.made(patience_s, key)
        return Outcome(REACHED, servers.seen(), "") if found.what == REACHED else found
    finally:
        servers.close()


def test_what_trace_predicts_becomes_of_programs(tmp_path: Path) -> None:
    rng = Random(SEED)
    source_ports = rng.sample(range(20_000, 32_000), SCENES * CALLS)  # below those that the kernel gives to others
    kinds: Counter[tuple[str, str]] = Counter()
    wrong = []
    scenes = [scene(rng) for _ in range(SCENES)]
    with (
        populated(CLIENTS[1:], SERVERS[1:]) as lab,
        answering(lab, tmp_path) as key,
        serve(lab, tmp_path, scenes[0].text) as service,
        service.client() as client,
        ThreadPoolExecutor(16) as pool,
    ):
        for number, edge in enumerate(scenes):
            client.apply(edge.text, Conditions(comment=f"scene {number}"))
            first = number * CALLS
            tried = list(calls(lab, rng, edge, source_ports[first : first + CALLS], FIRST_MEASURED + first))
            traces = iter(traced(client, [packet for call in tried for packet in call.packets()]))
            found = [[next(traces) for _ in call.packets()] for call in tried]
            expected = [combined(map(predicted, passes)) for passes in found]
            outcomes = pool.map(lambda call, what: made(lab, call, what[0], key), tried, expected)
            for call, what, passes, outcome in zip(tried, expected, found, outcomes, strict=True):
                kinds[call.program.split()[0], what[0]] += 1
                if (outcome.what, outcome.seen) != what:
                    wrong.append((number, str(call), what, outcome, [one[-1].explanation for one in passes]))
        service.stop()
    _log.info("%d connections: %s", SCENES * CALLS, dict(kinds))
    assert not wrong, "\n".join(map(str, wrong))
    for program in ("curl", "dig", "ssh", "iperf3"):
        for what in (REACHED, REFUSED, SILENT):
            assert kinds[program, what], (program, what, kinds)
