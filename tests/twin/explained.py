"""Differences that are known and meant: each a predicate, and a sentence that says what Linux does instead.

A predicate takes as little as it can: a wrong verdict for another reason must not hide behind it.  The table "Against
nftables" in ``docs/fidelity.md`` lists them all; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import replace

from edge.verdicts import Reason, StepResult, Verdict
from tests.twin.compare import WAITING, Difference, answers
from tests.twin.explained_pieces import HOW_IT_IS_CUT
from tests.twin.explanation import EXPLANATIONS, explanation
from tests.twin.facts import (
    ahead,
    as_it_came,
    broadcasts,
    error_about_tcp,
    fits,
    has_own_address,
    in_turn,
    is_martian,
    is_other_icmp,
    is_query_or_reply,
    is_reply,
    own_addresses,
    own_addresses_on,
    tcp_of_session,
)
from tests.twin.wire import ACK, RST, SYN, TCP

STRAY = 66035
FURTHEST = (65535 << 14) + STRAY
"""Bytes: no window reaches further, whatever its scale."""


def explain(difference: Difference) -> str | None:
    """The name of the explanation, None if there is none."""
    name = first(difference)
    how, what = difference.fields & {"cuts", "head"}, difference.fields - {"cuts", "head"}
    if name is None and how and what and first(replace(difference, fields=how)) in HOW_IT_IS_CUT:
        return first(replace(difference, fields=what))
    return name


def first(difference: Difference) -> str | None:
    """The first explanation that holds."""
    in_pieces = difference.outcome.reason in WAITING
    fit = (item for item in EXPLANATIONS.values() if item.of_pieces is in_pieces)
    return next((item.name for item in fit if item.holds(difference)), None)


# --- answers of the box itself ----------------------------------------------------------------------------------------


@explanation("Linux answers from any address it has; the edge only from one on the port where the packet came in.")
def no_own_address(d: Difference) -> bool:
    return d.edge_silent and answers(d.kernel[0], d.packet) and not has_own_address(d)


@explanation("ICMP errors of Linux bear the address that was called if that is its own; those of the edge the port's.")
def called_address_answers(d: Difference) -> bool:
    if d.fields != {"src"} or d.outcome.verdict is Verdict.ALLOW:
        return False
    return d.edge[0].packet.is_error and answers(d.kernel[0], d.packet) and d.kernel[0].packet.src[0] == d.packet.dst[0]


@explanation("Linux answers timestamp requests to itself; the edge only echo requests.")
def local_timestamp(d: Difference) -> bool:
    asked = d.packet.version == 4 and d.packet.icmp is not None and d.packet.icmp[0] == 13
    answered = asked and d.edge_silent and d.kernel[0].packet.icmp == (14, 0)
    return answered and d.outcome.reason is Reason.LOCAL_SERVICE


@explanation("Linux ignores the code of an echo request to itself; the edge answers code 0 only.")
def local_echo_code(d: Difference) -> bool:
    asked = d.packet.icmp is not None and d.packet.icmp[0] in (8, 128) and d.packet.icmp[1] != 0
    return asked and d.edge_silent and d.outcome.reason is Reason.LOCAL_SERVICE


@explanation("Linux has no NAT for what begins nothing; the edge translates it, and answers when it dies later.")
def invalid_is_not_translated(d: Difference) -> bool:
    reasons = (Reason.LOCAL_SERVICE, Reason.TTL_EXPIRED, Reason.ISOLATED, Reason.TOO_BIG)
    translated = (StepResult.DNAT in d.results and not d.hit) or (d.hit and not (d.past.shaken and in_turn(d)))
    begins_nothing = d.packet.protocol == TCP and (d.packet.flags != SYN or d.hit)
    begins_nothing |= is_reply(d.packet) or is_other_icmp(d.packet)
    return begins_nothing and translated and bool(d.edge) and d.kernel_keeps and d.outcome.reason in reasons


@explanation("Linux takes a segment that fits no session for one to itself, or has no route for it, and says so.")
def invalid_is_answered(d: Difference) -> bool:
    reasons = (Reason.TCP_WINDOW, Reason.TCP_STATE, Reason.TTL_EXPIRED)
    if d.packet.protocol != TCP or not d.hit or len(d.kernel) != 1 or d.outcome.reason not in reasons:
        return False
    said = d.kernel[0].packet
    no_route, reset = said.icmp == (1, 0), said.flags & RST != 0 and d.packet.dst[0] in own_addresses(d.config)
    return answers(d.kernel[0], d.packet) and (no_route or reset) and not (d.past.shaken and in_turn(d) and fits(d))


@explanation("Linux takes a segment that fits no session for one of none, which passes between networks.")
def invalid_passes_between_networks(d: Difference) -> bool:
    refused = d.outcome.reason in (Reason.TCP_WINDOW, Reason.TCP_STATE) and d.edge_silent
    if d.packet.protocol != TCP or not d.hit or not refused or not as_it_came(d):
        return False
    distributed = {network.name for network in d.config.routing.networks if network.distributed}
    return {d.event.port, d.kernel[0].port} <= distributed and not (d.past.shaken and in_turn(d) and fits(d))


@explanation("Of several addresses on a port the edge answers from that of the sender's subnet; Linux from the first.")
def first_address_answers(d: Difference) -> bool:
    if d.fields != {"src"} or not answers(d.kernel[0], d.packet) or not answers(d.edge[0], d.packet):
        return False
    own = own_addresses_on(d.config, d.event.port)
    return {d.kernel[0].packet.src[0], d.edge[0].packet.src[0]} <= own


@explanation("What comes from an isolated network hears from the edge even if no router would forward its addresses.")
def caged_martian(d: Difference) -> bool:
    caged = d.outcome.reason is Reason.ISOLATED and d.kernel_silent
    return caged and (d.packet.src[0] in broadcasts(d.config) or is_martian(d.packet.src[0], d.packet.dst[0]))


# --- what a session is ------------------------------------------------------------------------------------------------


@explanation("Linux finds a session by addresses and ports alone; the edge also by the side, uplink or not.")
def other_side(d: Difference) -> bool:
    return d.strays


@explanation("The code of an ICMP query is part of Linux's session key; of the edge's it is not.")
def query_code(d: Difference) -> bool:
    about = d.packet if d.packet.quote is None else d.packet.quote
    if about.icmp is None or not is_query_or_reply(about) or not d.hit:
        return False
    if d.packet.quote is None:
        return bool(d.past.codes - {about.icmp[1]})
    other = d.past.code not in (None, about.icmp[1])
    return other and d.outcome.reason is Reason.RELATED and d.kernel_silent


@explanation("Linux is told here to drop martians first of all; the edge looks for them in what has no session.")
def martian_has_a_session(d: Difference) -> bool:
    return d.hit and d.kernel_silent and is_martian(d.packet.src[0], d.packet.dst[0])


@explanation("The kernel never delivers to a broadcast address; the edge lets answers of a session go to one.")
def broadcast_has_a_session(d: Difference) -> bool:
    return d.hit and d.kernel_silent and d.edge[0].packet.dst[0] in broadcasts(d.config)


@explanation("The edge answers no broadcast address; Linux does where it takes packets from its own addresses.")
def broadcast_hears_nothing(d: Difference) -> bool:
    return d.edge_silent and d.packet.src[0] in broadcasts(d.config) and d.kernel[0].packet.dst[0] == d.packet.src[0]


@explanation("The edge answers what seems to come from itself; Linux sends that nowhere, or from there.")
def own_address_hears_nothing(d: Difference) -> bool:
    otherwise = d.kernel_silent or d.fields == {"src"}
    return otherwise and d.packet.src[0] in own_addresses(d.config) and answers(d.edge[0], d.packet)


@explanation("Linux walks any number of IPv6 extension headers, in any order; the edge eight, hop-by-hop first.")
def extension_headers(d: Difference) -> bool:
    headers, refused = d.packet.extensions, d.outcome.reason is Reason.MALFORMED
    if d.packet.quote is not None and not refused:
        headers, refused = d.packet.quote.extensions, d.outcome.reason is not Reason.RELATED
    return refused and (len(headers) > 8 or 0 in headers[1:])


@explanation("Two sessions with one reply tuple: Linux gives the second another source port; the edge drops it.")
def collision(d: Difference) -> bool:
    return d.outcome.reason is Reason.NAT_COLLISION and d.edge_silent and d.kernel[0].packet.body == d.packet.body


@explanation("Rules may tell the addresses of a pool apart, of which each side gave another.")
def pool_address(d: Difference) -> bool:
    asked = d.outcome.reason in (Reason.FW_RULE, Reason.FW_DEFAULT, Reason.FW_SYSTEM)
    return d.source[0] != d.packet.src[0] and asked and not d.hit


@explanation(
    "A session would bear the tuple of one that only Linux has, by a port that it drew, or after another difference."
)
def leftover(d: Difference) -> bool:
    meets = d.tainted or (d.source != d.packet.src and StepResult.SNAT not in d.results)
    return meets and not d.hit and d.fields == {"src"} and d.outcome.verdict is Verdict.ALLOW


@explanation("Linux keeps no session, hence has no NAT, for ICMP that is neither query nor error; the edge does.")
def icmp_other_has_no_session(d: Difference) -> bool:
    about = d.packet if d.packet.quote is None else d.packet.quote
    known = d.hit or bool({StepResult.DNAT, StepResult.SNAT} & d.results)
    passes = d.outcome.verdict is Verdict.ALLOW or (d.outcome.verdict is Verdict.REJECT and d.kernel_silent)
    return is_other_icmp(about) and known and passes


@explanation("Linux takes ICMP types that it does not know for errors, which earn no answer (RFC 1122 3.2.2).")
def icmp_other_hears_nothing(d: Difference) -> bool:
    return is_other_icmp(d.packet) and d.packet.version == 4 and d.kernel_silent and answers(d.edge[0], d.packet)


@explanation("Linux rejects only protocols whose checksum it can verify, or that it knows to have none.")
def unknown_protocol_hears_nothing(d: Difference) -> bool:
    return d.packet.protocol in (59, 255) and d.kernel_silent and answers(d.edge[0], d.packet)


@explanation("Linux tracks also what passes between distributed networks or visits it: no NAT, no new beginning.")
def tracked_without_a_session(d: Difference) -> bool:
    translated = bool({StepResult.DNAT, StepResult.SNAT} & d.results)
    otherwise = (
        translated or d.outcome.reason is Reason.ICMP_UNRELATED or (d.packet.protocol == TCP and d.kernel_silent)
    )
    return d.visited and not d.hit and otherwise


@explanation("Both sessions of a connection of the edge's public addresses to one another bear the same tuple.")
def hairpin(d: Difference) -> bool:
    own = own_addresses(d.config)
    about = d.packet if d.packet.quote is None else d.packet.quote
    flows = {d.packet.flow, *d.past.flows, *(sent.packet.flow for sent in d.edge)}
    known = d.hit or d.outcome.reason is Reason.ICMP_UNRELATED
    return about.protocol == TCP and known and any({address for address, _ in ends} <= own for _, ends in flows)


@explanation("Linux does not reject an IPv6 packet that ends with its headers; the edge answers it.")
def nothing_to_reject(d: Difference) -> bool:
    rejected = d.outcome.verdict is Verdict.REJECT or d.outcome.reason is Reason.ISOLATED
    return d.packet.version == 6 and not d.packet.upper and d.kernel_silent and rejected


# --- TCP --------------------------------------------------------------------------------------------------------------


@explanation("The edge answers a doubtful SYN or reset by a challenge ACK (RFC 5961); Linux leaves that to the ends.")
def challenge_ack(d: Difference) -> bool:
    if d.outcome.reason not in (Reason.TCP_STATE, Reason.TCP_WINDOW) or len(d.edge) != 1:
        return False
    answer = d.edge[0].packet
    return bool(d.packet.flags & (SYN | RST)) and answer.flags == ACK and answer.dst == d.packet.src


@explanation(
    "The edge resets who answers another SYN than the last (RFC 9293 3.10.7.3); Linux leaves that to the caller."
)
def stale_server(d: Difference) -> bool:
    caller = d.past.ends.get(d.packet.dst)
    if d.outcome.reason is not Reason.TCP_WINDOW or len(d.edge) != 1 or caller is None or caller.syn is None:
        return False
    first = d.past.ends.keys() <= d.past.origin and d.packet.flags & (ACK | RST) == ACK
    stale = not 0 < ahead(d.packet.ack, caller.syn) <= max(1, ahead(caller.next, caller.syn))
    answer = d.edge[0].packet
    reset = answer.flags == RST and answer.dst == d.packet.src and answer.seq == d.packet.ack
    return first and stale and reset and (not d.kernel or d.kernel_forwards)


@explanation("Linux takes up a connection in its middle only at an ACK; without tcpStrict the edge's rules decide.")
def met_in_the_middle(d: Difference) -> bool:
    return (
        d.packet.protocol == TCP
        and d.packet.flags not in (SYN, ACK)
        and not d.config.options.tcp_strict
        and not d.hit
        and bool(d.edge)
        and d.kernel_keeps
    )


@explanation("BYPASS lets a session begin with any segment or ICMP reply; Linux has neither session nor NAT for these.")
def bypassed_beginning(d: Difference) -> bool:
    if d.packet.quote is not None:
        return d.past.unasked and d.outcome.reason is Reason.RELATED and d.kernel_silent
    begins_nothing = (d.packet.protocol == TCP and d.packet.flags != SYN) or is_reply(d.packet)
    return begins_nothing and StepResult.BYPASS in d.results and (d.kernel_keeps or as_it_came(d))


@explanation("Until SYN, SYN with ACK and ACK have been exchanged, the two take different things for plausible.")
def unshaken(d: Difference) -> bool:
    if not tcp_of_session(d) or d.past.begins != SYN or d.past.shaken:
        return False
    if d.packet.dst not in d.past.ends:
        return d.packet.flags != SYN
    if d.packet.src not in d.past.ends:
        return d.packet.flags != SYN | ACK or not in_turn(d)
    own = d.past.ends[d.packet.src]
    spoke_on = d.packet.src not in d.past.origin and (own.syn is None or own.next != (own.syn + 1) % 2**32)
    return not d.past.answered or not in_turn(d) or spoke_on


@explanation("A reset has to bear the exact numbers here; for Linux one in the window will do.")
def inexact_reset(d: Difference) -> bool:
    own, peer = d.past.ends.get(d.packet.src), d.past.ends.get(d.packet.dst)
    if not tcp_of_session(d) or not d.packet.flags & RST or own is None:
        return False
    acknowledges = peer is None or not d.packet.flags & ACK or d.packet.ack == peer.next
    return d.packet.seq != own.next or not acknowledges or not fits(d)


@explanation("A session that was met in the middle has no windows here; Linux finds some.")
def middle_without_windows(d: Difference) -> bool:
    return tcp_of_session(d) and d.past.begins != SYN and d.outcome.reason is Reason.SESSION


@explanation("A SYN inside a session goes by state tables that differ.")
def syn_in_session(d: Difference) -> bool:
    known = d.packet.src in d.past.ends or d.past.begins != SYN
    return tcp_of_session(d) and d.packet.flags & SYN != 0 and known


@explanation("A SYN on a connection that was reset opens another here; in Linux not always.")
def reopened(d: Difference) -> bool:
    return StepResult.ENDED in d.results and d.past.reset and d.kernel_silent and d.packet.flags == SYN


@explanation("Linux forgets a connection that nobody answered at a reset that it drops; the edge keeps it.")
def forgotten_anyway(d: Difference) -> bool:
    unanswered = d.past.doubted and d.past.ends.keys() <= d.past.origin
    return unanswered and d.hit and d.packet.flags == SYN and d.fields <= {"src", "dst", "port"} and d.kernel_forwards


@explanation("Linux forgets a connection that was reset, or takes little more of it; the edge keeps it for tcpClosed.")
def after_reset(d: Difference) -> bool:
    return d.past.reset and (d.packet.protocol == TCP or error_about_tcp(d))


@explanation(
    "Linux takes note of what dies by its TTL, size or headers here, and none of some that passes: its numbers differ."
)
def other_numbers(d: Difference) -> bool:
    return d.past.parted and (tcp_of_session(d) or error_about_tcp(d))


@explanation("Windows: PF's bounds here; Linux lets pass what is long past, and has other bounds for what is ahead.")
def window_bounds(d: Difference) -> bool:
    own, peer = d.past.ends.get(d.packet.src), d.past.ends.get(d.packet.dst)
    if not tcp_of_session(d) or own is None or peer is None or d.packet.flags & (SYN | RST):
        return False
    strays = ahead(d.packet.seq, own.next), ahead(d.packet.ack, peer.next)
    return (strays != (0, 0) or not fits(d)) and max(strays) <= FURTHEST


# --- ICMP errors ------------------------------------------------------------------------------------------------------


@explanation("Linux gives errors the source of SNAT also where that has changed nothing but the port.")
def port_only(d: Difference) -> bool:
    if d.outcome.reason is not Reason.RELATED or d.fields != {"src"} or d.packet.quote is None:
        return False
    return d.edge[0].packet.src == d.packet.src and d.kernel[0].packet.src[0] == d.packet.quote.dst[0]


@explanation("Linux looks at ports in a quote, and is content without the eight bytes that RFC 792 promises.")
def short_quote(d: Difference) -> bool:
    quote = d.packet.quote
    return quote is not None and quote.upper < 8 and d.outcome.reason not in (Reason.RELATED, Reason.MALFORMED)


@explanation("Linux translates an error about a session first of all, even where the edge lets all pass untouched.")
def error_between_networks(d: Difference) -> bool:
    unrelated = d.packet.is_error and d.packet.body[0] == (5 if d.packet.version == 4 else 0)
    about_tcp = d.packet.quote is not None and d.packet.quote.protocol == TCP
    return d.outcome.reason is Reason.EAST_WEST and (unrelated or about_tcp)


@explanation("A quoted TCP number has to be of late here (RFC 5927), no reset's is; Linux does not look at it.")
def quoted_number(d: Difference) -> bool:
    quote = d.packet.quote
    if quote is None or quote.protocol != TCP or not d.edge_silent or d.outcome.reason is Reason.MALFORMED:
        return False
    heard = d.past.ends.get(quote.src)
    return heard is None or quote.seq != heard.next or d.past.reset


@explanation(
    "A quoted UDP checksum of zero stays zero in Linux; over IPv6, where there must be one, it is updated here."
)
def quoted_zero_checksum(d: Difference) -> bool:
    quote = d.packet.quote
    return d.fields == {"quoted body"} and quote is not None and quote.version == 6 and quote.body.endswith(b"none")
