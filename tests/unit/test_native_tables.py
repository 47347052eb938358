"""The native tables against what they claim to be: the numbers that Python writes into them, a first match in order."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Iterable
from dataclasses import fields
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

import pytest

import native.kinds
import native.session
import native.stats
from edge import verdicts
from edge.addresses import AddressRange, PortRange
from edge.compiler import SECOND_NS, timer_row
from edge.flat import ANY_SET, FlatRules
from edge.model import Timers
from edge.nat.compile import MATCHES, TYPES, PortMap
from edge.nat.config import FirewallMatch, NatType
from edge.routing.compile import PortKind, RouteKind
from edge.state import TCP_STATES, UDP_STATES
from native.classify import RuleTable, widths
from native.overlay import OverlaidTable

COUNTS = {"VERDICTS", "REASONS", "TIMERS"}
"""How many there are of what is counted: members of native enumerations that stand for nothing themselves."""


def numbers(enumeration: type[IntEnum]) -> dict[str, int]:
    """Names, without the prefix that they bear in native code, and numbers."""
    return {member.name.split("_", 1)[1]: int(member) for member in enumeration if member.name not in COUNTS}


@pytest.mark.parametrize(
    ("native_names", "names"),
    [
        (native.stats.Verdict, verdicts.Verdict),
        (native.stats.Reason, verdicts.Reason),
        (native.stats.Stage, verdicts.Stage),
        (native.stats.StepResult, verdicts.StepResult),
        (native.kinds.PortKind, PortKind),
        (native.kinds.RouteKind, RouteKind),
        (native.kinds.PortMap, PortMap),
    ],
)
def test_native_and_python_number_alike(native_names: type[IntEnum], names: type[IntEnum]) -> None:
    assert numbers(native_names) == {member.name: int(member) for member in names}


def test_native_and_python_number_nat_rules_alike() -> None:
    assert numbers(native.kinds.NatType) == {kind.name: number for kind, number in TYPES.items()}
    assert TYPES.keys() == set(NatType)
    assert numbers(native.kinds.FirewallMatch) == {
        match.name.removeprefix("MATCH_").removesuffix("_ADDRESS"): number for match, number in MATCHES.items()
    }
    assert MATCHES.keys() == set(FirewallMatch)


def test_native_and_python_number_timers_alike() -> None:
    names = [field.name for field in fields(Timers)]
    drawn = Timers(**{name: 1000 + place for place, name in enumerate(names)})
    row = timer_row(drawn)
    assert len(row) == native.kinds.Timer.TIMERS
    assert {name: row[number] for name, number in numbers(native.kinds.Timer).items()} == {
        name.upper(): getattr(drawn, name) * SECOND_NS for name in names
    }


def test_native_and_python_number_states_of_sessions_alike() -> None:
    assert numbers(native.session.TcpState).items() <= {name: number for number, name in TCP_STATES.items()}.items()
    assert numbers(native.session.UdpState) == {name: number for number, name in UDP_STATES.items()}


NO_RULE = 0xFFFFFFFF
LOW = 0xFFFFFFFFFFFFFFFF

Question = tuple[int, int, int, int, int, int, int, int, int]
"""Family, source, destination, protocol, ports, ICMP type and code, directions."""
Entry = tuple[int, int, int, PortRange, PortRange]
Rule = tuple[list[AddressRange] | None, list[AddressRange] | None, tuple[Entry, ...] | None, int, int]


def draw_ranges(rng: random.Random) -> list[AddressRange] | None:
    """None is any; addresses come from tiny universes of both families, edges of the number space included."""
    if rng.random() < 0.2:
        return None
    found = []
    for _ in range(rng.randrange(4)):
        if rng.random() < 0.5:
            base = rng.choice((0, 0x0A000000, 2**32 - 16))
            low, high = sorted(base + rng.randrange(16) for _ in range(2))
            found.append(AddressRange(IPv4Address(low), IPv4Address(high)))
        else:
            base6 = rng.choice((0, 1 << 64, (1 << 64) - 8, 2**128 - 16))
            low, high = sorted(base6 + rng.randrange(16) for _ in range(2))
            found.append(AddressRange(IPv6Address(low), IPv6Address(high)))
    return found


def draw_services(rng: random.Random) -> tuple[Entry, ...] | None:
    if rng.random() < 0.3:
        return None
    entries = []
    for _ in range(rng.randrange(1, 4)):
        protocol = rng.choice((1, 6, 17, 47))
        ports = [PortRange(0, 65535), PortRange(0, 65535)]
        if protocol in (6, 17):
            ports = [PortRange(*sorted(rng.randrange(8) for _ in range(2))) for _ in range(2)]
        icmp = (rng.choice((-1, 0, 8)), rng.choice((-1, 0, 1))) if protocol == 1 else (-1, -1)
        entries.append((protocol, *icmp, *ports))
    return tuple(entries)


def packed_key(packet: Question) -> bytes:
    """As RuleTable.lookup_many reads them."""
    version, src, dst, protocol, sport, dport, *_ = packet
    meta = sport << 48 | dport << 32 | protocol << 24 | version << 16
    return struct.pack("=5Q", meta, src & LOW, dst & LOW, src >> 64, dst >> 64)


def matches(rule: Rule, packet: Question) -> bool:
    """One rule, one packet, as slowly and plainly as possible."""
    sources, destinations, services, direction, families = rule
    version, src, dst, protocol, sport, dport, icmp_type, icmp_code, bits = packet
    make = IPv4Address if version == 4 else IPv6Address
    return (
        bool(families & (1 if version == 4 else 2))
        and (not direction or bool(direction & bits))
        and (sources is None or any(make(src) in part for part in sources))
        and (destinations is None or any(make(dst) in part for part in destinations))
        and (
            services is None
            or any(
                p == protocol
                and (p != 1 or version == 4)
                and t in (-1, icmp_type)
                and c in (-1, icmp_code)
                and sport in sp
                and dport in dp
                for p, t, c, sp, dp in services
            )
        )
    )


def flat_of(rules: list[Rule]) -> FlatRules:
    """Columns, numbered by places."""
    flat = FlatRules()
    for number, (sources, destinations, services, direction, families) in enumerate(rules):
        flat.append(
            number,
            source=ANY_SET if sources is None else flat.address_set(tuple(sources), [sources]),
            destination=ANY_SET if destinations is None else flat.address_set(tuple(destinations), [destinations]),
            services=ANY_SET if services is None else flat.services_of(services),
            direction=direction,
            families=families,
        )
    return flat


@pytest.mark.parametrize("width", widths())
@pytest.mark.parametrize("limits", [{}, {"small": 0}, {"cell_words": 1}, {"small": 0, "cell_words": 1}], ids=str)
@pytest.mark.parametrize("seed", range(20))
def test_classifier_finds_the_first_match(seed: int, limits: dict[str, int], width: int) -> None:
    rng = random.Random(seed)
    rules: list[Rule] = [
        (draw_ranges(rng), draw_ranges(rng), draw_services(rng), rng.choice((0, 0, 1, 2)), rng.choice((1, 2, 3, 3)))
        for _ in range(rng.choice((0, 1, 63, 64, 65, 200)))
    ]
    table = RuleTable(flat_of(rules), width, **limits)
    hits = 0
    packets: list[Question] = []
    answers: list[int] = []
    for _ in range(200):
        version = rng.choice((4, 6))
        bases = (0, 0x0A000000, 2**32 - 16) if version == 4 else (0, 1 << 64, (1 << 64) - 8, 2**128 - 16)
        src, dst = (rng.choice(bases) + rng.randrange(16) for _ in range(2))
        protocol = rng.choice((1, 6, 17, 47, 50))
        packet = (
            version,
            src,
            dst,
            protocol,
            rng.randrange(8),
            rng.randrange(8),
            rng.choice((0, 8, 3)),
            rng.choice((0, 1, 2)),
            rng.randrange(4),
        )
        expected = next((number for number, rule in enumerate(rules) if matches(rule, packet)), None)
        assert table.lookup(*packet) == expected, (seed, packet)
        hits += expected is not None
        packets.append(packet)
        answers.append(NO_RULE if expected is None else expected)
    assert hits or len(rules) < 2
    for direction in range(4):
        asked = [number for number, packet in enumerate(packets) if packet[-1] == direction]
        found = array("I", bytes(4 * len(asked)))
        icmp = array("H", (packets[number][6] << 8 | packets[number][7] for number in asked))
        table.lookup_many(b"".join(packed_key(packets[number]) for number in asked), found, icmp, direction)
        assert list(found) == [answers[number] for number in asked], (seed, direction)


Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Sources, destinations and destination ports, from the first to the last."""


