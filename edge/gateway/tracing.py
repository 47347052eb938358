"""Packets through a copy of a running edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.compiler import Tables
from edge.errors import InvalidPacketError, PacketSyntaxError
from edge.model import EdgeConfig
from edge.runtime import Edge
from edge.state import SessionMatch
from edge.trace import RuleNames, TraceError, TraceNeighbour, Tracer, TraceResult


def trace_packets(
    edge: Edge,
    packets: Sequence[str | tuple[str, bytes]],
    now_ns: int,
    *,
    config: EdgeConfig | None,
    tables: Tables | None,
    ignore_sessions: bool,
    names: Callable[[EdgeConfig], RuleNames] = RuleNames,
    neighbour_of: Callable[[str, bytes], TraceNeighbour | None] | None = None,
) -> tuple[int, list[TraceResult]]:
    """The revision that judged them, and a result for each passage, under ``config`` or what runs.
    ``neighbour_of`` tells whom a frame is given to that leaves by a port.

    Raises InvalidPacketError with a violation for each packet that cannot be read or sent.
    """
    copy = edge.snapshot()
    revision = copy.revision
    if ignore_sessions:
        copy.delete_sessions(SessionMatch())
    if config is not None:
        copy.commit(copy.prepare(config, tables=tables))
    tracer = Tracer(copy, now_ns=now_ns, names=names(copy.config), neighbour_of=neighbour_of)
    results: list[TraceResult] = []
    wrong: list[tuple[str, str]] = []
    for number, packet in enumerate(packets):
        try:
            results += tracer.send(packet) if isinstance(packet, str) else tracer.send_frame(*packet)
        except (PacketSyntaxError, TraceError) as error:
            wrong.append((f"packets[{number}].{'text' if isinstance(packet, str) else 'frame'}", str(error)))
    if wrong:
        raise InvalidPacketError(f"{wrong[0][0]}: {wrong[0][1].splitlines()[0]}", wrong)
    return revision, results
