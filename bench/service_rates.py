#!/usr/bin/env python3
"""How quick the service of an edge is: packets through InjectPackets, session events through WatchEvents, and what
other calls wait while a large configuration is applied.

The server is one process, this client another one; both run where the system puts them.  Prints one JSON document:
packets/s and events/s (median, and every trial; the client reads every outcome and every event), the events/s that the
client alone reads of batches that are there already, and per call the milliseconds (median, 99th percentile, most) that
it took during an ApplyConfig of --rules rules, with the seconds that this took.  Exits 1 where a rate is below
--packets-wanted or --events-wanted, or a 99th percentile above --most.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import grpc

from edge.api.server import Server
from edge.bench.documents import snat_document
from edge.bench.frames import udp_frame
from edge.document import from_data
from edge.gateway import Gateway
from edge.listening import parse_address
from edge.state import SessionMatch
from edge.store import MemoryStore
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import edge_service_pb2_grpc, event_pb2, packet_pb2

NETWORK = 10 << 24 | 20 << 16  # 10.20.0.0/16, behind the edge
REMOTE = 198 << 24 | 18 << 16  # 198.18.0.0/15, RFC 2544's range for benchmarks
BATCH = 256
BURST = 8_192  # sessions that begin, and end, at a request of the client's
AHEAD = 3  # bursts that are under way
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def document(rules: int, *, other: bool = False) -> dict[str, Any]:
    """An edge with SNAT and so many rules, each for a network of its own; ``other`` allows what the first denies."""
    found = snat_document(
        [
            {
                "name": f"rule number {number}",
                "actionValue": "DROP" if number and not other else "ALLOW",
                "destinationFirewallIpAddresses": [
                    "198.18.0.0/15" if not number else f"{100 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.0/24"
                ],
            }
            for number in range(rules)
        ]
    )
    found["options"] = {"limits": "report"}
    return found


# ------------------------------------------------------------------ the server's process


def flows(count: int) -> list[tuple[str, bytes]]:
    """The first packet of so many flows."""
    return [("LAN", udp_frame(NETWORK + 2 + (n >> 12), 1024 + (n & 4095), REMOTE + n % 1000, 53)) for n in range(count)]


def burst(gateway: Gateway, frames: list[tuple[str, bytes]]) -> None:
    """So many sessions begin and end."""
    gateway.edge.process_batch(frames, gateway.now_ns(), outputs=False)
    gateway.edge.delete_sessions(SessionMatch())


async def serve() -> None:
    """Serve an edge until standard input ends; each line of it is a burst of sessions."""
    gateway = Gateway(MemoryStore(), seed=1)
    await gateway.start(json.dumps(document(100)))
    server = Server(gateway, parse_address("127.0.0.1:0"))
    print(await server.start(), flush=True)
    frames = flows(BURST)
    for count in iter(lambda: 0, 1):
        del count
        if not await asyncio.to_thread(sys.stdin.readline):
            break
        await asyncio.to_thread(burst, gateway, frames)
    await server.stop()
    await gateway.close()


# ------------------------------------------------------------------ the client's process


def packets_a_second(stub: Any, seconds: float) -> float:
    """Packets through InjectPackets; every outcome is read."""
    frames = flows(16 * BATCH)
    batches = [
        pb.InjectPacketsRequest(
            frames=[packet_pb2.Frame(port=port, data=data) for port, data in frames[at : at + BATCH]]
        )
        for at in range(0, len(frames), BATCH)
    ]
    until = time.perf_counter() + seconds

    def given() -> Iterator[pb.InjectPacketsRequest]:
        for batch in itertools.cycle(batches):
            if time.perf_counter() > until:
                return
            yield batch

    allowed = 0
    start = time.perf_counter()
    for answer in stub.InjectPackets(given()):
        for outcome in answer.outcomes:
            allowed += outcome.verdict == packet_pb2.VERDICT_ALLOW and outcome.reason > 0
    took = time.perf_counter() - start
    assert allowed % BATCH == 0, "a packet was not forwarded"
    return allowed / took


def read_events(batch: pb.WatchEventsResponse) -> int:
    """Look at every event of a batch: how many there are."""
    ports = 0
    for event in batch.events:
        kind = event.WhichOneof("event")
        assert kind != "gap", "events were lost"
        session = event.session_started.session if kind == "session_started" else event.session_ended.session
        ports += session.original.source_port > 0 and session.translated.source_address == "203.0.113.10"
    assert ports == len(batch.events), "an event had not what it should"
    return ports


def events_read_alone(batches: list[bytes], seconds: float) -> float:
    """Events a second that are parsed and read with nobody else at work."""
    seen = 0
    start = time.perf_counter()
    for batch in itertools.cycle(batches):
        seen += read_events(pb.WatchEventsResponse.FromString(batch))
        if time.perf_counter() - start > seconds:
            break
    return seen / (time.perf_counter() - start)


def events_a_second(stub: Any, server: subprocess.Popen[str], seconds: float, kept: list[bytes]) -> float:
    """Session events through WatchEvents; every one is read.  Asks for more as they arrive; keeps the last batches."""
    assert server.stdin is not None
    kinds = [event_pb2.EVENT_KIND_SESSION_STARTED, event_pb2.EVENT_KIND_SESSION_ENDED]
    stub.DeleteSessions(pb.DeleteSessionsRequest(all=True))  # each burst is to begin all of its own
    call = stub.WatchEvents(pb.WatchEventsRequest(kinds=kinds))
    time.sleep(0.3)
    seen = asked = 0
    last: deque[pb.WatchEventsResponse] = deque(maxlen=4)
    start = time.perf_counter()
    while asked < AHEAD * 2 * BURST:
        server.stdin.write("\n")
        server.stdin.flush()
        asked += 2 * BURST
    for batch in call:
        seen += read_events(batch)
        last.append(batch)
        if time.perf_counter() - start < seconds:
            while asked - seen < AHEAD * 2 * BURST:
                server.stdin.write("\n")
                server.stdin.flush()
                asked += 2 * BURST
        elif seen >= asked:
            break
    took = time.perf_counter() - start
    call.cancel()
    kept[:] = [batch.SerializeToString() for batch in last]
    return seen / took


def waits_during_apply(stub: Any, rules: int) -> dict[str, Any]:
    """What other calls wait while a large configuration is applied."""
    calls = {
        "GetStats": (stub.GetStats, pb.GetStatsRequest(omit_rules=True)),
        "Trace": (stub.Trace, pb.TraceRequest(packets=[{"text": "udp 10.20.0.9:5000 > 198.18.0.1:53"}])),
        "ListRevisions": (stub.ListRevisions, pb.ListRevisionsRequest()),
    }
    found: dict[str, Any] = {"apply": {"rules": rules, "seconds": []}}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for other in (False, True):
        request = pb.ApplyConfigRequest(document=json.dumps(document(rules, other=other)))
        over = threading.Event()
        took: list[float] = []

        def apply(request: Any = request, over: threading.Event = over, took: list[float] = took) -> None:
            start = time.perf_counter()
            try:
                stub.ApplyConfig(request)
                took.append(time.perf_counter() - start)
            finally:
                over.set()

        thread = threading.Thread(target=apply)
        thread.start()
        while not over.is_set():
            for name, (call, question) in calls.items():
                begun = time.perf_counter()
                call(question)
                samples[name].append((time.perf_counter() - begun) * 1e3)
            time.sleep(0.005)
        thread.join()
        found["apply"]["seconds"].append(round(took[0], 2))
    for name, values in samples.items():
        values.sort()
        found[name] = {
            "calls": len(values),
            "median_ms": round(statistics.median(values), 2),
            "p99_ms": round(values[math.ceil(len(values) * 0.99) - 1], 2),
            "most_ms": round(values[-1], 2),
        }
    return found


def figures(rates: list[float]) -> dict[str, Any]:
    """A median and what it is of."""
    return {"median": round(statistics.median(rates)), "trials": [round(rate) for rate in rates]}


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a trial")
    parser.add_argument("--rules", type=int, default=100_000, help="0: nothing is applied")
    parser.add_argument("--packets-wanted", type=float, default=100_000)
    parser.add_argument("--events-wanted", type=float, default=80_000)
    parser.add_argument("--most", type=float, default=50.0, help="milliseconds")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
        return 0
    from_data(document(10))  # fails here, and not in the other process
    command = [sys.executable, __file__, "--serve"]
    result: dict[str, Any] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            with grpc.insecure_channel(server.stdout.readline().strip(), options=OPTIONS) as channel:
                stub: Any = edge_service_pb2_grpc.EdgeServiceStub(channel)  # type: ignore[no-untyped-call]
                stub.GetStats(pb.GetStatsRequest())
                packets = [packets_a_second(stub, given.seconds) for _ in range(given.trials)]
                kept: list[bytes] = []
                events = [events_a_second(stub, server, given.seconds, kept) for _ in range(given.trials)]
                alone = [events_read_alone(kept, given.seconds / 4) for _ in range(given.trials)]
                result = {
                    "packets_per_second": figures(packets),
                    "events_per_second": figures(events),
                    "events_read_alone_per_second": figures(alone),
                }
                if given.rules:
                    result["during_apply"] = waits_during_apply(stub, given.rules)
        finally:
            server.stdin.close()  # it ends
    print(json.dumps(result, indent=2))
    slow = [name for name, item in result.get("during_apply", {}).items() if item.get("p99_ms", 0) > given.most]
    short = [
        statistics.median(rates) < wanted
        for rates, wanted in ((packets, given.packets_wanted), (events, given.events_wanted))
    ]
    return int(bool(slow) or any(short))


if __name__ == "__main__":
    sys.exit(main())
