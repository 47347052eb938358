"""Forwarding between ports in memory: the link layer, the pipeline, injection, configurations that change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge.errors import ForwardingError, PortError, PortSpecError
from edge.forwarder import Forwarder
from edge.gateway import Gateway
from edge.packets.build import build_frame
from edge.packets.text import parse_packet
from edge.port_group import PortGroup
from edge.ports import PortKind, PortSpec, made_mac
from edge.runtime import Edge
from edge.verdicts import Reason, Verdict
from edge.workers import Workers
from tests.support import acme, network

CLIENT_MAC, ROUTER_MAC = bytes.fromhex("020000000a0a"), bytes.fromhex("02000000cb01")
BROADCAST = b"\xff" * 6
PATIENCE = 20.0


@pytest.fixture(params=[1, 2, 3])
def edge(request: pytest.FixtureRequest) -> Edge:
    return Edge(acme()) if request.param == 1 else Workers(acme(), request.param)


@pytest.fixture
def forwarder(edge: Edge) -> Iterator[Forwarder]:
    with Forwarder(edge, []) as made:
        yield made


def frames(forwarder: Forwarder, port: str, wanted: Callable[[bytes], bool]) -> bytes:
    """The first frame of that kind that leaves by a port."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for frame in forwarder.take(port):
            if wanted(frame):
                return frame
    raise AssertionError(f"no such frame has left by {port}")


def arp(operation: int, source: bytes, sender: str, target: str, destination: bytes = BROADCAST) -> bytes:
    """RFC 826."""
    body = b"\0\1\x08\0\6\4" + operation.to_bytes(2, "big") + source + packed(sender) + bytes(6) + packed(target)
    if operation == 2:
        body = body[:18] + destination + body[24:]
    return (destination + source + b"\x08\x06" + body).ljust(60, b"\0")


def packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def ipv4(text: str, source: bytes, destination: bytes) -> bytes:
    return destination + source + build_frame(parse_packet(text))[12:]


def is_arp_for(address: str) -> Callable[[bytes], bool]:
    return lambda frame: frame[12:14] == b"\x08\x06" and frame[38:42] == packed(address) != frame[28:32]


def is_ip(frame: bytes) -> bool:
    return frame[12:14] == b"\x08\0"


def test_a_packet_waits_for_its_neighbour_and_leaves_for_it(forwarder: Forwarder) -> None:
    lan, internet = (made_mac("edge", name) for name in ("LAN", "INTERNET"))
    forwarder.feed("LAN", arp(1, CLIENT_MAC, "10.20.0.10", "10.20.0.1"))
    reply = frames(forwarder, "LAN", lambda frame: frame[:6] == CLIENT_MAC)
    assert (reply[6:12], reply[20:22], reply[28:32]) == (lan, b"\0\2", packed("10.20.0.1"))
    forwarder.feed("LAN", ipv4("udp 10.20.0.10:1024 > 198.51.100.5:53", CLIENT_MAC, lan))
    asked = frames(forwarder, "INTERNET", is_arp_for("203.0.113.1"))
    assert asked[:12] == BROADCAST + internet
    forwarder.feed("INTERNET", arp(2, ROUTER_MAC, "203.0.113.1", "203.0.113.10", internet))
    sent = frames(forwarder, "INTERNET", is_ip)
    assert sent[:12] == ROUTER_MAC + internet
    assert (sent[26:30], sent[30:34], sent[22]) == (packed("203.0.113.10"), packed("198.51.100.5"), 63)
    counters = forwarder.ports["INTERNET"].counters
    assert (counters.rx_packets, counters.rx_bytes) == (1, 60)


def test_the_edge_answers_pings(forwarder: Forwarder) -> None:
    lan = made_mac("edge", "LAN")
    forwarder.feed("LAN", arp(1, CLIENT_MAC, "10.20.0.10", "10.20.0.1"))
    forwarder.feed("LAN", ipv4("icmp 10.20.0.10 > 10.20.0.1 echo-request id=7 seq=1", CLIENT_MAC, lan))
    reply = frames(forwarder, "LAN", is_ip)
    assert reply[:12] == CLIENT_MAC + lan
    assert reply[34] == 0


