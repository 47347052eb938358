"""Work that a call leaves behind: done in order by one thread, and no more of it is kept than has room."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

MOST: Final = 256
"""So much waits to be done."""

_log = logging.getLogger(__name__)

Work = Callable[[], None]


def at_once(work: Work) -> bool:
    """Do it, in this thread."""
    work()
    return True


class Later:
    """From any thread."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Work | None] = queue.Queue(MOST)
        self._thread = threading.Thread(target=self._run, name="later", daemon=True)
        self._thread.start()

    def __call__(self, work: Work) -> bool:
        """Have it done; False where there is no room."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """When all of it is done."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 - the others are to be done too
                _log.exception("what a call left behind could not be done")
