"""Application layer gateways: what control sessions of FTP and TFTP announce, and what becomes of that when it comes.

:mod:`edge.reference_ftp` reads the commands, :mod:`edge.reference_expect` keeps what is awaited, and
:mod:`edge.reference_shift` follows the sequence numbers of what was rewritten.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from edge.addresses import IPAddress, PortRange
from edge.firewall.config import FirewallRule, Service
from edge.reference_answers import Ruling
from edge.reference_expect import Awaited, Expectation
from edge.reference_ftp import ORDINARY_PORTS, Command, command_in
from edge.reference_sessions import ORIGINAL, REPLY, SECOND, Session, TcpState
from edge.reference_shift import Rewriting, with_sequence
from edge.reference_trip import Trip
from edge.reference_wire import SYN, TCP, UDP, Flow, Kind, Packet, u16, u32, update, words
from edge.verdicts import Endpoints, Stage, StepResult

FTP, TFTP = "FTP", "TFTP"
PROTOCOLS = {FTP: TCP, TFTP: UDP}
"""The helpers that are emulated, as application port profiles name them, and what their control sessions speak."""

FTP_DATA = 20
"""The port from which a server opens data connections (RFC 959 3.2)."""

LONGEST_IP = 65535


# --- which sessions -------------------------------------------------------------------------------------------------


def control_of(trip: Trip) -> str:
    """The helper of the session that an admitted packet begins, '' for none: the firewall rule that admits it has a
    profile with a helper, and what the firewall saw is one of that profile's services."""
    if trip.rule is None or trip.saw is None or trip.expected is not None:
        return ""
    return helper_of(trip.rule, trip.packet.flow.protocol, trip.saw)


def helper_of(rule: FirewallRule, protocol: int, saw: Endpoints) -> str:
    """The helper that a rule brings along for a session with these endpoints."""
    for profile in rule.profiles:
        wanted = PROTOCOLS.get(profile.alg) == protocol
        if wanted and any(service.protocol == protocol and covers(service, saw) for service in profile.services):
            return profile.alg
    return ""


def covers(service: Service, saw: Endpoints) -> bool:
    """Are these ports of the service?"""
    pairs = ((service.source_ports, saw.sport), (service.destination_ports, saw.dport))
    return all(not ports or any(port in item for item in ports) for ports, port in pairs)


# --- what they announce ---------------------------------------------------------------------------------------------


def sent_on(trip: Trip, session: Session, direction: int, packet: Packet) -> Packet:
    """A packet of a session as its payload and numbers go on, what it announces being noted."""
    if session.alg == TFTP and direction == ORIGINAL:
        announce_transfer(trip, session)
    elif session.alg == FTP and all(TcpState.ESTABLISHED <= state < TcpState.TIME_WAIT for state in session.states):
        packet = announce_data_connection(trip, session, direction, packet)
    return with_sequence(packet, session.shifts[direction])


def announce_transfer(trip: Trip, session: Session) -> None:
    """TFTP: the server will answer from another port (RFC 1350 4)."""
    original, translated = session.original, session.translated
    client = (original.src, original.sport)
    expectation = Expectation(
        Awaited(UDP, session.ports[REPLY].side, translated.dst, translated.src, translated.sport),
        client,
        session,
        active=True,
        new_destination=None if client == (translated.src, translated.sport) else client,
        new_source=original.dst if original.dst != translated.dst else None,
    )
    announce(trip, settled(trip, expectation))


