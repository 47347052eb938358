"""An edge as a process of its own: ``python -m tests.netns.process WORKERS MTU SPEC...`` forwards for the company of
:func:`tests.support.acme` until its standard input ends.

It answers every line that it reads with a line of JSON: its ports, packets by reason, what its workers have done.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from edge.forwarder import Forwarder
from edge.model import Options
from edge.ports import PortSpec
from edge.runtime import Edge
from edge.workers import Workers
from tests.support import acme


def report(edge: Edge, forwarder: Forwarder) -> str:
    """Everything that tests look at."""
    with edge.turn():
        reasons = {reason.name: count for reason, count in edge.stats().reasons.items()}
        sessions = len(edge.sessions())
    ports = {name: asdict(status) for name, status in forwarder.ports.items()}
    links = {name: asdict(counters) for name, counters in forwarder.link_counters().items()}
    shown = {"ports": ports, "links": links, "reasons": reasons, "sessions": sessions, "handed": edge.handed}
    if isinstance(edge, Workers):
        shown["created"] = edge.created
    return json.dumps(shown)


def say(line: str) -> None:
    """On standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Forward."""
    workers, config = int(sys.argv[1]), acme(options=Options(mtu=int(sys.argv[2])))
    edge = Edge(config) if workers == 1 else Workers(config, workers)
    with Forwarder(edge, [PortSpec.parse(text) for text in sys.argv[3:]]) as forwarder:
        say("ready")
        for _ in sys.stdin:
            say(report(edge, forwarder))


if __name__ == "__main__":
    main()
