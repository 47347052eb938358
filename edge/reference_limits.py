"""When the reference says that a limit is reached, or that there is room again: once a tenth is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge.addresses import IPAddress
from edge.model import Options

Tell = Callable[[str, str | None, bool], None]
"""Hears of a limit by its option's name, of an address (with ``snatPortRange``), and whether it is reached."""


def limits_of(options: Options) -> dict[str, int]:
    """The limits that are watched, by the names of their options."""
    return {
        "maxSessions": options.max_sessions,
        "maxHalfOpen": options.max_half_open,
        "maxFragments": options.max_fragments,
    }


def has_room_again(used: int, most: int) -> bool:
    """Is a tenth free?"""
    return used * 10 <= most * 9


@dataclass(slots=True)
class Limits:
    """What has been told: the limits that are reached, and the addresses that had no port left, each with the number
    of sessions that held it then."""

    most: Mapping[str, int] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    exhausted: dict[IPAddress, int] = field(default_factory=dict)

    def look_at(self, used: Mapping[str, int], tell: Tell) -> None:
        """Compare how much is used with the limits, as far as they are known."""
        for name, most in self.most.items():
            if name not in self.reached and used[name] >= most:
                self.reached.add(name)
                tell(name, None, True)
            elif name in self.reached and has_room_again(used[name], most):
                self.reached.remove(name)
                tell(name, None, False)

    def exhaust(self, address: IPAddress, holders: int, tell: Tell) -> None:
        """A remote endpoint could not be given a port of an address that so many sessions hold."""
        if address not in self.exhausted:
            self.exhausted[address] = max(1, holders)
            tell("snatPortRange", str(address), True)

    def give_back(self, address: IPAddress, holders: int, tell: Tell) -> None:
        """So many sessions hold an address now, one less than before."""
        if address in self.exhausted and has_room_again(holders, self.exhausted[address]):
            del self.exhausted[address]
            tell("snatPortRange", str(address), False)
