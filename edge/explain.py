"""Why a packet ended as it did, as a sentence.  ``SENTENCES`` is the one table; ``docs/pipeline.md`` lists it."""

from __future__ import annotations

from types import MappingProxyType

from edge.verdicts import Reason, Verdict

SENTENCES = MappingProxyType(
    {
        Reason.FW_RULE: "the firewall rule {rule} {verb} it",
        Reason.FW_DEFAULT: "no user rule of the firewall matches; the default rule {rule} {verb} it",
        Reason.FW_SYSTEM: "the system rule {rule} of the firewall {verb} it",
        Reason.NAT_BYPASS: "the NAT rule {rule} says BYPASS, so the firewall was not asked",
        Reason.EAST_WEST: "both networks are distributed, so the traffic between them never reaches the edge's firewall"
        " or NAT",
        Reason.SESSION: "it belongs to an established session",
        Reason.RELATED: "it is an ICMP error about an established session",
        Reason.LOCAL_SERVICE: "it is addressed to the edge itself",
        Reason.TCP_STRICT: "a TCP packet without a session must be a SYN (options.tcpStrict)",
        Reason.TCP_WINDOW: "its sequence or acknowledgement number is outside the session's window; more may be"
        " unacknowledged than the other side has room for",
        Reason.TCP_STATE: "its flags do not fit the state of the TCP session",
        Reason.ICMP_UNRELATED: "it is an ICMP reply that nobody asked for, or an ICMP error about no session",
        Reason.PROVIDER_FILTER: "the provider blocks this destination port upstream of every edge"
        " (options.providerFilter)",
        Reason.NO_ROUTE: "no route leads to its destination",
        Reason.TTL_EXPIRED: "its TTL or hop limit ran out here",
        Reason.TOO_BIG: "it is larger than the MTU of the way out and must not be fragmented",
        Reason.ISOLATED: "an isolated network is not attached to the edge",
        Reason.MALFORMED: "its headers contradict themselves or are cut short",
        Reason.BAD_CHECKSUM: "the checksum of its IPv4 header is wrong",
        Reason.FRAGMENT_HELD: "it is a fragment that waits for the rest of its packet",
        Reason.FRAGMENT_ERROR: "it is a fragment that contradicts itself or another of its packet, or too small to be"
        " judged",
        Reason.SESSION_LIMIT: "there are as many sessions as there may be, in all or of its source"
        " (options.maxSessions, options.maxHalfOpen, options.maxSessionsPerSource)",
        Reason.NAT_PORTS_EXHAUSTED: "no source port is left on the external addresses of the SNAT rule {rule}",
        Reason.NAT_COLLISION: "its replies would bear a tuple that another session, or itself, already has",
        Reason.NOT_IP: "it carries neither IPv4 nor IPv6",
        Reason.MULTICAST: "it goes to a multicast or broadcast address, which a tier-1 edge does not forward",
        Reason.MARTIAN: "it bears an address that never crosses a router",
        Reason.FRAGMENT_LIMIT: "the edge holds as many fragments as it may (options.maxFragments), or its packet came"
        " in more than 64",
        Reason.ALG: "an application layer gateway waited for it, on behalf of the firewall rule {rule}",
    }
)
"""``{rule}`` stands for the quoted name of the rule that decided, ``{verb}`` for what it did."""

_VERBS = MappingProxyType(
    {
        Verdict.ALLOW: "allows",
        Verdict.DROP: "drops",
        Verdict.REJECT: "rejects",
        Verdict.LOCAL: "admits",
        Verdict.HELD: "holds",
    }
)


def explain(verdict: Verdict, reason: Reason, rule: str | None = None) -> str:
    """The sentence for one packet, without a full stop.  ``rule`` is the name of the rule that decided, if one did."""
    sentence = SENTENCES[reason].format(rule="" if rule is None else f'"{rule}"', verb=_VERBS[verdict])
    return " ".join(sentence.split())
