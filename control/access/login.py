"""Logging in: a password, a second factor, a session.

Whatever is wrong, the answer is the same and takes as long: whether a user exists, has a second factor, or gave the
right password with the wrong code, is not to be seen.  An attempt is counted before it is looked at, and after five
that failed there is a delay, which doubles each time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import NoReturn

from control import names
from control.access import tokens, totp
from control.access.callers import CLOCK_TOLERANCE_NS
from control.access.passwords import Passwords, check_password
from control.access.vault import Vault, seed_place
from control.errors import InvalidCredentialsError, NewPasswordRequiredError, TooManyAttemptsError
from control.store import Actor, Record, Store, WriteUnit
from control.store.records import Credentials, SessionRow
from control.surroundings import SECOND_NS
from edge.errors import ArgumentError

SESSION_NS = 3_600 * SECOND_NS
ENROLMENT_NS = 600 * SECOND_NS
ONE_TIME_NS = 7 * 24 * 3_600 * SECOND_NS
FREE_ATTEMPTS = 5
MAX_DELAY_NS = 900 * SECOND_NS

_LOGIN = "SessionService/Login"
_CONFIRM = "SessionService/ConfirmSecondFactor"
_SHOWN_DIGEST = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that has begun."""

    token: str
    expires_ns: int
    user: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A second factor to set up."""

    uri: str
    token: str
    expires_ns: int


class Logins:
    """Everything that begins sessions."""

    def __init__(self, store: Store, vault: Vault, passwords: Passwords) -> None:
        self._store = store
        self._vault = vault
        self._passwords = passwords

    def login(self, org: str, username: str, password: str, code: str, new_password: str) -> NewSession | Enrolment:
        """Raises InvalidCredentialsError, NewPasswordRequiredError, TooManyAttemptsError, or ArgumentError for a new
        password that is none."""
        path = f"{org}/users/{username}"
        key = _attempts_key(self._vault, path)
        user, credentials = self._begin_attempt(path, key)
        fits = self._passwords.fits(credentials.password_hash if credentials else None, password)
        if not fits or user is None or credentials is None:
            self._fail(path, _LOGIN)
        if credentials.one_time_until_ns:
            return self._first_login(user, credentials, key, new_password)
        if not credentials.totp_confirmed:
            return self._enrol(user, credentials, credentials, key)
        return self._second_factor(user, credentials, key, code, _LOGIN)

    def confirm(self, token: str, code: str) -> NewSession:
        """The end of a first login.  Raises InvalidCredentialsError, TooManyAttemptsError."""
        hashed = tokens.token_hash(token)
        with self._store.read() as reader:
            found = reader.session(hashed) if tokens.is_token(token, tokens.ENROLMENT) else None
            now_ns = reader.now_ns
        if found is None or found[0].kind != "enrolment":
            raise _refused()
        row, user = found
        if not row.created_ns - CLOCK_TOLERANCE_NS <= now_ns < row.expires_ns:
            raise _refused()
        key = _attempts_key(self._vault, user.path)
        _, credentials = self._begin_attempt(user.path, key)
        if credentials is None:
            self._fail(user.path, _CONFIRM)
        return self._second_factor(user, credentials, key, code, _CONFIRM, enrolment=hashed)

    def _begin_attempt(self, path: str, key: str) -> tuple[Record | None, Credentials | None]:
        """Count it, whoever it is for."""
        with self._store.write(_claimed(path)) as unit:
            count_attempt(unit, key)
            user = unit.find(path)
            return user, unit.credentials(user.uid) if user else None

    def _fail(self, path: str, method: str) -> NoReturn:
        """Tell the trail, if there is such an organization to have one.

        A name that nobody has may be a password in the wrong field, and a trail is for good: it gets a digest, by which
        repetitions are known again.
        """
        with self._store.write(_claimed(path)) as unit:
            org = names.organization(path)
            place = org if unit.find(org) else names.SYSTEM
            named, details = path, "{}"
            if unit.find(path) is None:
                unit.actor, named = _claimed(place), place
                digest = self._vault.digest(b"claimed name\0" + path.encode())[:_SHOWN_DIGEST]
                details = json.dumps({"unknownUser": digest})
            unit.record(place, method, named, outcome=InvalidCredentialsError.reason, details=details)
        raise _refused()

    def _first_login(self, user: Record, credentials: Credentials, key: str, new_password: str) -> Enrolment:
        if self._store.surroundings.now_ns() >= credentials.one_time_until_ns:
            self._fail(user.path, _LOGIN)
        self._forgive(user, key)
        if not new_password:
            raise NewPasswordRequiredError("this is a one-time password: give the new one, too")
        check_password(new_password, user.name, "new_password")
        if self._passwords.fits(credentials.password_hash, new_password):
            raise ArgumentError("the password cannot be used", [("new_password", "expected another one")])
        hashed = self._passwords.hash(new_password)
        return self._enrol(user, credentials, replace(credentials, password_hash=hashed, one_time_until_ns=0), key)

    def _forgive(self, user: Record, key: str) -> None:
        with self._store.write(_claimed(user.path)) as unit:
            unit.set_attempts(key, 0)

    def _enrol(self, user: Record, known: Credentials, credentials: Credentials, key: str) -> Enrolment:
        random = self._store.surroundings.random
        seed, token = random(totp.SEED_BYTES), tokens.new_token(tokens.ENROLMENT, random)
        sealed = self._vault.seal(seed, seed_place(user.uid))
        with self._store.write(Actor(user.path, user.uid)) as unit:
            if unit.credentials(user.uid) != known:  # another login was quicker, or the user is gone
                raise _refused()
            expires_ns = unit.now_ns + ENROLMENT_NS
            unit.set_credentials(replace(credentials, totp_sealed=sealed, totp_confirmed=False, totp_last_step=0))
            unit.end_sessions(user.uid, tokens=False)
            unit.add_session(SessionRow(tokens.token_hash(token), user.uid, "enrolment", unit.now_ns, expires_ns))
            unit.set_attempts(key, 0)
            unit.record(user.org, _LOGIN, user.path, details='{"secondFactor":"enrolled"}')
        return Enrolment(totp.uri(seed, f"{user.name}@{names.last(user.org)}"), token, expires_ns)

    def _second_factor(
        self, user: Record, credentials: Credentials, key: str, code: str, method: str, *, enrolment: str = ""
    ) -> NewSession:
        seed = self._vault.open(credentials.totp_sealed or b"", seed_place(user.uid))
        with self._store.write(Actor(user.path, user.uid)) as unit:
            # The state that counts is the one in this transaction: a code works once.
            current = unit.credentials(user.uid)
            if current is not None and current.totp_sealed == credentials.totp_sealed:
                step = totp.matching_step(seed, code, unit.now_ns, current.totp_last_step)
                if step is not None:
                    unit.set_credentials(replace(current, totp_confirmed=True, totp_last_step=step))
                    unit.end_session(enrolment)
                    unit.set_attempts(key, 0)
                    unit.record(user.org, method, user.path)
                    return self._begin_session(unit, user)
        return self._fail(user.path, method)

    def _begin_session(self, unit: WriteUnit, user: Record) -> NewSession:
        token = tokens.new_token(tokens.SESSION, unit.surroundings.random)
        expires_ns = unit.now_ns + SESSION_NS
        unit.add_session(SessionRow(tokens.token_hash(token), user.uid, "session", unit.now_ns, expires_ns))
        return NewSession(token, expires_ns, user.path)


def count_attempt(unit: WriteUnit, key: str) -> None:
    """There is one more, which has failed until it is forgotten.  Raises TooManyAttemptsError within the delay that
    those before have earned."""
    failures, last_ns = unit.attempts(key)
    if failures >= FREE_ATTEMPTS:
        delay = min(SECOND_NS << min(failures - FREE_ATTEMPTS, 20), MAX_DELAY_NS)
        # A clock that was set back must not make the delay longer than it is.
        left = delay - max(0, unit.now_ns - last_ns)
        if left > 0:
            raise TooManyAttemptsError(left / SECOND_NS)
    unit.set_attempts(key, failures + 1)


def begin_anew(unit: WriteUnit, vault: Vault, user: Record, one_time: tuple[str, str]) -> str:
    """A one-time password, given with its hash, no second factor, no session, no API token; the password."""
    password, hashed = one_time
    unit.set_credentials(Credentials(user.uid, hashed, unit.now_ns + ONE_TIME_NS))
    unit.end_sessions(user.uid, tokens=True)
    unit.set_attempts(_attempts_key(vault, user.path), 0)
    return password


def _attempts_key(vault: Vault, path: str) -> str:
    """Also of names that nobody has, which may be passwords: who has a copy of the store cannot try what they were."""
    return vault.digest(b"attempts\0" + path.encode())


def _claimed(path: str) -> Actor:
    """Somebody who says that they are this user."""
    return Actor(path, "")


def _refused() -> InvalidCredentialsError:
    return InvalidCredentialsError("the organization, the username, the password or the code is wrong")
