"""Changes of a large configuration, one upon the other, while a worker forwards: is any packet judged by two of them?

Every revision sends a published port on to a machine of its own and permits that machine alone, by a rule behind all
others.  So a probe that NAT of one revision and the firewall of another have judged is lost; one that passed says whose
it was, and so does its answer, however many revisions have come meanwhile.  Sessions that were open before the first
change go on through all of them.

Most revisions are laid over the table that is there.  Every so manieth has no rule that is the same object as before,
as if the configuration had been read anew, and replaces the whole table.  Each has at least one whole round of traffic
to itself before the next is prepared.

``python -m tests.soak.changes [--rules N] [--changes N] [--all-anew N]``
"""

from __future__ import annotations

import argparse
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import count, islice
from statistics import median

from edge.bench.frames import udp_frame
from edge.firewall.config import FirewallConfig
from edge.forwarder import Forwarder
from edge.model import EdgeConfig
from edge.nat.config import NatConfig
from edge.ports import made_mac
from edge.runtime import Edge
from tests.links import HOST_MAC, reply, request
from tests.support import acme, default_rule, nat, rule
from tests.waiting import wait_for

MACHINES = [f"10.20.0.{last}" for last in range(20, 28)]
"""Revision n sends probes on to the one at n, round and round."""
TALKER, SERVER, ROUTER = "10.20.0.10", "198.51.100.5", "203.0.113.1"
PUBLISHED, HIDDEN = "203.0.113.11", "203.0.113.10"
CLIENTS = int(IPv4Address("198.18.0.0"))
PORT, PROBES, SESSIONS = 7000, 32, 32
AT_ONCE = 4
"""So many packets go in together, a moment before the next: a change finds some of them through and others to come."""
ALL_ANEW = 5
"""Every so manieth revision has all rules compiled anew."""
PATIENCE_S = 60.0
ROUND_S = 6 * PATIENCE_S
"""More than a round takes: its traffic passes four times, and what is missing after ``PATIENCE_S`` is told as lost."""
MACS = {name: made_mac("edge", name) for name in ("INTERNET", "LAN")}
OPPOSITE = {"INTERNET": "LAN", "LAN": "INTERNET"}

Ends = tuple[int, int, int, int]
"""Source and its port, destination and its port; addresses as numbers."""


def number_of(address: str) -> int:
    """An address as a number."""
    return int(IPv4Address(address))


def large(rules: int) -> EdgeConfig:
    """So many firewall rules, with the one of a revision: most are of no concern to anybody here."""
    others = [
        rule(f"other-{number}", source=f"172.16.{number >> 8}.{number & 255}", services=f"tcp/{1024 + number}")
        for number in range(rules - 3)
    ]
    return acme(firewall=[*others, rule("out", source=TALKER), default_rule()])


def configuration(base: EdgeConfig, revision: int) -> EdgeConfig:
    """The same with the rules of a revision, the firewall's as the last before the default rule."""
    machine = MACHINES[revision % len(MACHINES)]
    *others, last = base.firewall.rules
    permit = rule("published", destination=machine, services=f"udp/{PORT}")
    publish = nat("publish", "DNAT", PUBLISHED, machine, external_port=str(PORT), app=f"udp/{PORT}", priority=1)
    return replace(base, firewall=FirewallConfig((*others, permit, last)), nat=NatConfig((publish, *base.nat.rules)))


def read_anew(base: EdgeConfig) -> EdgeConfig:
    """The same with equal firewall rules, none of which is the same object."""
    return replace(base, firewall=FirewallConfig(tuple(map(replace, base.firewall.rules))))


@dataclass
class Result:
    """What became of a run."""

    changes: int = 0
    rounds: int = 0
    divided: int = 0
    """Rounds in which one revision judged some probes and the next one the others."""
    probes: int = 0
    passed: int = 0
    """Packets of sessions that were there before the first change."""
    machines: set[str] = field(default_factory=set)
    """Those that probes were sent on to."""
    overlaid_s: list[float] = field(default_factory=list)
    anew_s: list[float] = field(default_factory=list)
    """How long each change took to prepare: those laid over the table, and those that had all rules compiled anew."""
    turned_s: list[float] = field(default_factory=list)
    """How long no packet passed for each."""
    wrong: list[str] = field(default_factory=list)


