"""Rows as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Self, TypeVar

from control.objects.values import Value

Model = TypeVar("Model", bound=Value)

SEALED = "$sealed"
"""Where a body has its secrets, encrypted, by field."""


@dataclass(frozen=True, slots=True)
class _Row:
    @classmethod
    def of(cls, row: Any) -> Self:
        """From a row that has at least these columns."""
        return cls(**{field.name: getattr(row, field.name) for field in fields(cls)})

    def columns(self) -> dict[str, Any]:
        """For an insert."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Record(_Row):
    """An object: ``body`` is what its owner says, see :mod:`control.objects`; the rest is the store's.

    ``name`` is unique among the objects of its kind that lie in ``parent``; ``position`` orders those that have an
    order.
    """

    path: str
    uid: str
    kind: str
    org: str
    parent: str
    name: str
    version: int
    created_ns: int
    updated_ns: int
    body: dict[str, Any]
    position: int = 0

    @property
    def etag(self) -> str:
        """The state: a deleted object that was made again has another one."""
        return f"{self.uid[:8]}-{self.version}"

    def value(self, model: type[Model]) -> Model:
        """The body as the value that it is, without its secrets."""
        said = {field: value for field, value in self.body.items() if field != SEALED}
        return model.model_validate(said, strict=False)

    @property
    def sealed(self) -> Mapping[str, str]:
        """Its secrets by field, encrypted, in base64."""
        return MappingProxyType(self.body.get(SEALED, {}))


@dataclass(frozen=True, slots=True)
class Place(_Row):
    """Where an object stands among its like, and in which state it is."""

    path: str
    uid: str
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class TokenRecord(_Row):
    """An API token, without its secret."""

    path: str
    user_uid: str
    name: str
    created_ns: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class TaskRecord(_Row):
    """An order, and what became of it."""

    path: str
    org: str
    operation: str
    status: str
    initiator: str
    object: str
    start_ns: int
    end_ns: int | None
    error_reason: str
    error_message: str


@dataclass(frozen=True, slots=True)
class AuditRecord(_Row):
    """A link of the chain of an organization, see :mod:`control.chain`."""

    org: str
    number: int
    time_ns: int
    actor: str
    method: str
    object: str
    outcome: str
    details: str
    request_id: str
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class EventRecord(_Row):
    """Something that has happened."""

    org: str
    number: int
    time_ns: int
    kind: str
    object: str
    details: str


@dataclass(frozen=True, slots=True)
class EdgeHost(_Row):
    """An edge that runs elsewhere, or is to as soon as a host enrols: then it is at ``token_address``.  ``address`` '':
    not yet.  ``identity``: the name that its certificate has to bear, '' for one without TLS."""

    path: str
    address: str = ""
    identity: str = ""
    certificate_until_ns: int = 0
    token_hash: str = ""
    token_until_ns: int = 0
    token_address: str = ""


@dataclass(frozen=True, slots=True)
class FormerHost(_Row):
    """Where an edge ran that is elsewhere by now, or nowhere.  ``reason`` and ``message``: why it could not be cleared
    when that was tried last, '' if nobody has tried."""

    edge: str
    address: str
    identity: str
    since_ns: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Credentials(_Row):
    """How a user logs in.  ``one_time_until_ns`` 0: the password is their own."""

    user_uid: str
    password_hash: str
    one_time_until_ns: int = 0
    totp_sealed: bytes | None = None
    totp_confirmed: bool = False
    totp_last_step: int = 0


@dataclass(frozen=True, slots=True)
class SessionRow(_Row):
    """A session, or an enrolment on the way to one."""

    token_hash: str
    user_uid: str
    kind: str
    created_ns: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class EdgeState(_Row):
    """What an edge should have, and has: counters of its wanted configuration.  ``status``: PENDING, REALIZED or
    ERROR; ``drifts``: how often it ran what nobody wanted, ``drifted_ns``: when that was seen last."""

    path: str
    desired: int
    desired_ns: int
    realized: int
    realized_etag: str
    status: str
    reason: str
    message: str
    updated_ns: int
    drifts: int = 0
    drifted_ns: int = 0