@pytest.mark.parametrize("tag", [b"\x81\0\0\5", b"\x88\xa8\x20\1"])
def test_a_frame_of_a_vlan_is_dropped_and_counted(edge: Edge, forwarder: Forwarder, tag: bytes) -> None:
    frame = ipv4("udp 10.20.0.10:1024 > 198.51.100.5:53", CLIENT_MAC, made_mac("edge", "LAN"))
    forwarder.feed("LAN", frame[:12] + tag + frame[12:])
    until = time.monotonic() + PATIENCE
    while not forwarder.ports["LAN"].counters.rx_dropped:
        assert time.monotonic() < until
    with edge.turn():
        assert edge.stats().reasons == {}


def test_what_is_injected_leaves_by_the_ports(edge: Edge, forwarder: Forwarder) -> None:
    forwarder.feed("INTERNET", arp(1, ROUTER_MAC, "203.0.113.1", "203.0.113.10"))
    frames(forwarder, "INTERNET", lambda frame: frame[:6] == ROUTER_MAC)
    frame = build_frame(parse_packet("udp 10.20.0.10:1024 > 198.51.100.5:53"))
    (done,) = forwarder.inject([("LAN", frame)], time.monotonic_ns())
    assert (done.verdict, done.reason) == (Verdict.ALLOW, Reason.FW_RULE)
    assert frames(forwarder, "INTERNET", is_ip)[14:] == done.outputs[0].frame[14:]
    (done,) = forwarder.inject([("LAN", frame)], time.monotonic_ns(), outputs=False)
    assert (done.reason, done.outputs) == (Reason.SESSION, ())
    with edge.turn():
        assert len(edge.sessions()) == 1


def test_a_new_configuration_has_its_ports(edge: Edge, forwarder: Forwarder) -> None:
    more = acme(networks=[network("DMZ", "10.30.0.1/24"), network("LAN", "10.20.0.1/24", "2001:db8:20::1/64")])
    with edge.turn():
        edge.apply(more)
        forwarder.rebind(more)
    forwarder.feed("DMZ", arp(1, CLIENT_MAC, "10.30.0.10", "10.30.0.1"))
    assert frames(forwarder, "DMZ", lambda frame: frame[:6] == CLIENT_MAC)[28:32] == packed("10.30.0.1")
    forwarder.feed("LAN", arp(1, CLIENT_MAC, "10.20.0.10", "10.20.0.1"))
    assert frames(forwarder, "LAN", lambda frame: frame[:6] == CLIENT_MAC)[28:32] == packed("10.20.0.1")
    with edge.turn():
        edge.apply(acme())
        forwarder.rebind(edge.config)
    assert "DMZ" not in forwarder.ports
    assert forwarder.unbound == []


def test_ports_that_come_and_go_leave_nothing_behind(edge: Edge, forwarder: Forwarder) -> None:
    for number in range(50):
        lan = network("LAN", "10.20.0.1/24", "2001:db8:20::1/64")
        config = acme(networks=[network(f"N{number}", "10.30.0.1/24"), lan])
        with edge.turn():
            edge.apply(config)
            forwarder.rebind(config)
    assert set(forwarder.ports) == {"INTERNET", "N49", "LAN"}
    assert forwarder._table.count <= 4
    forwarder.feed("N49", arp(1, CLIENT_MAC, "10.30.0.10", "10.30.0.1"))
    assert frames(forwarder, "N49", lambda frame: frame[:6] == CLIENT_MAC)[28:32] == packed("10.30.0.1")


def test_a_network_that_is_routed_from_now_on_answers(edge: Edge, forwarder: Forwarder) -> None:
    ends = ("LAN", "10.20.0.1/24", "2001:db8:20::1/64")
    for config in (acme(networks=[network(*ends, kind="ISOLATED")]), acme(networks=[network(*ends)])):
        with edge.turn():
            edge.apply(config)
            forwarder.rebind(config)
    forwarder.feed("LAN", arp(1, CLIENT_MAC, "10.20.0.10", "10.20.0.1"))
    answer = frames(forwarder, "LAN", lambda frame: frame[:6] == CLIENT_MAC)
    assert answer[6:12] == bytes.fromhex(forwarder.ports["LAN"].mac.replace(":", ""))


def test_a_forwarder_starts_again(edge: Edge) -> None:
    forwarder = Forwarder(edge, [])
    for _ in range(3):
        with forwarder:
            forwarder.feed("LAN", arp(1, CLIENT_MAC, "10.20.0.10", "10.20.0.1"))
            frames(forwarder, "LAN", lambda frame: frame[:6] == CLIENT_MAC)
            with pytest.raises(RuntimeError, match="started already"):
                forwarder.start()
        assert edge.sessions() == [], "nobody else is at work"


