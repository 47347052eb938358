"""Prometheus metrics of a served edge, read from its counters when somebody scrapes.

The text format is written here rather than by prometheus-client's registry: a series of a rule costs a tenth of what a
``Sample`` costs there, and its label part is made once per configuration.  The process's own metrics come from that
package.  Families and labels are a contract (``docs/observability.md`` lists them); labels never hold an address, a
port number or free text, the name of a rule being in an ``_info`` series of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest

from edge.raw import DROPPED_AT
from edge.state import LINK_DROPS
from edge.verdicts import Reason, Stage

if TYPE_CHECKING:
    from edge.firewall.config import FirewallRule
    from edge.model import EdgeConfig
    from edge.nat.config import NatRule
    from edge.runtime import Edge
    from edge.state import LinkCounters, RuleCounters, Stats

MAX_RULE_SERIES = 2_000
"""Rules of an edge, firewall and NAT together, that have series of their own."""

APPLY_RESULTS = ("applied", "failed", "not_confirmed", "refused", "unchanged")
"""What can become of a change of the configuration."""

DROP_PLACES = frozenset({*((stage, reason) for reason, stage in DROPPED_AT.items()), (Stage.SESSION, Reason.TCP_STATE)})
"""Where packets are dropped or rejected, and why.

These series are there from the beginning, so that rates see the first of them."""

_NO_DROPS = dict.fromkeys(DROP_PLACES, 0)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that one scrape tells of an edge, all under one configuration.

    ``applies`` counts changes of the configuration by result, see APPLY_RESULTS; ``neighbours`` entries by state;
    ``ports_up`` says which ports can carry packets, ``links`` what was lost at them; the rest is totals,
    ``handed_over`` of the frames that came in at another worker than their own.
    """

    config: EdgeConfig
    revision: int
    stats: Stats
    rules: Mapping[str, RuleCounters]
    applies: Mapping[str, int] = field(default_factory=dict)
    neighbours: Mapping[str, int] = field(default_factory=dict)
    ports_up: Mapping[str, bool] = field(default_factory=dict)
    links: Mapping[str, LinkCounters] = field(default_factory=dict)
    events_lost: int = 0
    handed_over: int = 0
    pending_confirmation: bool = False

    @classmethod
    def of(
        cls,
        edge: Edge,
        *,
        applies: Mapping[str, int],
        neighbours: Mapping[str, int],
        ports_up: Mapping[str, bool],
        links: Callable[[], Mapping[str, LinkCounters]],
        events_lost: int,
        pending_confirmation: bool,
    ) -> Reading:
        """What an edge tells, and what only those around it know; ``links`` is asked at the moment of the rest."""
        lost: dict[str, LinkCounters] = {}
        handed_over: list[int] = []

        def look() -> None:
            lost.update(links())
            handed_over.append(edge.handed)

        found = edge.counted(rules=True, beside=look)
        return cls(
            found.config,
            found.revision,
            found.stats,
            found.rules,
            applies,
            neighbours,
            ports_up,
            lost,
            events_lost,
            handed_over[-1],
            pending_confirmation,
        )


class Source(Protocol):
    """Whoever can be read."""

    def reading(self) -> Reading:
        """The counters as they are now."""


Labels = Sequence[tuple[str, str]]
Sample = tuple[Labels, float]


def escaped(text: str) -> str:
    """A label's value as the text format wants it; half a surrogate pair, which UTF-8 cannot say, is spelt out."""
    whole = text.encode(errors="backslashreplace").decode()
    return whole.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def labelled(name: str, labels: Labels) -> str:
    """A series without its value."""
    inner = ",".join(f'{key}="{escaped(value)}"' for key, value in labels)
    return f"{name}{{{inner}}}" if inner else name


def heading(name: str, kind: str, text: str) -> Iterator[str]:
    """What precedes the samples of a family."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one family; none where it has no samples."""
    lines = [f"{labelled(name, labels)} {value:.17g}" for labels, value in samples]
    if lines:
        yield from heading(name, kind, text)
        yield from lines


