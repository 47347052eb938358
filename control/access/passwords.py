"""Passwords: argon2id (RFC 9106), as slow for users that do not exist."""

from __future__ import annotations

import base64
import threading
import unicodedata
from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edge.errors import ArgumentError

MIN_LENGTH = 12
MAX_LENGTH = 128
_TELLING = 4
"""From how many characters on a username must not be part of the password."""
_AT_ONCE = 2
"""Hashes under way: each takes 64 MiB."""


class Passwords:
    """Hashes and compares.  ``hasher`` says how much work that is."""

    def __init__(self, random: Callable[[int], bytes], hasher: PasswordHasher | None = None) -> None:
        self._random = random
        self._hasher = hasher or PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=2)
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._nobodys = self.hash(self.one_time())

    def hash(self, password: str) -> str:
        """What is stored."""
        with self._room:
            return self._hasher.hash(_normal(password), salt=self._random(16))

    def fits(self, stored: str | None, password: str) -> bool:
        """Is it the one?  None, for a user that does not exist, takes as long as any and never fits."""
        with self._room:
            try:
                self._hasher.verify(stored or self._nobodys, _normal(password))
            except (VerificationError, InvalidHashError):
                return False
        return stored is not None

    def new_one_time(self) -> tuple[str, str]:
        """A one-time password and its hash."""
        password = self.one_time()
        return password, self.hash(password)

    def one_time(self) -> str:
        """A new one-time password: 120 random bits, in groups that can be read out."""
        text = base64.b32encode(self._random(15)).decode("ascii").lower()
        return "-".join(text[start : start + 6] for start in range(0, len(text), 6))


def check_password(password: str, username: str, field: str) -> None:
    """Raises ArgumentError for what is no password to set."""
    text = _normal(password)
    if not MIN_LENGTH <= len(text) <= MAX_LENGTH:
        raise ArgumentError(
            "the password cannot be used", [(field, f"expected {MIN_LENGTH} to {MAX_LENGTH} characters")]
        )
    # A username of a letter or two is in most passwords.
    if len(set(text)) < 5 or (len(username) >= _TELLING and username in text.lower()):
        raise ArgumentError(
            "the password cannot be used", [(field, "expected five different characters, and not the username")]
        )


def _normal(password: str) -> str:
    """The same for keyboards that compose letters in another way (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)
