"""Which numbers of the engine stand for which rules and addresses, for as long as they mean something."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Address = tuple[int, int]
"""Family and number."""


@dataclass(frozen=True, slots=True)
class Bindings:
    """Counter slots of rules and usage slots of external addresses.  Nothing in it is ever changed: whoever has one may
    read it while the next is made.

    Counter slots are kept for good, so that counters survive a rule that goes and comes back.  The slot of an address
    that no pool has any more is given to another once no session holds the address and no event is owed about it.
    """

    slots: Mapping[str, int] = field(default_factory=dict)
    slot_ids: list[str] = field(default_factory=list)
    usage: Mapping[Address, int] = field(default_factory=dict)
    free_usage: tuple[int, ...] = ()

    @property
    def usage_slots(self) -> int:
        """How many of them there have ever been at once."""
        return len(self.usage) + len(self.free_usage)

    def unused(self, wanted: set[Address], needed: Sequence[set[Address]], holders: Sequence[int]) -> list[Address]:
        """The addresses whose slots others can have: neither wanted nor in one of the sets of those that others want to
        keep, and held by no session; ``holders`` are the numbers of those by slot."""
        return [
            address
            for address, slot in self.usage.items()
            if address not in wanted
            and not any(address in others for others in needed)
            and (slot >= len(holders) or holders[slot] == 0)
        ]

    def bound(self, rule_ids: Iterable[str], addresses: set[Address], unused: Collection[Address]) -> Bindings:
        """These, with a slot for every rule and every external address, and without those of the unused ones."""
        slots, slot_ids = self.slots, self.slot_ids
        fresh = [rule_id for rule_id in dict.fromkeys(rule_ids) if rule_id not in slots]
        if fresh:
            slots = {**slots, **{rule_id: len(slot_ids) + number for number, rule_id in enumerate(fresh)}}
            slot_ids = [*slot_ids, *fresh]
        usage, free = dict(self.usage), list(self.free_usage)
        free += [usage.pop(address) for address in unused]
        for address in sorted(addresses - usage.keys()):
            usage[address] = free.pop() if free else len(usage)
        return Bindings(slots, slot_ids, usage, tuple(free))
