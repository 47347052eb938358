"""From the API to a real curl: machines of a tenant behind the tenant's edge.  tests/netns/machines.py draws it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from control.api import streams
from control.api.server import ControlServer
from control.machines import book
from control.machines.netns.driver import NetnsDriver
from control.machines.netns.process import started
from control.v1 import machine_pb2 as pb
from control.v1 import machine_pb2_grpc
from edge.cli.main import cli
from edge.listening import parse_address
from tests.control.office import DEMAND, LAN, POOL, Office
from tests.control.samples import plant
from tests.control.world import World
from tests.netns.cloud import Cloud, curl, go_outside, publish
from tests.netns.control_process import ControlProcess, machines_of
from tests.netns.lab import Space
from tests.netns.machines import remove_all, run, shell
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("netns", "nft", "overlay", "programs")

PYTHON = str(Path(sys.executable).resolve())
WEB = f"mkdir -p /srv/www; hostname > /srv/www/index.html; exec {PYTHON} -m http.server -d /srv/www 80"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("cloud") / "data") as made:
        made.forward()
        yield made


def web(cloud: Cloud, **more: Any) -> tuple[str, str]:
    """A machine with a web server: its name and uid."""
    answer = cloud.office.create("web", nics=[{"network": LAN}], startCommand=WEB, powerOn=True, **more)
    task = cloud.office.task(answer)
    assert task["status"] == "TASK_STATUS_SUCCESS", task
    name = answer["machine"]["name"]
    return name, cloud.office.record(name).uid


def remove(cloud: Cloud, name: str) -> None:
    if cloud.office.get(name)["powerState"] != "POWER_STATE_POWERED_OFF":
        cloud.office.do("PowerOffMachine", name)
    cloud.office.do("DeleteMachine", name)


def test_curl_from_outside_reaches_the_machine(cloud: Cloud) -> None:
    name, uid = web(cloud)
    other = cloud.office.create("other", nics=[{"network": LAN}], powerOn=True)["machine"]["name"]
    try:
        assert run(cloud.driver, uid, "ping", "-c", "1", "-W", "2", "10.20.0.1")[0] == 0
        assert run(cloud.driver, uid, "ping", "-c", "1", "-W", "2", "203.0.113.1")[0] == 0
        assert wait_for("the web server", cloud.curl) == "web\n"
        cloud.office.do("PowerOffMachine", name)
        assert cloud.curl() == ""
        cloud.office.do("PowerOnMachine", name)
        assert wait_for("the web server is back", cloud.curl) == "web\n"
        cloud.office.update(name, "nics", nics=[{"network": LAN, "connected": False}])
        assert cloud.curl() == ""
        cloud.office.update(name, "nics", nics=[{"network": LAN}])
        assert wait_for("the web server is connected", cloud.curl) == "web\n"
        cloud.office.do("SuspendMachine", name)
        assert cloud.curl() == ""
        cloud.office.do("PowerOnMachine", name)
        assert wait_for("the web server goes on", cloud.curl) == "web\n"
    finally:
        remove(cloud, name)
        remove(cloud, other)
    assert cloud.driver.inventory() == {}


def test_an_isolated_network_leads_nowhere_else(cloud: Cloud) -> None:
    plant(
        cloud.world, "network", LAN.rpartition("/networks/")[0], "ISO", display_name="ISO", owner=POOL,
        network_type="ISOLATED", gateway_cidrs=["10.30.0.1/24"], static_pools=["10.30.0.10-10.30.0.20"],
    )  # fmt: skip
    iso = LAN.replace("LAN", "ISO")
    names = [
        cloud.office.create(f"i{number}", nics=[{"network": iso}], powerOn=True)["machine"]["name"] for number in (1, 2)
    ]
    try:
        uid = cloud.office.record(names[0]).uid
        assert run(cloud.driver, uid, "ping", "-c", "1", "-W", "2", "10.30.0.11")[0] == 0
        assert run(cloud.driver, uid, "ping", "-c", "1", "-W", "1", "10.20.0.1")[0] != 0
    finally:
        for name in names:
            remove(cloud, name)


def test_snapshots_keep_files(cloud: Cloud) -> None:
    name, uid = web(cloud)
    try:
        shell(cloud.driver, uid, "echo kept > /root/file")
        cloud.office.do("CreateSnapshot", name)
        shell(cloud.driver, uid, "echo lost > /root/file")
        cloud.office.do("RevertSnapshot", name)
        assert cloud.office.get(name)["powerState"] == "POWER_STATE_POWERED_OFF"
        cloud.office.do("PowerOnMachine", name)
        assert shell(cloud.driver, uid, "cat /root/file") == "kept\n"
    finally:
        remove(cloud, name)


# ------------------------------------------------------------------ streams


@asynccontextmanager
async def calling(cloud: Cloud, folder: Path) -> AsyncIterator[machine_pb2_grpc.MachineServiceStub]:
    """A server on a socket, and who calls it."""
    address = f"unix:{folder}/control.sock"
    server = ControlServer(cloud.world.dispatcher, parse_address(address), machines=cloud.driver)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield machine_pb2_grpc.MachineServiceStub(channel)
    finally:
        await server.stop()


def token(cloud: Cloud, text: str = "") -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {text or cloud.office.token}")]


def audited(office: Office) -> list[tuple[str, str, str]]:
    """What the trail says of programs and consoles: method, outcome, details."""
    request = {"parent": "orgs/US1", "pageSize": 1000, "orderBy": "number desc"}
    records = office.world.call("AuditService/ListAuditRecords", request, office.token)["records"]
    of_streams = {streams.EXEC, streams.CONSOLE}
    return [(each["method"], each["outcome"], each["details"]) for each in records if each["method"] in of_streams]


async def rest(call: Any) -> list[Any]:
    """What is still said."""
    found = []
    while (answer := await call.read()) is not grpc.aio.EOF:
        found.append(answer)
    return found


async def fails(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rest(call)
    return caught.value.code().name, caught.value.details() or ""


def test_programs_and_consoles_over_grpc(cloud: Cloud, tmp_path: Path) -> None:
    name, _ = web(cloud)

    async def story() -> None:
        async with calling(cloud, tmp_path) as stub:
            asked = pb.ExecRequest(name=name, argv=["/bin/sh", "-c", "hostname; echo oh >&2; exit 4"])
            said = [answer async for answer in stub.Exec(asked, metadata=token(cloud))]
            assert [answer.output for answer in said if answer.output] == [b"web\n"]
            assert [answer.errors for answer in said if answer.errors] == [b"oh\n"]
            assert said[-1].exit_code == 4
            big = pb.ExecRequest(name=name, argv=["head", "-c", "5000000", "/dev/zero"])
            sizes = [len(answer.output) async for answer in stub.Exec(big, metadata=token(cloud))]
            assert sum(sizes) == 5_000_000

            console = stub.Console(metadata=token(cloud))
            opening = pb.ConsoleOpening(name=name, window=pb.WindowSize(rows=33, columns=99))
            await console.write(pb.ConsoleRequest(open=opening))
            await console.write(pb.ConsoleRequest(input=b"stty size\n"))
            await until(console, b"33 99")
            await console.write(pb.ConsoleRequest(window=pb.WindowSize(rows=44, columns=111)))
            await console.write(pb.ConsoleRequest(input=b"stty size; exit 5\n"))
            await until(console, b"44 111")
            assert (await rest(console))[-1].exit_code == 5

            for wrong in (
                pb.ExecRequest(name=name), pb.ExecRequest(name=name, argv=[""]), pb.ExecRequest(name="x", argv=["a"]),
                pb.ExecRequest(name=name, argv=["a\0"]), pb.ExecRequest(name=name, argv=["a"] * 101),
            ):  # fmt: skip
                assert (await fails(stub.Exec(wrong, metadata=token(cloud))))[0] == "INVALID_ARGUMENT"
            assert (await fails(stub.Exec(asked, metadata=token(cloud, "t1s_x"))))[0] == "UNAUTHENTICATED"
            first = pb.ConsoleRequest(input=b"x")
            assert (await fails(stub.Console(iter([first]), metadata=token(cloud))))[0] == "INVALID_ARGUMENT"
            assert (await fails(stub.Console(iter([]), metadata=token(cloud))))[0] == "INVALID_ARGUMENT"

    try:
        asyncio.run(story())
        shown = audited(cloud.office)
        assert sum(method == streams.CONSOLE for method, _, _ in shown) == 2
        assert (streams.EXEC, "OK", '{"ended": true, "exit_code": 4}') in shown
        assert (streams.CONSOLE, "OK", '{"ended": true, "exit_code": 5}') in shown
    finally:
        remove(cloud, name)


async def until(console: Any, wanted: bytes) -> None:
    said = b""
    while wanted not in said:
        answer = await console.read()
        assert answer is not grpc.aio.EOF, said
        said += answer.output


def test_staff_reach_into_no_machine(cloud: Cloud, tmp_path: Path) -> None:
    name, _ = web(cloud)
    staff = cloud.world.add_user(cloud.office.token, "orgs/US1", "eva", "ROLE_STAFF")

    async def story() -> None:
        async with calling(cloud, tmp_path) as stub:
            asked = pb.ExecRequest(name=name, argv=["true"])
            assert (await fails(stub.Exec(asked, metadata=token(cloud, staff))))[0] == "PERMISSION_DENIED"
            opened = pb.ConsoleRequest(open=pb.ConsoleOpening(name=name))
            assert (await fails(stub.Console(iter([opened]), metadata=token(cloud, staff))))[0] == "PERMISSION_DENIED"

    try:
        asyncio.run(story())
    finally:
        remove(cloud, name)


def ended(cloud: Cloud, uid: str, program: str) -> Callable[[], bool]:
    return lambda: program not in shell(cloud.driver, uid, "ps ax")


def test_a_program_ends_with_its_call_its_session_and_its_machine(cloud: Cloud, tmp_path: Path) -> None:
    name, uid = web(cloud)
    engineer = cloud.world.add_user(cloud.office.token, "orgs/US1", "ina", "ROLE_TECHNICAL_ADMINISTRATOR")

    async def story() -> None:
        async with calling(cloud, tmp_path) as stub:
            call = stub.Exec(pb.ExecRequest(name=name, argv=["sh", "-c", "echo x; sleep 4321"]), metadata=token(cloud))
            assert (await call.read()).output == b"x\n"
            call.cancel()
            await asyncio.to_thread(wait_for, "the call's program has ended", ended(cloud, uid, "sleep 4321"))

            shown = token(cloud, engineer)
            call = stub.Exec(pb.ExecRequest(name=name, argv=["sh", "-c", "echo x; sleep 4322"]), metadata=shown)
            assert (await call.read()).output == b"x\n"
            console = stub.Console(metadata=shown)
            await console.write(pb.ConsoleRequest(open=pb.ConsoleOpening(name=name)))
            await console.write(pb.ConsoleRequest(input=b"echo ready-$((40 + 2)); sleep 4323\n"))
            await until(console, b"ready-42")
            await asyncio.to_thread(cloud.world.call, "SessionService/Logout", {}, engineer)
            assert (await fails(call))[0] == "UNAUTHENTICATED"
            assert (await fails(console))[0] == "UNAUTHENTICATED"
            for program in ("sleep 4322", "sleep 4323"):
                await asyncio.to_thread(wait_for, "the session's programs have ended", ended(cloud, uid, program))

            call = stub.Exec(pb.ExecRequest(name=name, argv=["sh", "-c", "echo x; sleep 4324"]), metadata=token(cloud))
            assert (await call.read()).output == b"x\n"
            await asyncio.to_thread(cloud.office.do, "PowerOffMachine", name)
            assert [answer.exit_code for answer in await rest(call)] == [137]
            code, _ = await fails(stub.Exec(pb.ExecRequest(name=name, argv=["true"]), metadata=token(cloud)))
            assert code == "FAILED_PRECONDITION"

    try:
        asyncio.run(story())
        outcomes = {outcome for _, outcome, _ in audited(cloud.office)}
        assert {"OK", "CANCELLED", "UNAUTHENTICATED"} <= outcomes
    finally:
        remove(cloud, name)


# ------------------------------------------------------------------ the whole process


def state_of(world: World, name: str) -> str:
    with world.store.read() as state:
        found = state.find(name)
        assert found is not None
        known = book.state(state, name)
        assert known is not None
        return known.power


def test_a_killed_control_plane_finds_its_machines_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    world = World(data)
    middle, outside = Space("edge"), Space("outside")
    served: ControlProcess | None = None
    try:
        office = Office(world)
        publish(world)
        kept = office.create("web", nics=[{"network": LAN}], startCommand=WEB, powerOn=True)["machine"]["name"]
        gone = office.create("gone", vdc=DEMAND, powerOn=True)["machine"]["name"]
        kept_uid, gone_uid = (office.record(each).uid for each in (kept, gone))
        world.close()
        served = ControlProcess(middle, data)
        go_outside(middle, outside)
        before = machines_of(data)
        assert set(before) == {kept_uid, gone_uid}
        assert wait_for("the web server through the edge", lambda: curl(outside)) == "web\n"
        served.end(signal.SIGKILL)
        assert all(map(started, before.values()))
        world.open()
        world.attended = False
        office.do("PowerOffMachine", gone)
        office.do("DeleteMachine", gone)
        world.close()
        served = ControlProcess(middle, data)
        wait_for("the deleted one is removed", lambda: set(machines_of(data)) == {kept_uid})
        wait_for("with its files", lambda: not (data / "machines" / gone_uid).exists())
        assert machines_of(data)[kept_uid] == before[kept_uid], "it runs on"
        assert not started(before[gone_uid])
        assert wait_for("the web server through the edge again", lambda: curl(outside)) == "web\n"
        served.end(signal.SIGTERM)
        assert served.process.returncode == 0
        assert started(before[kept_uid]), "it runs on"
        stop = ["control", "stop-machines", "--data", str(data)]
        assert CliRunner().invoke(cli, stop).output == "1 machine ended\n"
        assert not started(before[kept_uid])
        assert CliRunner().invoke(cli, stop).output == "0 machines ended\n"
        served = ControlProcess(middle, data)
        assert set(machines_of(data)) == {kept_uid}, "it is on again"
        served.end(signal.SIGTERM)
        world.open()
        assert state_of(world, kept) == "POWERED_ON"
        world.attended = False
        office.do("PowerOffMachine", kept)
        office.do("DeleteMachine", kept)
        world.close()
        served = ControlProcess(middle, data)
        wait_for("nothing is left", lambda: [path.name for path in (data / "machines").iterdir()] == ["lock"])
        served.end(signal.SIGTERM)
    finally:
        if served is not None and served.process.poll() is None:
            served.end(signal.SIGKILL)
        world.close()
        driver = NetnsDriver(data)
        name = driver.name
        remove_all(driver)
        driver.close()
        for space in (middle, outside):
            space.remove()
    assert not Path("/run/netns", name).exists()
