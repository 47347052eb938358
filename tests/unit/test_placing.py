"""The program by which the kernel has frames come in at their owner."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.nat.config import NatConfig
from edge.placing import RANGES_MOST, coarse, placing_program
from edge.reference_wire import Kind, parse
from edge.steering import Ranges, touched_ranges
from edge.verdicts import Reason
from native.steer import Steerer
from tests.bpf import in_kernel, step_by_step
from tests.model.frames import Parts, frame
from tests.model.traffic import PacketEvent, Traffic
from tests.model.universe import universe
from tests.support import nat

SEED = 0x1234_5678_9ABC_DEF0
LAST = {4: (1 << 32) - 1, 6: (1 << 128) - 1}
INSTRUCTIONS_MOST = 4096
"""BPF_MAXINSNS."""


def packet(family: int, src: int, dst: int) -> bytes:
    """With a header of Ethernet."""
    size = 4 if family == 4 else 16
    return frame(Parts(47, src.to_bytes(size), dst.to_bytes(size), bytes(80)))


def found_by(touched: tuple[Ranges, Ranges], workers: int, frames: list[bytes]) -> list[int]:
    """By the kernel, and the same by hand."""
    program = placing_program(touched, SEED, workers)
    inside = [data[14:] for data in frames]
    found = in_kernel(program, inside)
    assert found == [step_by_step(program, data) for data in inside]
    return found


@st.composite
def ranges(draw: st.DrawFn, family: int) -> Ranges:
    """Sorted, disjoint, often near the ends of all addresses and of words."""
    points = st.one_of(
        st.integers(0, LAST[family]),
        st.builds(lambda word, near: max(0, min(LAST[family], (word << (family - 4) * 48) + near)),
                  st.integers(0, 1 << 32), st.integers(-2, 2)),
    )  # fmt: skip
    bounds = sorted(set(draw(st.lists(points, max_size=24))))
    pairs = zip(bounds[::2], bounds[1::2], strict=False)
    found: Ranges = []
    for first, last in pairs:
        if not found or first > found[-1][1] + 1:
            found.append((first, last))
    return found


def near(bounds: Ranges, family: int, random: Random) -> list[int]:
    """Addresses on both sides of every bound, and others."""
    at = [bound + step for pair in bounds for bound in pair for step in (-1, 0, 1)]
    at += [random.randint(0, LAST[family]) for _ in range(8)]
    return [number for number in at if 0 <= number <= LAST[family]]


@settings(max_examples=60, deadline=None)
@given(ranges(4), ranges(6), st.integers(1, 64), st.integers(0, 1 << 32))
def test_it_finds_the_owner(four: Ranges, six: Ranges, workers: int, seed: int) -> None:
    random = Random(seed)
    steerer = Steerer(workers, (four, six), SEED)
    frames = []
    for family, bounds in ((4, four), (6, six)):
        numbers = near(bounds, family, random)
        frames += [packet(family, *random.choices(numbers, k=2)) for _ in range(60)]
    assert found_by((four, six), workers, frames) == [steerer.owner(data) for data in frames]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_traffic_of_all_kinds_comes_to_a_worker_that_there_is(seed: int) -> None:
    """What is misplaced is handed over: ICMP errors go by what they quote, and what is no packet goes anywhere."""
    random = Random(seed)
    place = universe(random)
    traffic = Traffic(random, place)
    touched = touched_ranges(place.config.nat)
    steerer, program = Steerer(5, touched, SEED), placing_program(touched, SEED, 5)
    for _ in range(60):
        event = traffic.event()
        if not isinstance(event, PacketEvent) or traffic.universe is not place:
            traffic.universe = place
            continue
        found = step_by_step(program, event.frame[14:])
        assert 0 <= found < 5
        parsed = parse(event.frame)
        if isinstance(parsed, Reason) or parsed.kind is Kind.ICMP_ERROR:
            continue
        if event.frame[12:14] in (b"\x08\x00", b"\x86\xdd"):  # the kernel takes a tag off before
            assert found == steerer.owner(event.frame)


def test_both_directions_of_a_translated_connection_come_to_one_worker() -> None:
    touched = touched_ranges(NatConfig((nat("out", "SNAT", "203.0.113.2", "10.0.0.0/8"),)))
    remote, inside, outside = (int(ip_address(text)) for text in ("198.51.100.7", "10.1.2.3", "203.0.113.2"))
    frames = [
        packet(4, *ends)
        for ends in ((inside, remote), (outside, remote), (remote, outside), (remote, inside), (inside + 1, remote))
    ]
    assert len(set(found_by(touched, 64, frames))) == 1
    assert set(found_by(touched, 64, [packet(4, inside, remote + step) for step in range(400)])) == set(range(64))


def test_one_worker_has_everything() -> None:
    assert found_by(([], []), 1, [packet(4, 1, 2), packet(6, 1, 2), bytes(60)]) == [0, 0, 0]


def test_what_no_address_divides_is_the_first_workers() -> None:
    """As with an SNAT rule for any source."""
    touched = touched_ranges(NatConfig((nat("out", "SNAT", "203.0.113.2", ""),)))
    frames = [packet(4, remote, 1 << 24) for remote in (0, 1, 0xC6336401, 0xFFFFFFFF)]
    assert found_by(touched, 64, frames) == [0, 0, 0, 0]
    assert len(set(found_by(touched, 64, [packet(6, remote, 1) for remote in range(200)]))) > 50


@pytest.mark.parametrize("text", ["", "4", "45" + "00" * 18, "60" + "00" * 30, "0001080006040001" + "00" * 20])
def test_what_is_no_packet_is_the_first_workers(text: str) -> None:
    """Cut short, or ARP."""
    program = placing_program(([], []), SEED, 64)
    assert step_by_step(program, bytes.fromhex(text if len(text) % 2 == 0 else f"{text}0")) == 0


def scattered(family: int, count: int) -> Ranges:
    """So many ranges, that need all words to be told apart."""
    random = Random(count)
    bounds = sorted({random.randrange(1, LAST[family]) for _ in range(2 * count)})
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def test_the_largest_program_is_one_for_the_kernel() -> None:
    touched = scattered(4, RANGES_MOST[4]), scattered(6, RANGES_MOST[6])
    program = placing_program(touched, SEED, 64)
    assert len(program) // 8 <= INSTRUCTIONS_MOST
    larger = placing_program((scattered(4, 5000), scattered(6, 5000)), SEED, 64)
    assert len(larger) // 8 <= INSTRUCTIONS_MOST
    steerer, random = Steerer(64, touched, SEED), Random(7)
    for family, bounds in zip((4, 6), touched, strict=True):
        numbers = near(bounds, family, random)
        for _ in range(500):
            data = packet(family, *random.choices(numbers, k=2))
            assert step_by_step(program, data[14:]) == steerer.owner(data)


def test_of_too_many_ranges_those_become_one_that_are_next_to_each_other() -> None:
    ten = [(100 * number + number * number, 100 * number + number * number + 9) for number in range(10)]
    assert coarse(ten, 10) == coarse(ten, 11) == ten
    assert coarse(ten, 8) == [(0, 213), *ten[3:]]
    assert coarse(ten, 1) == [(0, ten[-1][1])]
    assert coarse([], 4) == []
