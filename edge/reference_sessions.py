"""The reference's sessions: two keys each, the states of both sides, and when they end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from edge.addresses import IPAddress
from edge.model import Timers
from edge.reference_expect import Expectations
from edge.reference_shift import Shift
from edge.reference_window import Windows, segment_of
from edge.reference_wire import ACK, FIN, ICMP_KINDS, RST, SYN, Flow, Kind, Packet, endpoints
from edge.routing.reference import Port
from edge.state import SessionInfo, state_text

ORIGINAL, REPLY = 0, 1
SECOND = 1_000_000_000

Key = tuple[Flow, int]
"""A flow and the side (:attr:`Port.side`) that its packets enter by."""


class MappingKey(NamedTuple):
    """Whose mapping: an endpoint inside (for ICMP queries with the identifier as its port) under an SNAT rule."""

    protocol: int
    address: IPAddress
    port: int
    rule_id: str


class External(NamedTuple):
    """What an endpoint is mapped to."""

    protocol: int
    address: IPAddress
    port: int


class TcpState(IntEnum):
    """Of one side; BSD's numbers.  The states in between are never entered here, but comparisons hold."""

    CLOSED = 0
    SYN_SENT = 2
    ESTABLISHED = 4
    CLOSING = 7
    FIN_WAIT_2 = 9
    TIME_WAIT = 10


NO_TRAFFIC, SINGLE, MULTIPLE = 0, 1, 2  # one side of a UDP session


@dataclass(frozen=True, slots=True)
class Admission:
    """Ids of the rules that let a session in, and under which revision.  ``named`` is the one that hits are credited
    to in traces: the firewall's or, where that was bypassed, NAT's."""

    revision: int
    named: str | None
    firewall: str | None
    dnat: str | None
    snat: str | None

    @property
    def rules(self) -> set[str]:
        """Every rule that counts the session's packets."""
        return {rule for rule in (self.firewall, self.dnat, self.snat) if rule is not None}


