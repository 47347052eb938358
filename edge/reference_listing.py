"""Which sessions somebody asks for."""

from __future__ import annotations

from edge.reference_wire import TCP, UDP
from edge.state import SessionInfo, SessionMatch


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
