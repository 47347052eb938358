"""How the control plane reaches an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from control.errors import ControlError
from edge.patch import Edit


class EdgeRefusedError(ControlError):
    """An edge that was reached and says no, or that cannot be made; ``reason`` is its own."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason  # type: ignore[misc]  # of each error here, not of the class
        super().__init__(text)


class EdgeUnreachableError(ControlError):
    """An edge that does not answer: what was asked of it may have happened, or not."""

    reason = "UNREACHABLE"


@dataclass(frozen=True, slots=True)
class Current:
    """What an edge runs.  ``gateway_id``: the id of the edge gateway that it is; ``former_epoch`` 0: nobody managed it
    before this call."""

    etag: str
    number: int
    gateway_id: str
    former_epoch: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process runs that may be anybody's: its etag, and the id of the edge gateway that it is."""

    etag: str
    gateway_id: str


class HostAccess(Protocol):
    """A process in which an edge may be that is not to be there.  Raises what EdgeAccess does."""

    async def look(self) -> Seen:
        """What runs.  Nothing of it is changed, and nobody manages it who did not before."""

    async def apply(self, text: str, etag: str, epoch: int) -> str:
        """See EdgeAccess."""

    async def close(self) -> None:
        """Let go of it."""


class EdgeAccess(Protocol):
    """One edge.  Belongs to one event loop.

    Every method raises EdgeUnreachableError, StaleEpochError and EdgeRefusedError; ``epoch`` is the caller's.
    """

    async def current(self, epoch: int) -> Current:
        """What runs; from then on the edge obeys no leader of an older epoch."""

    async def apply(self, text: str, etag: str, epoch: int) -> str:
        """Replace the document that bears ``etag``; the new etag.  Raises EtagMismatchError."""

    async def patch(self, edits: Sequence[Edit], etag: str, epoch: int) -> str:
        """Edit the document that bears ``etag``; the new etag.  Raises EtagMismatchError."""

    def runs(self) -> str:
        """The etag of what runs, where that is known without asking, else ''."""

    def document(self) -> bytes | None:
        """The document that runs, as :func:`edge.store.revision.packed` has it, if that is known here."""

    async def close(self) -> None:
        """Let go of it."""
