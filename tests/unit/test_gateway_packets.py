"""Packets and sessions of a served edge: traced, sent, ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge.errors import (
    ArgumentError,
    DocumentError,
    InvalidPacketError,
    ManagedError,
    StaleEpochError,
)
from edge.packets import build_frame, parse_packet
from edge.store import MemoryStore
from tests.gateways import OTHER, WEB, run, served


def test_packets_are_traced_under_a_candidate() -> None:
    async def test() -> None:
        async with served() as gateway:
            running = await gateway.trace([WEB, "tcp 10.20.0.10:8080 > 198.51.100.99:40000 SA"])
            assert [result.verdict.name for result in running.results] == ["ALLOW", "ALLOW"]
            assert running.revision == 1
            candidate = await gateway.trace([WEB], candidate=OTHER)
            assert (candidate.results[0].verdict.name, candidate.revision) == ("REJECT", 0)
            assert gateway.running.number == 1
            assert gateway.edge.stats().sessions_created == 0
            with pytest.raises(DocumentError):
                await gateway.trace([WEB], candidate="x: 1")

    run(test)


def test_a_frame_is_traced_like_its_text() -> None:
    async def test() -> None:
        async with served() as gateway:
            frame = build_frame(parse_packet(WEB))
            (by_text,) = (await gateway.trace([WEB])).results
            (by_frame,) = (await gateway.trace([("INTERNET", frame)])).results
            assert by_frame == by_text
            assert by_frame.in_port == "INTERNET"

    run(test)


def test_packets_that_cannot_be_sent_are_told_all_at_once() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(InvalidPacketError) as caught:
                await gateway.trace(["tcp nonsense", WEB, WEB + " in=NOWHERE", ("NOWHERE", b"\0" * 60)])
            assert [path for path, _ in caught.value.violations] == [
                "packets[0].text", "packets[2].text", "packets[3].frame",
            ]  # fmt: skip

    run(test)


class FakeEdge:
    """An edge's answers, by hand, and what it was asked."""

    def __init__(self, real: Any) -> None:
        self.revision = 1
        self.config = real.config
        self.reasons_for_one: list[str] = []
        self.asked: list[Any] = []
        self.inside = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False

    def process_batch(self, frames: Any, now_ns: int, *, outputs: bool) -> list[str]:
        self.asked.append((list(frames), now_ns, outputs))
        return ["gone"]

    def delete_sessions(self, match: Any) -> int:
        self.asked.append(match)
        return 7

    def prepare(self, config: Any, *, tables: Any, revision: int) -> Any:
        assert tables is not None
        return config, revision

    def merging(self) -> None:
        """There is nothing to merge."""

    def commit(self, prepared: Any) -> None:
        assert self.inside
        self.config, self.revision = prepared


class FakeForwarding:
    """Whoever has the ports."""

    def __init__(self, edge: FakeEdge) -> None:
        self.edge = edge
        self.asked: list[Any] = []

    def rebind(self, config: Any) -> None:
        assert self.edge.inside
        assert config is self.edge.config
        self.asked.append("rebind")

    def inject(self, frames: Any, now_ns: int, outputs: bool) -> list[str]:
        assert self.edge.inside
        self.asked.append((list(frames), now_ns, outputs))
        return ["sent"]


def test_packets_go_to_the_edge_or_to_whoever_has_the_ports() -> None:
    async def test() -> None:
        async with served(clock=lambda: 42) as gateway:
            gateway.edge = edge = FakeEdge(gateway.edge)
            frames = [("LAN-ACME", b"frame")]
            assert gateway.inject(frames, outputs=True) == (1, ["gone"])
            assert edge.asked == [(frames, 42, True)]
            gateway.forwarding = forwarding = FakeForwarding(edge)
            assert gateway.inject(frames, outputs=False) == (1, ["sent"])
            assert forwarding.asked == [(frames, 42, False)]
            # A change is made within one turn, and whoever has the ports hears of it within the same.
            await gateway.apply(OTHER)
            assert (edge.revision, forwarding.asked[-1]) == (2, "rebind")

    run(test)


def test_sessions_are_ended_by_who_may() -> None:
    async def test() -> None:
        store = MemoryStore()
        async with served(store=store) as gateway:
            gateway.edge = edge = FakeEdge(gateway.edge)
            assert await gateway.delete_sessions("match") == 7
            assert edge.asked == ["match"]
            assert await gateway.delete_sessions("all", leader_epoch=3) == 7
            assert store.leader_epoch() == 3
            with pytest.raises(ManagedError):
                await gateway.delete_sessions("all")
            with pytest.raises(StaleEpochError):
                await gateway.delete_sessions("all", leader_epoch=2)
            with pytest.raises(ArgumentError):
                await gateway.delete_sessions("all", leader_epoch=-1)
            assert edge.asked == ["match", "all"]

    run(test)
