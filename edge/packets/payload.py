r"""Payload as it is written in packet text: ``data="PORT 10,0,0,1,4,1\r\n"``, ASCII with a few escapes."""

from __future__ import annotations

import re

TOKEN = re.compile(r'data="(?:[^"\\]|\\.)*"|[^\s="]+="[^"]*"|\S+', re.DOTALL)
"""One word of packet text; quotation marks hold words together, and in ``data`` a backslash escapes one."""

MAX_SHOWN = 512
"""Bytes; more of it is told by its length."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PARTS = re.compile(r'[ !#-\[\]-~]|\\(?:[rn\\"]|x[0-9A-Fa-f]{2})')
_ESCAPES = {"r": "\r", "n": "\n", "\\": "\\", '"': '"'}
_ESCAPED = {ord(character): f"\\{letter}" for letter, character in _ESCAPES.items()}


def is_quoted(text: str) -> bool:
    """Does it stand in quotation marks, the last of which is not an escaped one?"""
    return _QUOTED.fullmatch(text) is not None


def read_payload(text: str) -> bytes:
    """The bytes of what stands between the quotation marks.  Raises ValueError with what was found instead."""
    found, at = bytearray(), 0
    while at < len(text):
        part = _PARTS.match(text, at)
        if part is None:
            raise ValueError(text[at : at + 2] if text[at] == "\\" else text[at])
        found += _byte(part[0])
        at = part.end()
    return bytes(found)


def show_payload(data: bytes) -> str:
    """The text of some bytes, without the quotation marks."""
    return "".join(_ESCAPED.get(byte) or (chr(byte) if 32 <= byte <= 126 else f"\\x{byte:02x}") for byte in data)


def _byte(part: str) -> bytes:
    if not part.startswith("\\"):
        return part.encode("ascii")
    return bytes.fromhex(part[2:]) if part[1] == "x" else _ESCAPES[part[1]].encode("ascii")
