"""The closed vocabulary of results: what traces, counters, metrics and events all speak.

Numbers are those of the enums in ``native/stats.pxd``; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from edge.addresses import IPAddress


class Verdict(IntEnum):
    """What became of a packet."""

    ALLOW = 0
    DROP = 1
    REJECT = 2  # a rule said so; the answer is among the outputs
    LOCAL = 3  # the edge itself took it
    HELD = 4  # a fragment that waits for the rest


class Reason(IntEnum):
    """Why.  The list grows; a name never changes its meaning.  ``docs/pipeline.md`` explains each."""

    FW_RULE = 0
    FW_DEFAULT = 1
    FW_SYSTEM = 2
    NAT_BYPASS = 3
    EAST_WEST = 4
    SESSION = 5
    RELATED = 6
    LOCAL_SERVICE = 7
    TCP_STRICT = 8
    TCP_WINDOW = 9
    TCP_STATE = 10
    ICMP_UNRELATED = 11
    PROVIDER_FILTER = 12
    NO_ROUTE = 13
    TTL_EXPIRED = 14
    TOO_BIG = 15
    ISOLATED = 16
    MALFORMED = 17
    BAD_CHECKSUM = 18
    FRAGMENT_HELD = 19
    FRAGMENT_ERROR = 20
    SESSION_LIMIT = 21
    NAT_PORTS_EXHAUSTED = 22
    NAT_COLLISION = 23
    NOT_IP = 24  # a frame that carries neither IPv4 nor IPv6
    MULTICAST = 25  # to a multicast or broadcast address, which a T1 does not forward
    MARTIAN = 26  # from or to an address that never crosses a router (RFC 1812 5.3.7, RFC 4291 2.5.6)
    FRAGMENT_LIMIT = 27
    ALG = 28  # an ALG of another session opened it


class Stage(IntEnum):
    """Where, in the order of ``pipeline()``."""

    REASSEMBLY = 0
    SESSION = 1
    PROVIDER_FILTER = 2
    IPSEC = 3
    LOAD_BALANCER = 4
    NAT = 5
    ROUTE = 6
    FIREWALL = 7
    LOCAL = 8
    PARSE = 9


class StepResult(IntEnum):
    """What a stage said."""

    MISS = 0
    HIT = 1
    PASS = 2
    DROP = 3
    ALLOW = 4
    REJECT = 5
    BYPASS = 6
    DNAT = 7
    SNAT = 8
    NO_DNAT = 9
    NO_SNAT = 10
    REFLEXIVE = 11
    CONNECTED = 12
    STATIC = 13
    DEFAULT = 14
    LOCAL = 15
    NO_ROUTE = 16
    ISOLATED = 17
    TTL_EXPIRED = 18
    ECHO_REPLY = 19
    RESET = 20
    UNREACHABLE = 21
    ACCEPTED = 22
    MULTICAST = 23
    MARTIAN = 24
    ENDED = 25
    TOO_BIG = 26
    HELD = 27
    COMPLETE = 28
    HAIRPIN = 29
    LIMITED = 30  # an ICMP error or a challenge ACK that the edge would have sent
    ALG = 31  # the firewall was not asked: an ALG expects this session
    EXPECT = 32  # an ALG expects a session from now on


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses and ports as a stage saw or left them.

    For ICMP queries ``sport`` is the identifier and ``dport`` 0; for protocols without ports both are 0.
    """

    src: IPAddress
    sport: int
    dst: IPAddress
    dport: int


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a trace.  ``rule_id`` names the firewall or NAT rule that decided, ``port`` where ROUTE leads.

    ``nat_rule_ids``: of a SESSION HIT, the NAT rules that the session was begun with, DNAT's before SNAT's; a rule that
    the configuration no longer has is not named."""

    stage: Stage
    result: StepResult
    rule_id: str | None = None
    port: str | None = None
    after: Endpoints | None = None
    saw: Endpoints | None = None
    logged: bool = False
    nat_rule_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fragmentation:
    """How a datagram that is handed on whole came in pieces: ``size`` bytes of IP the largest of them, all with this
    ``identification``; ``at`` is the offset of the Fragment header in the first piece (IPv6), 0 for IPv4."""

    size: int
    identification: int
    at: int


@dataclass(frozen=True, slots=True)
class Output:
    """A datagram that leaves: ``frame`` is it whole, as Ethernet without padding or FCS.

    ``hairpin``: the provider's router will send it straight back in by the same uplink, because it is addressed to this
    edge.  ``fragments`` are the frames of its pieces in order of offset where it does not leave whole (RFC 791, RFC
    8200 4.5), ``fragmentation`` says how it came in pieces, None if it came whole.
    """

    port: str
    frame: bytes
    hairpin: bool = False
    fragments: tuple[bytes, ...] = ()
    fragmentation: Fragmentation | None = None

    @property
    def frames(self) -> tuple[bytes, ...]:
        """What is on the wire."""
        return self.fragments or (self.frame,)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that one packet did."""

    verdict: Verdict
    reason: Reason
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of one packet of a batch, of its last pass if the provider's router sent it back in; ``outputs`` is
    what left, the edge's answer to it included."""

    verdict: Verdict
    reason: Reason
    outputs: tuple[Output, ...]
