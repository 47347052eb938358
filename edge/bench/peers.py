"""Programs that users would pick instead, on the same work in the same run.

``rte_acl`` is the classifier of DPDK: ``bench/peers/acl.c`` is compiled when it is first asked for, with what
pkg-config says of libdpdk.  It runs beside this process on the same processor, waits while this one is timed, and is
told what to classify, so that trials take turns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.bench.machine import measured_on
from edge.bench.measurement import BenchmarkError

RTE_ACL = "rte_acl"
SOURCE = Path(__file__).resolve().parents[2] / "bench" / "peers" / "acl.c"
NOT_ON_THIS_WORK = (("nftables", "nft"), ("iptables", "iptables"), ("VPP", "vpp"))
"""Peers that forward in their own process or in the kernel, and the commands by which they are found."""


def rte_acl_missing() -> str:
    """Why rte_acl cannot be measured; empty where it can."""
    if not SOURCE.exists():
        return "its program, bench/peers/acl.c, is in the sources of t1edge and not in an installation"
    for command in ("pkg-config", compiler()):
        if shutil.which(command) is None:
            return f"the command {command} is not installed"
    if subprocess.run(["pkg-config", "--exists", "libdpdk"], check=False).returncode != 0:  # noqa: S607
        return "pkg-config knows no libdpdk (Debian: libdpdk-dev)"
    return ""


def found(measured: bool) -> list[dict[str, str]]:
    """What is known about each peer: measured, absent, or why there is no case of it."""
    missing = rte_acl_missing()
    if missing:
        peers = [{"name": RTE_ACL, "status": "ABSENT", "detail": missing}]
    elif measured:
        peers = [{"name": RTE_ACL, "status": "MEASURED", "detail": "in the cases of the classifier"}]
    else:
        peers = [{"name": RTE_ACL, "status": "NOT_MEASURED", "detail": "no case of the classifier was chosen"}]
    for name, command in NOT_ON_THIS_WORK:
        if shutil.which(command) is None:
            peers.append({"name": name, "status": "ABSENT", "detail": f"the command {command} is not installed"})
        else:
            detail = "forwards in its own process or in the kernel; no case of these measures that"
            peers.append({"name": name, "status": "NOT_MEASURED", "detail": detail})
    return peers


def compiler() -> str:
    """The C compiler that peers are built with."""
    return os.environ.get("CC", "gcc")


def compile_rte_acl() -> Path:
    """The program, built for this processor where it is not there already.  Raises BenchmarkError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "t1edge"
    print_of_it = hashlib.sha256(SOURCE.read_bytes() + _asked("--modversion") + _cpu_flags()).hexdigest()[:16]
    program = cache / f"acl-{print_of_it}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = program.with_suffix(f".{os.getpid()}")
        flags = _asked("--cflags").split(), _asked("--libs").split()
        command: list[str | bytes] = [compiler(), "-O3", *flags[0], "-march=native"]
        command += ["-o", str(made), str(SOURCE), *flags[1]]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own source
        if done.returncode != 0:
            raise BenchmarkError(f"{SOURCE.name} cannot be compiled: {done.stderr.decode(errors='replace')}")
        made.rename(program)
    return program


def _asked(question: str) -> bytes:
    done = subprocess.run(["pkg-config", question, "libdpdk"], capture_output=True, check=True)  # noqa: S603, S607
    return done.stdout


def _cpu_flags() -> bytes:
    """What ``-march=native`` depends on."""
    lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    return next((line for line in lines if line.startswith(b"flags")), b"")


class RteAcl:
    """One set of rules in rte_acl, and packets for it.

    ``rules`` are as :func:`edge.bench.rules.packed_rules` makes them, ``keys`` native keys.  Raises BenchmarkError when
    it ends before it has answered.
    """

    def __init__(self, program: Path, rules: bytes, keys: array[int]) -> None:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="t1edge-acl-")))
            files = self._folder / "rules", self._folder / "keys"
            files[0].write_bytes(rules)
            files[1].write_bytes(keys.tobytes())
            self._errors = stack.enter_context((self._folder / "errors").open("wb"))
            self._process = stack.enter_context(
                subprocess.Popen(  # noqa: S603 - our own program
                    [str(program), str(measured_on()), *map(str, files)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    text=True,
                )
            )
            stack.callback(self._process.kill)
            _, algorithm, burst, clocks, version = self._line().rstrip().split(maxsplit=4)
            self.details = {"version": version, "algorithm": algorithm, "burst": int(burst)}
            self.build_clocks = int(clocks)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, first: int, count: int) -> int:
        """Clocks that so many packets take."""
        return int(self._ask(f"run {first} {count}"))

    def answers(self) -> array[int]:
        """By packet, the number of the rule found last; 0xffffffff where none matches."""
        path = self._folder / "answers"
        self._ask(f"save {path}")
        found = array("I")
        found.frombytes(path.read_bytes())
        return found

    def _ask(self, question: str) -> str:
        assert self._process.stdin is not None, "it was opened with one"
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # why is what it said last
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None, "it was opened with one"
        while line := self._process.stdout.readline():
            if not line.startswith(("EAL:", "ACL:", "TELEMETRY:")):
                return line
        said = (self._folder / "errors").read_text(encoding="utf-8", errors="replace").strip()
        raise BenchmarkError(f"{RTE_ACL} ended: {said[-1000:]}")


def same_answers(ours: Sequence[int], theirs: Sequence[int], name: str) -> None:
    """Raises BenchmarkError where two classifiers find different rules for a packet."""
    if ours != theirs:
        place = next(i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
        raise BenchmarkError(
            f"{name}: packet {place} matches rule {ours[place]} here and rule {theirs[place]} in {RTE_ACL}"
        )
