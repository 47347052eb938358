"""The shipped examples: they are valid, they are tested, and the capture shows what its page promises."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.captures import open_capture
from edge.checks import check
from edge.document import load
from edge.firewall.config import Section
from edge.model import EdgeConfig
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.suite import find_test_files, load_suite, run_suite
from edge.verdicts import Reason, Verdict

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ACME = EXAMPLES / "acme"
EDGES = sorted(path for path in EXAMPLES.rglob("*.yaml") if "edgeGateway:" in path.read_text(encoding="utf-8"))

NEVER_MET = {"in-vendor-rdp", "out-ssh-admins", "mail-submission"}
"""Rules that nothing in the capture is about; the first is disabled."""


@pytest.fixture(scope="module")
def acme() -> EdgeConfig:
    return load(ACME / "edge.yaml").config


@pytest.fixture(scope="module")
def frames() -> list[tuple[int, bytes]]:
    return [(record.ts_ns, record.frame) for record in open_capture(ACME / "capture.pcapng")]


def run(edge: Edge | ReferenceEdge, frames: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, Verdict, Reason]]:
    """Feed a capture as ``replay`` does, and yield the frame, verdict and reason of every pass."""
    for now_ns, captured in frames:
        passes = [edge.map_reply(edge.ingress_port(captured), captured, now_ns)]
        while passes:
            port, frame = passes.pop()
            outcome = edge.process(port, frame, now_ns)
            yield captured, outcome.verdict, outcome.reason
            passes.extend((output.port, output.frame) for output in outcome.outputs if output.hairpin)


@pytest.mark.parametrize("path", EDGES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_edge_is_valid_without_a_warning(path: Path) -> None:
    loaded = load(path)
    assert [str(problem) for problem in (*loaded.problems, *check(loaded.config, loaded))] == []


@pytest.mark.parametrize("path", find_test_files([EXAMPLES]), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_rule_set_test_passes(path: Path) -> None:
    failures = [f"{result.name}\n{result.failure.text()}" for result in run_suite(load_suite(path)) if result.failure]
    assert failures == []


def test_the_tutorials_mistake_fails_one_test() -> None:
    results = list(run_suite(load_suite(EXAMPLES / "first" / "broken-tests.yaml")))
    assert [result.name for result in results if result.failure] == ["the web server is published on port 80"]


def test_the_tutorial_shows_the_files_as_they_are() -> None:
    page = (EXAMPLES.parent / "docs" / "tutorial.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    files = [(EXAMPLES / "first" / name).read_text(encoding="utf-8") for name in ("broken.yaml", "broken-tests.yaml")]
    assert [block in file for block, file in zip(shown, files, strict=True)] == [True, True]


def test_the_pages_count_right(acme: EdgeConfig, frames: list[tuple[int, bytes]]) -> None:
    pages = (EXAMPLES / "README.md", ACME / "README.md", EXAMPLES.parent / "docs" / "tutorial.md")
    written = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    text = " ".join(re.sub(r"^```.*?^```$", "", written, flags=re.MULTILINE | re.DOTALL).split())
    actual = {
        "firewall rules": sum(rule.section is Section.USER for rule in acme.firewall.rules),
        "NAT rules": len(acme.nat.rules),
        "packets of real programs": len(frames),
        "rule-set tests": len(load_suite(ACME / "acme.edgetest.yaml").file.tests),
    }
    for noun, count in actual.items():
        assert set(re.findall(rf"\b(\d+) {noun}", text)) == {str(count)}, noun


def test_the_planned_change_is_three_rules() -> None:
    def objects(name: str) -> dict[str, object]:
        config = load(ACME / name).config
        return {rule.id: rule for rule in (*config.firewall.rules, *config.nat.rules)}

    before, after = objects("edge.yaml"), objects("planned.yaml")
    assert before.keys() == after.keys()
    names = [getattr(rule, "name", None) for key, rule in after.items() if rule != before[key]]
    assert names == ["out-quic", "web-https", "speedtest-public"]


def test_the_capture_is_small_and_whole(frames: list[tuple[int, bytes]]) -> None:
    assert (ACME / "capture.pcapng").stat().st_size < 1_000_000
    assert max(len(frame) for _, frame in frames) <= 1514
    assert [time for time, _ in frames] == sorted(time for time, _ in frames)
    assert sum(checksum_of(frame) != 0xFFFF for _, frame in frames) == 0


def checksum_of(frame: bytes) -> int:
    """The one's complement sum over the upper layer of a frame and its pseudo header: 0xFFFF where it is right."""
    packet = frame[14:]
    if packet[0] >> 4 == 4:
        length, protocol, start, ends = struct.unpack_from("!H", packet, 2)[0], packet[9], 20, packet[12:20]
    else:
        length, protocol, start, ends = 40 + struct.unpack_from("!H", packet, 4)[0], packet[6], 40, packet[8:40]
    body = packet[start:length]
    if protocol != 1:  # ICMPv4 alone has no pseudo header
        body = ends + struct.pack("!HH", protocol, len(body)) + body
    body += bytes(len(body) % 2)
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_capture_meets_nearly_every_rule(acme: EdgeConfig, frames: list[tuple[int, bytes]]) -> None:
    edge = Edge(acme)
    verdicts = Counter(verdict for _, verdict, _ in run(edge, frames))
    assert verdicts.keys() == {Verdict.ALLOW, Verdict.DROP, Verdict.REJECT, Verdict.LOCAL}
    assert verdicts[Verdict.ALLOW] > len(frames) * 0.8
    counters = edge.rule_counters()
    rules = (*acme.firewall.rules, *acme.nat.rules)
    assert {rule.name for rule in rules if rule.id not in counters or counters[rule.id].hits == 0} == NEVER_MET


def test_the_capture_drops_for_many_reasons(acme: EdgeConfig, frames: list[tuple[int, bytes]]) -> None:
    dropped = Counter(reason for _, verdict, reason in run(Edge(acme), frames) if verdict is Verdict.DROP)
    assert dropped.keys() == {
        Reason.FW_RULE,
        Reason.FW_DEFAULT,
        Reason.TCP_STRICT,
        Reason.PROVIDER_FILTER,
        Reason.TTL_EXPIRED,
        Reason.ISOLATED,
        Reason.MULTICAST,
        Reason.MARTIAN,
    }


def test_what_strict_tcp_drops_is_the_login_that_was_open_before(
    acme: EdgeConfig, frames: list[tuple[int, bytes]]
) -> None:
    strict = [frame for frame, _, reason in run(Edge(acme), frames) if reason is Reason.TCP_STRICT]
    flows = {frozenset((frame[26:30] + frame[34:36], frame[30:34] + frame[36:38])) for frame in strict}
    ((one, other),) = flows
    assert (2222).to_bytes(2, "big") in (one[4:], other[4:])


def test_native_and_reference_agree_on_the_capture(acme: EdgeConfig, frames: list[tuple[int, bytes]]) -> None:
    native, reference = Edge(acme), ReferenceEdge(acme)
    assert list(run(native, frames)) == list(run(reference, frames))
    assert native.rule_counters() == reference.rule_counters()
    assert native.stats() == reference.stats()
