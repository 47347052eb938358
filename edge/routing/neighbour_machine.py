"""What the readable link layer knows and says: learning, asking, defending, telling of failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from edge.addresses import IPAddress
from edge.nat.config import NatConfig
from edge.reference_wire import Kind, Packet, ethernet, icmp_error, parse
from edge.routing.config import RoutingConfig
from edge.routing.neighbour_frames import (
    ALL_NODES,
    NOBODY,
    Arp,
    Nd,
    NdType,
    arp_frame,
    nd_frame,
    solicited_node,
)
from edge.routing.neighbour_links import Links
from edge.routing.neighbour_table import SECOND, UNKNOWN, LinkCount, LinkPort, Neighbour, NeighbourState, Table
from edge.routing.reference import Routing, is_unspecified

REQUEST_RATE = 1000
"""A second and port: requests taken in, and new neighbours asked for."""

DEFEND_INTERVAL = 10 * SECOND


@dataclass(frozen=True, slots=True)
class OutFrame:
    """A frame to send out of a port; an ``error`` is an ICMP error of the edge's own about what it held, to be judged
    as if it had come in by that port."""

    port: int
    frame: bytes
    error: bool = False


@dataclass
class Machine:
    """Neighbours and the frames that are about them; ``_sent`` collects what is to be sent."""

    routing: RoutingConfig
    nat: NatConfig
    table: Table = field(default_factory=Table)
    links: Links = field(init=False)
    _sent: list[OutFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.links = Links(self.routing, self.nat)
        self._routes = Routing(self.routing)
        for number in range(len(self.links.subnets)):
            self.table.ports.setdefault(number, LinkPort())

    def _send(self, port: int, frame: bytes, what: LinkCount) -> None:
        self._sent.append(OutFrame(port, frame))
        self.table.ports[port].count(what)

    def _take_sent(self) -> list[OutFrame]:
        sent, self._sent = self._sent, []
        return sent

    def _has_time_for(self, port: int, sender: IPAddress, now: int) -> bool:
        """So many requests a second and port; routers that the configuration names are always heard."""
        state = self.table.ports[port]
        begin = max(state.next_request, now)
        if begin - now <= SECOND - SECOND // REQUEST_RATE:
            state.next_request = begin + SECOND // REQUEST_RATE
            return True
        if self.links.is_gateway(port, sender):
            return True
        state.count(LinkCount.LIMITED)
        if state.limited is None or now - state.limited > SECOND:
            state.count(LinkCount.STORMS)
        state.limited = now
        return False

    def _learn(self, port: int, address: IPAddress, mac: bytes, now: int, *, create: bool) -> None:
        """A station says who it is, unasked: no proof that it hears the edge, hence STALE."""
        known = self.table.find(port, address)
        if known is None:
            if not create or not self.links.is_station(port, address):
                return
            pinned = self.links.is_gateway(port, address)
            known = self.table.add(port, address, NeighbourState.STALE, now, pinned=pinned)
            if known is not None:
                known.mac = mac
        elif known.mac != mac:
            self._believe(known, mac, NeighbourState.STALE, now)

    def _confirm(self, known: Neighbour, mac: bytes | None, now: int, *, solicited: bool, override: bool) -> None:
        """A known neighbour answers or announces itself: RFC 4861 7.2.5."""
        if known.state in UNKNOWN:
            if mac is not None:
                self._believe(known, mac, NeighbourState.REACHABLE if solicited else NeighbourState.STALE, now)
            return
        other = mac is not None and mac != known.mac
        if other and not override:
            if known.state is NeighbourState.REACHABLE:
                self.table.enter(known, NeighbourState.STALE, now)
        elif solicited:
            self._believe(known, mac or known.mac, NeighbourState.REACHABLE, now)
        elif other:
            self._believe(known, mac, NeighbourState.STALE, now)

    def _believe(self, one: Neighbour, mac: bytes | None, state: NeighbourState, now: int) -> None:
        """It has this address: what waited for it leaves."""
        self.table.enter(one, state, now)
        one.mac = mac
        for _, frame in one.held:
            self._sent.append(OutFrame(one.port, (mac or b"") + frame[6:]))
        one.held.clear()

    def _ask(self, one: Neighbour) -> None:
        """Ask everybody for a neighbour's address or, probing, who had it last."""
        one.probes += 1
        state = self.table.ports[one.port]
        source = self.links.own_address(one.port, state.mac, one.address)
        to = one.mac if one.state is NeighbourState.PROBE else None
        if isinstance(one.address, IPv4Address) and isinstance(source, IPv4Address):
            frame = arp_frame(state.mac, to, Arp(False, state.mac, source, NOBODY, one.address))
        else:
            target = IPv6Address(int(one.address))
            destination = solicited_node(target) if to is None else target
            solicitation = Nd(NdType.NEIGHBOR_SOLICITATION, IPv6Address(int(source)), destination, target, None)
            frame = nd_frame(state.mac, to, solicitation)
        self._send(one.port, frame, LinkCount.REQUESTS_OUT)

    def _announce(self, port: int, address: IPAddress) -> None:
        """Tell everybody that an address is the edge's: RFC 5227 2.3, RFC 4861 7.2.6."""
        mac = self.table.ports[port].mac
        if isinstance(address, IPv4Address):
            frame = arp_frame(mac, None, Arp(False, mac, address, NOBODY, address))
        else:
            advertisement = Nd(NdType.NEIGHBOR_ADVERTISEMENT, address, ALL_NODES, address, None, override=True)
            frame = nd_frame(mac, None, advertisement)
        self._send(port, frame, LinkCount.ANNOUNCEMENTS)

    def _defend(self, port: int, address: IPAddress, now: int) -> None:
        """Another station has an address of the edge's: contradicted now and then (RFC 5227 2.4)."""
        state = self.table.ports[port]
        state.count(LinkCount.DUPLICATES)
        if state.defended is None or now - state.defended >= DEFEND_INTERVAL:
            state.defended = now
            self._announce(port, address)

    def _tell_unreachable(self, port: int, frame: bytes) -> None:
        """RFC 1812 4.3.3.1, RFC 4443 3.1: to whoever sent a packet that finds nobody.  Pieces are not answered."""
        packet = parse(frame)
        if not isinstance(packet, Packet) or packet.kind is Kind.ICMP_ERROR or is_unspecified(packet.flow.src):
            return
        if self._routes.is_multicast(packet.flow.src) or self._routes.is_multicast(packet.flow.dst):
            return
        source = self._routes.ports[port].answers_from(packet.flow.src)
        if source is not None:
            icmp_type, code = (3, 1) if packet.version == 4 else (1, 3)
            error = ethernet(icmp_error(packet, source, icmp_type, code), port)
            self._sent.append(OutFrame(port, error, error=True))
