"""What an engine has counted, as the values of :mod:`edge.state`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.bindings import Address
from edge.model import EdgeConfig
from edge.raw import DROPPED_AT, Running
from edge.state import PortCounters, RuleCounters, Stats
from edge.verdicts import Reason, Stage, Verdict

PortCount = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """Every counter at one moment; ``rules`` by rule id, empty if they were not asked for."""

    config: EdgeConfig
    revision: int
    stats: Stats
    rules: dict[str, RuleCounters]


def rule_counters(known: Iterable[str], slots: Mapping[str, int], raw: bytes) -> dict[str, RuleCounters]:
    """What :meth:`native.engine.Engine.counters` told, by rule."""
    counters = memoryview(raw).cast("Q")
    found = {}
    for rule_id in known:
        slot = slots.get(rule_id)
        found[rule_id] = RuleCounters() if slot is None else RuleCounters(*counters[3 * slot : 3 * slot + 3])
    return found


def stats_of(
    totals: tuple[Any, ...],
    ports: Sequence[PortCount],
    usages: Sequence[int],
    now: Running,
    slots: Mapping[Address, int],
) -> Stats:
    """What the engine counted, but for rules; ``usages`` are the sessions that hold an address, by its slot."""
    (
        verdicts,
        reasons,
        drops,
        drops_of_sessions,
        created,
        peak,
        live,
        half_open,
        limited,
        reassembled,
        timed_out,
        held,
    ) = totals
    limit = now.port_limit if now.addresses else 0
    return Stats(
        verdicts={Verdict(number): count for number, count in enumerate(verdicts) if count},
        reasons={Reason(number): count for number, count in enumerate(reasons) if count},
        drops=drops_by_stage(drops, drops_of_sessions),
        sessions_created=created,
        sessions_peak=peak,
        sessions_open=live,
        half_open=half_open,
        sessions_limit=now.config.options.max_sessions,
        answers_limited=limited,
        datagrams_reassembled=reassembled,
        datagrams_timed_out=timed_out,
        fragments_held=held,
        ports={name: PortCounters(*counted) for name, counted in zip(now.ports, ports, strict=True)},
        nat_addresses={text: (usages[slots[key]], limit) for text, key in now.address_texts},
    )


def drops_by_stage(drops: list[int], of_sessions: int) -> dict[tuple[Stage, Reason], int]:
    """Drops by reason as drops by stage and reason; ``of_sessions``: how many with TCP_STATE were a session's."""
    found = {(DROPPED_AT[Reason(number)], Reason(number)): count for number, count in enumerate(drops) if count}
    if of_sessions:
        found[Stage.SESSION, Reason.TCP_STATE] = of_sessions
        found[Stage.FIREWALL, Reason.TCP_STATE] -= of_sessions
    return {key: count for key, count in found.items() if count}