@dataclass(slots=True)
class Session:
    """One session.  Pairs are (original direction, replies).

    ``original`` entered by ``ports[0]``; ``translated`` is what left by ``ports[1]``.  ``pool_address`` is the SNAT
    address that it holds, ``mapping`` the endpoint-independent mapping that it is of.  ``windows`` is None where
    sequence numbers are not checked: without TCP, and where the beginning was not seen.  ``alg`` is the helper that
    reads its payload, '' for none; ``shifts`` is what that has made of each side's sequence numbers.  ``calls_back``:
    one had announced it to the address that it bears, so that an uplink's own leads out of a distributed network.
    """

    kind: Kind
    icmp_type: int | None
    original: Flow
    translated: Flow
    ports: tuple[Port, Port]
    pool_address: IPAddress | None
    created_ns: int
    admission: Admission
    expires_ns: int = 0
    noted_ns: int = 0  # when it is to be looked at, never later than it expires
    id: int = 0  # given by the table
    windows: Windows | None = None
    mapping: MappingKey | None = None
    alg: str = ""
    calls_back: bool = False
    shifts: tuple[Shift, Shift] = field(default_factory=lambda: (Shift(), Shift()))
    states: list[int] = field(default_factory=lambda: [0, 0])
    packets: list[int] = field(default_factory=lambda: [0, 0])
    bytes: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def keys(self) -> tuple[Key, Key]:
        """What packets of it look like: in the original direction, and answers to what was sent on."""
        return (self.original, self.ports[0].side), (self.translated.reversed(), self.ports[1].side)

    @property
    def closed(self) -> bool:
        """A TCP session that both ends have finished."""
        return self.kind is Kind.TCP and min(self.states) >= TcpState.FIN_WAIT_2

    @property
    def established(self) -> bool:
        """A TCP session whose handshake is over, perhaps long since."""
        return self.kind is Kind.TCP and min(self.states) >= TcpState.ESTABLISHED

    @property
    def half_open(self) -> bool:
        """A TCP session whose handshake is not over."""
        return self.kind is Kind.TCP and not self.established

    def finished(self, side: int) -> bool:
        """A side of a TCP session that has sent FIN, or was reset."""
        return self.kind is Kind.TCP and self.states[side] >= TcpState.CLOSING

    def leaves_as(self, direction: int) -> Flow:
        """What a packet of a direction is rewritten to."""
        return self.translated if direction == ORIGINAL else self.original.reversed()

    def leaves_by(self, direction: int) -> Port:
        """Where a packet of a direction goes."""
        return self.ports[1 - direction]

    def first_packet(self) -> Packet:
        """The packet that made it, as far as rules can tell: a SYN, an ICMP message of its type, or just its flow."""
        syn = SYN if self.kind is Kind.TCP else 0
        code = self.original.dport & 0xFF if self.kind is Kind.ICMP_OTHER else 0
        icmp_code = None if self.icmp_type is None else code
        return Packet(b"", 0, 64, self.kind, self.original, syn, self.icmp_type, icmp_code)

    def info(self) -> SessionInfo:
        """What the outside is told."""
        return SessionInfo(
            id=self.id,
            protocol=self.original.protocol,
            icmp_type=self.icmp_type,
            in_port=self.ports[ORIGINAL].name,
            out_port=self.ports[REPLY].name,
            original=endpoints(self.kind, self.original),
            translated=endpoints(self.kind, self.translated),
            state=state_text(self.original.protocol, *self.states),
            firewall_rule_id=self.admission.firewall,
            dnat_rule_id=self.admission.dnat,
            snat_rule_id=self.admission.snat,
            revision=self.admission.revision,
            created_ns=self.created_ns,
            expires_ns=self.expires_ns,
            packets=(self.packets[0], self.packets[1]),
            bytes=(self.bytes[0], self.bytes[1]),
        )

    # --- states and timers ---

    def open(self, packet: Packet, timers: Timers, now_ns: int) -> None:
        """The first packet, from the originator."""
        if self.kind is Kind.TCP:
            seconds = timers.tcp_first
            self.states = [TcpState.SYN_SENT if packet.is_opening else TcpState.ESTABLISHED, TcpState.CLOSED]
            if packet.tcp_flags & RST:
                self.states = [TcpState.TIME_WAIT, TcpState.TIME_WAIT]
            elif packet.tcp_flags & FIN:
                self.states[ORIGINAL] = TcpState.CLOSING
            if packet.is_opening:
                self.windows = Windows(segment_of(packet))
        elif self.kind is Kind.UDP:
            seconds = timers.udp_first
            self.states = [SINGLE, NO_TRAFFIC]
        else:
            seconds = timers.icmp_first if self.kind in ICMP_KINDS else timers.other
        self.expires_ns = self.noted_ns = now_ns + seconds * SECOND

    def track(self, direction: int, packet: Packet, timers: Timers, now_ns: int) -> None:
        """One more packet, in either direction."""
        if self.kind is Kind.TCP:
            if self.windows is not None:
                self.windows.advance(direction, segment_of(packet))
            self._track_tcp(direction, packet.tcp_flags)
            seconds = tcp_timer(self.states, timers)
        elif self.kind is Kind.UDP:
            self._track_udp(direction)
            seconds = timers.udp_multiple if self.states == [MULTIPLE, MULTIPLE] else timers.udp_single
        else:
            seconds = timers.icmp_error_reply if self.kind in ICMP_KINDS else timers.other
        self.expires_ns = now_ns + seconds * SECOND
        self.noted_ns = min(self.noted_ns, self.expires_ns)

    def _track_tcp(self, me: int, flags: int) -> None:
        states, peer = self.states, 1 - me
        if flags & RST:
            states[me] = states[peer] = TcpState.TIME_WAIT
            return
        if flags & SYN and states[me] < TcpState.SYN_SENT:
            states[me] = TcpState.SYN_SENT
        if flags & FIN and states[me] < TcpState.CLOSING:
            states[me] = TcpState.CLOSING
        if flags & ACK:
            if states[peer] == TcpState.SYN_SENT:
                states[peer] = TcpState.ESTABLISHED
            elif states[peer] == TcpState.CLOSING:
                states[peer] = TcpState.FIN_WAIT_2
        if not flags & SYN and states[me] == TcpState.CLOSED:
            states[me] = TcpState.ESTABLISHED

    def _track_udp(self, me: int) -> None:
        peer = 1 - me
        if self.states[me] == NO_TRAFFIC:
            self.states[me] = SINGLE
        if self.states[peer] == SINGLE:
            self.states[peer] = MULTIPLE


