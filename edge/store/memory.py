"""Revisions without a disk."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from edge.store.revision import MAX_BYTES, MAX_REVISIONS, RevisionInfo, StoredRevision


class MemoryStore:
    """Revisions that end with the process; so many are kept, and so many bytes of packed documents."""

    def __init__(self, *, max_revisions: int = MAX_REVISIONS, max_bytes: int = MAX_BYTES) -> None:
        self._bounds = max_revisions, max_bytes
        self._revisions: dict[int, StoredRevision] = {}
        self._last = self._epoch = 0

    def save(self, revision: StoredRevision) -> Future[None]:
        """See Store."""
        self._revisions[revision.number] = revision
        self._last = revision.number
        self._epoch = max(self._epoch, revision.leader_epoch)
        self._prune()
        return _done()

    def _prune(self) -> None:
        """As the store on a disk: the newest stay that fit, the last one and the last confirmed one in any case."""
        most, room = self._bounds
        kept = self.latest_confirmed()
        held = 0
        for place, (number, revision) in enumerate(reversed(list(self._revisions.items()))):
            held += len(revision.packed)
            needed = number == self._last or (kept is not None and number == kept.number)
            if not needed and (place >= most or held > room):
                del self._revisions[number]

    def confirm(self, number: int) -> Future[None]:
        """See Store."""
        self._revisions[number] = replace(self._revisions[number], confirm_deadline_ns=None)
        return _done()

    def take_back(self, number: int) -> Future[None]:
        """See Store."""
        self._revisions[number] = replace(self._revisions[number], confirm_deadline_ns=None, taken_back=True)
        return _done()

    def note_epoch(self, epoch: int) -> Future[None]:
        """See Store."""
        self._epoch = max(self._epoch, epoch)
        return _done()

    def latest_confirmed(self) -> StoredRevision | None:
        """See Store."""
        return self.confirmed_before(self._last + 1)

    def confirmed_before(self, number: int) -> StoredRevision | None:
        """See Store."""
        return next(
            (
                revision
                for revision in reversed(self._revisions.values())
                if revision.number < number and revision.confirm_deadline_ns is None and not revision.taken_back
            ),
            None,
        )

    def get(self, number: int) -> StoredRevision | None:
        """See Store."""
        return self._revisions.get(number)

    def page(self, before: int | None, limit: int) -> list[RevisionInfo]:
        """See Store."""
        found = [
            revision.info
            for revision in reversed(self._revisions.values())
            if before is None or revision.number < before
        ]
        return found[:limit]

    def last_number(self) -> int:
        """See Store."""
        return self._last

    def leader_epoch(self) -> int:
        """See Store."""
        return self._epoch

    def close(self) -> None:
        """Nothing to do."""


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future
