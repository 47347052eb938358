"""Tokens: 256 random bits, of which only a hash is kept.

A hash without salt is enough: nobody can try 2^256 of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

SESSION = "t1s_"
API = "t1a_"
ENROLMENT = "t1e_"
HOST = "t1h_"
_LENGTH = 4 + 43


def new_token(kind: str, random: Callable[[int], bytes]) -> str:
    """A token; ``kind`` is what it begins with."""
    return kind + base64.urlsafe_b64encode(random(32)).decode("ascii").rstrip("=")


def token_hash(token: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(text: str, kind: str) -> bool:
    """Could it be one?"""
    return len(text) == _LENGTH and text.startswith(kind) and text.isascii()
