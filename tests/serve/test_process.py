"""``t1edge serve`` from start to end: signals, options, who else wants its place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest

from edge.api.client import Conditions, UnreachableError
from edge.api.host import _try_all
from edge.v1 import edge_service_pb2 as pb
from edge.verdicts import Reason
from tests.serve.process import COMMAND, Service, Wire
from tests.support import SAMPLE

ALLOWED = "tcp 10.20.0.5:4000 > 198.51.100.7:443 S"
RENAMED = SAMPLE.replace("{name: out,", "{name: way-out,")
INVALID = SAMPLE.replace("actionValue: ALLOW, sourceFirewallGroups: [lan]", "actionValue: PERMIT")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge.yaml"
    path.write_text(SAMPLE)
    return path


def refused(*arguments: str | Path) -> tuple[int, str]:
    """How a process ends that cannot serve, and what it says."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


# ---------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_streams_are_told(tmp_path: Path, file: Path, number: signal.Signals) -> None:
    with Service(tmp_path, file, "--data", str(tmp_path / "data")) as service, Wire(service) as wire:
        assert service.socket.stat().st_mode & 0o777 == 0o600
        assert wire.send("LAN-ACME", ALLOWED) == [Reason.FW_RULE]
        events = wire.stub.WatchEvents(pb.WatchEventsRequest())
        told: list[grpc.StatusCode] = []

        def follow() -> None:
            try:
                for _ in events:
                    pass
            except grpc.RpcError as error:
                told.append(error.code())  # type: ignore[attr-defined]  # what gRPC raises is a call too

        reader = threading.Thread(target=follow)
        reader.start()
        wire.send("LAN-ACME", ALLOWED.replace("4000", "4001"))
        assert service.stop(number) < 10
        reader.join(10)
        assert told == [grpc.StatusCode.UNAVAILABLE]
        assert not service.socket.exists()
        assert "Traceback" not in service.log
        assert service.log.rstrip().endswith("stopping")


def test_it_stops_while_a_client_injects(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file) as service, Wire(service) as wire:
        go_on = threading.Event()

        def batches() -> object:
            yield wire_batch
            go_on.wait(60)

        wire_batch = pb.InjectPacketsRequest()
        answers = wire.stub.InjectPackets(batches())
        assert next(answers).revision == 1
        service.stop()
        with pytest.raises(grpc.RpcError):
            next(answers)
        go_on.set()


def test_it_stops_although_a_change_waits_to_be_confirmed(tmp_path: Path, file: Path) -> None:
    data = str(tmp_path / "data")
    with Service(tmp_path, file, "--data", data) as service:
        with service.client() as client:
            assert client.apply(RENAMED, Conditions(confirm_within_s=600)).revision.number == 2
        service.stop()
    with Service(tmp_path, file, "--data", data) as service, service.client() as client:
        assert client.config()[0].number == 1


def test_hangup_reads_the_file_again(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file, "--data", str(tmp_path / "data")) as service, service.client() as client:
        service.send_signal(signal.SIGHUP)
        assert "says what runs already" in service.line("says what runs already")
        file.write_text(RENAMED)
        service.send_signal(signal.SIGHUP)
        assert service.line("reloaded").rstrip().endswith("edge.yaml: revision 2, 2 changes")
        assert "way-out" in client.config()[1]
        file.write_text(INVALID)
        service.send_signal(signal.SIGHUP)
        line = service.line("not reloaded")
        number = next(number for number, text in enumerate(INVALID.splitlines(), 1) if "PERMIT" in text)
        column = INVALID.splitlines()[number - 1].index("PERMIT") + 1
        assert f"{file}:{number}:{column}: firewallRules.userDefinedRules[1].actionValue" in line
        assert "PERMIT" in line
        file.unlink()
        service.send_signal(signal.SIGHUP)
        assert f"{file}: UNREADABLE: cannot be read: No such file" in service.line("not reloaded", times=2)
        revision, document = client.config()
        assert (revision.number, revision.comment) == (2, f"SIGHUP: {file}")
        assert "way-out" in document
        service.stop()


def test_hangup_during_the_start_is_not_the_end(tmp_path: Path, file: Path) -> None:
    """systemctl reload, a moment after systemctl start."""
    with Service(tmp_path, file, ready=False) as service:
        service.line("no --data")  # the first that it says
        service.send_signal(signal.SIGHUP)
        service.line("says what runs already")
        service.stop()


# ---------------------------------------------------------------------- one place, one process


def test_one_directory_one_process(tmp_path: Path, file: Path) -> None:
    data = tmp_path / "data"
    with Service(tmp_path, file, "--data", str(data)) as service:
        code, text = refused(file, "--data", data, "--listen", f"unix:{tmp_path}/other.sock", "--metrics", "none")
        assert (code, text) == (3, f"{data}: another process uses it\n")
        assert not (tmp_path / "other.sock").exists()
        with service.client() as client:
            assert client.config()[0].number == 1


def test_one_socket_one_process(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file) as service:
        code, text = refused(file, "--listen", service.address, "--metrics", "none")
        assert code == 3
        assert text.splitlines()[-1] == f"{service.address}: another process listens there"
        with service.client() as client:
            assert client.config()[0].number == 1


def test_one_port_one_process(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file, listen="127.0.0.1:0") as service:
        address = service.line("gRPC on").partition("gRPC on ")[2].partition(",")[0]
        code, text = refused(file, "--listen", address, "--metrics", "none")
        assert code == 3
        assert text.splitlines()[1:] == [f"{address}: cannot be listened on: Address already in use"]


