"""Explanations about packets that come or leave in pieces, as those in :mod:`tests.twin.explained`."""

from __future__ import annotations

from edge.verdicts import Reason, Verdict
from tests.twin.compare import Difference
from tests.twin.explanation import explanation
from tests.twin.facts import (
    as_the_pieces_came,
    cut_evenly,
    is_reply,
    named_otherwise,
    only_df,
    overlooked,
    points_behind_the_header,
    quotes_an_atomic_fragment,
)

HOW_IT_IS_CUT = frozenset({"cut-as-it-came", "pieces-without-df"})
"""These hold of a packet whatever else is different about it, and for that another explanation is needed."""


@explanation(
    "Linux overlooks a piece within one that it has, other bytes or not; the edge only the same.", of_pieces=True
)
def piece_within(d: Difference) -> bool:
    return d.edge_silent and "within" in overlooked(d.event, d.packet.version)


@explanation("Linux drops an IPv6 piece that is empty or behind the end; the edge the whole datagram.", of_pieces=True)
def piece_alone(d: Difference) -> bool:
    return d.edge_silent and overlooked(d.event, d.packet.version) == {"alone"}


@explanation("Linux leaves room in every piece for the IPv4 options of the first; the edge for those that are copied.")
def room_for_options(d: Difference) -> bool:
    if d.fields != {"cuts"} or d.packet.version != 4 or not (d.edge[0].cuts and d.kernel[0].cuts):
        return False
    edge, kernel = ([head for head, _, _ in sent.cuts] for sent in (d.edge[0], d.kernel[0]))
    return set(kernel) == {edge[0]} and max(edge[1:]) < edge[0]


@explanation("Linux sends pieces on as they came, an error's joined as far as it was read; the edge cuts anew, evenly.")
def cut_as_it_came(d: Difference) -> bool:
    forwarded = d.fields == {"cuts"} and d.outcome.verdict is Verdict.ALLOW
    return forwarded and len(d.event.spans) > 1 and as_the_pieces_came(d)


@explanation("Linux sends pieces on as they came, but for DF; the edge keeps that.")
def pieces_without_df(d: Difference) -> bool:
    came_so = d.fields == {"head"} or (d.fields == {"head", "cuts"} and as_the_pieces_came(d))
    return d.outcome.verdict is Verdict.ALLOW and came_so and only_df(d)


@explanation("Linux heeds DF only if a largest piece has it; the edge if any has.")
def df_of_a_small_piece(d: Difference) -> bool:
    largest = max((span.size for span in d.event.spans), default=0)
    if {span.keeps for span in d.event.spans if span.size == largest} != {False} or not d.event.has_df:
        return False
    if d.outcome.reason is Reason.TOO_BIG:
        return all(sent.packet.icmp != (3, 4) for sent in d.kernel)
    return d.fields - {"src"} == {"quoted head"} and only_df(d) and named_otherwise(d)


@explanation("Linux takes the Fragment header off an IPv6 packet that is all there is (RFC 6946); the edge keeps it.")
def atomic_fragment(d: Difference) -> bool:
    if not d.event.is_atomic:
        return False
    if d.outcome.reason is Reason.TOO_BIG and len(d.event.frame) - 14 <= d.config.options.mtu:
        return all(sent.packet.icmp != (2, 0) for sent in d.kernel)
    if d.fields == {"cuts"}:
        return len(d.edge[0].cuts) == 1 and not d.kernel[0].cuts
    answers = d.fields - {"src"} - ({"body"} if points_behind_the_header(d) else set())
    quoted = bool(answers) and all(name.startswith("quoted ") for name in answers)
    return quoted and quotes_an_atomic_fragment(d) and named_otherwise(d)


@explanation("Linux cuts its echo replies by the MTU alone; the edge cuts none larger than the pieces of the request.")
def echo_in_pieces(d: Difference) -> bool:
    if d.fields != {"cuts"} or d.outcome.reason is not Reason.LOCAL_SERVICE or not d.event.spans:
        return False
    return is_reply(d.edge[0].packet) and cut_evenly(d)
