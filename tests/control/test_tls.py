"""A control plane that others reach: who gets in, and what a client shows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import trustme

from control.api.client import ControlClient
from control.api.server import ControlServer
from control.serving import FIRST_LOGIN
from edge.api.client import CallError, UnreachableError
from edge.api.tls import TlsFiles
from edge.listening import AddressError, parse_address
from tests.api.served import files_of
from tests.control.world import PASSWORD, World

LOGIN = {"org": "orgs/system", "username": "administrator"}


def test_clients_show_certificates_before_they_say_who_they_are(tmp_path: Path, world: World) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server_files = files_of(tmp_path, authority, authority.issue_cert("127.0.0.1"), "server")
    client_files = files_of(tmp_path, authority, authority.issue_cert("client"), "client")
    foreign = files_of(tmp_path, stranger, stranger.issue_cert("client"), "foreign")
    of_a_stranger = TlsFiles(foreign.certificate, foreign.key, client_files.authorities)
    one_time = (world.data / FIRST_LOGIN).read_text().strip()

    def login(address: str, files: TlsFiles, password: str) -> str:
        with ControlClient(address, tls=files, timeout_s=10) as client:
            answer = client.call("SessionService/Login", {**LOGIN, "password": password, "newPassword": PASSWORD})
        return str(answer["enrolment"]["token"])

    async def scenario() -> None:
        server = ControlServer(world.dispatcher, parse_address("127.0.0.1:0"), server_files)
        address = str(await server.start())
        try:
            with pytest.raises(UnreachableError):
                await asyncio.to_thread(login, address, of_a_stranger, one_time)
            with pytest.raises(CallError) as refused:
                await asyncio.to_thread(login, address, client_files, "wrong")
            assert refused.value.code == "INVALID_CREDENTIALS"
            assert (await asyncio.to_thread(login, address, client_files, one_time)).startswith("t1e_")
        finally:
            await server.stop()

    asyncio.run(scenario())


def test_a_client_says_nothing_to_other_machines_in_clear_text() -> None:
    with pytest.raises(AddressError, match="without TLS only this machine is called"):
        ControlClient("192.0.2.1:7441", "t1s_x")