class Changer:
    """Changes in a thread of its own; ``begun`` and ``done`` are the numbers of revisions, ``probed`` that of the one
    under which the last round of traffic began that has ended."""

    def __init__(
        self, edge: Edge, forwarder: Forwarder, base: EdgeConfig, changes: int, all_anew: int, result: Result
    ) -> None:
        self.begun = self.done = self.probed = 0
        self._edge, self._forwarder, self._base = edge, forwarder, base
        self._changes, self._all_anew, self._result = changes, all_anew, result
        self._ended = False
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        try:
            for revision in range(1, self._changes + 1):
                self._change(revision)
                wait_for(f"a round of traffic under revision {revision}", self._may_go_on, ROUND_S)
                if self._ended:
                    return
        except BaseException as error:
            self._result.wrong.append(f"change {self.begun}: {error!r}")
            raise

    def _may_go_on(self) -> bool:
        return self._ended or self.probed == self.done

    def _change(self, revision: int) -> None:
        if revision % self._all_anew == 0:
            self._base = read_anew(self._base)
        config = configuration(self._base, revision)
        started = time.monotonic()
        prepared = self._edge.prepare(config)
        took = time.monotonic() - started
        overlaid = prepared.compiled.tables.overlay is not None
        (self._result.overlaid_s if overlaid else self._result.anew_s).append(took)
        with self._edge.turn():
            started = time.monotonic()
            self.begun = revision
            self._edge.commit(prepared)
            self._forwarder.rebind(config)
            self.done = revision
            self._result.turned_s.append(time.monotonic() - started)
        self._result.changes += 1

    @property
    def at_work(self) -> bool:
        """Are there changes to come, or has the last one had no round yet?"""
        return self._thread.is_alive()

    def end(self) -> None:
        """No change after the one at work."""
        self._ended = True
        self._thread.join()


