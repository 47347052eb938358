"""The link layer of a served edge, readable: ARP, neighbour discovery, what waits for a neighbour, announcements.

The specification of ``native/neighbour*.pxd``, against which that is tested frame by frame.  No I/O and no clock:
frames and nanoseconds come in, what is to be sent comes out.  Sources: RFC 826, 5227 and 1122 2.3.2 for ARP, RFC 4861
for IPv6 and, because ARP has none of its own, for the states of both; RFC 1812 for what a router drops.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

from edge.addresses import IPAddress
from edge.routing.neighbour_frames import (
    ALL_NODES,
    Arp,
    Nd,
    NdType,
    arp_frame,
    group_mac,
    is_nd,
    is_nobody,
    link_local_of,
    nd_frame,
    read_arp,
    read_nd,
)
from edge.routing.neighbour_links import Lead
from edge.routing.neighbour_machine import REQUEST_RATE, Machine, OutFrame
from edge.routing.neighbour_table import (
    SECOND,
    LinkCount,
    LinkVerdict,
    Neighbour,
    NeighbourState,
)

TRIES = 3
TICK_INTERVAL = SECOND // 100
TICK_WORK = 128
TICK_ANNOUNCEMENTS = 16
ROUNDS, ROUND_INTERVAL = 2, 2 * SECOND
ANNOUNCED_MAX = 4096
HELD_SIZE = 65568


@dataclass
class LinkLayer(Machine):
    """The links of one configuration.  ``up`` tells of a port with its MAC address before frames do."""

    _next_tick: int = 0
    _turn: int = 0

    def up(self, port: int, mac: bytes, now: int) -> None:
        """The port works: it begins to announce what it answers for."""
        state = self.table.ports[port]
        state.mac, state.up = mac, True
        state.rounds, state.announced, state.announce_at = ROUNDS, 0, now

    def down(self, port: int) -> None:
        """The port works no longer: its neighbours are forgotten."""
        for neighbour in self.table.of_port(port):
            self.table.remove(neighbour)
        self.table.ports[port].up, self.table.ports[port].rounds = False, 0

    def input(self, port: int, frame: bytes, now: int) -> tuple[LinkVerdict, list[OutFrame]]:
        """A frame from a port."""
        verdict = self._arrived(port, frame, now) if len(frame) >= 14 else LinkVerdict.PASS
        return verdict, self._take_sent()

    def output(self, port: int, frame: bytes, now: int) -> tuple[LinkVerdict, bytes, list[OutFrame]]:
        """An untagged frame with an IP packet that is to leave by a port: the verdict, the frame with its addresses."""
        frame = frame[:6] + self.table.ports[port].mac + frame[12:]
        verdict, to = self._leaves(port, frame, now)
        return verdict, (to or frame[:6]) + frame[6:], self._take_sent()

    def tick(self, now: int) -> list[OutFrame]:
        """What time brings."""
        if now < self._next_tick:
            return []
        self._next_tick = now + TICK_INTERVAL
        work, announcements = TICK_WORK, TICK_ANNOUNCEMENTS
        ports = len(self.links.subnets)
        for port in ((self._turn + i) % ports for i in range(ports)):
            state = self.table.ports[port]
            if not state.up or port in self.links.isolated:
                continue
            work = self._age(port, work, now)
            while state.rounds and state.announce_at <= now and announcements:
                self._announce_next(port, now)
                announcements -= 1
        self._turn = (self._turn + 1) % ports
        return self._take_sent()

    def neighbours(self, now: int) -> list[tuple[int, int, int, bytes | None, int, int]]:
        """(port, family, address, MAC address or None, state, ns in that state) of all, in that order."""
        return sorted(
            (one.port, one.address.version, int(one.address), one.mac, int(one.state), now - one.since)
            for one in self.table.all()
        )

    def _leaves(self, port: int, frame: bytes, now: int) -> tuple[LinkVerdict, bytes | None]:
        state = self.table.ports[port]
        if port in self.links.isolated:
            return state.drop(LinkCount.NO_NEXT_HOP), None
        is_ipv4 = frame[12:14] == b"\x08\x00"
        destination = IPv4Address(frame[30:34]) if is_ipv4 else IPv6Address(frame[38:54])
        hop = self.links.next_hop(port, destination)
        if hop is Lead.GROUP:
            return LinkVerdict.SEND, group_mac(destination)
        if isinstance(hop, Lead):
            self._tell_unreachable(port, frame)
            return state.drop(LinkCount.NO_NEXT_HOP), None
        known = self.table.find(port, hop)
        if known is None:
            return self._resolve(port, hop, frame, now), None
        if known.state is NeighbourState.FAILED:
            self._tell_unreachable(port, frame)
            return state.drop(LinkCount.UNREACHABLE), None
        if known.state is NeighbourState.INCOMPLETE:
            if len(frame) > HELD_SIZE:
                return state.drop(LinkCount.HELD_DROPPED), None
            self.table.hold(known, frame)
            return LinkVerdict.HELD, None
        if known.state is NeighbourState.STALE:
            self.table.enter(known, NeighbourState.DELAY, now)
        return LinkVerdict.SEND, known.mac

    def _resolve(self, port: int, hop: IPAddress, frame: bytes, now: int) -> LinkVerdict:
        """Nobody has asked for this neighbour yet.  Requests are rationed, or a scan would become a storm; not those
        for routers that the configuration names."""
        state, is_gateway = self.table.ports[port], self.links.is_gateway(port, hop)
        if len(frame) > HELD_SIZE:
            return state.drop(LinkCount.HELD_DROPPED)
        begin = max(state.next_solicit, now)
        if begin - now <= SECOND - SECOND // REQUEST_RATE:
            state.next_solicit = begin + SECOND // REQUEST_RATE
        elif not is_gateway:
            return state.drop(LinkCount.LIMITED)
        one = self.table.add(port, hop, NeighbourState.INCOMPLETE, now, pinned=is_gateway)
        if one is None:
            return LinkVerdict.DROPPED
        self._ask(one)
        self.table.hold(one, frame)
        return LinkVerdict.HELD

    def _age(self, port: int, work: int, now: int) -> int:
        """End the states whose time is up, no more than ``work`` of them; how much may still be done."""
        for state in NeighbourState:
            for one in self.table.of_port(port, state):
                if one.deadline > now:
                    break
                if not work:
                    return 0
                self._time_is_up(one, now)
                work -= 1
        return work

    def _time_is_up(self, one: Neighbour, now: int) -> None:
        """RFC 4861 7.3.3."""
        if one.state is NeighbourState.REACHABLE:
            self.table.enter(one, NeighbourState.STALE, now)
        elif one.state is NeighbourState.DELAY:
            self.table.enter(one, NeighbourState.PROBE, now)
            self._ask(one)
        elif one.state in (NeighbourState.STALE, NeighbourState.FAILED):
            self.table.remove(one)
        elif one.probes < TRIES:
            self.table.wait(one, now)
            self._ask(one)
        elif one.state is NeighbourState.PROBE:
            self.table.remove(one)  # the next packet asks everybody
        else:
            while one.held:
                self.table.ports[one.port].count(LinkCount.UNREACHABLE)
                self._tell_unreachable(one.port, self.table.drop_held(one))
            self.table.enter(one, NeighbourState.FAILED, now)

    def _announce_next(self, port: int, now: int) -> None:
        """One address of a round; the link-local one is the last."""
        state = self.table.ports[port]
        address = next(islice(self.links.answered(port), state.announced, None), None)
        if address is not None and state.announced < ANNOUNCED_MAX:
            state.announced += 1
            self._announce(port, address)
            return
        if self.links.speaks_ipv6(port):
            self._announce(port, link_local_of(state.mac))
        state.rounds, state.announced, state.announce_at = state.rounds - 1, 0, now + ROUND_INTERVAL

    def _arrived(self, port: int, frame: bytes, now: int) -> LinkVerdict:
        state = self.table.ports[port]
        if frame[6:12] == state.mac:
            return state.drop(LinkCount.LOOPED)
        if not frame[0] & 1 and frame[:6] != state.mac:
            return state.drop(LinkCount.OTHER_STATION)
        at = 12
        while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8") and at < 20 and len(frame) >= at + 6:
            if frame[at + 2] & 15 or frame[at + 3]:
                return state.drop(LinkCount.OTHER_VLAN)
            at += 4  # VLAN 0: a priority and no more
        ethertype, packet = frame[at : at + 2], frame[at + 2 :]
        if ethertype == b"\x08\x06":
            return self._arp(port, frame[:6], packet, now)
        if ethertype == b"\x86\xdd" and is_nd(packet) and self._is_for_edge(port, IPv6Address(packet[24:40])):
            return self._discovery(port, frame[6:12], packet, now)
        if frame[0] & 1 and self._is_for_one(port, ethertype, packet):
            return state.drop(LinkCount.LINK_BROADCAST)
        return LinkVerdict.PASS

    def _is_for_edge(self, port: int, destination: IPAddress) -> bool:
        """Neighbour discovery that is not on its way to somebody behind another port."""
        mac = self.table.ports[port].mac
        return destination.is_multicast or destination.is_link_local or self.links.is_mine(port, mac, destination)

    def _is_for_one(self, port: int, ethertype: bytes, packet: bytes) -> bool:
        """An IP packet to one station, which nobody broadcasts on a link (RFC 1812 5.3.4)."""
        if ethertype == b"\x86\xdd":
            return len(packet) >= 40 and packet[24] != 0xFF
        if ethertype != b"\x08\x00" or len(packet) < 20:
            return False
        destination = IPv4Address(packet[16:20])
        subnet = self.links.subnet_of(port, destination)
        is_broadcast = destination == IPv4Address("255.255.255.255") or (
            subnet is not None and destination == subnet.broadcast
        )
        return not destination.is_multicast and not is_broadcast

    def _arp(self, port: int, to: bytes, packet: bytes, now: int) -> LinkVerdict:
        state, arp = self.table.ports[port], read_arp(packet)
        if arp is None:
            return state.drop(LinkCount.INVALID)
        if arp.sender_mac == state.mac:
            return state.take(LinkCount.IGNORED)
        nameless = is_nobody(arp.sender)  # a probe, RFC 5227 2.1
        if not nameless and self.links.is_mine(port, state.mac, arp.sender):
            self._defend(port, arp.sender, now)
            return LinkVerdict.TAKEN
        if not arp.is_reply and self.links.is_mine(port, state.mac, arp.target):
            if not nameless and not self._may_ask(port, arp.sender):
                return state.take(LinkCount.IGNORED)
            if not self._has_time_for(port, arp.sender, now):
                return LinkVerdict.DROPPED
            state.count(LinkCount.REQUESTS_IN)
            if not nameless:
                self._learn(port, arp.sender, arp.sender_mac, now, create=True)
            answer = Arp(True, state.mac, arp.target, arp.sender_mac, arp.sender)
            self._send(port, arp_frame(state.mac, arp.sender_mac, answer), LinkCount.REPLIES_OUT)
            return LinkVerdict.TAKEN
        known = self.table.find(port, arp.sender)
        if known is None:
            return state.take(LinkCount.IGNORED)
        if not arp.is_reply:
            self._learn(port, arp.sender, arp.sender_mac, now, create=False)
            return LinkVerdict.TAKEN
        # ARP has no flag that says so: a reply is one if it comes, to the edge alone, while the edge asks.
        asked = known.state in (NeighbourState.INCOMPLETE, NeighbourState.PROBE)
        solicited = asked and to == arp.target_mac == state.mac
        self._confirm(known, arp.sender_mac, now, solicited=solicited, override=True)
        return state.take(LinkCount.REPLIES_IN)

    def _may_ask(self, port: int, sender: IPv4Address) -> bool:
        """Who asks by an address of another network (Linux does, arp_announce 0) is answered, as Linux and FreeBSD do:
        the reply needs its MAC address only, and nothing is learned.  Nobody asks by what no station is called."""
        if self.links.is_station(port, sender):
            return True
        group = int(sender) >= 0xE0000000
        return self.links.subnet_of(port, sender) is None and not group and int(sender) >> 24 not in (0, 127)

    def _discovery(self, port: int, station: bytes, packet: bytes, now: int) -> LinkVerdict:
        state = self.table.ports[port]
        size = int.from_bytes(packet[4:6])
        if not 8 <= size <= len(packet) - 40:
            return state.drop(LinkCount.INVALID)
        if packet[40] in (NdType.ROUTER_ADVERTISEMENT, NdType.REDIRECT):
            return state.take(LinkCount.IGNORED)
        nd = read_nd(packet, state.mac)
        if nd is None:
            return state.drop(LinkCount.INVALID)
        if nd.type is NdType.NEIGHBOR_SOLICITATION:
            return self._solicited(port, station, nd, now)
        if nd.type is NdType.ROUTER_SOLICITATION:
            return self._looked_for_router(port, nd, now)
        if self.links.is_mine(port, state.mac, nd.target):
            self._defend(port, nd.target, now)
            return LinkVerdict.TAKEN
        known = self.table.find(port, nd.target)
        if known is None:
            return state.take(LinkCount.IGNORED)
        self._confirm(known, nd.mac, now, solicited=nd.solicited, override=nd.override)
        return state.take(LinkCount.REPLIES_IN)

    def _solicited(self, port: int, station: bytes, nd: Nd, now: int) -> LinkVerdict:
        state, nameless = self.table.ports[port], is_nobody(nd.source)
        if not nameless and self.links.is_mine(port, state.mac, nd.source):
            self._defend(port, nd.source, now)
            return LinkVerdict.TAKEN
        from_here = nameless or self.links.is_station(port, nd.source)
        if not from_here or not self.links.is_mine(port, state.mac, nd.target):
            return state.take(LinkCount.IGNORED)
        if not self._has_time_for(port, nd.source, now):
            return LinkVerdict.DROPPED
        state.count(LinkCount.REQUESTS_IN)
        if nd.mac is not None:
            self._learn(port, nd.source, nd.mac, now, create=True)
        to = None if nameless else nd.mac or station
        destination = ALL_NODES if nameless else nd.source
        answer = Nd(NdType.NEIGHBOR_ADVERTISEMENT, nd.target, destination, nd.target, None, not nameless, override=True)
        self._send(port, nd_frame(state.mac, to, answer), LinkCount.REPLIES_OUT)
        return LinkVerdict.TAKEN

    def _looked_for_router(self, port: int, nd: Nd, now: int) -> LinkVerdict:
        """RFC 4861 6.2.6; no advertisement answers it."""
        state = self.table.ports[port]
        if nd.mac is None or self.links.is_mine(port, state.mac, nd.source) or not self.links.speaks_ipv6(port):
            return state.take(LinkCount.IGNORED)
        if not self._has_time_for(port, nd.source, now):
            return LinkVerdict.DROPPED
        self._learn(port, nd.source, nd.mac, now, create=True)
        return LinkVerdict.TAKEN
