"""Which worker a packet belongs to, as the reference has it: read straight from the NAT rules.

An address is *fixed* if no rule translates it or translates to it.  Translation keeps a packet's fixed addresses and
makes no others, so that both directions of a session, its pieces and the errors about it agree on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.addresses import IPAddress
from edge.nat.config import NatRule, NatType
from edge.reference_quote import quoted
from edge.reference_wire import Kind, parse
from edge.verdicts import Reason

MASK = (1 << 32) - 1


def is_fixed(rules: Iterable[NatRule], address: IPAddress) -> bool:
    """Does no enabled rule read the address as one to translate, or write it?"""
    return not any(
        touches(rule, address) for rule in rules if rule.enabled and rule.type not in (NatType.NO_DNAT, NatType.NO_SNAT)
    )


def touches(rule: NatRule, address: IPAddress) -> bool:
    """Is the address on either side of the rule?  A side that is not named is any address of the other's family."""
    named = [side for side in (rule.external, rule.internal) if side is not None]
    if len(named) == 2:
        return any(address in side for side in named)
    return all(side.version == address.version for side in named)


def owner(rules: Sequence[NatRule], workers: int, seed: int, frame: bytes) -> int:
    """The worker of an Ethernet frame: what its fixed addresses add up to, 0 where it has none or is no packet."""
    packet = parse(frame)
    if isinstance(packet, Reason):
        return 0
    flow = packet.flow
    if packet.kind is Kind.ICMP_ERROR:
        quote = quoted(packet)
        flow = flow if quote is None else quote.flow
    fixed = [address for address in (flow.src, flow.dst) if is_fixed(rules, address)]
    total = sum(address_hash(address, seed) for address in fixed) & MASK
    return (total >> 16) * workers >> 16


def address_hash(address: IPAddress, seed: int) -> int:
    """32 bits that say little about the address: of its words one by one."""
    packed = address.packed
    total = (seed ^ seed >> 32) & MASK
    for at in range(0, len(packed), 4):
        total = (total ^ int.from_bytes(packed[at : at + 4])) * 0x9E3779B1 & MASK
        total ^= total >> 15
    return total * 0x85EBCA77 & MASK
