"""Events as they come: what the commands share that follow them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from edge.cli.common import write_result
from edge.cli.remote import options_together

watch_options = options_together(
    click.option("--resume", metavar="TOKEN", default="", help="Go on where an earlier run ended."),
    click.option("--count", type=click.IntRange(1), help="End after so many events."),
)
"""Options of every command that follows events."""


def write_events(
    batches: Iterable[tuple[Sequence[Mapping[str, Any]], str]],
    count: int | None,
    line: Callable[[Any], str],
    *,
    as_json: bool,
) -> None:
    """A line for each event, as ``line`` makes it or JSON, until there are no more or ``count`` were written.

    ``batches`` are events with the token to go on behind them: in JSON the last of a batch has it.
    """
    left = count
    for events, token in batches:
        for number, event in enumerate(events[:left], 1):
            last = {"resumeToken": token} if number == len(events) else {}
            write_result(json.dumps({**event, **last}, ensure_ascii=False) if as_json else line(event))
        if left is not None:
            left -= min(left, len(events))
            if not left:
                return
