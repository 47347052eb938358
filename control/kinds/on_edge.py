"""What holds for everything that lies on an edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from control import names
from control.errors import LimitReachedError
from control.kinds.kind import Change
from edge.document.problems import quoted
from edge.firewall.system_profiles import system_profile

GROUPS = ("ipSets", "securityGroups")
PROFILES = ("applicationPortProfiles",)
POOLS = ("loadBalancerPools",)
NETWORK_FORM = ("orgs/*/networks/*",)
"""What is meant by references to networks."""


def at_most(most: int) -> Callable[[Change], None]:
    """The rules of a kind of which an edge has so many and no more."""
    return partial(check_count, most)


def check_count(most: int, change: Change) -> None:
    """Raises LimitReachedError for one too many."""
    if change.before is None and change.unit.count(change.kind.name, names.parent(change.path)) >= most:
        raise LimitReachedError(f"an edge has at most {most:,} objects of the kind {change.kind.words}")


def check_references(change: Change, field: str, given: Iterable[str], collections: Iterable[str]) -> None:
    """Raises ArgumentError for the first that lies on another edge, or is something else."""
    for index, name in enumerate(given):
        _check_reference(change, _place(change, field, index), name, collections)


def check_profiles(change: Change, field: str, given: Iterable[str]) -> None:
    """The same for profiles, VMware's among them."""
    for index, name in enumerate(given):
        place = _place(change, field, index)
        if not name.startswith(names.SYSTEM_PROFILES):
            _check_reference(change, place, name, PROFILES)
        elif system_profile(name.removeprefix(names.SYSTEM_PROFILES)) is None:
            word = name.removeprefix(names.SYSTEM_PROFILES)
            raise change.wrong(place, f"VMware ships no profile with the name {quoted(word)}")


def _check_reference(change: Change, place: str, name: str, collections: Iterable[str]) -> None:
    edge = names.parent(change.path)
    places = {f"{edge}/{collection}" for collection in collections}
    if name.rpartition("/")[0] not in places:
        raise change.wrong(place, f"expected {' or '.join(f'{each}/*' for each in sorted(places))}")


def _place(change: Change, field: str, index: int) -> str:
    """Where one of the references is said: in a list, or alone."""
    return f"{field}[{index}]" if isinstance(getattr(change.value, field), tuple) else field


def forms(collections: Iterable[str]) -> tuple[str, ...]:
    """The forms of the names of what lies on edges."""
    return tuple(f"orgs/*/edges/*/{collection}/*" for collection in collections)


def own_profiles(given: Iterable[str]) -> list[str]:
    """Those that are objects."""
    return [name for name in given if not name.startswith(names.SYSTEM_PROFILES)]
