"""Prometheus metrics of a served edge, read from its counters when somebody scrapes.

The text format is written here rather than by prometheus-client's registry: a series of a rule costs a tenth of what a
``Sample`` costs there, and its label part is made once per configuration.  The process's own metrics come from that
package.  Families and labels are a contract (``docs/observability.md`` lists them); labels never hold an address, a
port number or free text, the name of a rule being in an ``_info`` series of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edge.model import EdgeConfig
    from edge.state import RuleCounters, Stats

MAX_RULE_SERIES = 2_000
"""Rules of an edge, firewall and NAT together, that have series of their own."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that one scrape tells of an edge, taken at one burst boundary.

    ``applies`` counts changes of the configuration by result (applied, invalid, refused, failed, not_confirmed);
    ``neighbours`` entries by state; ``ports_up`` says which ports can carry packets; the rest is totals.
    """

    config: EdgeConfig
    revision: int
    stats: Stats
    rules: Mapping[str, RuleCounters]
    applies: Mapping[str, int] = field(default_factory=dict)
    neighbours: Mapping[str, int] = field(default_factory=dict)
    ports_up: Mapping[str, bool] = field(default_factory=dict)
    events_lost: int = 0
    pending_confirmation: bool = False


class Source(Protocol):
    """Whoever can be read."""

    def reading(self) -> Reading:
        """The counters as they are now."""


Labels = Sequence[tuple[str, str]]
Sample = tuple[Labels, float]


def escaped(text: str) -> str:
    """A label's value as the text format wants it."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def labelled(name: str, labels: Labels) -> str:
    """A series without its value."""
    inner = ",".join(f'{key}="{escaped(value)}"' for key, value in labels)
    return f"{name}{{{inner}}}" if inner else name


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one family; none where it has no samples."""
    lines = [f"{labelled(name, labels)} {value:.17g}" for labels, value in samples]
    if lines:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
        yield from lines


@dataclass(frozen=True, slots=True)
class _RuleRows:
    """The series of one kind of rule, their label parts made once: (rule id, line up to the value)."""

    hits: tuple[tuple[str, str], ...]
    info: tuple[str, ...]


class Exposition:
    """The text that ``/metrics`` answers."""

    def __init__(self, source: Source, *, version: str, max_rule_series: int = MAX_RULE_SERIES) -> None:
        self._source = source
        self._version = version
        self._most = max_rule_series
        self._rows_of: EdgeConfig | None = None
        self._rows: dict[str, _RuleRows] = {}
        self._cut = 0

    def text(self) -> str:
        """All series."""
        reading = self._source.reading()
        if reading.config is not self._rows_of:
            self._prepare(reading.config)
        lines = [*self._lines(reading), ""]
        return "\n".join(lines)

    def _prepare(self, config: EdgeConfig) -> None:
        """Label parts of the rules' series; the first of them where there are too many."""
        left = self._most
        self._rows = {}
        for kind, rules in (("firewall", config.firewall.rules), ("nat", config.nat.rules)):
            taken = rules[:left]
            left -= len(taken)
            hits, info = f"t1edge_{kind}_rule_hits_total", f"t1edge_{kind}_rule_info"
            edge = ("edge", config.name)
            self._rows[kind] = _RuleRows(
                tuple((rule.id, labelled(hits, (edge, ("rule_id", rule.id)))) for rule in taken),
                tuple(f"{labelled(info, (edge, ('rule_id', rule.id), ('name', rule.name)))} 1" for rule in taken),
            )
        self._cut = len(config.firewall.rules) + len(config.nat.rules) - (self._most - left)
        self._rows_of = config

    def _lines(self, reading: Reading) -> Iterator[str]:
        edge = ("edge", reading.config.name)
        stats = reading.stats
        one = [edge]

        def gauge(name: str, text: str, value: float) -> Iterator[str]:
            return family(f"t1edge_{name}", "gauge", text, [(one, value)])

        def counter(name: str, text: str, value: float) -> Iterator[str]:
            return family(f"t1edge_{name}", "counter", text, [(one, value)])

        yield from family("t1edge_build_info", "gauge", "The program that runs.", [([("version", self._version)], 1)])
        yield from gauge("config_revision", "Number of the configuration that runs.", reading.revision)
        yield from gauge(
            "config_unconfirmed", "1 while the configuration waits to be confirmed.", reading.pending_confirmation
        )
        yield from family(
            "t1edge_config_applies_total", "counter", "Changes of the configuration that were asked for, by result.",
            (([edge, ("result", result)], count) for result, count in sorted(reading.applies.items())),
        )  # fmt: skip
        yield from self._traffic(edge, stats)
        yield from family(
            "t1edge_port_up", "gauge", "1 where a port can carry packets.",
            (([edge, ("port", port)], up) for port, up in reading.ports_up.items()),
        )  # fmt: skip
        yield from family(
            "t1edge_drops_total", "counter", "Packets that came to nothing, by where and why.",
            (
                ([edge, ("stage", stage.name), ("reason", reason.name)], count)
                for (stage, reason), count in sorted(stats.drops.items())
            ),
        )  # fmt: skip
        yield from self._rules(reading.rules)
        yield from gauge("sessions", "Sessions that are open.", stats.sessions_open)
        yield from gauge("sessions_limit", "How many may be open, options.maxSessions.", stats.sessions_limit)
        yield from gauge(
            "sessions_half_open", "TCP sessions whose handshake is not complete.", stats.half_open
        )
        yield from gauge(
            "sessions_half_open_limit", "How many of those there may be, options.maxHalfOpen.",
            reading.config.options.max_half_open,
        )  # fmt: skip
        yield from counter("sessions_created_total", "Sessions that began.", stats.sessions_created)
        used, limit = (sum(column) for column in zip((0, 0), *stats.nat_addresses.values(), strict=True))
        yield from gauge("nat_ports_used", "Sessions that hold an external address of SNAT.", used)
        yield from gauge(
            "nat_ports_limit", "Ports of all external addresses of SNAT, as one remote endpoint sees them.", limit
        )
        yield from counter("answers_limited_total", "Answers kept back, options.icmpErrorRate.", stats.answers_limited)
        yield from gauge("fragments_held", "Fragments that wait for the rest.", stats.fragments_held)
        yield from gauge("fragments_limit", "How many may, options.maxFragments.", reading.config.options.max_fragments)
        yield from family(
            "t1edge_neighbours", "gauge", "Entries of the neighbour table (ARP and ND), by state.",
            (([edge, ("state", state)], count) for state, count in sorted(reading.neighbours.items())),
        )  # fmt: skip
        yield from counter("events_lost_total", "Events that nobody fetched in time.", reading.events_lost)

    def _traffic(self, edge: tuple[str, str], stats: Stats) -> Iterator[str]:
        for what, text in (("packets", "Packets"), ("bytes", "Bytes of IP")):
            yield from family(
                f"t1edge_{what}_total",
                "counter",
                f"{text} that entered (in) or left (out) by a port.",
                (
                    ([edge, ("port", port), ("direction", direction)], getattr(counters, f"{verb}_{what}"))
                    for port, counters in stats.ports.items()
                    for direction, verb in (("in", "received"), ("out", "sent"))
                ),
            )

    def _rules(self, counters: Mapping[str, RuleCounters]) -> Iterator[str]:
        for kind, text in (("firewall", "firewall"), ("nat", "NAT")):
            rows = self._rows[kind]
            if rows.hits:
                name = f"t1edge_{kind}_rule_hits_total"
                yield f"# HELP {name} Sessions that a {text} rule decided; packets where there are no sessions."
                yield f"# TYPE {name} counter"
                yield from (f"{line} {counters[rule_id].hits}" for rule_id, line in rows.hits)
                yield f"# HELP t1edge_{kind}_rule_info Name of a {text} rule."
                yield f"# TYPE t1edge_{kind}_rule_info gauge"
                yield from rows.info
        yield "# HELP t1edge_rule_series_cut Rules that have no series because there are too many."
        yield "# TYPE t1edge_rule_series_cut gauge"
        yield f"t1edge_rule_series_cut {self._cut}"
