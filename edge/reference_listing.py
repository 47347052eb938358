"""Sessions for whoever asks: which of them are meant, and what is told of each."""

from __future__ import annotations

from dataclasses import replace

from edge.reference_sessions import ORIGINAL, REPLY, Session
from edge.reference_wire import TCP, UDP
from edge.state import NextSegment, SessionInfo, SessionMatch


def listed(session: Session) -> SessionInfo:
    """All that is told of a live session."""
    return replace(session.info(), next_segments=(next_segment(session, ORIGINAL), next_segment(session, REPLY)))


def next_segment(session: Session, side: int) -> NextSegment | None:
    """What a side would send next, None where that is not known."""
    known = None if session.windows is None else session.windows.next_of(side)
    if known is None:
        return None
    seq, window = known
    return NextSegment(seq, session.shifts[side].shifted(seq), window)


def matches(match: SessionMatch, info: SessionInfo) -> bool:
    """Does everything hold that is asked for?"""
    seen = (info.original, info.translated)
    addresses = [address for ends in seen for address in (ends.src, ends.dst)]
    numbers = [number for ends in seen for number in (ends.sport, ends.dport)] if info.protocol in (TCP, UDP) else []
    rules = (info.firewall_rule_id, info.dnat_rule_id, info.snat_rule_id)
    return (
        (match.protocol is None or info.protocol == match.protocol)
        and (match.address is None or any(address in match.address for address in addresses))
        and (match.port_number is None or match.port_number in numbers)
        and (match.port is None or match.port in (info.in_port, info.out_port))
        and (match.rule_id is None or match.rule_id in rules)
        and (not match.before_revision or info.revision < match.before_revision)
    )