def test_a_name_stands_for_the_addresses_that_the_machine_has() -> None:
    here, absent = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)), ("192.0.2.1", 0)
    elsewhere = (socket.AF_INET, socket.SOCK_STREAM, 0, "", absent)
    _try_all([elsewhere, here])
    with pytest.raises(OSError, match="Cannot assign requested address"):
        _try_all([elsewhere])


def test_metrics_have_an_address_of_their_own(tmp_path: Path, file: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, text = refused(file, "--listen", f"unix:{tmp_path}/edge.sock", "--metrics", address)
    assert code == 3
    assert text.splitlines()[-1] == f"{address}: cannot be listened on: Address already in use"
    assert not (tmp_path / "edge.sock").exists()
    with Service(tmp_path, file, "--metrics", "127.0.0.1:0") as service:
        assert "metrics on http://127.0.0.1:" in service.log
        service.stop()
    with Service(tmp_path, file) as service:
        assert "metrics on" not in service.log


def test_a_socket_that_a_killed_one_left_is_no_obstacle(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file) as service:
        service.kill()
        assert service.socket.exists()
    with Service(tmp_path, file) as service, service.client() as client:
        assert client.config()[0].number == 1


def test_nobody_answers_where_nobody_serves(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file) as service:
        service.stop()
        with service.client() as client, pytest.raises(UnreachableError):
            client.config()


# ---------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "LAN"], "'LAN' is no port: NAME=KIND[:DEVICE] is, as in LAN=link:eth1"),
        (["--port", "LAN=wire:x"], "'LAN=wire:x': 'wire' is no kind of port; there are memory, tap, link"),
        (["--port", "LAN=link"], "'LAN=link': the device is missing, as in LAN=link:eth1"),
        (["--port", "LAN=link:a", "--port", "LAN=tap:b"], "the port 'LAN' is given twice"),
        (["--port", "LAN=link:a", "--port", "WAN=link:a"], "the device 'a' is given twice"),
        (["--tls-cert", "a.pem"], "--tls-cert, --tls-key and --tls-ca go together"),
        (["--tls-cert", "a", "--tls-key", "b", "--tls-ca", "c"], "a: cannot be read: No such file or directory"),
        (["--listen", "0.0.0.0:7440"], "0.0.0.0:7440: without TLS only this machine may be listened to"),
        (["--listen", "[::]:7440"], "[::]:7440: without TLS only this machine may be listened to"),
        (["--listen", "7440"], "'7440': expected HOST:PORT, [IPV6]:PORT or unix:PATH"),
        (["--metrics", "9744"], "'9744': expected HOST:PORT or [IPV6]:PORT"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, file: Path, options: list[str], says: str) -> None:
    place = ["--listen", f"unix:{tmp_path}/edge.sock", "--metrics", "none", "--data", str(tmp_path / "data")]
    code, text = refused(file, *place, *options)
    assert code == 2
    assert says in text.splitlines()[-1]
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "edge.sock").exists()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("unix:{}/none/edge.sock", "No such file or directory"),
        ("unix:{}/" + 120 * "x", "AF_UNIX path too long"),
        ("unix:{}/edge.yaml", "there is a file that is no socket"),
        ("host.invalid:7440", "without TLS only this machine"),
    ],
)
def test_places_that_are_not_to_be_had(tmp_path: Path, file: Path, address: str, says: str) -> None:
    code, text = refused(file, "--listen", address.format(tmp_path), "--metrics", "none")
    assert code == (2 if "invalid" in address else 3)
    assert says in text.splitlines()[-1]
    assert file.read_text() == SAMPLE


def test_files_that_are_no_edge(tmp_path: Path, file: Path) -> None:
    place = ("--listen", f"unix:{tmp_path}/edge.sock", "--metrics", "none")
    code, text = refused(tmp_path / "none.yaml", *place)
    assert code == 2
    assert text.splitlines()[-1] == f"{tmp_path}/none.yaml: UNREADABLE: cannot be read: No such file or directory"
    file.write_text(INVALID)
    code, text = refused(file, *place)
    assert code == 2
    assert text.splitlines()[-1].startswith(f"{file}:{INVALID[: INVALID.index('PERMIT')].count(chr(10)) + 1}:")


def test_a_port_that_the_edge_has_not_is_warned_of(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file, "--port", "DMZ=memory") as service:
        assert "WARNING the edge has no port 'DMZ'" in service.log
        service.stop()


# ---------------------------------------------------------------------- whoever started it


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, file: Path, abstract: bool) -> None:
    name = f"@t1edge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(60)
        manager.bind("\0" + name[1:] if abstract else name)
        with Service(tmp_path, file, environment={"NOTIFY_SOCKET": name}, ready=False) as service:
            assert manager.recv(100) == b"READY=1"
            with service.client() as client:
                assert client.config()[0].number == 1
            service.stop()
            assert manager.recv(100) == b"STOPPING=1"


def test_a_service_manager_that_is_not_there_is_no_obstacle(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file, environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")}) as service:
        service.stop()


@pytest.mark.needs("netns")  # root, as whoever has devices
def test_a_device_that_is_not_there_is_said_once(tmp_path: Path, file: Path) -> None:
    with Service(tmp_path, file, "--port", "LAN-ACME=link:t1edge-none") as service:
        line = service.line("t1edge-none")
        assert "WARNING port LAN-ACME=link:t1edge-none: there is no interface t1edge-none" in line
        time.sleep(2.5)  # it is looked for every second
        assert service.log.count("there is no interface") == 1
        service.stop()
