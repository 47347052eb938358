"""The engine's integers as the values of :mod:`edge.state` and :mod:`edge.verdicts`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import Any

from edge.addresses import AddressRange, PortRange
from edge.bindings import Address
from edge.model import EdgeConfig
from edge.routing.compile import PortKind
from edge.state import (
    LIMIT_NAMES,
    LimitReached,
    NextSegment,
    PacketLogged,
    SessionEndCause,
    SessionEnded,
    SessionInfo,
    SessionMatch,
    SessionStarted,
    state_text,
)
from edge.verdicts import Endpoints, Fragmentation, Outcome, Output, Reason, Stage, Step, StepResult, Verdict
from native import control

RawEndpoints = tuple[int, int, int, int, int]
RawMatch = tuple[int, int, int, int, int, int, int, int]
RawNext = tuple[int, int, int]
RawOutput = tuple[int, bytes, bool, tuple[bytes, ...], tuple[int, int, int] | None]
RawStep = tuple[
    int, int, int | None, int | None, RawEndpoints | None, RawEndpoints | None, bool, int | None, int | None
]
RawSession = tuple[
    int,
    int,
    int | None,
    int,
    int,
    RawEndpoints,
    RawEndpoints,
    int,
    int,
    int | None,
    int | None,
    int | None,
    int,
    int,
    int,
    tuple[int, int],
    tuple[int, int],
    tuple[RawNext | None, RawNext | None],
]

VERDICTS, REASONS = tuple(Verdict), tuple(Reason)  # by number

DROPPED_AT = {
    Reason.FW_RULE: Stage.FIREWALL,
    Reason.FW_DEFAULT: Stage.FIREWALL,
    Reason.FW_SYSTEM: Stage.FIREWALL,
    Reason.TCP_STRICT: Stage.FIREWALL,
    Reason.TCP_WINDOW: Stage.SESSION,
    Reason.TCP_STATE: Stage.FIREWALL,  # or SESSION, which is counted apart
    Reason.ICMP_UNRELATED: Stage.FIREWALL,
    Reason.PROVIDER_FILTER: Stage.PROVIDER_FILTER,
    Reason.NO_ROUTE: Stage.ROUTE,
    Reason.TTL_EXPIRED: Stage.ROUTE,
    Reason.TOO_BIG: Stage.ROUTE,
    Reason.ISOLATED: Stage.ROUTE,
    Reason.MALFORMED: Stage.PARSE,
    Reason.BAD_CHECKSUM: Stage.PARSE,
    Reason.FRAGMENT_ERROR: Stage.REASSEMBLY,
    Reason.SESSION_LIMIT: Stage.SESSION,
    Reason.NAT_PORTS_EXHAUSTED: Stage.NAT,
    Reason.NAT_COLLISION: Stage.NAT,
    Reason.NOT_IP: Stage.PARSE,
    Reason.MULTICAST: Stage.ROUTE,
    Reason.MARTIAN: Stage.ROUTE,
    Reason.FRAGMENT_LIMIT: Stage.REASSEMBLY,
}
"""Where a packet is that is dropped or rejected for a reason."""


class Running:
    """A configuration that runs, or could, and what is asked of it often.

    ``kinds`` are the ports by name, in the order of their numbers; ``addresses`` those of its SNAT pools;
    ``firewall_ids`` are of all rules of its firewall.
    """

    def __init__(
        self,
        config: EdgeConfig,
        revision: int,
        kinds: dict[str, PortKind],
        addresses: set[Address],
        firewall_ids: AbstractSet[str],
    ) -> None:
        self.config = config
        self.revision = revision
        self.kinds = kinds
        self.addresses = addresses
        self.ports = list(kinds)
        self.numbers = {name: number for number, name in enumerate(kinds)}
        self.firewall_ids = firewall_ids
        self.nat_ids = frozenset(rule.id for rule in config.nat.rules)

    def knows(self, rule_id: str | None) -> bool:
        """Is there a rule with that id, be it a disabled one?"""
        return rule_id in self.firewall_ids or rule_id in self.nat_ids

    def rule_ids(self) -> Iterator[str]:
        """Ids of all rules of the firewall and of NAT."""
        return chain(self.firewall_ids, self.nat_ids)

    def number_of_kind(self, name: str, kind: PortKind) -> int | None:
        """A port's number, None where there is none of that name and kind."""
        return self.numbers[name] if self.kinds.get(name) == kind else None

    @cached_property
    def address_texts(self) -> list[tuple[str, Address]]:
        """The addresses of its SNAT pools as people write them, in order."""
        return [(str(make_address(*address)), address) for address in sorted(self.addresses)]

    @cached_property
    def port_limit(self) -> int:
        """How many ports of an external address one remote endpoint can be given at most: by TCP or by UDP, of which
        the provider blocks fewer."""
        options = self.config.options
        rows = {protocol: [row for row in options.provider_filter if row.protocol == protocol] for protocol in (6, 17)}
        return max(
            free_ports(options.snat_port_range, (ports for row in rows[protocol] for ports in row.ports))
            for protocol in rows
        )


