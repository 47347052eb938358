"""What the kernel's own stack on both sides hears through the edge.  tests/netns/lab.py draws the namespaces."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.netns.lab import Lab, Space
from tests.waiting import wait_for

pytestmark = [pytest.mark.needs("netns", "nft"), pytest.mark.usefixtures("workers")]

INTERNET, INTERNET_6 = "198.51.100.5", "2001:db8:5::5"
CLIENT = "10.20.0.10"
SIZE = 8 << 20
UDP_SEGMENT = 103
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
PATTERN = bytes(range(251))  # its period divides no power of two: nothing can change places unseen


@pytest.fixture(scope="module")
def lab(workers: int) -> Iterator[Lab]:  # noqa: ARG001 - the edge has as many
    with Lab() as made:
        made.start()
        yield made


def transfer(sender: socket.socket, receiver: socket.socket, size: int = SIZE) -> bytes:
    """What arrives of ``size`` bytes of the pattern, until the end of the stream."""
    data = (PATTERN * (size // len(PATTERN) + 1))[:size]

    def send() -> None:
        sender.sendall(data)
        sender.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    found = bytearray()
    while piece := receiver.recv(1 << 20):
        found += piece
    thread.join()
    assert found == data
    return bytes(found)


def bad_checksums(space: Space) -> int:
    """What the namespace's stack has found wrong."""
    found = 0
    for line in space.run("nstat", "-asz").splitlines():
        name, *values = line.split()
        if name.endswith(("InCsumErrors", "CsumErrors")):
            found += int(values[0])
    return found


def connected(
    near: Space, far: Space, family: int, address: str, port: int, discover: int | None = None
) -> tuple[socket.socket, socket.socket, str]:
    """A connection out of the client's namespace: both ends, and who the server takes the client for.  ``discover`` is
    what the client does about the path's MTU (IP_MTU_DISCOVER)."""
    with far.socket(family, socket.SOCK_STREAM, (address, port)) as listening:
        listening.listen()
        out = near.socket(family, socket.SOCK_STREAM)
        if discover is not None:
            out.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
        out.connect((address, port))
        came, peer = listening.accept()
        return out, came, peer[0]


def assert_answered(said: list[str]) -> None:
    assert all(" 0% packet loss" in text for text in said), said


def test_ping(lab: Lab) -> None:
    for address in (INTERNET, INTERNET_6, "10.20.0.1", "2001:db8:20::1"):
        assert_answered(lab.client.ping(address))


def test_a_ping_in_pieces_is_answered_in_pieces(lab: Lab) -> None:
    for address in (INTERNET, "10.20.0.1", "2001:db8:20::1"):
        assert_answered(lab.client.ping(address, "-s", "4000"))


def test_udp_leaves_with_the_external_address_and_its_answer_comes_back(lab: Lab) -> None:
    server = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM, (INTERNET, 5353))
    client = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        client.sendto(b"question", (INTERNET, 5353))
        question, peer = server.recvfrom(100)
        server.sendto(b"answer", peer)
        assert (question, peer[0]) == (b"question", "203.0.113.10")
        assert client.recvfrom(100) == (b"answer", (INTERNET, 5353))


def test_a_published_server_is_reached(lab: Lab) -> None:
    with lab.client.socket(socket.AF_INET, socket.SOCK_STREAM, (CLIENT, 8080)) as listening:
        listening.listen()
        visitor = lab.server.socket(socket.AF_INET, socket.SOCK_STREAM, (INTERNET, 0))
        visitor.connect(("203.0.113.11", 80))
        came, peer = listening.accept()
        with visitor, came:
            assert peer[0] == INTERNET
            transfer(visitor, came)
            transfer(came, visitor)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, INTERNET), (socket.AF_INET6, INTERNET_6)])
def test_large_frames_pass_as_one_packet(lab: Lab, family: int, address: str) -> None:
    before = lab.edges[0].ask()["ports"]["LAN"]["counters"]
    near, far, peer = connected(lab.client, lab.server, family, address, 5201)
    with near, far:
        assert peer == ("203.0.113.10" if family == socket.AF_INET else "2001:db8:20::10")
        transfer(near, far)
        transfer(far, near)
    after = lab.edges[0].ask()["ports"]["LAN"]["counters"]
    for way in ("rx", "tx"):
        packets = after[f"{way}_packets"] - before[f"{way}_packets"]
        size = after[f"{way}_bytes"] - before[f"{way}_bytes"]
        assert size > SIZE
        assert packets < SIZE / 1448, "as many packets as without segmentation offload"
    assert bad_checksums(lab.server) == bad_checksums(lab.client) == 0


