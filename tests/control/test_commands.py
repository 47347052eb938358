"""The commands against a process that serves: from the first start to the audit trail."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from control.access.totp import code_at
from control.api.client import ControlClient
from edge.api.client import open_channel
from edge.api.tls import TlsFiles
from edge.cli.control import session
from edge.cli.main import cli
from tests.control.world import PASSWORD, seed_of

SERVE = (sys.executable, "-m", "edge.cli", "control", "serve")


class Served:
    """A process that serves the directory ``data`` on a Unix socket."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.address = f"unix:{folder}/control.sock"
        command = [*SERVE, "--data", str(folder / "data"), "--listen", self.address, *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if "serves control.v1" in line:
                return
        raise AssertionError("".join(self.lines))

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return "".join(self.lines) + rest


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    served = Served(folder, *options)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.communicate()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("T1EDGE_TOKEN", raising=False)
    return tmp_path


def run(*arguments: str, given: str = "", code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["control", *arguments], input=given)
    assert result.exit_code == code, result.output
    return result


def first_login(served: Served, org: str, user: str, one_time: str) -> bytes:
    """What a person does, with an authenticator at hand; the seed."""
    command = [
        sys.executable,
        "-m",
        "edge.cli",
        "control",
        "login",
        "--to",
        served.address,
        "--org",
        org,
        "--user",
        user,
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stdout is not None
        process.stdin.write(f"{one_time}\n\n{PASSWORD}\n{PASSWORD}\n")
        process.stdin.flush()
        for line in process.stderr:
            if "otpauth://" in line:
                seed = seed_of(line)
                break
        else:
            raise AssertionError(process.stdout.read())
        process.stdin.write(code_at(seed, int(time.time()) // 30) + "\n")
        process.stdin.flush()
        out = process.stdout.read()
        rest = process.stderr.read()
    assert process.returncode == 0, out + rest
    assert PASSWORD not in out + rest
    return seed


def bad_calls(channel: grpc.Channel) -> None:
    """What no client of ours sends."""
    call = channel.unary_unary("/control.v1.OrgService/ListOrgs")
    twice = (("authorization", "Bearer x"), ("authorization", "Bearer y"))
    for data, metadata, code in ((b"\xff", (), "INVALID_ARGUMENT"), (b"", twice, "UNAUTHENTICATED")):
        with pytest.raises(grpc.RpcError) as caught:
            call(data, metadata=metadata, timeout=10)
        status: Any = rpc_status.from_call(caught.value)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason == code
    (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(  # type: ignore[no-untyped-call]
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
    )
    assert "control.v1.UserService" in [service.name for service in answer.list_services_response.service]


def test_the_whole_story(home: Path) -> None:
    with serving(home, "--metrics", "127.0.0.1:0") as served:
        one_time = (home / "data" / "first-login").read_text().strip()
        first_login(served, "system", "administrator", one_time)
        kept = home / "config" / "t1edge" / "session.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        run("orgs", "create", "US1134362", "--display-name", "Acme")
        assert "Acme" in run("orgs", "list").output
        who = ("--email", "maria@example.com", "--first-name", "María", "--last-name", "Gómez")
        role = ("--role", "organization-administrator")
        trial = run("users", "create", "maria", *who, *role, "--org", "US1134362", "--validate-only").output
        assert trial == "Add User orgs/US1134362/users/maria: could be done\n"
        made = run("users", "create", "maria", *who, *role, "--org", "US1134362").output
        first_login(served, "US1134362", "maria", made.split()[-1])
        added = json.loads(run("users", "create", "eva", *who, "--role", "staff", "--json").output)
        assert added["user"]["name"] == "orgs/US1134362/users/eva"
        assert "ROLE_STAFF" in run("users", "list", "--filter", "username = eva").output
        run("users", "update", "eva", "--role", "technical-administrator")
        assert "ROLE_TECHNICAL_ADMINISTRATOR" in run("users", "get", "eva").output
        stale = run("users", "update", "eva", "--email", "e@x.example", "--etag", added["user"]["etag"], code=1)
        assert "ETAG_MISMATCH" in stale.output
        assert "user.email" in run("users", "update", "eva", "--email", "x", code=2).output
        assert "one-time password" in run("users", "reset", "eva").output
        secret = run("tokens", "create", "ci", "--days", "1").output.strip()
        assert "ci" in run("tokens", "list").output
        by_token = {"T1EDGE_TOKEN": secret}
        shown = CliRunner().invoke(cli, ["control", "users", "list", "--to", served.address, "--json"], env=by_token)
        assert [user["username"] for user in json.loads(shown.output)["users"]] == ["eva", "maria"]
        run("tokens", "delete", "ci")
        assert run("tokens", "delete", "ci", code=2)
        tasks = json.loads(run("tasks", "list", "--json").output)["tasks"]
        assert [task["operation"] for task in tasks][-1] == "Add User"
        assert "Reset User Credentials" in run("tasks", "get", tasks[0]["name"]).output
        assert "OBJECT_UNKNOWN" in run("orgs", "get", "US1", code=1).output
        assert "PERMISSION_DENIED" in run("orgs", "delete", "US1134362", code=1).output
        run("users", "delete", "eva")
        assert "UserService/DeleteUser" in run("audit", "list").output
        exported = run("audit", "export")
        log = home / "audit.jsonl"
        log.write_text(exported.stdout)
        head = re.search(r"head (\S+)", exported.stderr)
        assert head is not None
        port = re.search(r"metrics on (http://\S+)", "".join(served.lines))
        assert port is not None
        page = urllib.request.urlopen(port[1], timeout=10).read().decode()
        assert 't1edge_control_requests_total{code="OK",method="UserService/CreateUser"}' in page
        assert 't1edge_control_objects{kind="user"} 2.0' in page
        with grpc.insecure_channel(served.address) as channel:
            bad_calls(channel)
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "control.v1.UserService"):
                request = health_pb2.HealthCheckRequest(service=service)
                assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        run("logout")
        assert not kept.exists()
        assert "login begins one" in run("orgs", "list", code=2).output
        told = served.stop()
    assert [text for text in (one_time, PASSWORD, secret) if text in told] == []
    assert "unchanged" in run("audit", "verify", str(log), "--head", head[1]).output
    log.write_text(log.read_text().replace('"staff"', '"x"').replace("ROLE_STAFF", "ROLE_ADMINISTRATOR"))
    assert "was changed" in run("audit", "verify", str(log), code=1).output


def test_it_comes_back_as_it_was_and_refuses_large_requests(home: Path) -> None:
    with serving(home, "--metrics", "none") as served:
        one_time = (home / "data" / "first-login").read_text().strip()
        first_login(served, "system", "administrator", one_time)
        run("orgs", "create", "US1", "--display-name", "Acme")
        served.process.kill()
        served.process.communicate()
    with serving(home, "--metrics", "none"):
        assert "Acme" in run("orgs", "list").output
        huge = run("orgs", "create", "US2", "--display-name", "x" * 10_000_000, code=1)
        assert "RESOURCE_EXHAUSTED" in huge.output
        assert len(huge.output) < 1_000
        assert "US2" not in run("orgs", "list").output
    assert "cannot be reached" in run("orgs", "list", code=3).output


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--listen", "0.0.0.0:7441"], 2, "without TLS only this machine"),
        (["--listen", "nonsense"], 2, "expected HOST:PORT"),
        (["--database", "mysql://u:geheim@h/d"], 3, "expected postgresql://"),
        (["--key-file", "/nonexistent/keys"], 2, "No such file"),
        (["--tls-cert", "x"], 2, "go together"),
    ],
)
def test_a_start_that_cannot_be_meant(home: Path, options: list[str], code: int, text: str) -> None:
    command = [*SERVE, "--data", str(home / "data"), "--metrics", "none", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "geheim" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("", ["control", "login", "--org", "system", "--user", "a", "--to", "192.0.2.1:7441"]),
        ("t1a_x", ["control", "orgs", "list", "--to", "control.example:7441"]),
        ("", ["edge", "revisions", "--to", "192.0.2.1:7440"]),
    ],
)
def test_nothing_leaves_the_machine_in_clear_text(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, arguments: list[str]
) -> None:
    assert home.is_dir()
    monkeypatch.setenv("T1EDGE_TOKEN", variable)
    result = CliRunner().invoke(cli, arguments, input="geheim\n\n")
    assert result.exit_code == 2
    assert "without TLS only this machine is called" in result.output
    assert "Password" not in result.output  # it is not even asked for


def test_a_session_that_began_with_tls_goes_on_with_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, TlsFiles | None]] = []

    def watched(address: str, tls: TlsFiles | None = None) -> grpc.Channel:
        opened.append((address, tls))
        return open_channel("unix:/nonexistent" if tls else address)

    monkeypatch.setattr("control.api.client.open_channel", watched)
    monkeypatch.chdir(home)
    files = TlsFiles(Path("own.pem"), Path("own.key"), Path("ca.pem"))
    session.keep(session.KeptSession("192.0.2.1:7441", "orgs/system/users/a", "t1s_x", session.paths_of(files)))
    monkeypatch.chdir("/")
    run("orgs", "list", code=3)
    assert opened == [("192.0.2.1:7441", TlsFiles(home / "own.pem", home / "own.key", home / "ca.pem"))]
    for damaged in ('["a"]', "5", '"abc"', "[1, 2, 3]", "null"):
        text = session.session_path().read_text()
        session.session_path().write_text(re.sub(r'"tls": (\[.*\]|[^}]*)', f'"tls": {damaged}', text))
        assert "cannot be used" in run("orgs", "list", code=2).output
    session.keep(session.KeptSession("192.0.2.1:7441", "orgs/system/users/a", "t1s_x"))
    assert "without TLS" in run("orgs", "list", code=2).output
    assert opened[1:] == [("192.0.2.1:7441", None)]


