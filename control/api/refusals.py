"""Which refusals are worth a record: who repeats one in a loop neither fills the trail nor keeps the disk busy."""

from __future__ import annotations

import threading
from collections import OrderedDict

from control.surroundings import SECOND_NS

EVERY_NS = 60 * SECOND_NS
_KEPT = 10_000


class Refusals:
    """The last of them, of each user and method; any number of threads at a time."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, user_uid: str, method: str, now_ns: int) -> bool:
        """Is this one to be recorded?  At most one a minute is, and those behind it are not until then."""
        key = (user_uid, method)
        with self._lock:
            last = self._last.get(key)
            # A clock that was set back must not silence the trail.
            if last is not None and last <= now_ns < last + EVERY_NS:
                return False
            self._last[key] = now_ns
            self._last.move_to_end(key)
            if len(self._last) > _KEPT:
                self._last.popitem(last=False)
        return True

    def forget(self, user_uid: str, method: str) -> None:
        """It could not be recorded: the next one is."""
        with self._lock:
            self._last.pop((user_uid, method), None)
