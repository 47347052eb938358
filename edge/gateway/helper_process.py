"""The helper process itself: ``python -m edge.gateway.helper_process``, spoken to by :mod:`edge.gateway.helper`."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from edge.errors import DocumentError, EdgeError
from edge.gateway.draft import Base, Known, draft, read_back
from edge.gateway.helper import LENGTH, DraftAnswer, FailedAnswer, Request, Splices
from edge.gateway.pieces import cut

KEPT = 2
"""Documents that are remembered: the running one and the one that may be the next."""


class Memory:
    """Documents read of late, by etag."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()

    def read(self, stored: Base) -> Known:
        """A stored document, from memory if it is there."""
        return self.keep(stored, self._known.get(stored.etag) or Known(read_back(stored)))

    def keep(self, stored: Base, known: Known) -> Known:
        """Remember a document."""
        self._known[stored.etag] = known
        self._known.move_to_end(stored.etag)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return known


def answer(request: Request, memory: Memory) -> Any:
    """What a request asks for."""
    base = request.base
    known = memory.read(base) if base else None
    if request.order is None:
        assert known is not None, "a complete document is asked of a stored one"
        return known.complete.encode()
    made = draft(request.order, base, known, known.loaded.config if known and request.spliced else None)
    if made.tables is not None:
        for flat in (made.tables.firewall.rules, made.tables.nat.dnat, made.tables.nat.snat):
            flat.forget()
    warnings, changes = made.told()
    memory.keep(made.stored, made.known)
    config, splices = made.config, None
    if made.tables is None and request.spliced and known is not None:
        splices = Splices.between(known.loaded.config.firewall, config.firewall)
        if splices is not None:
            config = replace(config, firewall=replace(config.firewall, rules=()))
    return DraftAnswer(made.stored, config, splices, made.tables, made.equal, warnings, changes)


def answered(request: Request, memory: Memory) -> Any:
    """The answer, or what went wrong."""
    try:
        return answer(request, memory)
    except DocumentError as error:
        return FailedAnswer(problems=list(error.problems))
    except EdgeError as error:
        return FailedAnswer(error=error)
    except Exception:  # noqa: BLE001  # a bug is told to whoever asked
        return FailedAnswer(traceback=traceback.format_exc())


def requests(source: BinaryIO) -> Iterator[Request]:
    """Every request, with the text that follows it, until the other side goes."""
    while head := source.read(LENGTH.size):
        request: Request = pickle.loads(_part(source, head))  # noqa: S301  # from the process that started this one
        if request.order is not None and request.slices:
            text = b"".join(_part(source, source.read(LENGTH.size)) for _ in range(request.slices))
            order = replace(request.order, wanted=text.decode("utf-8", "surrogatepass"))
            request = replace(request, order=order)
        yield request


def _part(source: BinaryIO, head: bytes) -> bytes:
    """What follows its length.  Raises EOFError when the other side goes in the midst of it."""
    if len(head) < LENGTH.size or len(part := source.read(length := LENGTH.unpack(head)[0])) < length:
        raise EOFError
    return part


def main() -> None:
    """Serve until the other side goes."""
    os.nice(5)  # packets and short calls come first
    # Whatever prints, prints to stderr: stdout is for answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        memory = Memory()
        with contextlib.suppress(EOFError):
            for request in requests(sys.stdin.buffer):
                for piece in cut(answered(request, memory)):
                    answers.write(LENGTH.pack(len(piece)))
                    answers.write(piece)
                answers.flush()


if __name__ == "__main__":
    main()