def announce_data_connection(trip: Trip, session: Session, direction: int, packet: Packet) -> Packet:
    """FTP: a command or an answer that names the end of a data connection, with the end that the receiver can reach
    in its place.  Whatever is not understood, or cannot be done, leaves the packet as it is."""
    shift, at = session.shifts[direction], packet.l4 + (packet.ip[packet.l4 + 12] >> 4) * 4
    seq = u32(packet.ip, packet.l4 + 4) + bool(packet.tcp_flags & SYN)
    line = shift.line_in(seq, len(packet.ip) - at)
    command = command_in(packet.ip[at:], line, from_originator=direction == ORIGINAL, version=packet.version)
    if command is None or command.port not in ORDINARY_PORTS or not is_own(command, session):
        return packet
    wanted = data_connection(session, command)
    if wanted.new_destination is None:
        announce(trip, settled(trip, wanted))
        return packet
    begin, end = (seq + line) % 2**32, (seq + line + command.last) % 2**32
    shown = shift.shown_before(end, command.port)
    found = settled(trip, wanted, command.port) if shown is None else settled_again(trip, wanted, shown)
    port = shown if found is None else found.awaited.dport
    text = None if port is None else command.wording(wanted.awaited.dst, port)
    if port is None or text is None:
        return packet
    changed = with_text(packet, at + line + command.first, at + line + command.last, text)
    if not fits(trip, changed):
        return packet
    announce(trip, found)
    shift.rewritten(Rewriting(begin, end, command.port, port), len(changed.ip) - len(packet.ip))
    return changed


def is_own(command: Command, session: Session) -> bool:
    """Does it name its sender?  Another address would have the edge open a way to somebody else (RFC 2577 3)."""
    sender = session.original.src if command.active else session.translated.dst
    return command.address in (None, sender)


def data_connection(session: Session, command: Command) -> Expectation:
    """The session that a command announces; where NAT hides the end that it names, the port is still to be chosen."""
    original, translated = session.original, session.translated
    served_elsewhere = original.dst != translated.dst
    if command.active:
        hidden = original.src != translated.src
        return Expectation(
            Awaited(TCP, session.ports[REPLY].side, translated.dst, translated.src, command.port),
            (original.src, command.port),
            session,
            active=True,
            new_destination=(original.src, command.port) if hidden else None,
            new_source=original.dst if served_elsewhere else None,
        )
    return Expectation(
        Awaited(TCP, session.ports[ORIGINAL].side, original.src, original.dst, command.port),
        (translated.dst, command.port),
        session,
        active=False,
        new_destination=(translated.dst, command.port) if served_elsewhere else None,
    )


def settled(trip: Trip, expectation: Expectation, port: int | None = None) -> Expectation | None:
    """The same as announced before, or the new one with its port chosen; None where there is no port or no room.
    ``port`` is that of an FTP command whose end NAT hides."""
    expectations = trip.state.sessions.expectations
    known = expectations.known(expectation)
    if known is not None:
        return known
    if port is not None:
        chosen = next((item for item in candidates(trip, port) if is_free(trip, expectation, item)), None)
        if chosen is None:
            return None
        expectation.awaited = expectation.awaited._replace(dport=chosen)
    return expectation if expectations.has_room(expectation) else None


def settled_again(trip: Trip, expectation: Expectation, port: int) -> Expectation | None:
    """Likewise for a command that is sent again, and again with the port that has been shown for its own; None where
    that is not awaited any more and cannot be, but the command still reads as it did."""
    expectations = trip.state.sessions.expectations
    known = expectations.known(expectation)
    if known is not None:
        return known if known.awaited.dport == port else None
    if not is_free(trip, expectation, port):
        return None
    expectation.awaited = expectation.awaited._replace(dport=port)
    return expectation if expectations.has_room(expectation) else None


def candidates(trip: Trip, port: int) -> list[int]:
    """The ports that may stand for one that NAT hides: that one, then those above it, then the rest."""
    ports: PortRange = trip.policy.options.snat_port_range
    start = port - ports.first if port in ports else 0
    row = (ports.first + (start + step) % ports.size for step in range(ports.size))
    return [item for item in row if not trip.policy.blocks(TCP, item)]


def is_free(trip: Trip, expectation: Expectation, port: int) -> bool:
    """Is the port awaited by nobody else, and (active) no session of the server's usual port already there?"""
    awaited = expectation.awaited._replace(dport=port)
    if trip.state.sessions.expectations.find(awaited) is not None:
        return False
    usual = Flow(TCP, awaited.src, FTP_DATA, awaited.dst, port)
    return not expectation.active or trip.state.find_alive((usual, awaited.side)) is None