class Traffic:
    """The machines on both sides of an edge with ports in memory."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        for machine in (TALKER, *MACHINES):
            forwarder.feed("LAN", request(machine, "10.20.0.1"))
        forwarder.feed("INTERNET", request(ROUTER, HIDDEN))

    def through(self, port: str, packets: Iterable[Ends]) -> list[Ends]:
        """Datagrams in by a port, and what leaves by the other; less of it if that does not come in time."""
        frames = [MACS[port] + HOST_MAC + udp_frame(*ends)[12:] for ends in packets]
        for number, frame in enumerate(frames):
            if number % AT_ONCE == 0:
                time.sleep(0.0001)
            self._forwarder.feed(port, frame)
        found: list[Ends] = []
        until = time.monotonic() + PATIENCE_S
        while len(found) < len(frames) and time.monotonic() < until:
            time.sleep(0.0005)
            for name in MACS:
                found += self._heard(name, name == OPPOSITE[port])
        return found

    def _heard(self, port: str, awaited: bool) -> list[Ends]:
        """Datagrams that have left by a port.  Whoever is asked for on the link answers."""
        found = []
        for frame in self._forwarder.take(port):
            if frame[12:14] == b"\x08\x00" and awaited:
                src, dst, sport, dport = struct.unpack_from("!IIHH", frame, 26)
                found.append((src, sport, dst, dport))
            elif frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[28:32] != frame[38:42]:
                asking, asked = (str(IPv4Address(frame[at : at + 4])) for at in (28, 38))
                self._forwarder.feed(port, reply(asked, asking, to=frame[6:12]))
        return found


def back(ends: Ends) -> Ends:
    """The other way round."""
    src, sport, dst, dport = ends
    return dst, dport, src, sport


def lost(asked: Iterable[Ends], found: Iterable[Ends]) -> list[str]:
    """What has not arrived just once, or should not have."""
    expected, came = Counter(asked), Counter(found)
    return [f"{IPv4Address(e[0])}:{e[1]} > {IPv4Address(e[2])}:{e[3]}: {came[e]} of {expected[e]}"
            for e in expected | came if came[e] != expected[e]]  # fmt: skip


def probe(traffic: Traffic, changer: Changer, packets: list[Ends], result: Result) -> None:
    """New sessions through the published port, and an answer to each."""
    first = changer.done
    found = traffic.through("INTERNET", packets)
    allowed = {number_of(MACHINES[n % len(MACHINES)]) for n in range(first, changer.begun + 1)}
    result.probes += len(packets)
    machines = {str(IPv4Address(ends[2])) for ends in found}
    result.machines |= machines
    result.divided += len(machines) > 1
    result.wrong += lost(packets, ((src, sport, number_of(PUBLISHED), dport) for src, sport, _, dport in found))
    result.wrong += [f"revisions {first}-{changer.begun}: {ends}" for ends in found if ends[2] not in allowed]
    result.wrong += lost(map(back, packets), traffic.through("LAN", map(back, found)))


def run(rules: int, changes: int, all_anew: int = ALL_ANEW) -> Result:
    """So many changes of a configuration with so many firewall rules, every ``all_anew``-th of them of all rules."""
    result, base = Result(), large(rules)
    edge = Edge(configuration(base, 0))
    sessions = [(number_of(TALKER), 4000 + n, number_of(SERVER), 5000 + n) for n in range(SESSIONS)]
    fresh = ((CLIENTS + (n >> 15), 1024 + (n & 0x7FFF), number_of(PUBLISHED), PORT) for n in count())
    with Forwarder(edge, []) as forwarder:
        traffic = Traffic(forwarder)
        outside = traffic.through("LAN", sessions)
        changer = Changer(edge, forwarder, base, changes, all_anew, result)
        try:
            while changer.at_work and not result.wrong:
                begun_under = changer.done
                probe(traffic, changer, list(islice(fresh, PROBES)), result)
                result.wrong += lost(outside, traffic.through("LAN", sessions))
                result.wrong += lost(map(back, sessions), traffic.through("INTERNET", map(back, outside)))
                result.passed += 2 * SESSIONS
                result.rounds += 1
                changer.probed = begun_under
        finally:
            changer.end()
        if edge.stats().sessions_open < SESSIONS:
            result.wrong.append("sessions are missing")
    return result


def told(times_s: list[float]) -> str:
    """How many, the median and the most."""
    if not times_s:
        return "none"
    return f"{len(times_s):,} in {median(times_s) * 1000:.2f} ms (at most {max(times_s) * 1000:.1f})"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.changes", description="Changes under load.")
    parser.add_argument("--rules", type=int, default=10_000, help="firewall rules (default 10000)")
    parser.add_argument("--changes", type=int, default=1000, help="how many changes (default 1000)")
    parser.add_argument(
        "--all-anew", type=int, default=ALL_ANEW, help=f"every N-th change compiles all rules (default {ALL_ANEW})"
    )
    given = parser.parse_args()
    started = time.monotonic()
    result = run(given.rules, given.changes, given.all_anew)
    sys.stdout.write(
        f"{result.changes:,} changes of {given.rules:,} rules in {time.monotonic() - started:,.0f} s; prepared, by "
        f"median: laid over the table {told(result.overlaid_s)}, all rules anew {told(result.anew_s)}; "
        f"no packet passed: {told(result.turned_s)}; {result.rounds:,} rounds of traffic, {result.divided:,} with a "
        f"change among the probes; {result.probes:,} probes and their answers, {result.passed:,} packets of sessions "
        f"that were open before, {len(result.wrong)} wrong\n"
    )
    sys.stdout.writelines(f"{line}\n" for line in result.wrong[:20])
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
