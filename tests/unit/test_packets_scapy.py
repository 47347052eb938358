"""Frames of :mod:`edge.packets` as scapy reads them: an opinion from outside."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from edge.packets import build_frame, parse_packet
from tests.packet_texts import packet_texts

pytestmark = pytest.mark.needs("scapy")


@settings(deadline=None)  # the first example imports scapy
@given(packet_texts())
def test_scapy_finds_every_checksum_right(text: str) -> None:
    from scapy.layers.inet import IP, in4_chksum
    from scapy.layers.inet6 import IPv6, in6_chksum
    from scapy.utils import checksum

    data = build_frame(parse_packet(text))[14:]
    if data[0] >> 4 == 4:
        packet, upper = IP(data), data[20:]
        assert checksum(data[:20]) == 0
        wrong = checksum(upper) if packet.proto == 1 else in4_chksum(packet.proto, packet, upper)
        protocol = packet.proto
    else:
        packet, upper = IPv6(data), data[40:]
        wrong, protocol = in6_chksum(packet.nh, packet, upper), packet.nh
    assert wrong == 0 or protocol not in (1, 6, 17, 58)


def test_scapy_reads_what_was_written() -> None:
    from scapy.layers.inet import ICMP, IP, TCP, IPerror, UDPerror
    from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
    from scapy.layers.l2 import Ether

    tcp = Ether(build_frame(parse_packet("tcp 10.0.0.1:5 > 10.0.0.2:80 SA seq=100 ack=7 win=512 len=9 ttl=3")))
    assert (tcp[IP].src, tcp[IP].dst, tcp[IP].ttl) == ("10.0.0.1", "10.0.0.2", 3)
    assert (tcp[TCP].sport, tcp[TCP].dport, str(tcp[TCP].flags)) == (5, 80, "SA")
    assert (tcp[TCP].seq, tcp[TCP].ack, tcp[TCP].window, len(tcp[TCP].payload)) == (100, 7, 512, 9)
    error = Ether(
        build_frame(parse_packet('icmp 1.1.1.1 > 2.2.2.2 frag-needed mtu=1400 of="udp 2.2.2.2:5 > 3.3.3.3:6"'))
    )
    assert (error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu) == (3, 4, 1400)
    assert (error[IPerror].dst, error[UDPerror].dport) == ("3.3.3.3", 6)
    echo = Ether(build_frame(parse_packet("icmp6 ::1 > ::2 echo-request id=7 seq=3 len=4")))
    assert (echo[ICMPv6EchoRequest].id, echo[ICMPv6EchoRequest].seq, echo[ICMPv6EchoRequest].data) == (7, 3, bytes(4))
    big = Ether(build_frame(parse_packet("icmp6 ::1 > ::2 packet-too-big mtu=1280")))
    assert big[ICMPv6PacketTooBig].mtu == 1280
    no_route = Ether(build_frame(parse_packet("icmp6 ::1 > ::2 net-unreachable")))
    assert (no_route[ICMPv6DestUnreach].code, no_route[IPv6].hlim) == (0, 64)
