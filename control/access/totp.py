"""Time-based one-time passwords: RFC 6238 with HMAC-SHA-1, six digits, thirty seconds."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote

from control.surroundings import SECOND_NS

STEP_S = 30
SEED_BYTES = 20
_TOLERANCE = 1
"""Steps that a clock may be off."""


def code_at(seed: bytes, step: int, digits: int = 6) -> str:
    """The code of a step: RFC 4226, 5.3."""
    digest = hmac.new(seed, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**digits:0{digits}d}"


def matching_step(seed: bytes, code: str, now_ns: int, last_step: int) -> int | None:
    """The step that a code belongs to, later than ``last_step``, the last one that was used; None if there is none."""
    current = now_ns // (STEP_S * SECOND_NS)
    given = code.encode()
    found = None
    for step in range(max(0, current - _TOLERANCE), current + _TOLERANCE + 1):
        if hmac.compare_digest(code_at(seed, step).encode(), given) and step > last_step:
            found = step
    return found


def uri(seed: bytes, account: str) -> str:
    """What authenticators read, otpauth://."""
    secret = base64.b32encode(seed).decode("ascii").rstrip("=")
    return f"otpauth://totp/t1edge:{quote(account, safe='')}?secret={secret}&issuer=t1edge"
