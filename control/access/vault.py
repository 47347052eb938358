"""Secrets at rest: AES-256-GCM with keys from a file.

The file has a line ``ID KEY`` for each key, the key in base64; the first encrypts, all decrypt, so that a new key is
put on top.  The old ones stay until :mod:`control.rekey` has encrypted everything again.  What is encrypted is bound to
its place: a ciphertext that is moved to another one does not open.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control.errors import KeyFileError, SealBrokenError
from edge.store.directory import sync_directory

_ID_BYTES = 8
_NONCE_BYTES = 12
_LINE = re.compile(r"([0-9a-f]{16}) ([A-Za-z0-9+/]{43}=)")
_CHECK = b"t1edge"


class Vault:
    """Seals and opens."""

    def __init__(self, keys: dict[str, bytes], random: Callable[[int], bytes]) -> None:
        """``keys`` by id, the current one first."""
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._raw = dict(keys)
        self._current = next(iter(keys))
        self._random = random

    def seal(self, secret: bytes, place: str) -> bytes:
        """The key's id, a nonce, the ciphertext with its tag."""
        nonce = self._random(_NONCE_BYTES)
        return bytes.fromhex(self._current) + nonce + self._keys[self._current].encrypt(nonce, secret, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """What was sealed at ``place``.  Raises KeyFileError or SealBrokenError."""
        key_id = sealed[:_ID_BYTES].hex()
        key = self._keys.get(key_id)
        if key is None:
            raise KeyFileError(f"the key {key_id} that a secret was encrypted with is not in the key file")
        nonce, rest = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES], sealed[_ID_BYTES + _NONCE_BYTES :]
        try:
            return key.decrypt(nonce, rest, place.encode())
        except (InvalidTag, ValueError):
            raise SealBrokenError("an encrypted secret was altered or moved, or its key is another one") from None

    @property
    def newest(self) -> str:
        """The id of the key that encrypts."""
        return self._current

    def again(self, sealed: bytes, place: str) -> bytes:
        """The same secret with the newest key, the same bytes if they are already.  Raises what ``open`` does."""
        secret = self.open(sealed, place)
        return sealed if sealed[:_ID_BYTES].hex() == self._current else self.seal(secret, place)

    def digest(self, content: bytes) -> str:
        """A fingerprint of what may hold secrets: who has not got the key cannot try what it was made of."""
        return self._digest(self._current, content)

    def is_digest(self, digest: str, content: bytes) -> bool:
        """Is this a fingerprint of ``content``, made with any of the keys?"""
        return any(hmac.compare_digest(digest, self._digest(key_id, content)) for key_id in self._raw)

    def _digest(self, key_id: str, content: bytes) -> str:
        return hmac.new(self._raw[key_id], content, "sha256").hexdigest()

    def proof(self) -> str:
        """What :meth:`check` knows these keys again by."""
        return self.seal(_CHECK, "proof").hex()

    def check(self, proof: str) -> None:
        """Raises KeyFileError if the keys are not those of the proof."""
        try:
            self.open(bytes.fromhex(proof), "proof")
        except SealBrokenError:
            raise KeyFileError("the key file is not the one that this store's secrets were encrypted with") from None


def seed_place(user_uid: str) -> str:
    """Where the seed of a user's second factor is sealed."""
    return f"totp:{user_uid}"


def secret_place(path: str, field: str) -> str:
    """Where a secret of an object is."""
    return f"secret:{path}:{field}"


def password_place(machine_uid: str) -> str:
    """Where the first password of a machine is."""
    return f"machine-password:{machine_uid}"


def answer_place(actor_uid: str, request_id: str) -> str:
    """Where the answer to a request is that may come again."""
    return f"answer:{actor_uid}:{request_id}"


def open_vault(path: Path, random: Callable[[int], bytes], *, make: bool) -> Vault:
    """The keys in a file; ``make``: where there is none, make one.  Raises KeyFileError."""
    if make:
        with suppress(FileExistsError):
            write_private(path, f"{random(_ID_BYTES).hex()} {base64.b64encode(random(32)).decode('ascii')}\n")
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path}: others can read it; it should have the mode 0600")
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: no key file") from None
    found = [_LINE.fullmatch(line) for line in lines]
    if not found or None in found:
        raise KeyFileError(f"{path}: no key file: expected lines of an id, a space and a key")
    return Vault({match[1]: base64.b64decode(match[2]) for match in found if match}, random)


def write_private(path: Path, text: str) -> None:
    """A new file with the mode 0600, on the disk when this returns, and whole whenever it is there.

    Raises FileExistsError, KeyFileError.
    """
    try:
        made, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(made, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # unlike a renaming, it never replaces what somebody else has made
        finally:
            Path(draft).unlink()
        sync_directory(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
