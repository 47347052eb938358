"""What a method is given besides its request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from control import names
from control.access.callers import Caller
from control.access.login import Logins
from control.store import Reader, WriteUnit


@dataclass(slots=True)
class ReadCall:
    """A call that changes nothing."""

    caller: Caller
    state: Reader


@dataclass(slots=True)
class WriteCall:
    """A call that changes something, in ``unit``; it has to say what, by :meth:`note`."""

    caller: Caller
    unit: WriteUnit
    one_time: tuple[str, str]
    """A new one-time password and its hash, for methods that need one."""
    trial: bool
    """Nothing of it will hold: secrets are not to be handed out."""
    noted: tuple[str, str, str] | None = field(default=None, init=False)

    def note(self, path: str, *, place: str = "", **details: object) -> None:
        """The object of the call, and for the audit trail what else there is to know: never a secret.  The record is
        the organization's that the object lies in, or that of ``place``."""
        self.noted = path, place or names.organization(path), json.dumps(details, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of nobody in particular."""

    logins: Logins
