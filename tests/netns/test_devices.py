"""Interfaces that go and come, processes that are killed.  tests/netns/lab.py draws the namespaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.netns.lab import ROOT, EdgeProcess, Lab
from tests.support import SAMPLE
from tests.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.needs("netns", "nft"), pytest.mark.usefixtures("workers")]

INTERNET = "198.51.100.5"


def reaches(lab: Lab) -> bool:
    return " 0% packet loss" in lab.client.run("ping", "-c", "1", "-W", "1", INTERNET, check=False)


def is_up(edge: EdgeProcess, port: str) -> bool:
    status: dict[str, Any] = edge.ask()["ports"][port]
    return bool(status["up"])


def refusal(lab: Lab, *specs: str) -> str:
    """What an edge says that cannot have its ports."""
    command = ["ip", "netns", "exec", lab.middle.name, sys.executable, "-m", "tests.netns.process"]
    command += [str(EdgeProcess.workers), "1500", *specs]
    done = subprocess.run(command, cwd=ROOT, input="", capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def test_a_port_that_vanishes_is_opened_again_when_it_is_back() -> None:
    with Lab() as lab:
        edge = lab.start()
        wait_for("the internet", lambda: reaches(lab))
        lab.client.run("ip", "link", "delete", "c0")
        wait_for("the port is down", lambda: not is_up(edge, "LAN"))
        assert is_up(edge, "INTERNET")
        wait_for("it says why", lambda: edge.ask()["ports"]["LAN"]["problem"])
        assert edge.ask()["ports"]["LAN"]["problem"] == "there is no interface e0"
        lab.join(lab.client, "c0", "e0")
        lab.client.run("ip", "address", "add", "10.20.0.10/24", "dev", "c0")
        lab.client.run("ip", "route", "add", "default", "via", "10.20.0.1")
        wait_for("the port is up", lambda: is_up(edge, "LAN"))
        wait_for("the internet again", lambda: reaches(lab))
        assert edge.ask()["ports"]["LAN"]["problem"] is None
        edge.stop()


def test_a_port_may_appear_late() -> None:
    with Lab() as lab:
        lab.client.run("ip", "link", "delete", "c0")
        edge = EdgeProcess(lab.middle, "LAN=link:e0", "INTERNET=link:e1")
        lab.edges.append(edge)
        assert not is_up(edge, "LAN")
        lab.join(lab.client, "c0", "e0")
        wait_for("the port is up", lambda: is_up(edge, "LAN"))


def test_a_port_that_is_set_down_goes_on_when_it_is_set_up() -> None:
    with Lab() as lab:
        edge = lab.start()
        wait_for("the internet", lambda: reaches(lab))
        lab.middle.run("ip", "link", "set", "e0", "down")
        wait_for("the port is down", lambda: not is_up(edge, "LAN"))
        lab.middle.run("ip", "link", "set", "e0", "up")
        wait_for("the port is up", lambda: is_up(edge, "LAN"))
        wait_for("the internet again", lambda: reaches(lab))


def test_a_clean_stop_leaves_everything_as_it_was() -> None:
    with Lab() as lab:
        lab.middle.run("ip", "link", "set", "e0", "alias", "to the client")
        before = lab.state()
        edge = lab.start()
        assert lab.state() != before
        edge.stop()
        assert lab.state() == before


def test_kill_leaves_nothing_that_a_restart_does_not_restore() -> None:
    with Lab() as lab:
        before = lab.state()
        lab.start().kill()
        assert lab.middle.run("nft", "list", "ruleset") == "", "the guard has outlived the process"
        edge = lab.start()
        wait_for("the internet", lambda: reaches(lab))
        edge.kill()
        lab.start().stop()
        assert lab.state() == before


def test_an_interface_with_addresses_of_the_host_is_refused() -> None:
    with Lab() as lab:
        lab.middle.run("ip", "address", "add", "192.0.2.1/24", "dev", "e0")
        before = lab.state()
        assert "e0 has the address 192.0.2.1/24" in refusal(lab, "INTERNET=link:e1", "LAN=link:e0")
        assert lab.state() == before


def test_two_edges_cannot_have_one_interface() -> None:
    with Lab() as lab:
        edge = lab.start()
        assert "another edge has it" in refusal(lab, "LAN=link:e0")
        assert is_up(edge, "LAN")
        wait_for("the internet", lambda: reaches(lab))


FORWARDS_NO_LONGER = """
import sys
from edge.cli.__main__ import main
from edge.runtime import Edge
from edge.workers import Workers

def fail(self, ports, worker):
    raise MemoryError("no room")

Edge.forward = Workers.forward = fail
sys.argv = ["t1edge", "serve", *sys.argv[1:]]
sys.exit(main())
"""


def test_a_service_that_can_forward_no_longer_ends_and_leaves_the_interfaces_as_they_were(
    tmp_path: Path, workers: int
) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(SAMPLE)
    with Lab() as lab:
        before = lab.state()
        command = ["ip", "netns", "exec", lab.middle.name, sys.executable, "-c", FORWARDS_NO_LONGER, str(file)]
        options = ["--listen", f"unix:{tmp_path / 'edge.sock'}", "--metrics", "none", "--port", "LAN-ACME=link:e0"]
        options += ["--workers", str(workers)]
        done = subprocess.run(
            [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 3, done.stderr
        assert "stopped forwarding" in done.stderr.splitlines()[-1]
        assert "no room" in done.stderr.splitlines()[-1]
        assert lab.state() == before
