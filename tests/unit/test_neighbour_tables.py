"""What the compiler makes of links, and how Python sees the native table."""

from __future__ import annotations

from enum import IntEnum
from ipaddress import ip_address

import pytest

import native.neighbour
from edge.compiler import compile_tables
from edge.routing import neighbour_table
from edge.routing.compile import RouteKind
from edge.routing.links import Reach
from edge.routing.neighbour_view import NeighbourInfo, view_neighbours
from native.neighbour import LinkCount, NeighbourState, OutKind
from tests.links import SECOND, Bench, packet, request
from tests.support import acme, nat, network, static_route, uplink

COUNTS = {"LINK_COUNTS", "NEIGHBOUR_STATES"}
"""How many there are of what is counted."""


@pytest.mark.parametrize(
    ("numbered", "named"),
    [
        (native.neighbour.NeighbourState, neighbour_table.NeighbourState),
        (native.neighbour.LinkVerdict, neighbour_table.LinkVerdict),
        (native.neighbour.LinkCount, neighbour_table.LinkCount),
    ],
)
def test_native_and_python_number_alike(numbered: type[IntEnum], named: type[IntEnum]) -> None:
    native_names = {item.name.split("_", 1)[1]: int(item) for item in numbered if item.name not in COUNTS}
    assert native_names == {item.name: int(item) for item in named}


def test_routes_know_the_routers_behind_their_ports() -> None:
    routes = [static_route("192.168.0.0/16", "10.20.0.9"), static_route("192.168.7.0/24", "10.20.0.8")]
    tables = compile_tables(acme(routes=routes)).routing
    hops = {(kind, port): set[str | None]() for kind, port in tables.routes}
    for (kind, port), hop in zip(tables.routes, tables.next_hops, strict=True):
        hops[kind, port].add(None if hop is None else str(ip_address(hop)))
    assert hops[RouteKind.STATIC, 1] == {"10.20.0.9", "10.20.0.8"}
    assert hops[RouteKind.DEFAULT, 0] == {"203.0.113.1", "2001:db8:ff::1"}
    assert hops[RouteKind.CONNECTED, 1] == {None}


def test_answered_ranges_are_cut_to_the_subnets_and_disjoint() -> None:
    config = acme(
        uplinks=[uplink("UP", "203.0.113.1/28 203.0.113.4-203.0.113.6", "198.51.100.1/30 198.51.100.2")],
        nat_rules=[
            nat("pool", "SNAT", "203.0.113.5-203.0.113.40", "10.20.0.0/24"),
            nat("in", "DNAT", "8.8.8.8", "10.20.0.5"),
        ],
        networks=[network("LAN", "10.20.1.1/24", "10.20.0.1/24"), network("CAGE", "10.9.0.1/24", kind="ISOLATED")],
    )

    def row(port: int, first: str, last: str) -> Reach:
        return Reach(port, 4, int(ip_address(first)), int(ip_address(last)))

    assert compile_tables(config).links.answered == [
        row(0, "198.51.100.2", "198.51.100.2"),
        row(0, "203.0.113.4", "203.0.113.14"),
        row(1, "10.20.0.1", "10.20.0.1"),
        row(1, "10.20.1.1", "10.20.1.1"),
    ]


def test_detours_are_sorted_by_port_prefix_and_distance() -> None:
    routes = [
        static_route("192.168.0.0/16", "10.20.0.9", distance=5, name="far"),
        static_route("192.168.0.0/16", "10.20.0.7", distance=2, name="near"),
        static_route("192.168.7.0/24", "10.20.0.8", name="long"),
        static_route("192.168.7.0/24", "203.0.113.50", name="uplink"),
    ]
    rows = compile_tables(acme(routes=routes)).links.detours
    assert [(row.port, str(ip_address(row.hop))) for row in rows] == [
        (0, "203.0.113.50"),
        (1, "10.20.0.8"),
        (1, "10.20.0.7"),
        (1, "10.20.0.9"),
    ]


def test_the_table_in_words() -> None:
    bench = Bench(acme())
    bench.input(1, request("10.20.0.10", "10.20.0.1"))
    bench.now += SECOND // 2
    bench.output(1, packet("udp 198.51.100.9:1 > 10.20.0.11:53"))
    assert view_neighbours(bench.table, ["INTERNET", "LAN"], bench.now) == [
        NeighbourInfo("LAN", ip_address("10.20.0.10"), "02:50:de:00:00:01", neighbour_table.NeighbourState.STALE, 0.5),
        NeighbourInfo("LAN", ip_address("10.20.0.11"), None, neighbour_table.NeighbourState.INCOMPLETE, 0.0),
    ]


def test_a_tick_that_has_no_room_leaves_the_rest_to_the_next() -> None:
    """200 neighbours fail at once: each of them gets its three requests, and no more frames come at a time than fit."""
    bench = Bench(acme())
    for number in range(2, 202):
        bench.output(1, packet(f"udp 198.51.100.9:1 > 10.20.0.{number}:53"))
    ticks = []
    for _ in range(500):
        bench.now += SECOND // 100
        ticks.append(bench.table.tick(bench.program, bench.now))
    assert max(map(len, ticks)) <= 64
    assert bench.count(1, LinkCount.LC_REQUESTS_OUT) == 600
    assert bench.table.states(1)[NeighbourState.N_FAILED] == 200
    errors = sum(kind == OutKind.OUT_ERROR for frames in ticks for _, kind, _, _ in frames)
    assert errors + bench.count(1, LinkCount.LC_OUTBOX_FULL) == 200
    assert errors > 100


def test_a_port_that_is_not_there_is_named() -> None:
    bench = Bench(acme())
    with pytest.raises(IndexError, match="no port 7"):
        bench.input(7, bytes(60))
    with pytest.raises(ValueError, match="six bytes"):
        bench.table.link_up(0, b"\2\0\0\0\1", 0)
    with pytest.raises(ValueError, match="ends before"):
        bench.output(0, bytes(12) + b"\x08\x00" + bytes(10))
    with pytest.raises(ValueError, match="12 bytes"):
        bench.output(0, packet("udp 10.20.0.5:1 > 8.8.8.8:53"), b"short")
