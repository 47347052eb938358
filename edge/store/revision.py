"""What a store keeps, and what a gateway asks of one."""

from __future__ import annotations

import zlib
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

from edge.errors import StoreError

MAX_REVISIONS: Final = 1_000
"""So many of the newest revisions are kept; the last confirmed one always is."""

MAX_BYTES: Final = 1 << 29
"""So many bytes of packed documents are kept at most; the last confirmed one always is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionInfo:
    """What is known of a revision besides its document; times are wall clock.

    ``confirm_deadline_ns`` is set while it waits to be confirmed; ``taken_back``: it was not, in time.
    """

    number: int
    etag: str
    created_ns: int
    comment: str = ""
    confirm_deadline_ns: int | None = None
    leader_epoch: int = 0
    restored_from: int = 0
    taken_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRevision(RevisionInfo):
    """A revision with its document, as :func:`packed` makes it of a JSON text."""

    packed: bytes
    allow_unsupported: bool = False

    @property
    def document(self) -> str:
        """The document, JSON."""
        return unpacked(self.packed)

    @property
    def info(self) -> RevisionInfo:
        """The revision without its document."""
        return RevisionInfo(**{name: getattr(self, name) for name in RevisionInfo.__dataclass_fields__})


def packed(text: str) -> bytes:
    """A document as it is kept."""
    return zlib.compress(text.encode(), 1)


def is_longer(data: bytes, size: int) -> bool:
    """Has the text of a packed document more bytes than so many?  No more than these are unpacked."""
    if len(data) > size:
        return True
    try:
        return len(zlib.decompressobj().decompress(data, size + 1)) > size
    except zlib.error:
        return False  # damaged: whoever reads it says so


def unpacked(data: bytes) -> str:
    """The text of a packed document.  Raises StoreError for data that are none."""
    try:
        return zlib.decompress(data).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise StoreError(f"a stored document is damaged: {error}") from None


class Store(Protocol):
    """What a gateway needs.  Futures resolve once the change is durable, or raise StoreError: then nothing changed."""

    def save(self, revision: StoredRevision) -> Future[None]:
        """Add a revision: pending if it has a deadline, confirmed otherwise.  Old ones may be given up for it."""

    def confirm(self, number: int) -> Future[None]:
        """A pending revision is to stay."""

    def take_back(self, number: int) -> Future[None]:
        """A pending revision is not to stay."""

    def note_epoch(self, epoch: int) -> Future[None]:
        """Remember the highest epoch of a leader that was obeyed."""

    def latest_confirmed(self) -> StoredRevision | None:
        """What a restart comes back to."""

    def confirmed_before(self, number: int) -> StoredRevision | None:
        """The newest revision before that one which was not taken back."""

    def get(self, number: int) -> StoredRevision | None:
        """One revision."""

    def page(self, before: int | None, limit: int) -> list[RevisionInfo]:
        """The newest revisions, or the newest of those before a number; newest first."""

    def last_number(self) -> int:
        """The highest number that was ever given, 0 for none."""

    def leader_epoch(self) -> int:
        """The highest epoch that was noted, 0 for none."""

    def close(self) -> None:
        """Write what waits, and let go."""
