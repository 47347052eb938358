"""Sets of many addresses in the native classifier: around every bound, on every kernel."""

from __future__ import annotations

import random
import struct
from array import array
from ipaddress import IPv4Address

import pytest

from edge.addresses import ANY_PORT_RANGE, AddressRange, PortRange
from edge.flat import ANY_SET, FlatRules
from native.classify import RuleTable, widths

NO_RULE = 0xFFFFFFFF
LAST = 2**32 - 1


def draw_sets(count: int) -> list[set[int]]:
    """Two that have a part in common; addresses alone, side by side, and at both ends."""
    rng = random.Random(count)
    some = [rng.randrange(LAST) for _ in range(count)]
    some += [address + 1 for address in some[::7]]
    return [{0, LAST, *some[: 2 * count // 3]}, {1, LAST - 1, *some[count // 3 :]}]


def packed(source: int, port: int) -> bytes:
    """As RuleTable.lookup_many reads TCP to that port."""
    return struct.pack("=5Q", port << 32 | 6 << 24 | 4 << 16, source, 7, 0, 0)


@pytest.mark.parametrize("width", widths())
@pytest.mark.parametrize("count", [20, 700, 5000, 20_000])
def test_a_packet_is_in_a_set_or_it_is_not(count: int, width: int) -> None:
    sets = draw_sets(count)
    flat = FlatRules()
    parts = [[AddressRange(IPv4Address(address), IPv4Address(address)) for address in sorted(part)] for part in sets]
    for number in range(10):
        tcp = (6, -1, -1, ANY_PORT_RANGE, PortRange(100 + number // 2, 100 + number // 2))
        source = flat.address_set(number % 2, [parts[number % 2]])
        flat.append(number, source=source, destination=ANY_SET, services=flat.services_of((tcp,)), families=1)
    table = RuleTable(flat, width)
    rng = random.Random(1)
    near = {min(max(address + step, 0), LAST) for part in sets for address in part for step in (-1, 0, 1)}
    asked = [(address, 100 + rng.randrange(6)) for address in rng.choices(sorted(near), k=5000)]
    asked += [(address, 104) for address in (0, 1, 2, LAST - 2, LAST - 1, LAST)]
    expected = array("I")
    for address, port in asked:
        found = [number for number in range(10) if address in sets[number % 2] and port == 100 + number // 2]
        expected.append(found[0] if found else NO_RULE)
    answers = array("I", bytes(4 * len(asked)))
    table.lookup_many(b"".join(packed(*packet) for packet in asked), answers)
    assert answers == expected
    one_by_one = (table.lookup(4, address, 7, 6, 0, port) for address, port in asked)
    assert [NO_RULE if number is None else number for number in one_by_one] == list(expected)
    assert len(set(expected)) == 11
