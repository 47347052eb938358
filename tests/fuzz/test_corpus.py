"""Every input that is kept breaks nothing any more; and what the search itself relies on."""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from edge.runtime import Edge
from edge.verdicts import Outcome, Reason, Verdict
from tests.fuzz.edges import edges
from tests.fuzz.invariants import PAIR_TABLE, PAIRS, ViolationError, check_edge, check_outcome
from tests.fuzz.links import LinkEvent, link_events, link_story
from tests.fuzz.run import keep, main
from tests.fuzz.search import DRIVEN, TARGETS, corpus, runner
from tests.fuzz.shared import ROOM, Shared
from tests.fuzz.story import CHANGE, ECHO, FRAME, Event, events, written
from tests.fuzz.vnet import check_finished, check_segments
from tests.model.frames import checksum, frame, tcp

CORPUS = Path(__file__).with_name("corpus")
LARGEST_CORPUS = 200_000
SYN = 2

INPUTS = [path for target in TARGETS for path in sorted((CORPUS / target).iterdir())]


def kept(path: Path) -> object:
    """An input as a parameter."""
    marks = [pytest.mark.needs("drivers")] if path.parent.name in DRIVEN else []
    return pytest.param(path, marks=marks, id=f"{path.parent.name}-{path.name}")


@pytest.mark.parametrize("path", [*map(kept, INPUTS)])
def test_an_input_that_is_kept(path: Path) -> None:
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest().startswith(path.name)
    runner(path.parent.name)(data)


def test_the_corpus_is_small_and_has_every_target() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert sum(path.stat().st_size for path in INPUTS) < LARGEST_CORPUS


def test_no_rule_of_an_edge_has_the_id_of_another() -> None:
    for config in edges():
        ids = [rule.id for rule in (*config.firewall.rules, *config.nat.rules)]
        assert len(set(ids)) == len(ids)


def test_a_story_reads_as_it_was_written() -> None:
    story = [
        Event(FRAME, 1, 7, b"abc"),
        Event(CHANGE, 4),
        Event(ECHO, 2, 9, b"\1\0\2", 3),
        Event(FRAME, 0, 0, b""),
    ]
    data = written(5, story)
    assert (data[0], list(events(data))) == (5, story)
    for size in range(len(data)):
        assert len(list(events(data[:size]))) < len(story)


def request() -> bytes:
    return frame(tcp(bytes([192, 0, 2, 9]), bytes([203, 0, 113, 11]), 4000, 80, SYN, 1, 0))


def outcome() -> Outcome:
    return Edge(edges()[1]).process("INTERNET", request(), 0)


def test_what_an_edge_does_is_accepted() -> None:
    check_outcome(request(), outcome())
    assert outcome().verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda good: replace(good, verdict=Verdict.DROP), "does not go with"),
        (lambda good: replace(good, outputs=()), "nothing leaves"),
        (lambda good: replace(good, outputs=good.outputs * 2), "2 frames leave"),
        (lambda good: replace(good, outputs=(replace(good.outputs[0], frame=request()),)), "one hop"),
        (lambda good: replace(good, outputs=(replace(good.outputs[0], frame=b""),)), "cannot be read"),
        (
            lambda good: replace(good, outputs=(replace(good.outputs[0], frame=good.outputs[0].frame + b"x"),)),
            "another length",
        ),
    ],
)
def test_an_outcome_that_makes_no_sense_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(ViolationError, match=message):
        check_outcome(request(), wrong(outcome()))  # type: ignore[operator]


def test_counters_and_limits_are_held_against_what_happened() -> None:
    edge = Edge(edges()[1])
    edge.process("INTERNET", request(), 0)
    check_edge(edge, 1, 1)
    with pytest.raises(ViolationError, match="2 packets"):
        check_edge(edge, 2, 1)
    with pytest.raises(ViolationError, match="0 are allowed"):
        check_edge(edge, 1, 0)


