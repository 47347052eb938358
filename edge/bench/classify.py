"""The classifier alone: lookups of first matches, and how long its tables take to build."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge.addresses import ANY_PORT_RANGE, AddressRange, PortRange
from edge.bench.machine import tick_rate
from edge.bench.measurement import LOOKUPS, SECONDS, SEED, BenchmarkError, Measurement, PeerMeasurement
from edge.bench.peers import RTE_ACL, RteAcl, same_answers
from edge.bench.profiles import draw_rules
from edge.bench.rules import (
    BoxRule,
    Packet,
    cut,
    data_folder,
    draw_packets,
    first_match,
    flat_rules,
    packed_rules,
    packet_at,
    read_classbench,
    statistics_of,
)
from edge.flat import ANY_SET, FlatRules

if TYPE_CHECKING:
    from native.classify import RuleTable

NO_RULE = 0xFFFFFFFF
PACKETS = 1_000_000
"""How many different packets there are at least."""

STEP = 1 << 18
BURST = 256
TRIAL_S = 0.01
"""About how long a trial takes, unless a burst takes longer or all packets less."""

CHECKED_COMPARISONS = 10_000_000
"""A linear search looks at so many rules in all: what it is asked of are packets drawn evenly."""

IPSET_PORTS = (22, 23, 25, 80, 443, 3389, 8080, 8443)


@dataclass(slots=True)
class RuleSet:
    """Rules, where they come from, and what a match of each is called."""

    name: str
    rules: list[BoxRule]
    origin: str
    numbers: list[int] | None = None
    """None: its place."""

    flat: FlatRules | None = None
    """What the native table is built from where rules are not one each."""

    def columns(self) -> FlatRules:
        """What the native table is built from."""
        return flat_rules(self.rules) if self.flat is None else self.flat

    def number(self, place: int | None) -> int:
        """What a match of the rule at a place is called."""
        return NO_RULE if place is None else place if self.numbers is None else self.numbers[place]

    def details(self) -> dict[str, object]:
        """What goes into the result."""
        return {"origin": self.origin, **{key: round(value, 4) for key, value in statistics_of(self.rules).items()}}


@dataclass(slots=True)
class Peer:
    """rte_acl, where it is measured; how long it took to build the sets it has seen."""

    program: Path | None = None
    built: dict[str, tuple[float, dict[str, object]]] = field(default_factory=dict)
    measured: bool = False

    def open(self, rule_set: RuleSet, keys: array[int]) -> RteAcl | nullcontext[None]:
        """It, with this set and these packets, to be closed; None where it is not measured."""
        if self.program is None:
            return nullcontext()
        self.measured = True
        acl = RteAcl(self.program, packed_rules(rule_set.rules, rule_set.numbers), keys)
        self.built[rule_set.name] = acl.build_clocks / tick_rate(), dict(acl.details)
        return acl


def rule_set(name: str, thousands: int) -> RuleSet:
    """A set of ClassBench where that is there, else one of our own of the same kind and size."""
    path = data_folder() / "classbench" / f"{name}_{thousands}k.gz"
    called = f"{name}_{thousands}k"
    if path.exists():
        return RuleSet(called, read_classbench(path), "classbench")
    return RuleSet(called, draw_rules(name, thousands * 1000, SEED), "generated")


def ip_set(count: int) -> RuleSet:
    """A block list of so many addresses and eight services behind it: what a firewall group is compiled to."""
    generator = random.Random(f"ipset {count}")  # noqa: S311 - repeatable, not secret
    addresses = sorted({generator.randrange(1 << 24, 224 << 24) for _ in range(count)})
    servers = [(cut(generator.getrandbits(32), 24), 24) for _ in IPSET_PORTS]
    services = [(ports, ports) for ports in IPSET_PORTS]
    flat = FlatRules()
    blocked = [AddressRange.parse(_dotted(address)) for address in addresses]
    flat.append(0, source=flat.address_set("blocked", [blocked]), destination=ANY_SET, families=1)
    rules = [BoxRule(address, 32, 0, 0) for address in addresses]
    numbers = [0] * len(rules)
    for (network, length), ports in zip(servers, services, strict=True):
        numbers.append(len(numbers) - len(addresses) + 1)
        rules.append(BoxRule(0, 0, network, length, destination_ports=ports, protocol=6))
        item = AddressRange.parse(f"{_dotted(network)}/{length}")
        tcp = (6, -1, -1, ANY_PORT_RANGE, PortRange(*ports))
        flat.append(
            numbers[-1],
            source=ANY_SET,
            destination=flat.address_set((network, length), [(item,)]),
            services=flat.services_of((tcp,)),
            families=1,
        )
    return RuleSet(f"ipset_{count // 1000}k", rules, "generated", numbers, flat)


def classify(rules: RuleSet, trials: int, peer: Peer, packets: int = PACKETS) -> Measurement:
    """Lookups of packets that lie in rules drawn uniformly, or, of a set of addresses, half of them in none of it.

    Every answer is looked at: the rule matches, and is not behind the one that the packet was drawn from; some answers
    are compared with a linear search, and all with rte_acl's where that runs beside.  Raises BenchmarkError.
    """
    from native.classify import RuleTable

    generator = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    keys, drawn, different = _packets(rules, packets, generator)
    table = RuleTable(rules.columns())
    answers = array("I", [NO_RULE]) * len(drawn)
    rate = tick_rate()

    def ours(first: int, count: int) -> int:
        return lookups(table, keys, answers, first, count)

    count = trial_size(ours, len(drawn), trials)
    done = count * trials
    clocks, theirs = [], []
    beside: tuple[PeerMeasurement, ...] = ()
    with peer.open(rules, keys) as acl:
        many = 0 if acl is None else trial_size(acl.run, len(drawn), trials)
        for trial in range(trials):
            clocks.append(timed_trial(ours, trial, count, len(drawn)) / count)
            if acl is not None:
                theirs.append(timed_trial(acl.run, trial, many, len(drawn)) / many)
        compared = _check(rules, keys, drawn, answers, done)
        if acl is not None:
            acl.run(0, done)
            same_answers(answers[:done], acl.answers()[:done], rules.name)
            found = {**acl.details, "timed": many * trials}
            beside = (PeerMeasurement(RTE_ACL, tuple(rate / x for x in theirs), tuple(theirs), found),)
    details = {**rules.details(), "packets": len(drawn), "different": different, "timed": done, "searched": compared}
    return Measurement(
        f"classify_{rules.name}",
        tuple(rate / sample for sample in clocks),
        tuple(clocks),
        unit=LOOKUPS,
        details=details,
        peers=beside,
    )


def build(rules: RuleSet, trials: int, peer: Peer) -> Measurement:
    """From flat rules to a table that can be asked; rte_acl from rules added to it to the same, once."""
    from native.classify import RuleTable
    from native.machine import clock_ticks

    flat = rules.columns()
    rate = tick_rate()
    seconds = []
    for trial in range(-1, trials):
        begun = clock_ticks()
        RuleTable(flat)
        if trial >= 0:
            seconds.append((clock_ticks() - begun) / rate)
    peers: tuple[PeerMeasurement, ...] = ()
    if peer.program is not None:
        if rules.name not in peer.built:
            keys, _ = draw_packets(rules.rules, STEP, random.Random(SEED))  # noqa: S311 - repeatable, not secret
            with peer.open(rules, keys):
                pass  # it is built before it can be asked anything
        took, details = peer.built[rules.name]
        peers = (PeerMeasurement(RTE_ACL, (took,), details=details),)
    return Measurement(f"build_{rules.name}", tuple(seconds), unit=SECONDS, details=rules.details(), peers=peers)


def _packets(rules: RuleSet, wanted: int, generator: random.Random) -> tuple[array[int], list[int], int]:
    """Packets, the places of the rules they were drawn from, and how many different ones there are.

    A small set may not have room for so many: no more than twice as many are drawn.  Of a set of addresses the rule is
    the set or one of those behind it, and half of the packets come from elsewhere.
    """
    keys, drawn = array("Q"), list[int]()
    seen: set[tuple[int, int, int]] = set()
    while len(seen) < wanted and len(drawn) < 2 * wanted:
        step = min(STEP, wanted)
        if rules.flat is None:
            more, places = draw_packets(rules.rules, step, generator)
        else:
            more, places = _set_packets(rules, step, generator)
        keys.extend(more)
        drawn += places
        seen.update(zip(more[0::5], more[1::5], more[2::5], strict=True))
    return keys, drawn, len(seen)


def _set_packets(rules: RuleSet, count: int, generator: random.Random) -> tuple[array[int], list[int]]:
    """Half of the packets from addresses of the set, half to a service behind it from anywhere."""
    blocked = len(rules.rules) - len(IPSET_PORTS)
    listed, others = rules.rules[:blocked], rules.rules[blocked:]
    (inside, first), (outside, second) = (draw_packets(part, count // 2, generator) for part in (listed, others))
    places = [*first, *(place + blocked for place in second)]
    order = list(range(len(places)))
    generator.shuffle(order)
    together = inside + outside
    mixed = array("Q")
    for number in order:
        mixed.extend(together[5 * number : 5 * number + 5])
    return mixed, [places[number] for number in order]


def trial_size(run: Callable[[int, int], int], packets: int, trials: int) -> int:
    """How many packets a trial is, in whole bursts, for what takes so many clocks for a first one and a number.

    Each classifier has its own: a trial that were over before its tables are in the caches would say nothing.
    """
    most = packets // trials // BURST * BURST
    if most == 0:
        raise BenchmarkError(f"{packets} packets are too few for {trials} trials")
    wanted = TRIAL_S * tick_rate()
    count = BURST
    while count < most:
        spent = min(run(0, count) for _ in range(3))  # once something else may have had the processor
        if spent > wanted / 4:
            return max(BURST, min(most, int(count * wanted / spent) // BURST * BURST))
        count = min(2 * count, most)
    return most


def timed_trial(run: Callable[[int, int], int], trial: int, count: int, packets: int) -> int:
    """Clocks of one trial; packets of another one, a quarter as many, have warmed the caches for it."""
    first = trial * count
    warm = max(count // 4, 1)
    run(first - warm if trial else packets - warm, warm)
    return run(first, count)


def lookups(table: RuleTable, keys: array[int], answers: array[int], first: int, count: int) -> int:
    """Clocks of so many lookups."""
    from native.machine import clock_ticks

    some = memoryview(keys)[5 * first : 5 * (first + count)]
    into = memoryview(answers)[first : first + count]
    begun = clock_ticks()
    table.lookup_many(some, into)
    return clock_ticks() - begun


def _check(rules: RuleSet, keys: array[int], drawn: Sequence[int], answers: array[int], done: int) -> int:
    """Look at the answers; how many a linear search was asked for."""
    for number in range(done):
        if answers[number] > rules.number(drawn[number]):
            raise BenchmarkError(f"{rules.name}: {packet_at(keys, number)} found a rule behind one that matches")
    if rules.numbers is None:
        for number in range(done):
            if not rules.rules[answers[number]].matches(packet_at(keys, number)):
                raise BenchmarkError(f"{rules.name}: {packet_at(keys, number)} found a rule that does not match")
    step = max(1, done * len(rules.rules) // CHECKED_COMPARISONS)
    asked = range(0, done, step)
    for number in asked:
        packet: Packet = packet_at(keys, number)
        if rules.number(first_match(rules.rules, packet)) != answers[number]:
            raise BenchmarkError(f"{rules.name}: a linear search finds another rule for {packet}")
    return len(asked)


def _dotted(address: int) -> str:
    return ".".join(str(octet) for octet in address.to_bytes(4, "big"))
