"""The twin: an edge's configuration as a router of the Linux kernel, in a network namespace of its own."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from edge.model import EdgeConfig
from tests.twin.links import addresses, batch, sysctls
from tests.twin.namespace import Namespace
from tests.twin.ruleset import ruleset

PATIENCE = 5.0
"""Seconds."""


class Twin:
    """``with Twin(config) as twin:``; ``text`` replaces the rule set that would be made of the configuration."""

    def __init__(self, config: EdgeConfig, *, text: str | None = None) -> None:
        text = ruleset(config) if text is None else text
        self.names = config.ports
        self._numbers = {name: number for number, name in enumerate(config.ports)}
        self._space = Namespace(len(config.ports), sysctls(config))
        try:
            for version in (4, 6):
                lines = "\n".join(batch(config, version))
                self._space.command("ip", f"-{version}", "-batch", "-", text=f"{lines}\n")
            self._space.command("nft", "-f", "-", text=text)
            self._await_addresses([str(address) for _, address, _ in addresses(config, 6)])
            self._space.read()
        except BaseException:
            self._space.close()
            raise

    def _await_addresses(self, expected: list[str]) -> None:
        """The kernel enters IPv6 addresses in its table of local ones when it has the time."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            there = self._space.command("ip", "-6", "route", "show", "table", "local").split()
            if set(expected) <= set(there):
                return
        raise RuntimeError(f"the kernel has not taken all of {', '.join(expected)} in {PATIENCE} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._space.close()

    def process(self, port: str, packet: bytes) -> list[tuple[str, bytes]]:
        """An IP packet arrives by a port; the packets that leave for it, each with its port."""
        self._space.write(self._numbers[port], packet)
        return self.late()

    def late(self, wait: int = 0) -> list[tuple[str, bytes]]:
        """What has left and was not read yet, ``wait`` milliseconds allowed."""
        return [(self.names[device], packet) for device, packet in self._space.read(wait)]

    def command(self, *arguments: str) -> str:
        """What a command says inside."""
        return self._space.command(*arguments)
