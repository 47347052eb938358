"""Sessions that application layer gateways wait for: who has announced them, and until when they may come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edge.addresses import IPAddress

if TYPE_CHECKING:
    from edge.reference_sessions import Session

MAX_EXPECTED = 4096
MAX_EXPECTED_BY_SESSION = 8

Place = tuple[IPAddress, int]
"""An address and a port."""


class Awaited(NamedTuple):
    """What the first packet of an expected session bears; ``side`` is the one that it enters by, its source port may
    be any."""

    protocol: int
    side: int
    src: IPAddress
    dst: IPAddress
    dport: int


@dataclass(slots=True)
class Expectation:
    """One session to come.

    ``announced`` is the end that the command named, as its sender knows it.  ``new_destination`` and ``new_source``
    (which keeps its port) are what NAT puts in, None to ask the NAT rules.  ``active``: the responder of ``control``
    will open it.
    """

    awaited: Awaited
    announced: Place
    control: Session
    active: bool
    new_destination: Place | None = None
    new_source: IPAddress | None = None
    deadline_ns: int = 0

    def like(self, other: Expectation) -> bool:
        """Do both say the same, said by the same end, wherever the edge has put it?"""
        mine, theirs = self.awaited._replace(dport=0), other.awaited._replace(dport=0)
        same_end = self.control is other.control and self.active is other.active
        return same_end and (mine, self.announced) == (theirs, other.announced)


class Expectations:
    """All of them, the one that was announced longest ago first."""

    def __init__(self) -> None:
        self._by_key: dict[Awaited, Expectation] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, awaited: Awaited) -> Expectation | None:
        """What waits for such a packet."""
        return self._by_key.get(awaited)

    def known(self, expectation: Expectation) -> Expectation | None:
        """The one that the same session has announced with the same command before."""
        return next((item for item in self.of(expectation.control) if item.like(expectation)), None)

    def has_room(self, expectation: Expectation) -> bool:
        """Could it be added?  What it would replace makes room."""
        replaces = expectation.awaited in self._by_key or self._oldest(expectation.control) is not None
        return replaces or len(self) < MAX_EXPECTED

    def add(self, expectation: Expectation) -> None:
        """Take in one for which there is room: as the latest, in the place of what awaited the same, and of its
        session's oldest where that has as many as it may."""
        self._by_key.pop(expectation.awaited, None)
        oldest = self._oldest(expectation.control)
        if oldest is not None:
            self.remove(oldest)
        self._by_key[expectation.awaited] = expectation

    def remove(self, expectation: Expectation) -> None:
        """It has been used, or is not awaited any more."""
        del self._by_key[expectation.awaited]

    def of(self, session: Session) -> Iterator[Expectation]:
        """What a control session has announced."""
        return (item for item in list(self._by_key.values()) if item.control is session)

    def end(self, session: Session) -> None:
        """Its control session is over."""
        for item in self.of(session):
            self.remove(item)

    def expire(self, now_ns: int) -> None:
        """End those whose time is over."""
        for item in list(self._by_key.values()):
            if item.deadline_ns <= now_ns:
                self.remove(item)

    def _oldest(self, session: Session) -> Expectation | None:
        """What one more of this session replaces; None while it may have more."""
        own = list(self.of(session))
        return own[0] if len(own) >= MAX_EXPECTED_BY_SESSION else None
