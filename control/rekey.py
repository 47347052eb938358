"""Encrypts every secret of a store again, with the newest key: afterwards the older ones can leave the key file."""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from control import names
from control.access.authority import KEY_FACT, KEY_PLACE
from control.access.vault import Vault, answer_place, open_vault, password_place, secret_place, seed_place
from control.serving import KEYS, PROOF, ControlSettings
from control.store import Store, WriteUnit
from control.store.database import DATABASE
from control.store.records import SEALED
from control.store.schema import CREDENTIALS, MACHINE_STATES, OBJECTS, REQUESTS
from control.store.unit import PROVIDER
from control.surroundings import Surroundings
from edge.errors import StoreError


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """How many secrets were encrypted again, how many had the newest key already, and which one that is."""

    again: int
    before: int
    key: str


def rekey(settings: ControlSettings, surroundings: Surroundings) -> Rekeyed:
    """All of a store that nobody serves from this directory, or nothing.

    Raises StoreError, KeyFileError, and SealBrokenError for what does not open.
    """
    if not settings.database and not (settings.data / DATABASE).exists():
        raise StoreError(f"{settings.data}: no control plane has been here")
    vault = open_vault(settings.key_file or settings.data / KEYS, surroundings.random, make=False)
    with contextlib.closing(Store(settings.data, surroundings, settings.database)) as store:
        with store.write(PROVIDER) as unit:
            proof = unit.fact(PROOF)
            if proof is None:
                raise StoreError("no control plane has used this database")
            vault.check(proof)
            work = _Work(unit, vault)
            work.all()
            unit.set_facts({PROOF: vault.proof()})
            if work.again:
                unit.record(names.SYSTEM, "rekey", names.SYSTEM)
        return Rekeyed(work.again, work.before, vault.newest)


class _Work:
    """Every column that holds something sealed; their versions and times stay, for nothing is another one now."""

    def __init__(self, unit: WriteUnit, vault: Vault) -> None:
        self._unit = unit
        self._db = unit.db
        self._vault = vault
        self.again = self.before = 0

    def all(self) -> None:
        """Each of them."""
        self._column(CREDENTIALS.c.totp_sealed, [CREDENTIALS.c.user_uid], seed_place)
        self._column(MACHINE_STATES.c.password, [MACHINE_STATES.c.uid], password_place)
        self._column(REQUESTS.c.answer, [REQUESTS.c.actor_uid, REQUESTS.c.request_id], answer_place)
        self._authority()
        self._bodies()

    def _renew(self, sealed: bytes, place: str) -> bytes:
        found = self._vault.again(sealed, place)
        if found == sealed:
            self.before += 1
        else:
            self.again += 1
        return found

    def _column(self, column: sa.Column[Any], key: list[sa.Column[str]], place: Any) -> None:
        """``place`` of the key's values."""
        for *at, sealed in self._db.execute(sa.select(*key, column).where(column.is_not(None))).all():
            found = self._renew(sealed, place(*at))
            if found != sealed:
                mine = [part == value for part, value in zip(key, at, strict=True)]
                self._db.execute(sa.update(column.table).where(*mine).values({column.name: found}))

    def _authority(self) -> None:
        """The key that certificates of edges are signed with."""
        sealed = self._unit.fact(KEY_FACT)
        if sealed is not None:
            self._unit.set_facts({KEY_FACT: self._renew(bytes.fromhex(sealed), KEY_PLACE).hex()})

    def _bodies(self) -> None:
        """Secrets of objects, among what their owners say of these."""
        has_some = sa.cast(OBJECTS.c.body, sa.Text).contains(f'"{SEALED}"', autoescape=True)
        for path, body in self._db.execute(sa.select(OBJECTS.c.path, OBJECTS.c.body).where(has_some)).all():
            sealed = body.get(SEALED, {})
            found = {
                field: b64encode(self._renew(b64decode(secret), secret_place(path, field))).decode()
                for field, secret in sealed.items()
            }
            if found != sealed:
                self._db.execute(sa.update(OBJECTS).where(OBJECTS.c.path == path).values(body={**body, SEALED: found}))
