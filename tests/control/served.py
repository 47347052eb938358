"""A world behind real gRPC, in a thread of the test's own process, for commands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from control.api.server import ControlServer
from edge.cli.main import cli
from edge.listening import parse_address
from tests.control.world import World


class Commands:
    """Runs commands against a world, each as one of its users."""

    def __init__(self, world: World, address: str) -> None:
        self.world = world
        self.address = address

    def run(self, token: str, *arguments: str, given: str = "", code: int = 0) -> Result:
        result = CliRunner().invoke(
            cli, ["control", *arguments, "--to", self.address], input=given, env={"T1EDGE_TOKEN": token}
        )
        assert result.exit_code == code, result.output
        return result


@contextmanager
def served(world: World, folder: Path) -> Iterator[Commands]:
    """Until the end of the block."""
    address = f"unix:{folder}/control.sock"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> ControlServer:
        server = ControlServer(world.dispatcher, parse_address(address), machines=world.driver)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield Commands(world, address)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


VDC = "USMIA01P-US1134362P1349404"
EDGE = "T1-US1134362-USMIA01P"


def order(commands: Commands, admin: str) -> None:
    """The organization's data center, with what comes with it."""
    commands.run(
        admin, "vdcs", "order", "--org", "US1134362", "--region", "USMIA01P", "--plan", "pool", "--quota",
        "vcpu=20,memoryGb=50,storageGb=200", "--subscription", "1349404",
    )  # fmt: skip


def region(commands: Commands, admin: str) -> str:
    """The token of an organization's administrator, in a cloud with a region and its network."""
    commands.run(admin, "regions", "create", "USMIA01P")
    commands.run(
        admin, "providers", "create", "INTERNET", "--wan-access", "INTERNET", "--gateway-cidr", "203.0.113.1/24",
        "--pool", "203.0.113.10-203.0.113.99",
    )  # fmt: skip
    return commands.world.tenant(admin, "US1134362")[1]


def cloud(commands: Commands, admin: str) -> str:
    """The same, with a data center and an edge."""
    token = region(commands, admin)
    order(commands, admin)
    return token