def first_of(rules: list[Box], some: Iterable[int], question: Question) -> int:
    """The first of some of the rules that matches, NO_RULE where none does."""
    _, src, dst, _, _, port, *_ = question
    for number in some:
        sources, destinations, ports = rules[number]
        if (
            sources[0] <= src <= sources[1]
            and destinations[0] <= dst <= destinations[1]
            and ports[0] <= port <= ports[1]
        ):
            return number
    return NO_RULE


@pytest.mark.parametrize("limits", [{}, {"cell_words": 1}], ids=str)
@pytest.mark.parametrize(("count", "small"), [(3000, 0), (3000, 2048), (3000, 3000), (5000, 5000)])
def test_every_kernel_finds_the_same_among_many_rules(count: int, small: int, limits: dict[str, int]) -> None:
    # Prefixes of all lengths within each other, and enough of them for every way of finding an interval and for rows of
    # wide bits of every kind.
    rng = random.Random(small)
    flat = FlatRules()
    rules: list[Box] = []
    for number in range(count):
        sides = []
        for _ in range(2):
            length = rng.choice((0, 4, 8, 12, 16, 20, 24, 28, 32))
            base = rng.choice((0x0A000000, 0xC0A80000, 0xFFFFFF00)) + rng.randrange(1 << 18) & 0xFFFFFFFF
            first = base >> (32 - length) << (32 - length)
            sides.append((first, first + (1 << (32 - length)) - 1))
        ports = rng.choice(((0, 65535), (0, 1023), (number, number), (number, number + 5)))
        rules.append((sides[0], sides[1], ports))
        sets = [flat.address_set(side, [[AddressRange(IPv4Address(side[0]), IPv4Address(side[1]))]]) for side in sides]
        services = flat.services_of(((17, -1, -1, PortRange(0, 65535), PortRange(*ports)),))
        flat.append(number, source=sets[0], destination=sets[1], services=services)
    questions: list[Question] = []
    answers = array("I")
    for _ in range(1000):
        source, destination, ports = rng.choice(rules)
        src, dst, port = (rng.choice((*part, rng.randint(*part))) for part in (source, destination, ports))
        questions.append((4, src, dst, 17, 1, port, 0, 0, 0))
        answers.append(first_of(rules, range(count), questions[-1]))
    gone = array("I", sorted(set(answers[::2])))
    left = [number for number in range(count) if number not in set(gone)]
    others = array("I", (first_of(rules, left, question) for question in questions))
    for width in widths():
        table = RuleTable(flat, width, small, **limits)
        found = array("I", bytes(4 * len(questions)))
        table.lookup_many(b"".join(map(packed_key, questions)), found)
        assert found == answers, width
        assert [table.lookup(*question) for question in questions] == list(answers), width
        overlaid = OverlaidTable(table, gone, RuleTable(FlatRules()), array("I"))
        assert [overlaid.lookup(*question) for question in questions] == [
            None if number == NO_RULE else number for number in others
        ], width


