"""Application layer gateways of the native engine: bytes, limits and clocks of what control sessions announce."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address

import pytest

from edge.addresses import PortRange
from edge.firewall.system_profiles import system_profile
from edge.model import EdgeConfig, SessionsOnChange
from edge.runtime import Edge
from edge.verdicts import Endpoints, Outcome, Reason, Stage, Step, StepResult, Verdict
from tests.model import frames
from tests.support import SECOND, acme, nat, rule, with_options

ACK, SYN, PUSH, FIN = 16, 2, 8, 1
CLIENT, SERVER, PUBLIC, OUTSIDE = "10.20.0.10", "198.51.100.7", "203.0.113.11", "203.0.113.10"
START = (0xFFFFFFF0, 0x00001000)
"""First sequence numbers of both ends; those of the client wrap round."""


def address(text: str) -> bytes:
    return ip_address(text).packed


def ftp_edge(**changes: object) -> EdgeConfig:
    """Machines may go out by FTP and TFTP, by 203.0.113.10; one of them is a server on 203.0.113.11."""
    profiles = tuple(found for name in ("FTP", "TFTP") if (found := system_profile(name)))
    config = acme(
        firewall=[replace(rule("ftp", logging=True), profiles=profiles)],
        nat_rules=[
            nat("in", "DNAT", PUBLIC, CLIENT),
            nat("out", "SNAT", OUTSIDE, "10.20.0.0/24"),
        ],
    )
    return with_options(config, **{"snat_port_range": PortRange(2000, 2999), "provider_filter": (), **changes})


@dataclass(slots=True)
class Sent:
    """What became of a segment."""

    outcome: Outcome
    seq: int
    ack: int
    data: bytes

    @property
    def announced(self) -> Endpoints | None:
        steps = [step for step in self.outcome.steps if step.result is StepResult.EXPECT]
        return steps[0].after if steps else None


def sent(outcome: Outcome) -> Sent:
    """An outcome whose output is one TCP segment, both checksums right."""
    (output,) = outcome.outputs
    parts = frames.parts_of(output.frame)
    assert parts is not None
    if parts.version == 4:
        assert frames.checksum(output.frame[14:34]) == 0
        assert struct.unpack_from("!H", output.frame, 16)[0] == len(output.frame) - 14
    else:
        assert struct.unpack_from("!H", output.frame, 18)[0] == len(output.frame) - 54
    assert frames.checksum(frames.pseudo(parts) + parts.payload) == 0
    seq, ack, offset = struct.unpack_from("!IIB", parts.payload, 4)
    return Sent(outcome, seq, ack, parts.payload[offset >> 2 :])


class Control:
    """A control connection through an edge, both ends well-behaved."""

    def __init__(self, edge: Edge, client: str, server: str, port: int, *, now_ns: int = 0) -> None:
        self.edge, self.now_ns = edge, now_ns
        self.ports = ("LAN", "INTERNET") if client in (CLIENT, "2001:db8:20::10") else ("INTERNET", "LAN")
        self.ends = [(address(client), port, address(server), 21)]
        first = self._segment(0, SYN, b"", START[0], 0)
        assert first.verdict is Verdict.ALLOW
        parts = frames.parts_of(first.outputs[0].frame)
        assert parts is not None
        sport, dport = struct.unpack_from("!HH", parts.payload)
        self.ends.append((parts.dst, dport, parts.src, sport))
        self.seq = [(START[0] + 1) % 2**32, START[1]]
        self.seen = list(self.seq)
        self.seen[1] += 1
        self._segment(1, SYN | ACK, b"", self.seq[1], self.seq[0])
        self.seq[1] += 1
        self._segment(0, ACK, b"", self.seq[0], self.seen[1])

    def _segment(self, side: int, flags: int, data: bytes, seq: int, ack: int, options: bytes = b"") -> Outcome:
        src, sport, dst, dport = self.ends[side]
        segment = frames.tcp(src, dst, sport, dport, flags, seq % 2**32, ack % 2**32, data, options)
        return self.edge.process(self.ports[side], frames.frame(segment), self.now_ns)

    def say(self, side: int, data: bytes, *, options: bytes = b"", flags: int = ACK | PUSH) -> Sent:
        """The next segment of a side, which acknowledges all that it has seen."""
        found = sent(self._segment(side, flags, data, self.seq[side], self.seen[1 - side], options))
        self.seq[side] = (self.seq[side] + len(data)) % 2**32
        self.seen[side] = (found.seq + len(found.data)) % 2**32
        return found

    def again(self, side: int, data: bytes) -> Sent:
        """The last segment of a side once more."""
        return sent(self._segment(side, ACK | PUSH, data, self.seq[side] - len(data), self.seen[1 - side]))

    def port_command(self, port: int) -> bytes:
        return b"PORT 10,20,0,10,%d,%d\r\n" % divmod(port, 256)


def connect(edge: Edge, in_port: str, src: str, dst: str, dport: int, now_ns: int, sport: int = 20) -> Outcome:
    """A first segment."""
    opening = frames.tcp(address(src), address(dst), sport, dport, SYN, 7, 0)
    return edge.process(in_port, frames.frame(opening), now_ns)


def test_an_active_data_connection_through_snat() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    told = control.say(0, control.port_command(2500))
    assert told.data == b"PORT 203,0,113,10,9,196\r\n"
    assert told.announced == Endpoints(ip_address(SERVER), 0, ip_address(OUTSIDE), 2500)
    assert [step.result for step in told.outcome.steps] == [StepResult.HIT, StepResult.EXPECT]

    opened = connect(edge, "INTERNET", SERVER, OUTSIDE, 2500, 0)
    assert (opened.verdict, opened.reason) == (Verdict.ALLOW, Reason.ALG)
    saw = Endpoints(ip_address(SERVER), 20, ip_address(CLIENT), 2500)
    assert opened.steps[1:] == (
        Step(Stage.NAT, StepResult.DNAT, "out", after=saw),
        Step(Stage.ROUTE, StepResult.CONNECTED, port="LAN"),
        Step(Stage.FIREWALL, StepResult.ALG, "ftp", saw=saw, logged=True),
    )
    parts = frames.parts_of(opened.outputs[0].frame)
    assert parts is not None
    assert (opened.outputs[0].port, parts.dst) == ("LAN", address(CLIENT))
    answer = frames.tcp(address(CLIENT), address(SERVER), 2500, 20, SYN | ACK, 99, 8)
    assert edge.process("LAN", frames.frame(answer), 0).reason is Reason.SESSION
    assert connect(edge, "INTERNET", SERVER, OUTSIDE, 2500, 0, sport=21).verdict is Verdict.DROP  # one use
    assert edge.rule_counters()["out"].hits == 2
    assert edge.rule_counters()["ftp"].hits == 2


@pytest.mark.parametrize("port", [1030, 2004, 2013, 2500, 2999, 9999, 65535])
def test_numbers_of_both_ends_after_a_command_has_grown(port: int) -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    grown = 0
    for number in range(5):
        command = control.port_command(port - number)
        told = control.say(0, command)
        assert told.data != command
        assert told.seq == (START[0] + 1 + number * len(command) + grown) % 2**32
        grown += len(told.data) - len(command)
        once_more = control.again(0, command)
        assert (once_more.seq, once_more.data) == (told.seq, told.data)
        assert once_more.announced == told.announced
        answer = control.say(1, b"200 fine\r\n", options=b"\1\1\5\12" + struct.pack("!II", told.seq, control.seen[0]))
        assert answer.ack == control.seq[0]
        edges = struct.unpack_from("!II", answer.outcome.outputs[0].frame, 14 + 20 + 20 + 4)
        assert edges == ((control.seq[0] - len(command)) % 2**32, control.seq[0])
    assert grown > 0 or port == 65535
    assert control.say(0, b"QUIT\r\n").seq == (control.seq[0] - 6 + grown) % 2**32
    assert len(edge.sessions()) == 1


def test_a_challenge_speaks_the_numbers_of_the_one_it_goes_to() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    told = control.say(0, control.port_command(2500))
    refused = control._segment(1, SYN, b"", 77, 0)
    assert (refused.verdict, refused.reason) == (Verdict.DROP, Reason.TCP_STATE)
    challenge = sent(refused)
    assert challenge.seq == (told.seq + len(told.data)) % 2**32 == control.seen[0]


def test_an_error_about_a_rewritten_segment_quotes_what_its_sender_sent() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    control.say(0, control.port_command(2500))
    shifted = control.say(0, b"NOOP\r\n")
    quote = shifted.outcome.outputs[0].frame[14:]
    for size in (28, 40, len(quote)):
        error = frames.icmp(address(SERVER), address(OUTSIDE), 3, 1, 0, 0, quote[:size])
        told = edge.process("INTERNET", frames.frame(error), 0)
        assert told.reason is Reason.RELATED
        ip = told.outputs[0].frame[14:]
        assert frames.checksum(ip[20:]) == 0
        assert struct.unpack_from("!I", ip, 28 + 24)[0] == (control.seq[0] - 6) % 2**32
        if size == len(quote):
            inner = frames.Parts(6, ip[28 + 12 : 28 + 16], ip[28 + 16 : 28 + 20], ip[28 + 20 :])
            assert frames.checksum(frames.pseudo(inner) + inner.payload) == 0


def test_a_wrong_checksum_stays_wrong() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    src, sport, dst, dport = control.ends[0]
    segment = frames.tcp(src, dst, sport, dport, ACK, control.seq[0], control.seen[1], control.port_command(2500))
    for wrong in (1, 0x100, 0xFFFE):
        payload = bytearray(segment.payload)
        before = struct.unpack_from("!H", payload, 16)[0]
        struct.pack_into("!H", payload, 16, before ^ wrong)
        out = edge.process("LAN", frames.frame(replace(segment, payload=bytes(payload))), 0).outputs[0].frame
        parts = frames.parts_of(out)
        assert parts is not None
        assert parts.payload[20:].startswith(b"PORT 203,0,113,10,")
        assert frames.checksum(frames.pseudo(parts) + parts.payload) != 0


def test_a_passive_data_connection_to_a_published_server() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, SERVER, PUBLIC, 40000)
    told = control.say(1, b"227 Entering Passive Mode (10,20,0,10,200,1).\r\n")
    assert told.data == b"227 Entering Passive Mode (203,0,113,11,7,208).\r\n"  # 2000: the first of the range
    extended = control.say(1, b"229 Entering Extended Passive Mode (|||02001|)\r\n")
    assert extended.data == b"229 Entering Extended Passive Mode (|||2001|)\r\n"
    for port, inside in ((2000, 200 * 256 + 1), (2001, 2001)):
        opened = connect(edge, "INTERNET", SERVER, PUBLIC, port, 0, sport=5000 + port)
        assert opened.reason is Reason.ALG
        assert opened.steps[1].rule_id == "in"
        assert opened.steps[1].after == Endpoints(ip_address(SERVER), 5000 + port, ip_address(CLIENT), inside)
    assert connect(edge, "INTERNET", "198.51.100.8", PUBLIC, 2002, 0).reason is Reason.FW_DEFAULT


def test_extended_commands_of_both_families() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    told = control.say(0, b"eprt !1!10.20.0.10!2100!\r\n")
    assert told.data == b"eprt !1!203.0.113.10!2100!\r\n"
    assert control.say(0, b"EPRT 212510.20.0.10222002\n").announced is None
    routed = Control(edge, "2001:db8:20::10", "2001:db8:99::7", 40000)
    same = routed.say(0, b"EPRT |2|2001:DB8:20:0::0010|5000|\r\n")
    assert same.data == b"EPRT |2|2001:DB8:20:0::0010|5000|\r\n"
    assert same.announced == Endpoints(ip_address("2001:db8:99::7"), 0, ip_address("2001:db8:20::10"), 5000)
    assert connect(edge, "INTERNET", "2001:db8:99::7", "2001:db8:20::10", 5000, 0).reason is Reason.ALG


@pytest.mark.parametrize(
    "data",
    [
        b"PORT 10,20,0,10,9,196",  # no end of line
        b"PORT 10,20,0,10,9,196 \r\n",
        b"PORT  10,20,0,10,9,196\r\n",
        b"PORT 10,20,0,10,9,256\r\n",
        b"PORT 10,20,0,10,9,0196\r\n",
        b"PORT 10,20,0,10,9\r\n",
        b"PORT 10,20,0,10,9,196,1\r\n",
        b"PORT 10,20,0,11,9,196\r\n",  # somebody else
        b"PORT 10,20,0,10,3,255\r\n",  # a port below 1024
        b"XPORT 10,20,0,10,9,196\r\n",
        b"EPRT |2|10.20.0.10|2500|\r\n",
        b"EPRT |1|10.20.0.010|2500|\r\n",
        b"EPRT |1|10.20.0.10\0|2500|\r\n",
        b"EPRT |1|10.20.0.10|65536|\r\n",
        b"EPRT |1|10.20.0.10|002500|\r\n",
        b"EPRT |1|10.20.0.10|2500\r\n",
        b"EPRT |1|10.20.0.10|2500||\r\n",
        b"EPRT |1|\r\n",
        b"EPRT \r\n",
        b"227 Entering Passive Mode (10,20,0,10,9,196).\r\n",  # no client says so
        b"PORT 10,20,0,10,9,196\r\n" + bytes(490),  # longer than is looked at
    ],
)
def test_what_is_no_command_goes_through_as_it_is(data: bytes) -> None:
    control = Control(Edge(ftp_edge()), CLIENT, SERVER, 40000)
    told = control.say(0, data)
    assert told.data == data
    assert told.announced is None


def test_a_command_that_would_outgrow_the_mtu_is_left_alone() -> None:
    command = b"PORT 10,20,0,10,9,196\r\n"
    for mtu, unsegmented, changed in ((64, False, False), (65, False, True), (64, True, True)):
        control = Control(Edge(ftp_edge(mtu=mtu)), CLIENT, SERVER, 40000)
        src, sport, dst, dport = control.ends[0]
        segment = frames.frame(frames.tcp(src, dst, sport, dport, ACK, control.seq[0], control.seen[1], command))
        assert len(segment) - 14 == 63
        told = sent(control.edge.process("LAN", segment, 0, unsegmented=unsegmented))
        assert (told.data != command, told.announced is not None) == (changed, changed)


def drop_outs(edge: Edge, ports: range, now_ns: int) -> list[int]:
    """The ports of 203.0.113.10 on which the server's data connections are let in."""
    return [port for port in ports if connect(edge, "INTERNET", SERVER, OUTSIDE, port, now_ns).reason is Reason.ALG]