def test_pairs_of_verdict_and_reason_are_those_of_the_documentation(root: Path) -> None:
    table = (root / "docs" / "pipeline.md").read_text(encoding="utf-8").partition("## Reasons")[2]
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([A-Za-z]+) \|", table, re.MULTILINE))
    ruled = {Verdict.ALLOW, Verdict.DROP, Verdict.REJECT}
    assert set(rows) <= set(Reason.__members__)
    for name, verdict in rows.items():
        assert PAIRS[Reason[name]] == (ruled if verdict == "any" else {Verdict[verdict]}), name
    assert len(PAIR_TABLE) == len(Verdict) * len(Reason)


def test_seeds_of_links_get_as_far_as_they_should() -> None:
    for target, kinds in (("neighbours", {0, 1, 2, 3}), ("forwarding", {0, 1, 2})):
        stories = [list(link_events(data)) for data in corpus(target)]
        assert {event.kind for story in stories for event in story} >= kinds, target


def test_a_story_of_links_reads_as_it_was_written() -> None:
    story = [LinkEvent(1, 2, 3, b"abc"), LinkEvent(0, 0, 0, b"")]
    assert list(link_events(link_story(7, story))) == story


def test_segments_that_are_not_what_was_cut_are_refused() -> None:
    header = struct.pack("=BBHHHH", 1, 5, 42, 2, 34, 6)
    whole, pieces = udp_frame(b"abcd"), [udp_frame(b"ab"), udp_frame(b"cd")]
    check_segments(whole, header, 42, 4, pieces)
    for wrong in (pieces[:1], [*pieces, pieces[0]], pieces[::-1], [pieces[0], pieces[1][:-1] + b"x"]):
        with pytest.raises(ViolationError):
            check_segments(whole, header, 42, 4, wrong)


def test_a_checksum_that_is_wrong_or_elsewhere_is_refused() -> None:
    header, whole = struct.pack("=BBHHHH", 1, 0, 0, 0, 34, 6), udp_frame(b"abcd")
    unfinished = whole[:40] + bytes(2) + whole[42:]
    done = unfinished[:40] + struct.pack("!H", checksum(unfinished[34:])) + unfinished[42:]
    check_finished(header, unfinished, done)
    for wrong in (unfinished, done[:-1] + b"x", done + b"x"):
        with pytest.raises(ViolationError):
            check_finished(header, unfinished, wrong)


def udp_frame(payload: bytes) -> bytes:
    """A datagram with right checksums."""
    ends, size = bytes([10, 0, 0, 2, 10, 0, 0, 3]), 8 + len(payload)
    head = struct.pack("!HHHH", 1, 2, size, 0) + payload
    value = checksum(ends + struct.pack("!HH", 17, size) + head)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, 17, 0) + ends
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return bytes(12) + b"\x08\0" + ip + head[:6] + struct.pack("!H", value) + payload


def test_the_input_of_a_process_can_be_read_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    ours, theirs = Shared(path, create=True), Shared(path)
    theirs.begin(b"abc")
    assert theirs.extend(b"d")
    assert not theirs.extend(bytes(ROOM))
    assert (ours.executions, ours.read()) == (1, b"abcd")


def test_a_finding_is_kept_by_its_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep("documents", b"\0x", tmp_path)
    name = hashlib.sha256(b"\0x").hexdigest()[:16]
    assert (tmp_path / "documents" / name).read_bytes() == b"\0x"
    assert f"--target documents --reproduce {tmp_path}/documents/{name}" in capsys.readouterr().out


def test_a_search_that_dies_before_its_first_input_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.fuzz.run.search", lambda *_: (0, b""))
    monkeypatch.setattr("sys.argv", ["run", "--target", "sequences", "--corpus", str(tmp_path)])
    assert main() == 1
    assert "sequences: FOUND: the search ended before its first input" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_story_that_breaks_nothing_is_kept_whole(tmp_path: Path) -> None:
    story = written(0, [Event(FRAME, 0, 0, struct.pack("!12xH", 0x0806)), Event(CHANGE, 1)])
    keep("sequences", story, tmp_path)
    assert [path.read_bytes() for path in (tmp_path / "sequences").iterdir()] == [story]