def tcp_timer(states: list[int], timers: Timers) -> int:
    """How many seconds a TCP session in these states may be idle."""
    if min(states) >= TcpState.FIN_WAIT_2:
        return timers.tcp_closed
    if min(states) >= TcpState.CLOSING:
        return timers.tcp_fin_wait
    if min(states) < TcpState.ESTABLISHED:
        return timers.tcp_opening
    return timers.tcp_closing if max(states) >= TcpState.CLOSING else timers.tcp_established


@dataclass(slots=True)
class Mapping:
    """An external endpoint, and how many live sessions use it: with the last of them it is gone."""

    external: External
    sessions: int = 0


class SessionTable:
    """Sessions that have not ended by both of their keys, the mappings that they make, and what they expect.

    The time of some may be over already: :class:`edge.reference_trip.State` says when those end.
    """

    def __init__(self) -> None:
        self._by_key: dict[Key, tuple[Session, int]] = {}
        self._sessions: dict[int, Session] = {}  # in order of creation
        self._mappings: dict[MappingKey, Mapping] = {}  # in order of creation
        self.expectations = Expectations()
        self.created = 0
        self.peak = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def find(self, key: Key) -> tuple[Session, int] | None:
        """The session with this key, and which direction the key is."""
        return self._by_key.get(key)

    def can_tell(self, original: Key, reply: Key) -> bool:
        """True when the keys of a session differ, and what leaves is not the answer to itself."""
        return original != reply and reply[0] != reply[0].reversed()

    def can_hold(self, original: Key, reply: Key) -> bool:
        """True when besides both keys are free."""
        return self.can_tell(original, reply) and original not in self._by_key and reply not in self._by_key

    def add(self, session: Session) -> None:
        """Take in a session whose keys are free."""
        for direction, key in enumerate(session.keys):
            self._by_key[key] = (session, direction)
        self.created += 1
        session.id = self.created
        self._sessions[session.id] = session
        if session.mapping is not None:
            external = External(session.mapping.protocol, session.translated.src, session.translated.sport)
            self._mappings.setdefault(session.mapping, Mapping(external)).sessions += 1
        self.peak = max(self.peak, len(self))

    def end(self, session: Session) -> None:
        """Forget a session, and what it expects."""
        for key in session.keys:
            del self._by_key[key]
        del self._sessions[session.id]
        if session.mapping is not None:
            mapping = self._mappings[session.mapping]
            mapping.sessions -= 1
            if mapping.sessions == 0:
                del self._mappings[session.mapping]
        self.expectations.end(session)

    def next_look(self, now_ns: int) -> Session | None:
        """The session that is to be looked at next, if one is due."""
        due = (session for session in self._sessions.values() if session.noted_ns <= now_ns)
        return min(due, key=lambda session: (session.noted_ns, session.id), default=None)

    def half_open(self) -> int:
        """How many sessions are in their handshake."""
        return sum(session.half_open for session in self)

    def holders(self, address: IPAddress) -> int:
        """How many sessions hold an SNAT address."""
        return sum(session.pool_address == address for session in self)

    def of_source(self, address: IPAddress) -> int:
        """How many sessions an address began."""
        return sum(session.original.src == address for session in self)

    def mapped(self, key: MappingKey) -> External | None:
        """What an endpoint is mapped to."""
        mapping = self._mappings.get(key)
        return None if mapping is None else mapping.external

    def paired(self, address: IPAddress, rule_id: str) -> IPAddress | None:
        """The external address of the oldest mapping of an internal one under a rule."""
        whose = ((key.address, key.rule_id) for key in self._mappings)
        found = zip(whose, self._mappings.values(), strict=True)
        return next((mapping.external.address for who, mapping in found if who == (address, rule_id)), None)

    def is_mapped_to(self, external: External) -> bool:
        """True when some mapping has this external endpoint."""
        return any(mapping.external == external for mapping in self._mappings.values())