def test_a_ninth_announcement_takes_the_place_of_the_oldest() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    for port in range(2100, 2108):
        control.say(0, control.port_command(port))
    control.say(0, control.port_command(2100))  # renewed: 2101 is the oldest now
    control.say(0, control.port_command(2108))
    assert drop_outs(edge, range(2100, 2110), 0) == [2100, *range(2102, 2109)]


def test_expectations_end_with_their_time_and_their_session() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    opening = edge.config.options.timers.tcp_opening * SECOND
    control.say(0, control.port_command(2100))
    control.now_ns = opening - 1
    control.say(0, control.port_command(2101))
    assert drop_outs(edge, range(2100, 2102), opening) == [2101]

    other = Control(edge, CLIENT, SERVER, 40001, now_ns=opening)
    other.say(0, other.port_command(2200))
    reset = other._segment(0, 4, b"", other.seq[0], 0)
    assert reset.verdict is Verdict.ALLOW
    closed = edge.config.options.timers.tcp_closed * SECOND
    assert drop_outs(edge, range(2200, 2201), opening + closed) == []


def test_a_timer_that_has_become_shorter_is_that_of_later_expectations() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    control.say(0, control.port_command(2100))
    long = edge.config.options.timers.tcp_opening
    edge.apply(ftp_edge(timers=replace(edge.config.options.timers, tcp_opening=5)))
    control.say(0, control.port_command(2101))
    control.say(0, control.port_command(2102))
    assert drop_outs(edge, range(2100, 2102), 5 * SECOND - 1) == [2100, 2101]
    assert drop_outs(edge, range(2102, 2103), 5 * SECOND) == []
    assert long > 5