def announce(trip: Trip, expectation: Expectation | None) -> None:
    """From now on it is awaited, be it for the first time or again; None where nothing is."""
    if expectation is None:
        return
    timers, expectations = trip.policy.options.timers, trip.state.sessions.expectations
    seconds = timers.tcp_opening if expectation.awaited.protocol == TCP else timers.udp_first
    expectation.deadline_ns = trip.state.clock_ns + seconds * SECOND
    if expectations.find(expectation.awaited) is expectation:
        expectations.remove(expectation)
    expectations.add(expectation)
    awaited = expectation.awaited
    trip.note(Stage.SESSION, StepResult.EXPECT, after=Endpoints(awaited.src, 0, awaited.dst, awaited.dport))


def with_text(packet: Packet, first: int, last: int, text: bytes) -> Packet:
    """The packet with other bytes in a place of its TCP payload, its lengths and checksums kept as right or wrong as
    they were."""
    ip = bytearray(packet.ip[:first] + text + packet.ip[last:])
    old, new = packet.ip[packet.l4 :], bytes(ip[packet.l4 :])
    at, length = (2, len(ip)) if packet.version == 4 else (4, len(ip) - 40)
    struct.pack_into("!H", ip, at, length & 0xFFFF)
    if packet.version == 4:
        update(ip, 10, [(u16(packet.ip, at), length & 0xFFFF)])
    changes = [(word, 0) for word in words(old)] + [(0, word) for word in words(new)]
    update(ip, packet.l4 + 16, [(len(old), len(new)), *changes])
    return replace(packet, ip=bytes(ip))


def fits(trip: Trip, packet: Packet) -> bool:
    """May it leave, as long as it has become?"""
    size = len(packet.ip)
    return size <= LONGEST_IP and (size <= trip.policy.options.mtu or trip.unsegmented)


# --- what comes -----------------------------------------------------------------------------------------------------


def expected_session(trip: Trip) -> Ruling | None:
    """Is the first packet of a session awaited?  From here on, the trip knows; nothing is decided yet."""
    packet, flow = trip.packet, trip.packet.flow
    if packet.is_opening or packet.kind is Kind.UDP:
        awaited = Awaited(flow.protocol, trip.entered.side, flow.src, flow.dst, flow.dport)
        expected = trip.state.sessions.expectations.find(awaited)
        if expected is not None and trip.state.living((expected.control, ORIGINAL)) is not None:
            trip.expected = expected
    return None


def put_in_destination(trip: Trip, expectation: Expectation, place: tuple[IPAddress, int]) -> None:
    """The end that the command named, in the name of the NAT rule that hides it."""
    admission = expectation.control.admission
    trip.flow = trip.flow._replace(dst=place[0], dport=place[1])
    trip.lent_dnat = trip.policy.nat_rule(admission.snat if expectation.active else admission.dnat)
    note_translation(trip, StepResult.DNAT)


def put_in_source(trip: Trip, expectation: Expectation, address: IPAddress) -> None:
    """The address that the client knows the server by, in the name of the control session's DNAT rule."""
    trip.flow = trip.flow._replace(src=address)
    trip.lent_snat = trip.policy.nat_rule(expectation.control.admission.dnat)
    note_translation(trip, StepResult.SNAT)


def note_translation(trip: Trip, result: StepResult) -> None:
    """A step as that of the rule itself would be."""
    rule = trip.lent_dnat if result is StepResult.DNAT else trip.lent_snat
    trip.note(Stage.NAT, result, rule_id=None if rule is None else rule.id, after=trip.shown(trip.flow))


def admitted_by_alg(trip: Trip, expectation: Expectation) -> None:
    """The firewall is not asked: what it said to the control session holds."""
    received = trip.packet.flow
    trip.rule = trip.policy.firewall_rule(expectation.control.admission.firewall)
    trip.saw = trip.shown(trip.flow._replace(src=received.src, sport=received.sport))
    rule_id, logged = (None, False) if trip.rule is None else (trip.rule.id, trip.rule.logging)
    trip.note(Stage.FIREWALL, StepResult.ALG, rule_id=rule_id, saw=trip.saw, logged=logged)