def test_a_port_that_the_edge_has_not_got_is_named(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    with Forwarder(edge, [PortSpec("WAN", PortKind.MEMORY)]) as forwarder:
        assert forwarder.unbound == ["WAN"]
        assert forwarder.ports["WAN"].mac == made_mac("edge", "WAN").hex(":")
    assert "no port 'WAN'" in caplog.text


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("LAN=link:eth1", PortSpec("LAN", PortKind.LINK, "eth1")),
        ("LAN=tap:lan", PortSpec("LAN", PortKind.TAP, "lan")),
        ("LAN=memory", PortSpec("LAN", PortKind.MEMORY)),
        ("a=b=link:eth1.7", PortSpec("a=b", PortKind.LINK, "eth1.7")),
    ],
)
def test_specs(text: str, spec: PortSpec) -> None:
    assert PortSpec.parse(text) == spec
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("LAN", "'LAN' is no port: NAME=KIND[:DEVICE] is, as in LAN=link:eth1"),
        ("=link:eth1", "'=link:eth1' is no port: NAME=KIND[:DEVICE] is, as in LAN=link:eth1"),
        ("LAN=", "'LAN=': '' is no kind of port; there are memory, tap, link"),
        ("LAN=veth:a", "'LAN=veth:a': 'veth' is no kind of port; there are memory, tap, link"),
        ("LAN=link", "'LAN=link': the device is missing, as in LAN=link:eth1"),
        ("LAN=tap:", "'LAN=tap:': the device is missing, as in LAN=tap:eth1"),
        ("LAN=memory:x", "'LAN=memory:x': a port in memory has no device"),
        ("LAN=link:a/b", "'LAN=link:a/b': 'a/b' cannot be the name of a device"),
        ("LAN=link:sixteen--letters", "'LAN=link:sixteen--letters': 'sixteen--letters' cannot be the name of a device"),
    ],
)
def test_specs_that_are_none(text: str, problem: str) -> None:
    with pytest.raises(PortSpecError) as caught:
        PortSpec.parse(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (("LAN=memory", "LAN=tap:a"), "the port 'LAN' is given twice"),
        (("LAN=tap:a", "INTERNET=link:a"), "the device 'a' is given twice"),
    ],
)
def test_specs_that_contradict_each_other(edge: Edge, texts: tuple[str, ...], problem: str) -> None:
    with pytest.raises(PortSpecError) as caught:
        Forwarder(edge, [PortSpec.parse(text) for text in texts])
    assert str(caught.value) == problem


def test_a_forwarder_that_can_go_on_no_longer_says_so(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(edge, "forward", fail)
    told = threading.Event()
    forwarder = Forwarder(edge, [])
    forwarder.on_failure = told.set
    with forwarder:
        assert told.wait(PATIENCE)
        assert isinstance(forwarder.failure, ForwardingError)
        assert "no room" in str(forwarder.failure)


@pytest.mark.parametrize("error", [OSError("too many open files"), ImportError("no such module")])
def test_a_forwarder_without_netlink_does_not_start(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr("pyroute2.IPRoute", refuse)
    with pytest.raises(PortError if isinstance(error, OSError) else ImportError, match=str(error)):
        Forwarder(edge, []).start()
    assert not edge.forwarding


def test_all_counters_are_of_one_moment(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway()
    with Forwarder(edge, []) as forwarder:
        monkeypatch.setattr(gateway, "edge", edge, raising=False)
        gateway.forwarding = forwarder
        turns = []
        ask = forwarder.link_counters
        monkeypatch.setattr(forwarder, "link_counters", lambda: (turns.append(edge._engine.waiting_turns), ask())[1])
        assert set(gateway.counters(rules=True).links) == {"INTERNET", "LAN"}
        assert turns == [1]


def test_a_forwarder_that_is_stopped_has_not_failed(edge: Edge) -> None:
    forwarder = Forwarder(edge, [])
    with forwarder:
        pass
    assert forwarder.failure is None


def test_what_the_kernel_does_not_place_is_handed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An edge goes on without: it only costs time."""

    def refuse(_: PortGroup, program: bytes) -> None:
        assert program
        raise OSError(12, "no memory for a program")

    monkeypatch.setattr(PortGroup, "place", refuse)
    with Forwarder(Workers(acme(), 2), []) as forwarder:
        assert "no memory for a program" in caplog.text
        forwarder.feed("LAN", arp(1, CLIENT_MAC, "10.20.0.10", "10.20.0.1"))
        assert frames(forwarder, "LAN", lambda frame: frame[:6] == CLIENT_MAC)