def controls(edge: Edge, count: int) -> Iterator[Control]:
    for number in range(count):
        yield Control(edge, CLIENT, SERVER, 10000 + number)


def test_an_edge_expects_4096_sessions_and_no_more() -> None:
    edge = Edge(ftp_edge(snat_port_range=PortRange(2000, 65000)))
    open_ones = list(controls(edge, 513))
    for number, control in enumerate(open_ones[:512]):
        for step in range(8):
            assert control.say(0, control.port_command(20000 + 8 * number + step)).announced is not None
    one_more = open_ones[512]
    assert one_more.say(0, one_more.port_command(30000)).announced is None
    # One that replaces another of its session, and one said again, need no room.
    assert open_ones[3].say(0, open_ones[3].port_command(30001)).announced is not None
    assert open_ones[4].say(0, open_ones[4].port_command(20039)).announced is not None
    assert drop_outs(edge, range(20024, 20026), 0) == [20025]
    assert one_more.say(0, one_more.port_command(30000)).announced is not None
    assert one_more.say(0, one_more.port_command(30002)).announced is None
    edge.apply(with_options(edge.config, sessions_on_change=SessionsOnChange.FLUSH))
    assert edge.sessions() == []
    fresh = Control(edge, CLIENT, SERVER, 40000)
    assert fresh.say(0, fresh.port_command(30002)).announced is not None