def draw_own_ports(rng: random.Random, number: int) -> tuple[Entry, ...]:
    """Services that hardly another rule has: of one protocol with one range or several, or of two protocols."""
    ranges = [PortRange(low, low + rng.choice((0, 0, 7))) for low in rng.sample(range(7 * number, 7 * number + 40), 2)]
    one = (rng.choice((6, 17)), -1, -1, rng.choice((PortRange(0, 65535), PortRange(5, 6))))
    kinds = (
        ((*one, ranges[0]),), ((*one, ranges[0]), (*one, ranges[1])),
        ((6, *one[1:], ranges[0]), (17, *one[1:], ranges[1])),
    )  # fmt: skip
    return kinds[rng.choice((0, 0, 0, 1, 2))]


@pytest.mark.parametrize("limits", [{}, {"cell_words": 1}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_rules_that_crowd_addresses_are_found_by_their_ports(seed: int, limits: dict[str, int]) -> None:
    rng = random.Random(seed)
    rules: list[Rule] = []
    for number in range(400):
        sides: list[list[AddressRange] | None] = []
        for _ in range(2):
            low, high = sorted(rng.randrange(64) for _ in range(2))
            ranges = [
                AddressRange(IPv4Address(low), IPv4Address(high)),
                AddressRange(IPv6Address(low), IPv6Address(high)),
            ]
            if rng.random() < 0.2:
                ranges.append(AddressRange(IPv4Address(high + 2), IPv4Address(high + 9)))
            sides.append(ranges if rng.random() < 0.9 else None)
        services = draw_own_ports(rng, number) if rng.random() < 0.9 else draw_services(rng)
        rules.append((sides[0], sides[1], services, rng.choice((0, 0, 1, 2)), rng.choice((1, 3, 3))))
    questions: list[Question] = []
    for _ in range(600):
        version, protocol, source_port = rng.choice((4, 6)), rng.choice((1, 6, 17)), rng.choice((5, 9))
        addresses = rng.randrange(80), rng.randrange(80)
        port, directions = rng.randrange(7 * 400 + 60), rng.randrange(4)
        questions.append((version, *addresses, protocol, source_port, port, rng.choice((0, 8)), 0, directions))
    answers = [
        next((number for number, rule in enumerate(rules) if matches(rule, question)), None) for question in questions
    ]
    dead = array("I", sorted({number for number in answers[::2] if number is not None}))
    others = [
        next((number for number, rule in enumerate(rules) if number not in dead and matches(rule, question)), None)
        for question in questions
    ]
    for width in widths():
        table = RuleTable(flat_of(rules), width, small=0, **limits)
        assert [table.lookup(*question) for question in questions] == answers, width
        for direction in range(4):
            asked = [number for number, question in enumerate(questions) if question[-1] == direction]
            found = array("I", bytes(4 * len(asked)))
            icmp = array("H", (questions[number][6] << 8 for number in asked))
            table.lookup_many(b"".join(packed_key(questions[number]) for number in asked), found, icmp, direction)
            assert list(found) == [NO_RULE if answers[number] is None else answers[number] for number in asked], width
        overlaid = OverlaidTable(table, dead, RuleTable(FlatRules()), array("I"))
        assert [overlaid.lookup(*question) for question in questions] == others, width


def test_ports_of_their_own_take_no_column_each() -> None:
    rng = random.Random(1)
    flat = FlatRules()
    for number in range(6000):
        sides = []
        for _ in range(2):
            length = rng.randrange(18, 27)
            first = 0x0A000000 | rng.getrandbits(16) >> (32 - length) << (32 - length)
            item = AddressRange(IPv4Address(first), IPv4Address(first | (1 << (32 - length)) - 1))
            sides.append(flat.address_set((first, length), [[item]]))
        services = flat.services_of(((17, -1, -1, PortRange(0, 65535), PortRange(9 * number, 9 * number + 3)),))
        flat.append(number, source=sides[0], destination=sides[1], services=services)
    assert RuleTable(flat).size() < 2 << 20, "with a column each they took 10 MB"


def test_callers_numbers_need_not_be_positions() -> None:
    flat = FlatRules()
    flat.append(7, source=ANY_SET, destination=ANY_SET, families=1)
    flat.append(3, source=ANY_SET, destination=ANY_SET, families=2)
    table = RuleTable(flat)
    assert (table.lookup(4, 1, 2, 6), table.lookup(6, 1, 2, 6)) == (7, 3)
    assert table.size() > 0


@pytest.mark.parametrize(("rules", "most"), [(1, 16 << 10), (20, 32 << 10)])
def test_a_table_is_as_large_as_its_rules_are_many(rules: int, most: int) -> None:
    flat = FlatRules()
    for number in range(rules):
        item = AddressRange.parse(f"192.0.2.{number}")
        tcp = (6, -1, -1, PortRange(0, 65535), PortRange(number, number))
        source = flat.address_set(number, [[item]])
        flat.append(number, source=source, destination=ANY_SET, services=flat.services_of((tcp,)))
    flat.append(rules, source=ANY_SET, destination=ANY_SET)
    table = RuleTable(flat)
    assert [table.lookup(4, 0xC0000200 + number, 1, 6, 9, number) for number in range(rules + 1)] == [*range(rules + 1)]
    assert table.size() < most + (1 << 17), "besides the classes of destination ports"


def test_a_table_without_rules_is_tiny() -> None:
    assert RuleTable(FlatRules()).size() < 8 << 10


def test_a_kernel_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="has no kernel of width 5"):
        RuleTable(FlatRules(), 5)


def test_a_batch_has_room_for_its_answers() -> None:
    table = RuleTable(FlatRules())
    none = array("I")
    table.lookup_many(b"", none)
    assert not none
    key = packed_key((4, 1, 2, 6, 3, 4, 0, 0, 0))
    found = array("I", [0])
    table.lookup_many(key, found)
    assert list(found) == [NO_RULE]
    with pytest.raises(ValueError, match="80 bytes of keys for 1 answers, each of which takes 40"):
        table.lookup_many(key * 2, found)
    with pytest.raises(ValueError, match="2 ICMP types for 1 answers"):
        table.lookup_many(key, found, array("H", [0, 0]))


def test_numbers_lie_where_the_machine_wants_them() -> None:
    table = RuleTable(FlatRules())
    key = packed_key((4, 1, 2, 6, 3, 4, 0, 0, 0))
    shifted = memoryview(bytearray(64))
    shifted[1:41] = key
    found, icmp = array("I", [0]), array("H", [0])
    for keys, out, types in (
        (shifted[1:41], found, icmp), (key, shifted[1:5].cast("I"), icmp), (key, found, shifted[1:3].cast("H")),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="multiples of their size"):
            table.lookup_many(keys, out, types)
    assert list(found) == [0]
