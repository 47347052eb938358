"""The helper process as the gateway sees it: large documents go in, what was made of them comes back in pieces.

It is a program of its own, started when it is first needed and kept; it knows the documents that it saw last.  One
request at a time; a helper that came to an end is replaced at the next request.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from edge.collector import collector_paused
from edge.compiler import Tables
from edge.diff import Change
from edge.errors import DocumentError, EdgeError, Problem, ResourceError
from edge.firewall.config import FirewallConfig, FirewallRule
from edge.firewall.overlay import MOST
from edge.gateway.draft import Base, Order
from edge.gateway.pieces import Joiner
from edge.model import EdgeConfig
from native.overlay import differences

LENGTH: Final = struct.Struct("<Q")
"""Goes ahead of every request and every piece."""

AT_ONCE: Final = 1 << 18
"""Characters of a text that are sent at once: to encode and copy all of it would hold up the event loop."""


@dataclass(frozen=True, slots=True)
class Splices:
    """Firewall rules of the base's ``count`` that are others now: (begin, end, what stands there), in order."""

    count: int
    rules: list[tuple[int, int, tuple[FirewallRule, ...]]]

    @classmethod
    def between(cls, before: FirewallConfig, now: FirewallConfig) -> Splices | None:
        """What has to be told of ``now`` to whoever has ``before``; None where that is not little."""
        found = differences(before.rules, now.rules, MOST)
        if found is None:
            return None
        return cls(len(before.rules), [(begin, end, now.rules[first:last]) for begin, end, first, last in found])

    def applied(self, before: FirewallConfig) -> tuple[FirewallRule, ...]:
        """The rules, those that stay being the same objects."""
        assert len(before.rules) == self.count, "the helper's base is the one that runs"
        rules = list(before.rules)
        for begin, end, others in reversed(self.rules):
            rules[begin:end] = others
        return tuple(rules)


@dataclass(frozen=True, slots=True)
class DraftAnswer:
    """What the helper made of an order.  With ``splices`` its configuration has no firewall rules: they are told."""

    stored: Base
    config: EdgeConfig
    splices: Splices | None
    tables: Tables | None
    equal: bool
    warnings: Sequence[Problem]
    changes: Sequence[Change]

    @property
    def told(self) -> tuple[Sequence[Problem], Sequence[Change]]:
        """Warnings and changes."""
        return self.warnings, self.changes


@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """An error of the caller's, or, with a traceback, of ours; problems of a document are sent apart, they may be
    many."""

    problems: list[Problem] | None = None
    error: EdgeError | None = None
    traceback: str = ""

    def raise_it(self) -> None:
        """Raise what was raised there."""
        if self.problems is not None:
            raise DocumentError(self.problems)
        if self.error is not None:
            raise self.error
        raise RuntimeError(f"the helper process failed:\n{self.traceback}")


@dataclass(frozen=True, slots=True)
class Request:
    """A draft, or the complete document of ``base`` where there is no order.  The text that an order wants follows in
    so many ``slices``.  ``spliced``: of a small change of the base only that needs to be told."""

    order: Order | None
    base: Base | None
    slices: int = 0
    spliced: bool = False


class Helper:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._busy = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return None if self._process is None else self._process.pid

    async def draft(self, order: Order, base: Base | None, config: EdgeConfig | None) -> DraftAnswer:
        """What :func:`edge.gateway.draft.draft` and its :meth:`told` say.  ``config`` is the base's where it runs: then
        small changes need no tables.  Raises what they do, and ResourceError if the helper came to an end."""
        text, slices = "", 0
        if isinstance(order.wanted, str):
            text, order = order.wanted, replace(order, wanted="")
            slices = -(-len(text) // AT_ONCE)
        answer = await self._ask(Request(order, base, slices, config is not None), text)
        assert isinstance(answer, DraftAnswer), "the answer to an order"
        if answer.splices is None or config is None:
            return answer
        rules = answer.splices.applied(config.firewall)
        return replace(
            answer, config=replace(answer.config, firewall=replace(answer.config.firewall, rules=rules)), splices=None
        )

    async def complete(self, stored: Base) -> str:
        """The complete document, JSON."""
        answer = await self._ask(Request(None, stored))
        assert isinstance(answer, bytes), "the answer to a request for a document"
        return answer.decode()

    async def _ask(self, request: Request, text: str = "") -> Any:
        async with self._busy:
            try:
                process = await self._started()
                answer = await self._exchange(process, request, text)
            except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
                await self._end()
                raise ResourceError("the process that reads large documents came to an end; is there memory?") from None
            except BaseException:
                # Half an answer is of no use to the next request.
                await self._end()
                raise
        if isinstance(answer, FailedAnswer):
            answer.raise_it()
        return answer

    async def _exchange(self, process: asyncio.subprocess.Process, request: Request, text: str) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        slices = (
            text[at * AT_ONCE : (at + 1) * AT_ONCE].encode("utf-8", "surrogatepass") for at in range(request.slices)
        )
        for part in chain([pickle.dumps(request, 5)], slices):
            process.stdin.write(LENGTH.pack(len(part)) + part)
            await process.stdin.drain()
        joiner = Joiner()
        # Millions of new objects, none of them garbage: the collector would visit them again and again, and every visit
        # would hold up the event loop.  Those of the answer are not visited later on either.
        with collector_paused():
            whole = False
            pieces = 0
            while not whole:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                whole = joiner.take(await process.stdout.readexactly(length))
                pieces += 1
                await asyncio.sleep(0)
            if pieces > 1:
                gc.freeze()
        return joiner.value

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "edge.gateway.helper_process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                limit=1 << 20,
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()

    async def close(self) -> None:
        """End the process."""
        await self._end()
