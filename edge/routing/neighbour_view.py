"""The native table of neighbours in words, for metrics and traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from edge.addresses import IPAddress
from edge.routing.neighbour_table import NeighbourState
from native.neighbour import NeighbourTable


@dataclass(frozen=True, slots=True)
class NeighbourInfo:
    """A station on a port's link; ``mac`` is None while nobody has answered, ``age_s`` is the time in its state."""

    port: str
    address: IPAddress
    mac: str | None
    state: NeighbourState
    age_s: float


def view_neighbours(table: NeighbourTable, ports: Sequence[str], now_ns: int) -> list[NeighbourInfo]:
    """Everybody in the table, by port and address; ``ports`` are the names of the program's ports in their order."""
    return [
        NeighbourInfo(
            ports[port],
            IPv4Address(address) if family == 4 else IPv6Address(address),
            None if mac is None else mac.hex(":"),
            NeighbourState(state),
            age_ns / 1e9,
        )
        for port, family, address, mac, state, age_ns in table.neighbours(now_ns)
    ]
