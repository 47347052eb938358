"""Edges on other machines: tokens, what they are exchanged for, and who is dialled then."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from control.access import tokens
from control.access.authority import OwnCertificate, authority_of
from control.access.host import DOMAIN, parted, private_pem, signing_request
from control.access.totp import code_at
from control.api.client import ControlClient, door_client
from control.api.door import DOOR, DoorCredentials
from control.api.remote_edge import RemoteEdge, Secured
from control.api.server import ControlServer
from control.errors import KeyFileError, SealBrokenError
from control.fleet.access import EdgeUnreachableError
from control.serving import ControlSettings, serve
from edge.api.client import CallError, EdgeClient, UnreachableError
from edge.api.tls import TlsFiles
from edge.cli.main import cli
from edge.errors import ArgumentError
from edge.listening import AddressError, parse_address
from tests.control.cloud import Cloud
from tests.control.fleets import Manned, manned
from tests.control.test_commands import serving
from tests.control.test_fleet import EDGE, allow, ended
from tests.control.world import PASSWORD, World, seed_of
from tests.serve.process import Service
from tests.support import SAMPLE
from tests.waiting import wait_for

CREATE = "EdgeHostService/CreateEnrollmentToken"
ENROLL = "EdgeHostService/Enroll"
ADDRESS = "edge1.example.net:7440"
PATIENT_S = 30.0


@pytest.fixture
def cloud(world: World) -> Cloud:
    """With an edge."""
    found = Cloud(world)
    found.vdc()
    return found


def token_for(cloud: Cloud, address: str = ADDRESS, edge: str = EDGE) -> str:
    return str(cloud.call(CREATE, {"edge": edge, "address": address}, cloud.admin)["token"])


def asked(host: str = "") -> str:
    return signing_request(ec.generate_private_key(ec.SECP256R1()), host)


def request_for(token: str, csr: str = "") -> dict[str, str]:
    return {"token": parted(token)[0], "certificateSigningRequest": csr or asked()}


def refusal(cloud: Cloud, token: str, csr: str = "") -> str:
    caught = cloud.refused(ENROLL, request_for(token, csr))
    return f"{caught.reason} {' '.join(caught.fields.values())}"


def enrol(cloud: Cloud, token: str, csr: str = "") -> x509.Certificate:
    answer = cloud.world.call(ENROLL, request_for(token, csr))
    return x509.load_pem_x509_certificate(answer["certificate"].encode())


def host_of(cloud: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.call("EdgeHostService/GetEdgeHost", {"edge": EDGE}, cloud.admin)["edgeHost"]
    return found


# ------------------------------------------------------------------ tokens


@pytest.mark.parametrize("address", [ADDRESS, "192.0.2.1:7440", "[2001:db8::1]:7440"])
def test_a_certificate_names_the_host_and_the_edge(cloud: Cloud, address: str) -> None:
    token = token_for(cloud, address)
    assert host_of(cloud) == {"edge": EDGE, "address": ""}  # nothing moves before the host has enrolled
    key = ec.generate_private_key(ec.SECP256R1())
    host = parse_address(address).host
    answer = cloud.world.call(ENROLL, request_for(token, signing_request(key, host)))
    made = x509.load_pem_x509_certificate(answer["certificate"].encode())
    assert answer["edge"] == EDGE
    assert answer["certificateAuthority"].encode() == parted(token)[1]
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(parted(token)[1]))
    assert made.public_key() == key.public_key()
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(found) for found in names.get_values_for_type(x509.IPAddress)]
    *dns, identity = names.get_values_for_type(x509.DNSName)
    with cloud.world.store.read() as state:
        uid = state.get(EDGE).uid
    assert (dns or addresses) == [host]
    assert identity == f"{made.serial_number:x}.{uid}.edge.{DOMAIN}"
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert host_of(cloud) == {"edge": EDGE, "address": address, "certificateExpireTime": answer["expireTime"]}
    days = (made.not_valid_after_utc.timestamp() - cloud.world.now_s) / 86_400
    assert 364 < days <= 365


def test_a_token_works_once_within_its_hour(cloud: Cloud) -> None:
    first = token_for(cloud)
    second = token_for(cloud)
    assert refusal(cloud, first) == "INVALID_CREDENTIALS "  # the second stands in its place
    enrol(cloud, second)
    assert refusal(cloud, second) == "INVALID_CREDENTIALS "
    late = token_for(cloud)
    cloud.world.now_s += 3_600
    assert refusal(cloud, late) == "INVALID_CREDENTIALS "
    for none in ("", "x", tokens.new_token(tokens.SESSION, os.urandom)):
        caught = cloud.refused(ENROLL, {"token": none, "certificateSigningRequest": asked()})
        assert caught.reason in {"INVALID_CREDENTIALS", "TOO_MANY_ATTEMPTS"}


def test_an_api_token_makes_none(cloud: Cloud) -> None:
    own = {"parent": "orgs/system/users/administrator", "apiToken": {"displayName": "ci"}}
    secret = cloud.call("ApiTokenService/CreateApiToken", own, cloud.admin)["secret"]
    request = {"edge": EDGE, "address": ADDRESS, "requestId": "once"}
    cloud.call("EdgeHostService/GetEdgeHost", {"edge": EDGE}, secret)
    cloud.call(CREATE, request, cloud.admin)
    for token in (secret, cloud.maria):
        assert cloud.refused(CREATE, request, token).reason == "PERMISSION_DENIED"


def test_wrong_tokens_are_limited_and_right_ones_are_not(cloud: Cloud) -> None:
    token = token_for(cloud)
    wrong = f"{tokens.new_token(tokens.HOST, os.urandom)}.{token.partition('.')[2]}"
    assert [refusal(cloud, wrong) for _ in range(6)] == ["INVALID_CREDENTIALS "] * 5 + ["TOO_MANY_ATTEMPTS "]
    query = {"parent": "orgs/system", "filter": f'method = "{ENROLL}"', "pageSize": 100}
    records = cloud.call("AuditService/ListAuditRecords", query, cloud.admin)["records"]
    assert [record["outcome"] for record in records] == ["INVALID_CREDENTIALS"] * 5
    enrol(cloud, token)
    assert refusal(cloud, wrong) == "INVALID_CREDENTIALS "


def test_a_token_is_in_no_record_and_no_file(cloud: Cloud) -> None:
    token = token_for(cloud)
    tried = cloud.call(CREATE, {"edge": EDGE, "address": "192.0.2.9:1", "validateOnly": True}, cloud.admin)
    assert tried["token"] == ""
    enrol(cloud, token)
    made, used = (record for record in reversed(cloud.audit(2)))
    assert (made["method"], made["object"], made["actor"]) == (CREATE, EDGE, "orgs/system/users/administrator")
    assert (used["method"], used["object"], used["actor"]) == (ENROLL, EDGE, EDGE)
    assert ADDRESS not in json.dumps((made, used))
    query = {"parent": "orgs/system", "filter": f'object = "{EDGE}"'}
    known = cloud.call("AuditService/ListAuditRecords", query, cloud.admin)["records"]
    assert [(each["method"], json.loads(each["details"])["address"]) for each in known] == [
        (CREATE, ADDRESS), (ENROLL, ADDRESS),
    ]  # fmt: skip
    secret = parted(token)[0].removeprefix(tokens.HOST).encode()
    for file in cloud.world.data.iterdir():
        assert secret not in file.read_bytes()


@pytest.mark.parametrize(
    "address",
    ["", "edge1", "unix:/tmp/x", "edge1:0", "0.0.0.0:7440", "[::]:7440", "*.example.net:7440", "a..b:1",
     f"x.edge.{DOMAIN}:7440", f"{DOMAIN}:7440", "1.2.3:4444x"],
)  # fmt: skip
def test_addresses_that_no_host_has(cloud: Cloud, address: str) -> None:
    assert "address" in cloud.refused(CREATE, {"edge": EDGE, "address": address}, cloud.admin).fields


def test_a_wrong_request_leaves_the_token(cloud: Cloud) -> None:
    token = token_for(cloud)
    name = x509.Name([])
    builder = x509.CertificateSigningRequestBuilder(name)
    wide = builder.sign(rsa.generate_private_key(65_537, 2_048), hashes.SHA256())
    curve = builder.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256())
    der = bytearray(builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.DER))  # fmt: skip
    der[-1] ^= 1
    try:
        forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    except ValueError:
        forged = "x"
    pems = [found.public_bytes(serialization.Encoding.PEM).decode() for found in (wide, curve)]
    for csr in ("x", "x" * 20_000, forged, *pems, asked("edge2.example.net"), asked(f"x.edge.{DOMAIN}")):
        assert refusal(cloud, token, csr).startswith("INVALID_ARGUMENT ")
    enrol(cloud, token, asked("EDGE1.example.net"))


def test_who_is_set_elsewhere_or_deleted_has_not_enrolled(cloud: Cloud) -> None:
    enrol(cloud, token_for(cloud))
    pending = token_for(cloud)
    remote = {"edge": EDGE, "address": "192.0.2.1:7440"}
    refused = cloud.refused("EdgeHostService/SetEdgeHost", {"edgeHost": remote}, cloud.admin)
    assert "enroll" in refused.fields["edge_host.address"]
    cloud.world.realize([EDGE])
    cloud.call("EdgeHostService/SetEdgeHost", {"edgeHost": {"edge": EDGE, "address": "127.0.0.1:1"}}, cloud.admin)
    assert host_of(cloud) == {"edge": EDGE, "address": "127.0.0.1:1"}
    assert refusal(cloud, pending) == "INVALID_CREDENTIALS "
    gone = token_for(cloud)
    cloud.call("NetworkService/DeleteNetwork", {"name": cloud.names("NetworkService", "Networks")[0]})
    cloud.call("EdgeGatewayService/DeleteEdgeGateway", {"name": EDGE})
    assert refusal(cloud, gone) == "INVALID_CREDENTIALS "


def test_the_authority_is_made_once_and_its_key_is_sealed(either: World) -> None:
    made = authority_of(either.store, either.vault)
    again = authority_of(either.store, either.vault)
    assert (made.pem, private_pem(made.key)) == (again.pem, private_pem(again.key))
    with either.store.read() as state:
        sealed = bytes.fromhex(state.fact("edge-authority-key") or "")
    with pytest.raises((SealBrokenError, KeyFileError)):
        either.vault.open(sealed, "elsewhere")


def test_the_own_certificate_is_made_anew_in_time(world: World) -> None:
    own = OwnCertificate(lambda: authority_of(world.store, world.vault), world.surroundings.now_ns, server=False)
    assert own.due(None)
    first = own.get()
    assert own.get() is first
    world.now_s += 16 * 86_400
    assert own.due(first)
    assert own.get().chain != first.chain
    usage = x509.load_pem_x509_certificate(first.chain).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(usage.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize("token", ["", "t1h_x", tokens.new_token(tokens.HOST, os.urandom), "a.b", "t1h_ñ.ñ"])
def test_a_token_that_is_cut_off(token: str) -> None:
    with pytest.raises(ArgumentError, match="the token is none"):
        parted(token)


def test_where_edges_enrol_is_no_socket(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="expected HOST:PORT"):
        asyncio.run(serve(ControlSettings(tmp_path / "data", "unix:x", enroll="unix:y")))
    assert not (tmp_path / "data").exists()


# ------------------------------------------------------------------ hosts


@contextmanager
def door(world: World) -> Iterator[str]:
    """Where edges enrol; the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    own = OwnCertificate(lambda: authority_of(world.store, world.vault), time.time_ns, server=True)

    async def start() -> tuple[ControlServer, str]:
        server = ControlServer(world.dispatcher, parse_address("127.0.0.1:0"), DoorCredentials(own), only=DOOR)
        return server, str(await server.start())

    server, address = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENT_S)
    try:
        yield address
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(PATIENT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def hosted(folder: Path) -> Iterator[tuple[Manned, Cloud, str]]:
    """A control plane of today's date with an edge, and where edges enrol."""
    with manned(folder / "data") as world:
        world.now_s = time.time()
        cloud = Cloud(world)
        cloud.vdc()
        world.settled()
        with door(world) as address:
            yield world, cloud, address


def run_enroll(control: str, token: str, out: Path, *options: str, code: int = 0) -> Result:
    arguments = ["edge", "enroll", "--control", control, "--out", str(out), *options]
    result = CliRunner().invoke(cli, arguments, env={"T1EDGE_ENROLL_TOKEN": token})
    assert result.exit_code == code, result.output
    return result


def free_address() -> str:
    """Of a port that nobody listens on."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def on_host(folder: Path, address: str, files: Path) -> Service:
    """The edge's process with the files of an enrolment."""
    folder.mkdir(exist_ok=True)
    file = folder / "edge.yaml"
    file.write_text(SAMPLE)
    tls = [f"--tls-{option}={files}/{name}.pem" for option, name in (("cert", "cert"), ("key", "key"), ("ca", "ca"))]
    return Service(folder, file, "--data", str(folder / "kept"), *tls, listen=address)


def state_of(cloud: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.call("EdgeGatewayService/GetEdgeGateway", {"name": EDGE})["edgeGateway"]["state"]
    return found


def test_a_host_enrols_and_its_edge_is_managed_and_renewed(tmp_path: Path) -> None:
    files, address = tmp_path / "tls", free_address()
    with hosted(tmp_path) as (world, cloud, control):
        run_enroll(control, token_for(cloud, address), files, "--host", "elsewhere", code=2)
        result = run_enroll(control, token_for(cloud, address), files, "--host", "127.0.0.1", "--json")
        assert json.loads(result.output)["edge"] == EDGE
        assert {file.name: file.stat().st_mode & 0o777 for file in files.iterdir()} == dict.fromkeys(
            ("key.pem", "cert.pem", "ca.pem"), 0o600
        )
        with on_host(tmp_path / "host", address, files) as service:
            world.settled()
            ended(cloud, allow(cloud))
            assert state_of(cloud)["status"] == "EDGE_STATUS_REALIZED"
            # An edge's certificate is no client's: a host that was taken over commands no other one.
            shown = TlsFiles(files / "cert.pem", files / "key.pem", files / "ca.pem")
            with EdgeClient(address, shown, timeout_s=5) as client, pytest.raises(UnreachableError):
                client.config()
            # Another token, another certificate, the same process; the former one is not the edge's any more.
            stolen = tmp_path / "stolen"
            stolen.mkdir()
            for file in files.iterdir():
                (stolen / file.name).write_bytes(file.read_bytes())
            run_enroll(control, token_for(cloud, address), files)
            world.settled()
            ended(cloud, allow(cloud, "again"))
            service.line("certificates read again")
        with on_host(tmp_path / "thief", address, stolen):
            task = allow(cloud, "third")
            wait_for("it is not the edge", lambda: state_of(cloud)["reason"] == "UNREACHABLE")
            assert cloud.call("TaskService/GetTask", {"name": task["name"]})["task"]["status"] == "TASK_STATUS_RUNNING"
        with on_host(tmp_path / "host", address, files):
            ended(cloud, task)


def test_the_certificate_of_another_edge_is_refused(tmp_path: Path) -> None:
    address = free_address()
    with hosted(tmp_path) as (world, cloud, control):
        cloud.call(
            "OrderService/AddEdgeGateway",
            {"parent": cloud.org, "vdc": cloud.names("VdcService", "Vdcs")[0], "gatewayCidr": "10.77.0.1/24",
             "lanName": "two", "wanAccess": "WAN_ACCESS_INTERNET"},
        )  # fmt: skip
        other = next(name for name in cloud.names("EdgeGatewayService", "EdgeGateways") if name != EDGE)
        run_enroll(control, token_for(cloud, address, other), tmp_path / "other")
        run_enroll(control, token_for(cloud, address), tmp_path / "own")
        with on_host(tmp_path / "host", address, tmp_path / "other"):
            wait_for("the other one is the edge there", lambda: _status(world, other) == "REALIZED")
            wait_for("it is not this one", lambda: state_of(cloud)["reason"] == "UNREACHABLE")

            async def dial() -> None:
                with world.store.read() as state:
                    known = state.edge_host(EDGE)
                assert known is not None
                own = OwnCertificate(lambda: authority_of(world.store, world.vault), time.time_ns, server=False)
                edge = RemoteEdge(address, Secured(known.identity, own), timeout_s=2.0)
                with pytest.raises(EdgeUnreachableError):
                    await edge.current(10**12)
                await edge.close()

            asyncio.run(dial())


def _status(world: Manned, edge: str) -> str:
    with world.store.read() as state:
        found = state.edge_state(edge)
    return found.status if found else ""


def test_a_host_talks_only_to_the_control_plane_of_its_token(tmp_path: Path) -> None:
    with hosted(tmp_path) as (_, cloud, control), manned(tmp_path / "other") as stranger:
        stranger.now_s = time.time()
        token = token_for(cloud)
        with door(stranger) as wrong:
            run_enroll(wrong, token, tmp_path / "out", "--timeout", "3", code=3)
        run_enroll(control, "t1h_x", tmp_path / "out", code=2)
        run_enroll("nowhere", token, tmp_path / "out", code=2)
        run_enroll("192.0.2.1:7441", token, tmp_path / "out", "--no-tls", code=2)
        assert list((tmp_path / "out").iterdir()) == []  # nothing is left of what failed
        (tmp_path / "file").write_text("")
        run_enroll(control, token, tmp_path / "file" / "out", code=2)
        run_enroll(control, token, tmp_path / "out")  # the token still holds
        run_enroll(control, token, tmp_path / "out", code=1)
        assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["ca.pem", "cert.pem", "key.pem"]


def test_nothing_but_enrolling_is_behind_that_door(tmp_path: Path) -> None:
    with hosted(tmp_path) as (world, _, control):
        authority = authority_of(world.store, world.vault).pem
        for name, request in (("OrgService/ListOrgs", {}), (CREATE, {"edge": EDGE, "address": ADDRESS})):
            with door_client(control, authority, 10) as client, pytest.raises(CallError) as refused:
                client.call(name, request)
            assert refused.value.code == "UNIMPLEMENTED"


def test_processes_from_the_first_login_to_a_packet(tmp_path: Path) -> None:
    address = free_address()
    with serving(tmp_path, "--metrics", "none", "--machines", "none", "--enroll", "127.0.0.1:0") as control:
        (door_line,) = [line for line in control.lines if "edges enrol on" in line]
        door_address = door_line.split()[-1]
        login = {"org": "orgs/system", "username": "administrator", "newPassword": PASSWORD,
                 "password": (tmp_path / "data" / "first-login").read_text().strip()}  # fmt: skip
        with ControlClient(control.address) as client:
            begun = client.call("SessionService/Login", login)["enrolment"]
            code = code_at(seed_of(begun["uri"]), int(time.time()) // 30)
            confirmed = {"token": begun["token"], "code": code}
            token = client.call("SessionService/ConfirmSecondFactor", confirmed)["session"]["token"]

        def run(*arguments: str) -> Result:
            command = ["control", *arguments, "--to", control.address]
            result = CliRunner().invoke(cli, command, env={"T1EDGE_TOKEN": token})
            assert result.exit_code == 0, result.output
            return result

        run("orgs", "create", "US1", "--display-name", "ACME")
        run("regions", "create", "MIA")
        run("providers", "create", "INTERNET", "--wan-access", "INTERNET", "--gateway-cidr", "203.0.113.1/24",
            "--pool", "203.0.113.10-203.0.113.99", "--region", "MIA")  # fmt: skip
        run("vdcs", "order", "--org", "US1", "--region", "MIA", "--plan", "on_demand")
        one_time = run("edges", "enroll", "T1-US1-MIA", "--org", "US1", "--address", address).output.strip()
        command = [sys.executable, "-m", "edge.cli", "edge", "enroll", "--control", door_address]
        enrolled = subprocess.run(
            [*command, "--token", one_time, "--out", str(tmp_path / "tls")], capture_output=True, text=True, check=True
        )
        assert EDGE in enrolled.stdout
        with on_host(tmp_path / "host", address, tmp_path / "tls"):
            run("firewall", "create", "out", "--org", "US1", "--edge", "T1-US1-MIA", "--action-value", "ALLOW",
                "--timeout", "60")  # fmt: skip
            shown = json.loads(run("edges", "show", "T1-US1-MIA", "--org", "US1", "--json").output)["edgeGateway"]
            assert shown["state"]["status"] == "EDGE_STATUS_REALIZED"
        assert one_time.partition(".")[0] not in control.stop()
