"""Which network card of a machine is which, when its owner says all of them anew.

Cards have no names.  One that is asked for by an address is the card that has it.  Of those on the same network with
the same origin of addresses the order stays; where there are fewer or more than before, those stay that are most like
what they were, and of equals the first.  Whatever is left is the same by its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from control.machines.book import Card
from control.objects.machine import IpMode, Nic

Pair = tuple[int, int]
"""The number that a card is to have, and the one that it had."""


def same_cards(before: Sequence[Nic], had: Sequence[Card], now: Sequence[Nic]) -> dict[int, int]:
    """The numbers of cards that stay, and those that they had; ``had`` is what those of ``before`` have got."""
    found: dict[int, int] = {}
    for way in (_by_address, _by_place, _by_number):
        fresh = [number for number in range(len(now)) if number not in found]
        old = [number for number in range(len(before)) if number not in found.values()]
        found.update(way(before, had, now, fresh, old))
    return found


def _by_address(
    _before: Sequence[Nic], had: Sequence[Card], now: Sequence[Nic], fresh: list[int], old: list[int]
) -> Iterator[Pair]:
    owners = {(had[number].network, had[number].address): number for number in old}
    for number in fresh:
        nic = now[number]
        if nic.ip_mode is IpMode.MANUAL and (nic.network, nic.address) in owners:
            yield number, owners[nic.network, nic.address]


def _by_place(
    before: Sequence[Nic], _had: Sequence[Card], now: Sequence[Nic], fresh: list[int], old: list[int]
) -> Iterator[Pair]:
    places = {(now[number].network, now[number].ip_mode) for number in fresh if not now[number].address}
    for place in places:
        ours = [number for number in fresh if (now[number].network, now[number].ip_mode) == place]
        theirs = [number for number in old if (before[number].network, before[number].ip_mode) == place]
        count = min(len(ours), len(theirs))
        ways = (
            list(zip(some, others, strict=True))
            for some in combinations(ours, count)
            for others in combinations(theirs, count)
        )
        yield from max(ways, key=lambda pairs: sum(_likeness(now[new], before[last]) for new, last in pairs))


def _likeness(one: Nic, other: Nic) -> int:
    return sum(getattr(one, name) == getattr(other, name) for name in ("primary", "connected", "adapter"))


def _by_number(
    _before: Sequence[Nic], _had: Sequence[Card], _now: Sequence[Nic], fresh: list[int], old: list[int]
) -> Iterator[Pair]:
    return ((number, number) for number in fresh if number in old)
