"""What a method is given besides its request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from control import names
from control.access.callers import Caller
from control.access.enrolment import Enrolments
from control.access.login import Logins
from control.access.vault import Vault
from control.api.method import Method
from control.kinds.changes import Changes
from control.store import Reader, WriteUnit

Stored = Callable[[], AbstractContextManager[Reader]]
"""Begins to read the store."""


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
    vault: Vault
    stored: Stored
    """The state before the call."""
    running: Callable[[str], tuple[str, bytes | None] | None]
    """What an edge runs: the etag and the packed document, as far as they are known."""
    methods: Mapping[str, Method]
    """All methods, for requests within a request."""
    noted: tuple[str, str, str] | None = field(default=None, init=False)
    changes: Changes = field(init=False)
    """Of objects of any kind."""

    def __post_init__(self) -> None:
        self.changes = Changes(self.unit, self.vault)

    @property
    def state(self) -> Reader:
        """What can be asked, as of a call that changes nothing."""
        return self.unit

    def note(self, path: str, *, place: str = "", **details: object) -> None:
        """The object of the call, and for the audit trail what else there is to know: never a secret.  The record is
        the organization's that the object lies in, or that of ``place``."""
        self.noted = path, place or names.organization(path), json.dumps(details, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of nobody in particular."""

    logins: Logins
    enrolments: Enrolments
