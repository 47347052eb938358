"""The text of a document as it is stored, of which a change writes and packs only what it touches."""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any, Final

FEWEST: Final = 1024
"""Shorter lists are written in one piece with all else."""

ITEMS: Final = 256
"""Items of a list that are written, and packed, together."""

_HEADER: Final = b"\x78\x01"
_END: Final = b"\x03\x00"


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some items of a list, which are not changed, their text, the same with sorted keys, and the former, packed."""

    items: Sequence[Any]
    text: bytes
    content: bytes
    deflated: bytes


class StoredText:
    """A document's text, JSON in one line.  ``path`` leads to the list of it that may be long, bare or within
    ``values``; of ``before``, another document's, what is about the very same items is taken.

    Raises ValueError for what JSON has not.
    """

    def __init__(self, document: Mapping[str, Any], path: Sequence[str], before: StoredText | None = None) -> None:
        mark = secrets.token_hex(16)
        items, rest = _without(document, path, mark)
        self._pieces = [] if items is None else list(_pieces(items, before))
        quoted = f'"{mark}"'
        head, _, tail = as_json(rest).partition(quoted)
        self._parts = (head.encode(), tail.encode())
        head, _, tail = as_json(rest, sort_keys=True).partition(quoted)
        self._content = (head.encode(), tail.encode())

    def digest(self, begin: bytes) -> str:
        """The name of the content behind ``begin``: the order of keys does not matter, all else does."""
        return name_of(begin, _joined(self._content, [piece.content for piece in self._pieces]))

    def packed(self) -> bytes:
        """The text as :func:`edge.store.packed` has it, though not the same bytes: blocks that know nothing of each
        other (RFC 1950, RFC 1951)."""
        head, tail = self._parts
        if not self._pieces:
            return zlib.compress(head + tail, 1)
        checksum = zlib.adler32(b"")
        for part in _joined(self._parts, [piece.text for piece in self._pieces]):
            checksum = zlib.adler32(part, checksum)
        items = _deflated(b",").join(piece.deflated for piece in self._pieces)
        return b"".join(
            (_HEADER, _deflated(head + b"["), items, _deflated(b"]" + tail), _END, checksum.to_bytes(4, "big"))
        )


def as_json(value: Any, *, sort_keys: bool = False) -> str:
    """JSON in one line.  Raises ValueError for what JSON has not."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys)


def name_of(begin: bytes, content: Iterable[bytes]) -> str:
    """The name of a content, JSON with sorted keys, behind ``begin``."""
    digest = hashlib.sha256(begin)
    for part in content:
        digest.update(part)
    return digest.hexdigest()[:32]


def _joined(parts: tuple[bytes, bytes], pieces: Sequence[bytes]) -> Iterator[bytes]:
    yield parts[0]
    for at, piece in enumerate(pieces):
        yield b"," if at else b"["
        yield piece
    yield b"]" + parts[1] if pieces else parts[1]


def _deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    return packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)


def _without(document: Any, path: Sequence[str], mark: str) -> tuple[list[Any] | None, Any]:
    """The list and the document with a mark in its place; None, and all of it, where the list is not long."""
    if isinstance(document, list) and not path and len(document) >= FEWEST:
        return document, mark
    if isinstance(document, dict):
        key, *others = path or ["values"]
        if key in document and (path or isinstance(document[key], list)):
            items, inner = _without(document[key], others, mark)
            return items, document if items is None else {**document, key: inner}
    return None, document


def _pieces(items: list[Any], before: StoredText | None) -> Iterator[_Piece]:
    known = {id(piece.items[0]): piece for piece in before._pieces} if before else {}  # noqa: SLF001 - one of these
    at = 0
    while at < len(items):
        piece = known.get(id(items[at]))
        if piece is not None:
            some = items[at : at + len(piece.items)]
            if len(some) == len(piece.items) and all(map(is_, some, piece.items)):
                yield piece
                at += len(some)
                continue
        end = at + 1
        while end < len(items) and end - at < ITEMS and id(items[end]) not in known:
            end += 1
        some = items[at:end]
        text = as_json(some)[1:-1].encode()
        yield _Piece(some, text, as_json(some, sort_keys=True)[1:-1].encode(), _deflated(text))
        at = end
