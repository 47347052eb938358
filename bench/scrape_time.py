#!/usr/bin/env python3
"""How long a scrape of the metrics takes at 2,000 firewall rules and 500 NAT rules, all with series of their own.

Prints one JSON document: milliseconds (median, the slowest of twenty, median of the processor's time) of reading the
counters of an edge with open sessions, of the whole page, and of a whole scrape over HTTP, compressed.  Exits 1 when
the median of a page is above --most.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

from edge.bench.documents import snat_document
from edge.bench.frames import udp_frame
from edge.document import from_data
from edge.listening import metrics_address
from edge.metrics import Exposition, Reading
from edge.metrics_server import MetricsServer
from edge.runtime import Edge
from edge.state import LinkCounters

NETWORK = 10 << 24 | 20 << 16  # 10.20.0.0/16, behind the edge
REMOTE = 198 << 24 | 18 << 16  # 198.18.0.0/15, RFC 2544's range for benchmarks


class Source:
    """The edge, and a service around it."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    def reading(self) -> Reading:
        """What a served edge tells."""
        return Reading.of(
            self.edge,
            applies={"applied": 1},
            neighbours={"REACHABLE": 1},
            ports_up=dict.fromkeys(self.edge.config.ports, True),
            links=lambda: dict.fromkeys(self.edge.config.ports, LinkCounters()),
            events_lost=0,
            pending_confirmation=False,
        )


def busy_edge(rules: int, nat_rules: int, sessions: int) -> Edge:
    """Every session is decided by another rule, as far as the rules go."""
    document = snat_document(
        [
            {
                "name": f"rule number {number}",
                "actionValue": "ALLOW",
                "destinationFirewallIpAddresses": [f"198.18.{number >> 8}.{number & 255}"],
            }
            for number in range(rules - 1)
        ]
    )
    document["natRules"] = [
        {
            "name": f"translation number {number}",
            "type": "SNAT",
            "externalAddresses": "203.0.113.10",
            "internalAddresses": f"10.20.{number >> 8}.{number & 255}",
        }
        for number in range(1, nat_rules + 1)
    ]
    document["options"] = {"limits": "report"}
    edge = Edge(from_data(document).config)
    for number in range(sessions):
        frame = udp_frame(NETWORK + 2 + number % nat_rules, 1024 + number % 60_000, REMOTE + number % rules, 53)
        edge.process("LAN", frame, number)
    return edge


def timed(call: Callable[[], object], trials: int) -> dict[str, float]:
    """Milliseconds of a call, on the clock and of the processor."""
    samples, of_processor = [], []
    for _ in range(trials):
        begun, worked = time.perf_counter(), time.process_time()
        call()
        samples.append((time.perf_counter() - begun) * 1_000)
        of_processor.append((time.process_time() - worked) * 1_000)
    slow = statistics.quantiles(samples, n=20)[-1]
    return {
        "median": round(statistics.median(samples), 3),
        "slowestOfTwenty": round(slow, 3),
        "processor": round(statistics.median(of_processor), 3),
    }


def scrape(address: tuple[str, int]) -> bytes:
    """What Prometheus does."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        sys.exit(f"/metrics answered {answer.status}")
    return body


def main() -> int:
    """Make the edge, run the trials, print the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rules", type=int, default=2_000)
    parser.add_argument("--nat-rules", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=501)
    parser.add_argument("--most", type=float, default=float("inf"), help="milliseconds that must not be exceeded")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    source = Source(busy_edge(options.rules, options.nat_rules, options.sessions))
    exposition = Exposition(source, version="0", max_rule_series=options.rules + options.nat_rules)
    page = exposition.page()
    server = MetricsServer(exposition.page, "127.0.0.1:0")
    address = metrics_address(server.start())
    compressed = scrape(address)
    of_page = timed(exposition.page, options.trials)
    result = {
        "rules": options.rules,
        "natRules": options.nat_rules,
        "sessions": source.edge.stats().sessions_open,
        "series": sum(not line.startswith(b"#") for line in page.splitlines()),
        "bytes": len(page),
        "bytesCompressed": len(compressed),
        "trials": options.trials,
        "readingMs": timed(source.reading, options.trials),
        "pageMs": of_page,
        "scrapeMs": timed(lambda: scrape(address), options.trials),
    }
    server.stop()
    print(json.dumps(result, indent=2))
    return int(of_page["median"] > options.most)


if __name__ == "__main__":
    sys.exit(main())