@dataclass(frozen=True, slots=True)
class _RuleRows:
    """The series of one kind of rule, made once: (rule id, line up to the value), lines of names, how many are cut."""

    hits: tuple[tuple[str, str], ...]
    info: str
    cut: int

    @classmethod
    def of(cls, config: EdgeConfig, kind: str, rules: Sequence[FirewallRule | NatRule], room: int) -> _RuleRows:
        """Rows of the first rules, as many as there is room for."""
        edge, taken = ("edge", config.name), rules[:room]
        hits, info = f"t1edge_{kind}_rule_hits_total", f"t1edge_{kind}_rule_info"
        return cls(
            tuple((rule.id, labelled(hits, (edge, ("rule_id", rule.id)))) for rule in taken),
            "\n".join(f"{labelled(info, (edge, ('rule_id', rule.id), ('name', rule.name)))} 1" for rule in taken),
            len(rules) - len(taken),
        )


def shared(most: int, first: int, second: int) -> tuple[int, int]:
    """Room for two kinds that want so many series: neither keeps the other below half of it."""
    of_second = min(second, max(most - first, most // 2))
    return min(first, most - of_second), of_second


class Exposition:
    """What ``/metrics`` answers."""

    def __init__(self, source: Source, *, version: str, max_rule_series: int = MAX_RULE_SERIES) -> None:
        self._source = source
        self._version = version
        self._most = max_rule_series
        self._lock = Lock()
        self._rows_of: EdgeConfig | None = None
        self._rows: dict[str, _RuleRows] = {}
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)

    def page(self) -> bytes:
        """All series, of the edge and of the process."""
        with self._lock:
            reading = self._source.reading()
            if reading.config is not self._rows_of:
                self._prepare(reading.config)
            lines = [*self._lines(reading), ""]
        return "\n".join(lines).encode() + generate_latest(self._process)

    def _prepare(self, config: EdgeConfig) -> None:
        """Label parts of the rules' series."""
        firewall, nat = config.firewall.rules, config.nat.rules
        rooms = shared(self._most, len(firewall), len(nat))
        self._rows = {
            "firewall": _RuleRows.of(config, "firewall", firewall, rooms[0]),
            "nat": _RuleRows.of(config, "nat", nat, rooms[1]),
        }
        self._rows_of = config

    def _lines(self, reading: Reading) -> Iterator[str]:
        edge = ("edge", reading.config.name)
        yield from family("t1edge_build_info", "gauge", "The program that runs.", [([("version", self._version)], 1)])
        yield from _configuration(edge, reading)
        yield from _traffic(edge, reading)
        yield from self._rules(edge, reading.rules)
        yield from _sessions(edge, reading)
        yield from _nat_ports(edge, reading.stats)
        yield from _gauge(edge, "fragments_held", "Fragments that wait for the rest.", reading.stats.fragments_held)
        yield from _gauge(
            edge, "fragments_limit", "How many may, options.maxFragments.", reading.config.options.max_fragments
        )
        yield from family(
            "t1edge_neighbours", "gauge", "Entries of the neighbour table (ARP and ND), by state.",
            (([edge, ("state", state)], count) for state, count in sorted(reading.neighbours.items())),
        )  # fmt: skip
        yield from _counter(edge, "events_lost_total", "Events that nobody fetched in time.", reading.events_lost)
        yield from _counter(
            edge,
            "frames_handed_over_total",
            "Frames that came in at another worker than their own.",
            reading.handed_over,
        )

    def _rules(self, edge: tuple[str, str], counters: Mapping[str, RuleCounters]) -> Iterator[str]:
        for kind, text in (("firewall", "firewall"), ("nat", "NAT")):
            rows = self._rows[kind]
            if rows.hits:
                yield from heading(
                    f"t1edge_{kind}_rule_hits_total",
                    "counter",
                    f"Sessions that a {text} rule decided; packets where there are no sessions.",
                )
                yield "\n".join([f"{line} {counters[rule_id].hits}" for rule_id, line in rows.hits])
                yield from heading(f"t1edge_{kind}_rule_info", "gauge", f"Name of a {text} rule.")
                yield rows.info
        yield from family(
            "t1edge_rule_series_cut", "gauge", "Rules that have no series because there are too many.",
            (([edge, ("kind", kind)], rows.cut) for kind, rows in self._rows.items()),
        )  # fmt: skip


def _gauge(edge: tuple[str, str], name: str, text: str, value: float) -> Iterator[str]:
    return family(f"t1edge_{name}", "gauge", text, [([edge], value)])


def _counter(edge: tuple[str, str], name: str, text: str, value: float) -> Iterator[str]:
    return family(f"t1edge_{name}", "counter", text, [([edge], value)])


def _configuration(edge: tuple[str, str], reading: Reading) -> Iterator[str]:
    yield from _gauge(edge, "config_revision", "Number of the configuration that runs.", reading.revision)
    yield from _gauge(
        edge, "config_unconfirmed", "1 while the configuration waits to be confirmed.", reading.pending_confirmation
    )
    applies = {**dict.fromkeys(APPLY_RESULTS, 0), **reading.applies}
    yield from family(
        "t1edge_config_applies_total", "counter", "Changes of the configuration, by what became of them.",
        (([edge, ("result", result)], count) for result, count in sorted(applies.items())),
    )  # fmt: skip


def _traffic(edge: tuple[str, str], reading: Reading) -> Iterator[str]:
    for what, text in (("packets", "Packets"), ("bytes", "Bytes of IP")):
        yield from family(
            f"t1edge_{what}_total",
            "counter",
            f"{text} that entered (in) or left (out) by a port.",
            (
                ([edge, ("port", port), ("direction", direction)], getattr(counters, f"{verb}_{what}"))
                for port, counters in reading.stats.ports.items()
                for direction, verb in (("in", "received"), ("out", "sent"))
            ),
        )
    yield from family(
        "t1edge_port_up", "gauge", "1 where a port can carry packets, 0 where it cannot.",
        (([edge, ("port", port)], up) for port, up in reading.ports_up.items()),
    )  # fmt: skip
    yield from family(
        "t1edge_link_drops_total", "counter", "Frames and packets that were lost at a port or on its link, by why.",
        (
            ([edge, ("port", port), ("reason", reason)], counters.drops.get(reason, 0))
            for port, counters in reading.links.items()
            for reason in LINK_DROPS
        ),
    )  # fmt: skip
    yield from family(
        "t1edge_address_conflicts_total", "counter", "How often another station claimed an address of the edge's.",
        (([edge, ("port", port)], counters.address_conflicts) for port, counters in reading.links.items()),
    )  # fmt: skip
    yield from family(
        "t1edge_drops_total", "counter", "Packets that were dropped or rejected, by where and why.",
        (
            ([edge, ("stage", stage.name), ("reason", reason.name)], count)
            for (stage, reason), count in sorted({**_NO_DROPS, **reading.stats.drops}.items())
        ),
    )  # fmt: skip
    yield from _counter(
        edge,
        "answers_limited_total",
        "Answers of the edge's own that were kept back, options.icmpErrorRate.",
        reading.stats.answers_limited,
    )


def _sessions(edge: tuple[str, str], reading: Reading) -> Iterator[str]:
    stats = reading.stats
    yield from _gauge(edge, "sessions", "Sessions that are open.", stats.sessions_open)
    yield from _gauge(edge, "sessions_limit", "How many may be open, options.maxSessions.", stats.sessions_limit)
    yield from _gauge(edge, "sessions_half_open", "TCP sessions whose handshake is not complete.", stats.half_open)
    yield from _gauge(
        edge,
        "sessions_half_open_limit",
        "How many of those there may be, options.maxHalfOpen.",
        reading.config.options.max_half_open,
    )
    yield from _counter(edge, "sessions_created_total", "Sessions that began.", stats.sessions_created)


def _nat_ports(edge: tuple[str, str], stats: Stats) -> Iterator[str]:
    """All external addresses together, and how full the fullest is, since a full one does not show in the sum."""
    use = list(stats.nat_addresses.values())
    yield from _gauge(
        edge, "nat_ports_used", "Sessions that hold an external address of SNAT.", sum(used for used, _ in use)
    )
    yield from _gauge(
        edge,
        "nat_ports_limit",
        "Ports of all external addresses of SNAT, as one remote endpoint sees them.",
        sum(limit for _, limit in use),
    )
    yield from _gauge(
        edge,
        "nat_ports_used_max_ratio",
        "Sessions to ports of the external address of SNAT that is used most.",
        max((used / limit for used, limit in use if limit), default=0),
    )
