"""Letting go of a large configuration bit by bit: freeing a million objects at once would hold up the event loop."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from edge.model import EdgeConfig

AT_ONCE: Final = 500


async def retire(config: EdgeConfig) -> None:
    """Free the rules and groups of a configuration, if nobody else has it, while others have their turns."""
    await asyncio.sleep(0)  # the caller's frame lets go of it
    lists: list[list[Any]] = [list(config.firewall.rules), list(config.firewall.groups), list(config.nat.rules)]
    del config
    for items in lists:
        while items:
            del items[-AT_ONCE:]
            await asyncio.sleep(0)
