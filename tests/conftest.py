"""What a test may ask of the machine, by name.

A test that needs more than Python says so: ``@pytest.mark.needs("data")``, ``require("tshark")`` or the fixture
``data``.  Where the capability is missing the test is skipped, and every skip has to name its capability.  A machine
that is meant to have some declares them, ``T1EDGE_REQUIRE=data,netns``: there such a skip is a failure.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = (ROOT / os.environ.get("T1EDGE_DATA", "../shared/data")).resolve()

SKIP_REASON = re.compile(r"needs ([a-z0-9]+): .")
"""How a skip names what is missing."""


@dataclass(frozen=True)
class ModelBudget:
    """How long tests of native code against the reference go on.

    ``seconds`` wins over ``packets`` where it is given.  Everything random comes from ``seed``.
    """

    packets: int
    seconds: float | None
    seed: int


def _missing_data() -> str | None:
    return None if (DATA / "classbench").is_dir() else f"no public data in {DATA}; T1EDGE_DATA says where it is"


def _missing_netns() -> str | None:
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if missing := _missing_command("ping"):
        return f"{missing} (package iputils-ping)"
    name = f"t1edge-probe-{os.getpid()}"
    for action in ("add", "delete"):
        try:
            done = subprocess.run(["ip", "netns", action, name], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return "the command ip (package iproute2) is not installed"
        if done.returncode != 0:
            return f"ip netns {action}: {done.stderr.strip()}"
    return None


NAT_TABLE = "table ip t { chain c { type nat hook prerouting priority 0; ct state new dnat to 192.0.2.1; }; }"


def _missing_overlay() -> str | None:
    from control.machines.netns.driver import no_place

    return no_place(Path(tempfile.gettempdir()))


def _missing_nft() -> str | None:
    if os.geteuid() != 0:
        return "only root can load rules into a network namespace"
    if missing := _missing_command("nft"):
        return f"{missing} (package nftables)"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    command = ["unshare", "--net", "nft", "-f", "-"]
    done = subprocess.run(command, input=NAT_TABLE, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"nft in a network namespace: {done.stderr.strip()}"


def _missing_strace() -> str | None:
    if missing := _missing_command("strace"):
        return f"{missing} (package strace)"
    done = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"strace: {done.stderr.strip()}"


def _missing_module(name: str) -> str | None:
    return None if find_spec(name) else f"the Python package {name} is not installed"


def _missing_command(name: str) -> str | None:
    return None if shutil.which(name) else f"the command {name} is not installed"


def _missing_prometheus() -> str | None:
    commands = ("prometheus", "promtool")
    missing = next(filter(None, map(_missing_command, commands)), None)
    return f"{missing} (package prometheus)" if missing else None


PROGRAMS = {
    "curl": "curl",
    "dig": "bind9-dnsutils",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "iperf3": "iperf3",
}


def _missing_programs() -> str | None:
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"  # which has sshd
    for command, package in PROGRAMS.items():
        if shutil.which(command, path=path) is None:
            return f"the command {command} is not installed (package {package})"
    return None


def _missing_dpdk() -> str | None:
    from edge.bench.peers import rte_acl_missing

    return rte_acl_missing() or None


def _missing_postgres() -> str | None:
    from tests.control.postgres import programs

    return None if programs() else "there is no PostgreSQL server (package postgresql)"


def _missing_drivers() -> str | None:
    return None if find_spec("tests.fuzz.native.rounds") else "the drivers in tests/fuzz/native are not built"


CAPABILITIES: dict[str, Callable[[], str | None]] = {
    "data": _missing_data,
    "dpdk": _missing_dpdk,
    "drivers": _missing_drivers,
    "matplotlib": functools.partial(_missing_module, "matplotlib"),
    "netns": _missing_netns,
    "nft": _missing_nft,
    "overlay": _missing_overlay,
    "postgres": _missing_postgres,
    "programs": _missing_programs,
    "prometheus": _missing_prometheus,
    "scapy": functools.partial(_missing_module, "scapy"),
    "strace": _missing_strace,
    "tshark": functools.partial(_missing_command, "tshark"),
}
"""Name -> probe: None where the capability is there, else what is missing."""


@functools.cache
def missing(capability: str) -> str | None:
    """What is missing for ``capability``, None if nothing is; probed once."""
    if capability not in CAPABILITIES:
        raise pytest.UsageError(f"unknown capability {capability!r}; known are {', '.join(sorted(CAPABILITIES))}")
    return CAPABILITIES[capability]()


def declared() -> frozenset[str]:
    """The capabilities that this machine is meant to have."""
    return frozenset(filter(None, re.split(r"[,\s]+", os.environ.get("T1EDGE_REQUIRE", ""))))


def skip_unless(capabilities: Iterable[str]) -> None:
    """Skips the running test unless every capability is there."""
    for capability in capabilities:
        if (why := missing(capability)) is not None:
            pytest.skip(f"needs {capability}: {why}")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("t1edge model")
    group.addoption("--model-packets", type=int, default=50_000, help="packets per run of the model tests")
    group.addoption("--model-seconds", type=float, default=None, help="run the model tests for so long instead")
    group.addoption("--model-seed", type=int, default=1, help="seed of the model tests")


def pytest_configure() -> None:
    if unknown := declared() - CAPABILITIES.keys():
        names = ", ".join(sorted(unknown))
        raise pytest.UsageError(f"T1EDGE_REQUIRE: unknown {names}; known are {', '.join(sorted(CAPABILITIES))}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        skip_unless(marker.args)


def _objection(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why a skip is not acceptable here, None if it is, or if ``report`` is no skip."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    match = SKIP_REASON.match(reason.removeprefix("Skipped: "))
    if match is None or match[1] not in CAPABILITIES:
        return f"a skip names its capability ('needs data: ...'), this one does not: {reason}"
    if match[1] in declared():
        return f"T1EDGE_REQUIRE declares {match[1]}, and yet: {reason}"
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if objection := _objection(report):
        report.outcome, report.longrepr = "failed", objection
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if objection := _objection(report):
        report.outcome, report.longrepr = "failed", objection
    return report


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """``require("data", "tshark")`` skips the rest of a test unless both are there."""
    return lambda *capabilities: skip_unless(capabilities)


@pytest.fixture
def data() -> Path:
    """The folder of public data; the test is skipped where it is missing."""
    skip_unless(["data"])
    return DATA


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], Path]:
    """``saved(data)`` writes a capture file and says where."""

    def save(data: bytes) -> Path:
        path = tmp_path / "test.cap"
        path.write_bytes(data)
        return path

    return save


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def model_budget(request: pytest.FixtureRequest) -> ModelBudget:
    """How much the model tests do, from ``--model-packets``, ``--model-seconds`` and ``--model-seed``."""
    option = request.config.getoption
    return ModelBudget(
        packets=cast("int", option("--model-packets")),
        seconds=cast("float | None", option("--model-seconds")),
        seed=cast("int", option("--model-seed")),
    )