def free_ports(ports: PortRange, blocked: Iterable[PortRange]) -> int:
    """How many ports are not blocked."""
    taken: set[int] = set()
    for item in blocked:
        taken.update(range(max(ports.first, item.first), min(ports.last, item.last) + 1))
    return ports.size - len(taken)


@lru_cache(maxsize=8192)
def make_address(family: int, number: int) -> IPv4Address | IPv6Address:
    """An address of a family; the same few come again and again."""
    return IPv4Address(number) if family == 4 else IPv6Address(number)


def endpoints(raw: RawEndpoints) -> Endpoints:
    """Addresses and ports."""
    family, src, sport, dst, dport = raw
    return Endpoints(make_address(family, src), sport, make_address(family, dst), dport)


def outcome(
    raw: tuple[int, int, list[RawStep], RawOutput | None], running: Running, slot_ids: Sequence[str]
) -> Outcome:
    """All that a packet did."""
    verdict, reason, steps, left = raw
    outputs = () if left is None else (output(left, running),)
    told = tuple(step(item, running, slot_ids) for item in steps)
    return Outcome(Verdict(verdict), Reason(reason), told, outputs)


def output(raw: RawOutput, running: Running) -> Output:
    """What left."""
    port, frame, hairpin, fragments, came = raw
    fragmentation = None if came is None else Fragmentation(*came)
    return Output(running.ports[port], frame, bool(hairpin), fragments, fragmentation)


def step(raw: RawStep, running: Running, slot_ids: Sequence[str]) -> Step:
    """A step, with the ids of those rules that the configuration still has."""
    stage, result, slot, port, after, saw, logged, *nat_slots = raw
    rule_id, *nat_ids = (known_id(item, running, slot_ids) for item in (slot, *nat_slots))
    return Step(
        stage=Stage(stage),
        result=StepResult(result),
        rule_id=rule_id,
        port=None if port is None else running.ports[port],
        after=None if after is None else endpoints(after),
        saw=None if saw is None else endpoints(saw),
        logged=logged,
        nat_rule_ids=tuple(dict.fromkeys(nat_id for nat_id in nat_ids if nat_id is not None)),
    )


def known_id(slot: int | None, running: Running, slot_ids: Sequence[str]) -> str | None:
    """Id of the rule with a slot; None for none, and for one that the configuration no longer has."""
    rule_id = None if slot is None else slot_ids[slot]
    return rule_id if running.knows(rule_id) else None


