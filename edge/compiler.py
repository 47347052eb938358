"""EdgeConfig → flat tables of every feature, and those → a native Program: the only caller of native builders."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from edge.collector import collector_paused
from edge.firewall.compile import FirewallTables, compile_firewall
from edge.firewall.config import FirewallConfig
from edge.firewall.overlay import FirewallBase, FirewallOverlay, overlaid
from edge.model import EdgeConfig, Options, SessionsOnChange, Timers
from edge.nat.compile import NatTables, compile_nat
from edge.routing.compile import RoutingTables, compile_routing
from edge.routing.links import LinkTables, compile_links

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class OptionTables:
    """Switches as numbers; timers in the order of ``native/kinds.pxd``."""

    timers_ns: tuple[int, ...]
    blocked: tuple[list[tuple[int, int]], list[tuple[int, int]]]
    """Provider filter: first and last ports for TCP and for UDP."""
    provider_filter: bool
    tcp_strict: bool
    east_west_firewall: bool
    recheck: bool
    reject_code: int
    mtu: int
    icmp_error_interval_ns: int
    snat_first: int
    snat_count: int
    max_sessions: int
    max_half_open: int
    max_sessions_per_source: int
    """0: no limit."""
    endpoint_independent: bool
    hairpin_inside: bool
    max_fragments: int
    fragment_timeout_ns: int


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything the native program is built from."""

    routing: RoutingTables
    links: LinkTables
    firewall: FirewallTables
    nat: NatTables
    options: OptionTables
    overlay: FirewallOverlay | None = None
    """What has changed since ``firewall`` was compiled."""

    def rule_ids(self, like: Tables | None = None) -> list[str]:
        """Ids of the firewall and NAT rules that have counters; without those of the firewall's tables that are
        ``like``'s, too."""
        rules = [] if like is not None and self.firewall is like.firewall else self.firewall.ids
        added = [] if self.overlay is None else self.overlay.added.ids
        return [*rules, *added, *(row.id for row in self.nat.rules)]

    def pool_addresses(self) -> set[tuple[int, int]]:
        """(family, address) of every address of an SNAT pool."""
        return {
            (row.family, address)
            for row in self.nat.rules
            for address in range(row.external, row.external + row.pool_size)
        }


def timer_row(timers: Timers) -> tuple[int, ...]:
    """Nanoseconds, in the order of the Timer enum."""
    return tuple(
        SECOND_NS * seconds
        for seconds in (
            timers.tcp_first,
            timers.tcp_opening,
            timers.tcp_established,
            timers.tcp_fin_wait,
            timers.tcp_closing,
            timers.tcp_closed,
            timers.udp_first,
            timers.udp_single,
            timers.udp_multiple,
            timers.icmp_first,
            timers.icmp_error_reply,
            timers.other,
        )
    )


def compile_options(options: Options) -> OptionTables:
    """Switches as the packet path reads them."""

    def blocked(protocol: int) -> list[tuple[int, int]]:
        rows = (row for row in options.provider_filter if row.protocol == protocol)
        return [(ports.first, ports.last) for row in rows for ports in row.ports]

    return OptionTables(
        timers_ns=timer_row(options.timers),
        blocked=(blocked(6), blocked(17)),
        provider_filter=bool(options.provider_filter),
        tcp_strict=options.tcp_strict,
        east_west_firewall=options.east_west_firewall,
        recheck=options.sessions_on_change is SessionsOnChange.RECHECK,
        reject_code=options.reject_code,
        mtu=options.mtu,
        icmp_error_interval_ns=SECOND_NS // options.icmp_error_rate if options.icmp_error_rate else 0,
        snat_first=options.snat_port_range.first,
        snat_count=options.snat_port_range.size,
        max_sessions=options.max_sessions,
        max_half_open=options.max_half_open,
        max_sessions_per_source=options.max_sessions_per_source or 0,
        endpoint_independent=options.endpoint_independent,
        hairpin_inside=options.hairpin_inside,
        max_fragments=options.max_fragments,
        fragment_timeout_ns=options.fragment_timeout * SECOND_NS,
    )


@dataclass(frozen=True, slots=True)
class Compiled:
    """A configuration, its tables, and what the next one's are made from where little has changed."""

    config: EdgeConfig
    tables: Tables
    base: FirewallBase
    firewall_ids: AbstractSet[str]
    """Of all rules of the firewall."""

    @classmethod
    def of(cls, config: EdgeConfig, tables: Tables) -> Compiled:
        """``tables`` are those of the configuration, with nothing laid over them."""
        base = FirewallBase.of(config.firewall.rules, tables.firewall)
        return cls(config, tables, base, base.ids)

    def over(self, base: FirewallBase) -> Compiled:
        """What the next configuration's tables are made from where its rules are laid over another base."""
        return replace(self, tables=replace(self.tables, firewall=base.tables, overlay=None), base=base)


def compile_tables(config: EdgeConfig) -> Tables:
    """Flatten a configuration.  Pure; may be run anywhere, any number of times."""
    with collector_paused():
        return Tables(
            routing=compile_routing(config.routing),
            links=compile_links(config.routing, config.nat),
            firewall=compile_firewall(config.firewall),
            nat=compile_nat(config.nat, config.options.snat_service_port),
            options=compile_options(config.options),
        )


def compile_change(config: EdgeConfig, before: Compiled | None) -> Compiled:
    """As :func:`compile_tables`, with the tables of the configuration before it for all that has not changed: they are
    the same objects.  Of few changed rules of the firewall among many, only those are compiled."""
    if before is None:
        return Compiled.of(config, compile_tables(config))
    old, was = before.tables, before.config
    with collector_paused():
        same_routing, same_nat = config.routing == was.routing, config.nat == was.nat
        same_port = config.options.snat_service_port is was.options.snat_service_port
        base, overlay, ids = _firewall(before.base, config.firewall)
        tables = Tables(
            routing=old.routing if same_routing else compile_routing(config.routing),
            links=old.links if same_routing and same_nat else compile_links(config.routing, config.nat),
            firewall=base.tables,
            nat=old.nat if same_nat and same_port else compile_nat(config.nat, config.options.snat_service_port),
            options=old.options if config.options == was.options else compile_options(config.options),
            overlay=overlay,
        )
    return Compiled(config, tables, base, ids)


def _firewall(
    before: FirewallBase, config: FirewallConfig
) -> tuple[FirewallBase, FirewallOverlay | None, AbstractSet[str]]:
    """The base of a firewall, what lies over it, and the ids of its rules."""
    laid = overlaid(before, config)
    if laid is None:
        base = FirewallBase.of(config.rules, compile_firewall(config))
        return base, None, base.ids
    overlay, ids = laid
    if overlay is None or overlay.may_lie:
        return before, overlay, ids
    return before.merged(overlay, config.rules, ids), None, ids
