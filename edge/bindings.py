"""Which numbers of the engine stand for which rules and addresses, for as long as they mean something."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Address = tuple[int, int]
"""Family and number."""


class Bindings:
    """Counter slots of rules, usage slots of external addresses, and what ports had counted when the configuration last
    changed.

    Counter slots are kept for good, so that counters survive a rule that goes and comes back.  The slot of an address
    that no pool has any more is given to another once no session holds the address and no event is owed about it.
    """

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self.slot_ids: list[str] = []
        self.usage: dict[Address, int] = {}
        self.free_usage: list[int] = []
        self.port_counters: dict[str, tuple[int, int, int, int]] = {}

    def copy(self) -> Bindings:
        """The same, to go on by itself."""
        copy = Bindings()
        copy.slots, copy.slot_ids = dict(self.slots), list(self.slot_ids)
        copy.usage, copy.free_usage = dict(self.usage), list(self.free_usage)
        copy.port_counters = dict(self.port_counters)
        return copy

    @property
    def usage_slots(self) -> int:
        """How many of them there have ever been at once."""
        return len(self.usage) + len(self.free_usage)

    def bind(
        self,
        rule_ids: Iterable[str],
        addresses: Iterable[Address],
        needed: set[Address],
        is_vacant: Callable[[int], bool],
    ) -> None:
        """Give every rule and every external address a slot; ``needed`` are the addresses that others want to keep,
        ``is_vacant`` tells whether nothing is known of that of a slot."""
        for rule_id in rule_ids:
            if self.slots.setdefault(rule_id, len(self.slot_ids)) == len(self.slot_ids):
                self.slot_ids.append(rule_id)
        wanted = set(addresses)
        for address in [known for known in self.usage if known not in wanted and known not in needed]:
            if is_vacant(self.usage[address]):
                self.free_usage.append(self.usage.pop(address))
        for address in sorted(wanted - self.usage.keys()):
            fresh = self.usage_slots
            self.usage[address] = self.free_usage.pop() if self.free_usage else fresh
