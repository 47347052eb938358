"""Patterns of outputs: what they accept, what they refuse to be."""

import pytest

from edge.patterns import PacketPattern


@pytest.mark.parametrize(
    ("pattern", "packet"),
    [
        ("udp 203.0.113.10:* > 8.8.8.8:53", "udp 203.0.113.10:40711 > 8.8.8.8:53"),
        ("udp 203.0.113.10:1024-65535 > 8.8.8.8:53", "udp 203.0.113.10:1024 > 8.8.8.8:53"),
        ("udp *:* > *:53", "udp 203.0.113.10:40711 > 8.8.8.8:53"),
        ("udp * > *", "udp 203.0.113.10:40711 > 8.8.8.8:53"),
        ("* * > 8.8.8.8", "icmp 10.0.0.1 > 8.8.8.8 echo-request id=7 seq=1"),
        ("tcp 10.0.0.1:1 > 10.0.0.2:2", "tcp 10.0.0.1:1 > 10.0.0.2:2 SA"),
        ("tcp 10.0.0.1:1 > 10.0.0.2:2 AS", "tcp 10.0.0.1:1 > 10.0.0.2:2 SA"),
        ("tcp 10.0.0.1:1 > 10.0.0.2:2 *", "tcp 10.0.0.1:1 > 10.0.0.2:2 SA"),
        ("tcp [2001:DB8:0::9]:1 > [2001:db8:1::2]:443 S", "tcp [2001:db8::9]:1 > [2001:db8:1::2]:443 S"),
        ("icmp 10.0.0.1 > 8.8.8.8 echo-request id=1-9", "icmp 10.0.0.1 > 8.8.8.8 echo-request id=7 seq=1"),
        ("icmp6 2001:db8::1 > 2001:db8::2 echo-reply", "icmp6 2001:db8::1 > 2001:db8::2 echo-reply id=7 seq=1"),
        ("proto=47 10.0.0.1 > 10.0.0.2", "proto=47 10.0.0.1 > 10.0.0.2"),
        (
            'icmp 10.0.0.1 > 8.8.8.8 port-unreachable of="udp 10.0.0.9:* > 8.8.8.8:53"',
            'icmp 10.0.0.1 > 8.8.8.8 port-unreachable of="udp 10.0.0.9:2048 > 8.8.8.8:53"',
        ),
    ],
)
def test_accepts(pattern: str, packet: str) -> None:
    assert PacketPattern.parse(pattern).accepts(PacketPattern.parse(packet))


@pytest.mark.parametrize(
    ("pattern", "packet"),
    [
        ("tcp 203.0.113.10:* > 8.8.8.8:53", "udp 203.0.113.10:40711 > 8.8.8.8:53"),
        ("udp 203.0.113.10:1025-65535 > 8.8.8.8:53", "udp 203.0.113.10:1024 > 8.8.8.8:53"),
        ("udp 203.0.113.11:* > 8.8.8.8:53", "udp 203.0.113.10:40711 > 8.8.8.8:53"),
        ("udp 203.0.113.10:* > 8.8.8.8:54", "udp 203.0.113.10:40711 > 8.8.8.8:53"),
        ("tcp 10.0.0.1:1 > 10.0.0.2:2 S", "tcp 10.0.0.1:1 > 10.0.0.2:2 SA"),
        ("icmp 10.0.0.1 > 8.8.8.8 echo-reply", "icmp 10.0.0.1 > 8.8.8.8 echo-request id=7 seq=1"),
        ("icmp 10.0.0.1 > 8.8.8.8 echo-request id=8", "icmp 10.0.0.1 > 8.8.8.8 echo-request id=7 seq=1"),
        ("tcp 10.0.0.1:1 > 10.0.0.2:2 ttl=63", "tcp 10.0.0.1:1 > 10.0.0.2:2 S"),
        (
            'icmp 10.0.0.1 > 8.8.8.8 port-unreachable of="udp 10.0.0.8:* > 8.8.8.8:53"',
            'icmp 10.0.0.1 > 8.8.8.8 port-unreachable of="udp 10.0.0.9:2048 > 8.8.8.8:53"',
        ),
    ],
)
def test_rejects(pattern: str, packet: str) -> None:
    assert not PacketPattern.parse(pattern).accepts(PacketPattern.parse(packet))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "does not read PROTO SRC"),
        ("tcp 10.0.0.1:1 - 10.0.0.2:2", "does not read PROTO SRC"),
        ("sctp 10.0.0.1:1 > 10.0.0.2:2", "'sctp' is not a protocol"),
        ("tcp 10.0.0.256:1 > 10.0.0.2:2", "'10.0.0.256'"),
        ("tcp 10.0.0.1:http > 10.0.0.2:2", "'http'"),
        ("tcp [2001:db8::1:1 > 10.0.0.2:2", "not an IPv6 address with a port"),
        ("tcp 10.0.0.1:1 > 10.0.0.2:2 S A", "one word too many"),
        ('icmp 10.0.0.1 > 8.8.8.8 port-unreachable of="udp"', "does not read PROTO SRC"),
    ],
)
def test_what_is_no_pattern_says_why(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PacketPattern.parse(text)


def test_keys_are_those_that_a_packet_must_show() -> None:
    assert PacketPattern.parse("udp 10.0.0.1:1 > 10.0.0.2:2 ttl=63 len=*").keys == {"ttl", "len"}