@pytest.mark.parametrize("size", [1000, 1472])
def test_large_frames_of_udp_become_datagrams(lab: Lab, size: int) -> None:
    server = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM, (INTERNET, 5000 + size))
    client = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        data = (PATTERN * 100)[: size * 10 + 7]
        wanted = [data[at : at + size] for at in range(0, len(data), size)]
        for _ in range(2):  # of a new session it is cut, of an old one it passes whole
            client.sendto(data, (INTERNET, 5000 + size))
            assert [server.recv(2000) for _ in wanted] == wanted
    assert bad_checksums(lab.server) == 0


def test_what_comes_back_from_the_provider_is_cut_and_passes_twice(lab: Lab) -> None:
    """A client that calls its own network's published server: the segments of each large frame pass one by one."""
    with lab.client.socket(socket.AF_INET, socket.SOCK_STREAM, (CLIENT, 8080)) as listening:
        listening.listen()
        visitor = lab.client.socket(socket.AF_INET, socket.SOCK_STREAM)
        visitor.connect(("203.0.113.11", 80))
        came, peer = listening.accept()
        with visitor, came:
            assert peer[0] == "203.0.113.10"
            transfer(visitor, came, SIZE // 8)
            transfer(came, visitor, SIZE // 8)
    assert bad_checksums(lab.client) == 0


@pytest.mark.parametrize("discover", [IP_PMTUDISC_DO, IP_PMTUDISC_DONT])
def test_segments_larger_than_the_mtu(discover: int) -> None:
    """They are refused, and their sender adapts; or cut again, where it does not forbid that."""
    with Lab() as narrow:
        edge = narrow.start(mtu=1400)
        near, far, _ = connected(narrow.client, narrow.server, socket.AF_INET, INTERNET, 5201, discover)
        with near, far:
            transfer(near, far, SIZE // 8)
        reasons = edge.ask()["reasons"]
        assert ("TOO_BIG" in reasons) == (discover == IP_PMTUDISC_DO)
        assert bad_checksums(narrow.server) == bad_checksums(narrow.client) == 0


def test_connections_fit_a_device_that_carries_less_than_the_edge() -> None:
    with Lab() as narrow:
        narrow.middle.run("ip", "link", "set", "e1", "mtu", "1300")
        edge = narrow.start()
        near, far, _ = connected(narrow.client, narrow.server, socket.AF_INET, INTERNET, 5201)
        with near, far:
            assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1260
            transfer(near, far, SIZE // 8)
            transfer(far, near, SIZE // 8)
        assert edge.ask()["ports"]["INTERNET"]["counters"]["tx_dropped"] == 0


def test_what_a_device_does_not_carry_is_cut_or_its_sender_hears_how_much_it_does() -> None:
    """The edge allows 1500 bytes, the device towards the server 1300."""
    with Lab() as narrow:
        narrow.middle.run("ip", "link", "set", "e1", "mtu", "1300")
        narrow.server.run("ip", "link", "set", "s0", "mtu", "1300")
        edge = narrow.start()
        assert_answered(narrow.client.ping(INTERNET, "-s", "1400", "-M", "dont"))
        refused, *_ = narrow.client.ping(INTERNET, "-s", "1400", "-M", "do")
        assert "mtu = 1300" in refused or "mtu=1300" in refused, refused
        assert "cache expires" in narrow.client.run("ip", "route", "get", INTERNET)
        assert_answered(narrow.client.ping(INTERNET, "-s", "1200", "-M", "do"))
        narrow.client.ping(INTERNET_6, "-s", "1400")
        assert "mtu 1300" in narrow.client.run("ip", "-6", "route", "get", INTERNET_6)
        assert edge.ask()["links"]["INTERNET"]["drops"]["TOO_BIG"] >= 2
        assert edge.ask()["ports"]["INTERNET"]["counters"]["tx_dropped"] == 0


@pytest.mark.parametrize("discover", [IP_PMTUDISC_DO, IP_PMTUDISC_DONT])
def test_segments_larger_than_a_device_carries(discover: int) -> None:
    """Nobody has announced an MSS that fits, for the device became narrow later: each segment is told of, or cut."""
    with Lab() as narrow:
        edge = narrow.start()
        near, far, _ = connected(narrow.client, narrow.server, socket.AF_INET, INTERNET, 5201, discover)
        with near, far:
            narrow.middle.run("ip", "link", "set", "e1", "mtu", "1300")
            wait_for("the port is up again", lambda: edge.ask()["ports"]["INTERNET"]["up"])
            transfer(near, far, SIZE // 8)
        assert edge.ask()["ports"]["INTERNET"]["counters"]["tx_dropped"] == 0
        assert bad_checksums(narrow.server) == bad_checksums(narrow.client) == 0


@pytest.mark.parametrize(("mtu", "burst", "count"), [(1500, 64, 4800), (9000, 8, 1200), (65535, 1, 200)])
def test_every_slot_of_the_rings_in_order(mtu: int, burst: int, count: int) -> None:
    """More datagrams than there are slots, of all sizes, in bursts that the server's socket has room for: each arrives,
    as it was, behind the one before."""
    with Lab() as made:
        for space, device in (
            (made.client, "c0"), (made.middle, "e0"), (made.middle, "e1"), (made.server, "s0"),
        ):  # fmt: skip
            space.run("ip", "link", "set", device, "mtu", str(mtu))
        edge = made.start(mtu=mtu)
        assert " 0% packet loss" in made.client.run("ping", "-c", "1", "-W", "5", INTERNET)  # all neighbours are known
        server = made.server.socket(socket.AF_INET, socket.SOCK_DGRAM, (INTERNET, 5355))
        client = made.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
        data = PATTERN * (mtu // len(PATTERN) + 1)
        with server, client:
            for first in range(0, count, burst):
                wanted = [
                    number.to_bytes(4, "big") + data[: number * 997 % (mtu - 28 - 4 + 1)]
                    for number in range(first, first + burst)
                ]
                for datagram in wanted:
                    client.sendto(datagram, (INTERNET, 5355))
                assert [server.recv(65536) for _ in wanted] == wanted
        assert all(
            port["counters"][dropped] == 0
            for port in edge.ask()["ports"].values()
            for dropped in ("rx_dropped", "tx_dropped")
        )


def test_fragments_pass_both_ways(lab: Lab) -> None:
    server = lab.server.socket(socket.AF_INET, socket.SOCK_DGRAM, (INTERNET, 5354))
    client = lab.client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        for size in (4000, 60_000):
            data = (PATTERN * 300)[:size]
            client.sendto(data, (INTERNET, 5354))
            came, peer = server.recvfrom(65536)
            assert (len(came), came) == (size, data)
            server.sendto(came, peer)
            back = client.recv(65536)
            assert (len(back), back) == (size, data)


def test_the_host_of_the_edge_hears_nothing(lab: Lab) -> None:
    """Not even packets for its own addresses, nor does it answer, nor forward."""
    lab.middle.run("ip", "address", "replace", "10.20.0.77/32", "dev", "lo")
    lab.middle.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    heard = lab.middle.run("nstat", "-asz")
    assert "100% packet loss" in lab.client.run("ping", "-c", "2", "-i", "0.01", "-W", "1", "10.20.0.77", check=False)
    assert_answered(lab.client.ping(INTERNET))
    for name in ("IpInReceives", "Ip6InReceives", "IpOutRequests", "Ip6OutRequests"):
        counts = [line.split()[1] for line in heard.splitlines() if line.startswith(f"{name} ")]
        now = [line.split()[1] for line in lab.middle.run("nstat", "-asz").splitlines() if line.startswith(f"{name} ")]
        assert counts == now, name


def test_without_offload() -> None:
    with Lab(offload=False) as plain:
        edge = plain.start()
        near, far, _ = connected(plain.client, plain.server, socket.AF_INET, INTERNET, 5201)
        with near, far:
            transfer(near, far)
        counters = edge.ask()["ports"]["LAN"]["counters"]
        assert counters["rx_packets"] >= SIZE / 1448
        assert bad_checksums(plain.server) == 0


def test_a_tap_device_is_a_port() -> None:
    with Lab() as lab:
        edge = lab.start("LAN=tap:t1lan", "INTERNET=link:e1")
        host = lab.middle
        host.run("ip", "address", "add", f"{CLIENT}/24", "dev", "t1lan")
        host.run("ip", "route", "add", "default", "via", "10.20.0.1")
        wait_for(
            "a ping through the TAP device",
            lambda: " 0% packet loss" in host.run("ping", "-c", "1", "-W", "1", INTERNET, check=False),
        )
        near, far, peer = connected(host, lab.server, socket.AF_INET, INTERNET, 5201)
        with near, far:
            assert peer == "203.0.113.10"
            transfer(near, far)
            transfer(far, near)
        counters = edge.ask()["ports"]["LAN"]["counters"]
        assert counters["rx_packets"] + counters["tx_packets"] < 2 * SIZE / 1448
        assert bad_checksums(lab.server) == bad_checksums(host) == 0
        edge.stop()
        assert "t1lan" not in host.run("ip", "link", "show")


def test_no_namespace_is_left() -> None:
    with Lab() as lab:
        names = [space.name for space in lab.spaces]
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not [name for name in names if name in left]