def test_logout_ends_the_session_beside_an_api_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.is_dir()
    shown: list[str] = []

    def call(client: ControlClient, *_: object) -> dict[str, Any]:
        shown.extend(value for _, value in client._metadata)
        return {}

    monkeypatch.setattr(ControlClient, "call", call)
    monkeypatch.setenv("T1EDGE_TOKEN", "t1a_x")
    session.keep(session.KeptSession("unix:x", "orgs/system/users/a", "t1s_kept"))
    run("logout")
    assert shown == ["Bearer t1s_kept"]
    assert not session.session_path().exists()


def loaded_by(*commands: list[str]) -> set[str]:
    """The top names of the modules that commands load."""
    code = (
        "import sys; from click.testing import CliRunner; from edge.cli.main import cli;"
        f"[CliRunner().invoke(cli, command) for command in {commands}];"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    return set(shown.stdout.split())


def test_other_commands_do_not_load_the_control_plane() -> None:
    assert not loaded_by(["control", "--help"], ["--help"]) & {"control", "grpc", "sqlalchemy", "argon2"}


def test_a_host_that_enrols_loads_no_database(tmp_path: Path) -> None:
    command = ["edge", "enroll", "--control", "127.0.0.1:1", "--no-tls", "--token", "x", "--out", str(tmp_path)]
    assert not (found := loaded_by(command)) & {"sqlalchemy", "alembic", "argon2"}
    assert "cryptography" in found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("control fire", "firewall"),
        ("control firewall mo", "move"),
        ("control nat create --ext", "--external-addresses"),
        ("control nat create --type SN", "snat"),
    ],
)
def test_shells_complete_them(words: str, found: str) -> None:
    variables = {
        "_T1EDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"t1edge {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    shown = CliRunner().invoke(cli, [], prog_name="t1edge", env=variables)
    assert f"plain,{found}" in shown.output.splitlines()


def test_help_tells_the_keys_of_objects() -> None:
    shown = CliRunner().invoke(cli, ["control", "vms", "create", "--help"]).output
    assert "Keys: network, primary, connected, adapter, ipMode, address." in " ".join(shown.split())