def wanted(match: SessionMatch, running: Running, slots: Mapping[str, int]) -> RawMatch | None:
    """What the engine compares sessions with; None for a port or rule that it has never heard of."""
    given = match.address
    if given is not None and not isinstance(given, AddressRange):
        given = AddressRange.of_network(given)
    port = -1 if match.port is None else running.numbers.get(match.port)
    rule = -1 if match.rule_id is None else slots.get(match.rule_id)
    if port is None or rule is None:
        return None
    return (
        -1 if match.protocol is None else match.protocol,
        0 if given is None else given.version,
        0 if given is None else int(given.first),
        0 if given is None else int(given.last),
        -1 if match.port_number is None else match.port_number,
        port,
        rule,
        match.before_revision or 0,
    )


def session_info(raw: RawSession, running: Running, slot_ids: Sequence[str]) -> SessionInfo:
    """A session whose ports have the numbers that they had when ``running`` ran."""
    number, protocol, icmp_type, in_port, out_port, original, translated, first, second = raw[:9]
    firewall, dnat, snat, revision, created, expires, packets, size, following = raw[9:]
    return SessionInfo(
        number,
        protocol,
        icmp_type,
        running.ports[in_port],
        running.ports[out_port],
        endpoints(original),
        endpoints(translated),
        state_text(protocol, first, second),
        None if firewall is None else slot_ids[firewall],
        None if dnat is None else slot_ids[dnat],
        None if snat is None else slot_ids[snat],
        revision,
        created,
        expires,
        packets,
        size,
        (next_segment(following[0]), next_segment(following[1])),
    )


def next_segment(raw: RawNext | None) -> NextSegment | None:
    """What one end of a session would send next."""
    return None if raw is None else NextSegment(*raw)


@dataclass(frozen=True, slots=True)
class SessionRun:
    """Sessions that began or ended one after the other while ``running`` ran: ``count`` of the engine's records, from
    number ``first`` on.  There may be very many: what is to be told of each is made when somebody asks."""

    records: bytes
    first: int
    count: int
    running: Running
    slot_ids: list[str]

    def __len__(self) -> int:
        return self.count

    def part(self, begin: int, end: int) -> SessionRun:
        """Some of them."""
        begin, end, _ = slice(begin, end).indices(self.count)
        return replace(self, first=self.first + begin, count=max(end - begin, 0))

    def told(self) -> Iterator[SessionStarted | SessionEnded]:
        """The events as everybody else knows them."""
        for started, now_ns, cause, raw in control.decode_session_events(self.records, self.first, self.count):
            info = session_info(raw, self.running, self.slot_ids)
            yield SessionStarted(now_ns, info) if started else SessionEnded(now_ns, info, SessionEndCause(cause))


RawEvent = SessionRun | PacketLogged | LimitReached


def runtime_events(raw: bytes, running: Running, slot_ids: list[str]) -> Iterator[RawEvent]:
    """Events that were taken while ``running`` ran."""
    for kind, now_ns, what in control.decode_events(raw):
        if kind == control.SESSIONS:
            yield SessionRun(raw, what[0], what[1], running, slot_ids)
        elif kind == control.LOGGED:
            yield packet_logged(now_ns, what, running, slot_ids)
        else:
            limit, reached, family, number = what
            address = str(make_address(family, number)) if family else None
            yield LimitReached(now_ns, LIMIT_NAMES[limit], address, bool(reached))


def packet_logged(now_ns: int, what: tuple[Any, ...], running: Running, slot_ids: Sequence[str]) -> PacketLogged:
    """A packet that a rule with logging decided about."""
    in_port, head, verdict, reason, protocol, slot, revision, stage, result, saw, after = what
    judged = endpoints(saw)
    step = Step(
        Stage(stage),
        StepResult(result),
        rule_id=slot_ids[slot],
        after=None if after is None else endpoints(after),
        saw=judged if stage == Stage.FIREWALL else None,
        logged=True,
    )
    return PacketLogged(
        now_ns, running.ports[in_port], head, protocol, Verdict(verdict), Reason(reason), revision, judged, step
    )