def test_sessions_and_their_records_survive_more_room() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    told = control.say(0, control.port_command(2100))
    edge.apply(ftp_edge(max_sessions=4_000_000))
    assert control.say(0, b"NOOP\r\n").seq == (told.seq + len(told.data)) % 2**32
    assert drop_outs(edge, range(2100, 2101), 0) == [2100]


def test_rules_that_are_gone_are_not_named() -> None:
    edge = Edge(ftp_edge())
    control = Control(edge, CLIENT, SERVER, 40000)
    control.say(0, control.port_command(2100))
    config = ftp_edge()
    kept = tuple(item for item in config.nat.rules if item.id != "out")
    edge.apply(replace(config, nat=replace(config.nat, rules=kept), firewall=acme().firewall))
    opened = connect(edge, "INTERNET", SERVER, OUTSIDE, 2100, 0)
    assert opened.reason is Reason.ALG
    assert [step.rule_id for step in opened.steps] == [None] * 4
    (data,) = [session for session in edge.sessions() if session.original.sport == 20]
    assert (data.firewall_rule_id, data.dnat_rule_id, data.snat_rule_id) == (None, None, None)


def test_a_lent_rule_that_has_become_another_draws_no_port() -> None:
    edge = Edge(ftp_edge())
    request = frames.udp(address(SERVER), address(PUBLIC), 5000, 69, b"\0\1file\0octet\0")
    assert edge.process("INTERNET", frames.frame(request), 0).steps[-1].result is StepResult.EXPECT
    config = ftp_edge()
    edge.apply(replace(config, nat=replace(config.nat, rules=(nat("in", "SNAT", PUBLIC, "10.20.0.0/24"),))))
    answer = frames.udp(address(CLIENT), address(SERVER), 3333, 5000, b"\0\3\0\1data")
    opened = edge.process("LAN", frames.frame(answer), 0)
    assert opened.reason is Reason.ALG
    snat = next(step for step in opened.steps if step.result is StepResult.SNAT)
    assert (snat.rule_id, snat.after) == ("in", Endpoints(ip_address(PUBLIC), 3333, ip_address(SERVER), 5000))
    parts = frames.parts_of(opened.outputs[0].frame)
    assert parts is not None
    assert struct.unpack_from("!HH", parts.payload) == (3333, 5000)


def test_a_tftp_server_answers_from_a_port_of_its_own() -> None:
    edge = Edge(ftp_edge())
    request = frames.udp(address(CLIENT), address(SERVER), 5000, 69, b"\0\1file\0octet\0")
    first = edge.process("LAN", frames.frame(request), 0)
    parts = frames.parts_of(first.outputs[0].frame)
    assert parts is not None
    external = struct.unpack_from("!H", parts.payload)[0]
    awaited = Endpoints(ip_address(SERVER), 0, ip_address(OUTSIDE), external)
    assert first.steps[-1] == Step(Stage.SESSION, StepResult.EXPECT, after=awaited)
    answer = frames.udp(address(SERVER), address(OUTSIDE), 3333, external, b"\0\3\0\1data")
    opened = edge.process("INTERNET", frames.frame(answer), 0)
    assert opened.reason is Reason.ALG
    assert opened.steps[1].after == Endpoints(ip_address(SERVER), 3333, ip_address(CLIENT), 5000)
    assert edge.process("INTERNET", frames.frame(answer), 0).reason is Reason.SESSION
    again = edge.process("LAN", frames.frame(request), 0)
    assert [step.result for step in again.steps] == [StepResult.HIT, StepResult.EXPECT]
