"""``t1edge edge``: every command against a served edge."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.cli.main import cli
from edge.v1 import edge_service_pb2 as pb
from tests.api.served import ServedEdge, files_of, out_frame, serving
from tests.gateways import OTHER, THIRD, WEB
from tests.support import SAMPLE


def t1edge(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def on(edge: ServedEdge, *arguments: str, code: int = 0) -> str:
    """What a command prints on stdout; it has to end with ``code``."""
    done = t1edge("edge", *arguments, "--to", edge.target)
    assert done.exit_code == code, done.output
    return done.stdout


def json_on(edge: ServedEdge, *arguments: str, code: int = 0) -> Any:
    return json.loads(on(edge, *arguments, "--json", code=code))


@pytest.fixture
def other(tmp_path: Path) -> str:
    """An edge file that differs from what runs."""
    path = tmp_path / "other.yaml"
    path.write_text(OTHER)
    return str(path)


def begin(edge: ServedEdge, *numbers: int) -> None:
    frames = [out_frame(number) for number in numbers]
    list(edge.stub.InjectPackets(iter([pb.InjectPacketsRequest(frames=frames)])))


def etag(edge: ServedEdge) -> str:
    return edge.gateway.running.etag


# ------------------------------------------------------------------ apply, diff


def test_apply_lists_what_changed(served: ServedEdge, other: str) -> None:
    lines = on(served, "apply", other, "--comment", "web is closed").splitlines()
    assert lines[0] == "~ userDefinedRules 'in-web' changed"
    assert "ALLOW" in lines[1]
    assert "REJECT" in lines[1]
    assert lines[-1] == f"revision 2 runs (etag {etag(served)})"
    assert served.gateway.running.comment == "web is closed"
    lines = on(served, "apply", other).splitlines()
    assert lines == ["no difference", f"revision 2 still runs (etag {etag(served)})"]


def test_apply_as_json(served: ServedEdge, other: str) -> None:
    found = json_on(served, "apply", other, "--validate-only")
    assert (found["revision"]["number"], found["problems"]) == (1, [])
    (change,) = found["changes"]
    assert (change["name"], change["kind"]) == ("in-web", "CHANGED")
    assert served.gateway.running.number == 1


def test_apply_under_another_etag_is_refused(served: ServedEdge, other: str) -> None:
    done = t1edge("edge", "apply", other, "--etag", "nonsense", "--to", served.target)
    assert done.exit_code == 1
    assert "ETAG_MISMATCH" in done.stderr
    found = json_on(served, "apply", other, "--etag", "nonsense", code=1)
    assert [problem["code"] for problem in found["problems"]] == ["ETAG_MISMATCH"]
    assert served.gateway.running.number == 1


@pytest.mark.parametrize("command", ["apply", "diff"])
def test_an_invalid_document_is_placed_in_the_callers_own_file(
    served: ServedEdge, tmp_path: Path, command: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SAMPLE.replace("priority: 10}", "priority: ten}").replace("options: {}", "options: {mtuu: 1}"))
    lines = path.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "priority: ten" in text)
    column = lines[line - 1].index("priority: ten") + 1
    done = t1edge("edge", command, str(path), "--to", served.target)
    assert done.exit_code == 2
    first, second = done.stderr.splitlines()
    place, _, rest = first.partition(": ")
    assert place.startswith(f"{path}:{line}:")
    assert int(place.rpartition(":")[2]) in (column, column + len("priority: "))
    assert rest.startswith("natRules[0].priority: ")
    assert second.startswith(f"{path}:{len(lines)}:")
    assert "options.mtuu" in second
    found = json_on(served, command, str(path), code=2)
    assert [(item["path"], item["line"], item["file"]) for item in found["problems"]] == [
        ("natRules[0].priority", line, str(path)),
        ("options.mtuu", len(lines), str(path)),
    ]


def test_more_problems_than_the_edge_can_tell_are_all_told(served: ServedEdge, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    rules = "\n".join(f"    - {{name: r{number}, actionValue: NONSENSE}}" for number in range(500))
    path.write_text(SAMPLE.replace("  userDefinedRules:\n", f"  userDefinedRules:\n{rules}\n"))
    done = t1edge("edge", "apply", str(path), "--to", served.target)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 500


def test_a_file_that_cannot_be_read_is_said(served: ServedEdge, tmp_path: Path) -> None:
    done = t1edge("edge", "apply", str(tmp_path / "nothing.yaml"), "--to", served.target)
    assert done.exit_code == 2
    assert "nothing.yaml" in done.stderr
    assert "No such file" in done.stderr


def test_warnings_are_told(served: ServedEdge, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OTHER.replace("dns: {}", "dns: {enabled: true}"))
    assert t1edge("edge", "apply", str(path), "--to", served.target).exit_code == 2
    done = t1edge("edge", "apply", str(path), "--allow-unsupported", "--to", served.target)
    assert done.exit_code == 0
    assert str(path) in done.stderr
    assert "dns" in done.stderr


def test_diff_exits_1_where_there_is_one(served: ServedEdge, other: str, tmp_path: Path) -> None:
    assert "in-web" in on(served, "diff", other, code=1)
    assert [change["name"] for change in json_on(served, "diff", other, code=1)["changes"]] == ["in-web"]
    same = tmp_path / "same.yaml"
    same.write_text(SAMPLE)
    assert on(served, "diff", str(same)) == "no difference\n"
    assert json_on(served, "diff", str(same)) == {"changes": []}
    assert served.gateway.running.number == 1


# ------------------------------------------------------------------ get, confirm, rollback, revisions


def test_get_prints_an_edge_file(served: ServedEdge, tmp_path: Path, other: str) -> None:
    path = tmp_path / "got.json"
    path.write_text(on(served, "get"))
    assert json.loads(path.read_text())["edgeGateway"]["name"] == "T1-ACME"
    assert on(served, "diff", str(path)) == "no difference\n"
    on(served, "apply", other)
    assert on(served, "get", "--revision", "1") == path.read_text()
    done = t1edge("edge", "get", "--revision", "9", "--to", served.target)
    assert done.exit_code == 1
    assert "REVISION_UNKNOWN: no revision 9 is stored" in done.stderr


def test_confirm_keeps_a_change(served: ServedEdge, other: str) -> None:
    assert "unless t1edge edge confirm says to keep it" in on(served, "apply", other, "--confirm-within", "600")
    assert on(served, "confirm") == "revision 2 stays\n"
    assert served.gateway.running.confirm_deadline_ns is None
    done = t1edge("edge", "confirm", "--to", served.target)
    assert done.exit_code == 1
    assert "NOTHING_PENDING" in done.stderr


def test_rollback_and_the_list_of_revisions(served: ServedEdge, other: str) -> None:
    on(served, "apply", other, "--comment", "second")
    assert on(served, "rollback", "--comment", "back").splitlines()[-1] == f"revision 3 runs (etag {etag(served)})"
    found = json_on(served, "revisions")["revisions"]
    assert [(item["number"], item.get("comment"), item.get("restoredFrom")) for item in found] == [
        (3, "back", 1), (2, "second", None), (1, None, None),
    ]  # fmt: skip
    table = on(served, "revisions", "--limit", "2")
    assert "back" in table
    assert "of 1" in table
    assert len(json_on(served, "revisions", "--limit", "2")["revisions"]) == 2
    assert json_on(served, "rollback", "2")["revision"]["restoredFrom"] == 2
    done = t1edge("edge", "rollback", "77", "--to", served.target)
    assert (done.exit_code, "REVISION_UNKNOWN" in done.stderr) == (1, True)


# ------------------------------------------------------------------ trace


PACKETS = [
    WEB,
    "udp 10.20.0.10:5000 > 198.51.100.99:53",
    "tcp 10.20.0.20:5000 > 203.0.113.11:80 S",
    "icmp 198.51.100.99 > 203.0.113.10 echo-request",
    "tcp 198.51.100.99:1 > 203.0.113.10:22 S",
]


@pytest.mark.parametrize("packet", PACKETS)
def test_trace_prints_what_the_command_on_the_file_prints(tmp_path: Path, packet: str) -> None:
    path = tmp_path / "edge.yaml"
    path.write_text(SAMPLE)
    offline = t1edge("trace", str(path), packet)
    with serving() as served:  # by one worker: each draws ports from a sequence of its own
        assert on(served, "trace", packet).strip() == offline.stdout.strip()
        ours, theirs = json_on(served, "trace", packet), json.loads(t1edge("trace", str(path), packet, "--json").stdout)
    assert ours == {**theirs, "revision": 1}


def test_trace_under_a_candidate(served: ServedEdge, other: str, tmp_path: Path) -> None:
    found = json_on(served, "trace", WEB, "--candidate", other)
    assert (found["packets"][0]["verdict"], found["revision"]) == ("REJECT", 0)
    path = tmp_path / "bad.yaml"
    path.write_text(SAMPLE.replace("priority: 10}", "priority: ten}"))
    done = t1edge("edge", "trace", WEB, "--candidate", str(path), "--to", served.target)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{path}:")


def test_a_packet_that_cannot_be_read_is_bad_usage(served: ServedEdge) -> None:
    done = t1edge("edge", "trace", WEB, "tcp nonsense", "--to", served.target)
    assert done.exit_code == 2
    assert "packets[1]" in done.stderr
    assert "INVALID_PACKET" in done.stderr


# ------------------------------------------------------------------ sessions, events


def test_sessions_are_listed_filtered_and_ended(served: ServedEdge) -> None:
    begin(served, 1, 2, 3)
    table = on(served, "sessions")
    assert "3 sessions" in table
    assert "10.20.0.10:1025" in table
    found = json_on(served, "sessions", "--port-number", "1026")
    assert [item["original"]["sourcePort"] for item in found["sessions"]] == [1026]
    assert found["more"] is False
    assert json_on(served, "sessions", "--limit", "2")["more"] is True
    assert json_on(served, "sessions", "--protocol", "6")["sessions"] == []
    assert json_on(served, "sessions", "--address", "198.51.100.0/24", "--port", "INTERNET")["sessions"]
    assert on(served, "sessions", "--port-number", "1026", "--delete") == "1 session ended\n"
    assert json_on(served, "sessions", "--delete", "--all") == {"deleted": 2}
    assert json_on(served, "sessions")["sessions"] == []


def test_sessions_are_not_ended_by_mistake(served: ServedEdge) -> None:
    begin(served, 1)
    for wrong in (["--delete"], ["--all"], ["--address", "nonsense"], ["--delete", "--all", "--protocol", "17"]):
        assert t1edge("edge", "sessions", *wrong, "--to", served.target).exit_code == 2, wrong
    assert len(json_on(served, "sessions")["sessions"]) == 1


def following(edge: ServedEdge, happen: Any, *arguments: str) -> Result:
    """What a command that follows events printed, while something happened."""
    found: list[Result] = []
    before = edge.gateway.events._readers
    thread = threading.Thread(target=lambda: found.append(t1edge("edge", "events", *arguments, "--to", edge.target)))
    thread.start()
    until = time.monotonic() + 10
    while edge.gateway.events._readers == before and time.monotonic() < until:
        time.sleep(0.005)
    happen()
    thread.join(20)
    assert found, "it did not end"
    return found[0]


def test_events_are_followed_until_there_were_enough(served: ServedEdge) -> None:
    done = following(served, lambda: begin(served, 1, 2), "--count", "2", "--kind", "session_started")
    assert done.exit_code == 0, done.output
    first, second = done.stdout.splitlines()
    assert " SESSION_STARTED udp 10.20.0.10:1025 > 198.51.100.99:53 as 203.0.113.10:" in first
    assert "10.20.0.10:1026" in second


def test_events_as_json_can_be_resumed(served: ServedEdge) -> None:
    def apply() -> None:
        served.stub.ApplyConfig(pb.ApplyConfigRequest(document=OTHER))

    done = following(served, apply, "--count", "1", "--kind", "CONFIG", "--json")
    (line,) = done.stdout.splitlines()
    event = json.loads(line)
    assert (event["kind"], event["cause"], event["revision"]["number"]) == ("CONFIG", "APPLIED", "2")
    assert event["time"].endswith("Z")
    served.stub.ApplyConfig(pb.ApplyConfigRequest(document=THIRD))
    again = json_on(served, "events", "--count", "1", "--kind", "CONFIG", "--resume", event["resumeToken"])
    assert again["revision"]["number"] == "3"
    assert t1edge("edge", "events", "--resume", "nonsense", "--to", served.target).exit_code == 2


# ------------------------------------------------------------------ where the edge is


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "arguments",
    [["get"], ["confirm"], ["rollback"], ["revisions"], ["trace", WEB], ["sessions"], ["events"],
     ["sessions", "--delete", "--all"]],
)  # fmt: skip
def test_an_edge_that_cannot_be_reached_is_exit_3(arguments: list[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = t1edge("edge", *arguments, "--to", address)
    assert done.exit_code == 3
    assert f"{address} cannot be reached" in done.stderr
    assert done.stdout == ""


def test_so_is_one_that_a_file_was_for(other: str, tmp_path: Path) -> None:
    for command in ("apply", "diff"):
        done = t1edge("edge", command, other, "--to", f"unix:{tmp_path}/nobody.sock", "--json")
        assert done.exit_code == 3
        assert json.loads(done.stdout)["problems"][0]["code"] == "UNREACHABLE"


def test_an_edge_with_tls_is_reached_with_certificates(tmp_path: Path) -> None:
    import trustme

    authority = trustme.CA()
    (tmp_path / "client").mkdir()
    files = files_of(tmp_path, authority, authority.issue_cert("127.0.0.1"))
    own = files_of(tmp_path / "client", authority, authority.issue_cert("me.example"))
    options = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key), "--tls-ca", str(own.authorities)]
    with serving(tls=files) as served:
        assert json_on(served, "revisions", *options)["revisions"][0]["number"] == 1
        assert t1edge("edge", "revisions", "--to", served.target).exit_code == 3
        assert t1edge("edge", "revisions", "--to", served.target, *options[:2]).exit_code == 2
        missing = [*options[:-1], str(tmp_path / "nothing")]
        done = t1edge("edge", "revisions", "--to", served.target, *missing)
        assert (done.exit_code, "nothing: cannot be read" in done.stderr) == (2, True)
