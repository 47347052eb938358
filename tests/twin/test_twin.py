"""The engine and nftables agree packet by packet, and the comparison notices what is wrong."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.model.frames import frame, tcp, udp
from tests.support import acme, with_options
from tests.twin.compare import Pair, Tally, explore
from tests.twin.explained import EXPLANATIONS, explain
from tests.twin.places import Arrival, Packets, place
from tests.twin.run import as_json, report, search
from tests.twin.twin import Twin
from tests.twin.wire import dissect

needs_twin = pytest.mark.needs("netns", "nft")
PACKETS = 4000
SEED = 2
CLIENT, PUBLIC, SERVER = bytes((198, 51, 100, 9)), bytes((203, 0, 113, 11)), bytes((10, 20, 0, 10))


@needs_twin
def test_the_engine_agrees_with_nftables() -> None:
    tally = search(SEED, PACKETS)
    assert [odd.difference for odd in tally.odd] == [], report(tally, 0)
    assert (tally.packets, tally.late) == (PACKETS, 0)
    assert sum(tally.explained.values()) < PACKETS / 8, "most packets have to agree without an explanation"
    for outcome in ("ALLOW SESSION", "ALLOW RELATED", "ALLOW FW_RULE", "REJECT FW_RULE", "DROP PROVIDER_FILTER"):
        assert tally.outcomes[outcome] > 10, outcome
    assert set(tally.explained) <= set(EXPLANATIONS)


BROKEN: dict[str, Callable[[str], str]] = {
    "a rule that allows drops": lambda text: re.sub(r"(chain rules_\w+ \{\n.*) accept", r"\1 drop", text),
    "DNAT leads elsewhere": lambda text: re.sub(r"dnat ip to [0-9.]+", "dnat ip to 10.0.0.6", text),
    "SNAT takes another address": lambda text: re.sub(r"snat ip to [0-9.]+(-[0-9.]+)?", "snat ip to 203.0.113.6", text),
    "no provider filter": lambda text: re.sub(r".* dport \{[^}]*\} drop\n", "", text),
    "REJECT is silent": lambda text: re.sub(r"reject with tcp reset", "drop", text),
    "isolated networks are attached": lambda text: re.sub(r".*reject with icmp type net-unreachable\n", "", text),
    "sessions are judged again": lambda text: text.replace("established,related accept", "related accept"),
}


@needs_twin
@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_in_the_rules_is_found(name: str) -> None:
    tally = Tally()
    for number in range(8):
        explore(f"broken:{number}", 300, explain, tally, BROKEN[name])
        if tally.odd:
            break
    assert tally.odd, f"{tally.packets} packets and nothing noticed"
    clean = Tally()
    explore(tally.odd[0].seed, 300, explain, clean)
    assert clean.odd == [], "the place is to be without differences when nothing is broken"


@needs_twin
def test_a_connection_through_both() -> None:
    with Twin(acme()) as twin:
        pair = Pair(acme(), twin)
        for port, parts in (
            ("INTERNET", tcp(CLIENT, PUBLIC, 4000, 80, 0x02, 99, 0)),
            ("LAN", tcp(SERVER, CLIENT, 8080, 4000, 0x12, 499, 100)),
            ("INTERNET", tcp(CLIENT, PUBLIC, 4000, 80, 0x10, 100, 500)),
            ("LAN", udp(SERVER, CLIENT, 5000, 53)),
        ):
            event = Arrival(port, frame(parts), 0)
            outcome, difference = pair.feed(event)
            assert (outcome.verdict.name, difference) == ("ALLOW", None)
        flows = twin.process("INTERNET", frame(tcp(CLIENT, PUBLIC, 4000, 81, 0x02, 1, 0))[14:])
        assert flows == []


@needs_twin
def test_source_ports_are_told_apart_and_answers_find_them() -> None:
    """Both sides choose a port; the answer to ours has to reach the machine on both."""
    with Twin(acme()) as twin:
        pair = Pair(acme(), twin)
        outcome, difference = pair.feed(Arrival("LAN", frame(udp(SERVER, CLIENT, 5000, 53)), 0))
        assert difference is None
        left = dissect(outcome.outputs[0].frame[14:])
        answer = frame(udp(CLIENT, left.src[0], 53, left.src[1]))
        theirs = dissect(pair.ports.there(answer[14:]))
        assert theirs.dst[0] == left.src[0]
        outcome, difference = pair.feed(Arrival("INTERNET", answer, 0))
        assert difference is None
        assert dissect(outcome.outputs[0].frame[14:]).dst == (SERVER, 5000)


@needs_twin
def test_the_twin_leaves_nothing_behind() -> None:
    def devices() -> str:
        return subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout

    home, before = Path("/proc/thread-self/ns/net").readlink(), devices()
    files = len(list(Path("/proc/self/fd").iterdir()))
    with Twin(acme()) as twin:
        inside = twin.command("ip", "-br", "link")
        assert devices() == before
    assert re.findall(r"^p\d", inside, re.MULTILINE) == ["p0", "p1"]
    with pytest.raises(RuntimeError, match="nft"):
        Twin(acme(), text="table inet edge { nonsense }")
    assert (Path("/proc/thread-self/ns/net").readlink(), devices()) == (home, before)
    assert len(list(Path("/proc/self/fd").iterdir())) == files


@needs_twin
def test_timers_are_those_of_the_edge() -> None:
    config = acme()
    with Twin(with_options(config, tcp_strict=False)) as twin:
        for name, value in (
            ("tcp_timeout_established", 7200),
            ("udp_timeout", 30),
            ("icmp_timeout", 6),
            ("tcp_loose", 1),
        ):
            assert twin.command("cat", f"/proc/sys/net/netfilter/nf_conntrack_{name}") == f"{value}\n"


def test_what_is_explained_is_documented(root: Path) -> None:
    page = (root / "docs" / "fidelity.md").read_text(encoding="utf-8")
    section = page[page.index("## Against nftables") :]
    section = section[: section.find("\n## ", 5)]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", section, re.MULTILINE))
    assert rows == {item.name: item.reason for item in EXPLANATIONS.values()}


def test_the_same_seed_is_the_same_place() -> None:
    first, second = (Packets(Random("7"), place(Random("7"))) for _ in range(2))
    assert first.universe == second.universe
    assert [first.packet() for _ in range(50)] == [second.packet() for _ in range(50)]


def test_a_result_for_programs_names_every_explanation() -> None:
    assert set(json.loads(as_json(Tally(), 1, 0.5))["explained"]) == set(EXPLANATIONS)
