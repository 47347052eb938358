"""Programs that people try a network with, as clients and servers in namespaces: curl, dig, ssh, iperf3."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.netns.lab import PATIENCE, Space
from tests.netns.peers import LONG_S, REACHED, REFUSED, SILENT, bracketed, seen
from tests.waiting import wait_for

REFUSALS = re.compile(
    r"refused|unreachable|no route to host|permission denied|couldn't connect to server", re.IGNORECASE
)
SSH_QUIET = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")


@dataclass(frozen=True)
class Outcome:
    """How a program ended: ``seen`` is how its server saw it, ``said`` what the program said."""

    what: str
    seen: str
    said: str


@dataclass(frozen=True)
class Call:
    """A program to be run in a namespace.  ``source_port``: it binds that one, if it can be told to."""

    program: str
    space: Space
    source: str
    source_port: int
    destination: str
    port: int

    def __str__(self) -> str:
        return f"{self.program} from {self.source} to {self.destination} port {self.port}"

    def packets(self) -> tuple[str, ...]:
        """The first packet of each of its connections, in order."""
        ends = f"{bracketed(self.source)}:{self.source_port} > {bracketed(self.destination)}:{self.port}"
        tcp, udp = f"tcp {ends} S", f"udp {ends}"
        return {"dig": (udp,), "iperf3 -u": (tcp, udp)}.get(self.program, (tcp,))

    def made(self, patience_s: float, key: Path) -> Outcome:
        """What became of it; ``patience_s`` for a connection.  ``key``: of whoever may log in."""
        return MADE[self.program](self, patience_s, key)

    def run(self, patience_s: float, *command: str) -> subprocess.CompletedProcess[str] | None:
        """The program in its namespace; None: it had not ended after so long."""
        with self.space.inside():
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        with process:
            try:
                out, err = process.communicate(timeout=patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                return None
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def failed(said: str) -> Outcome:
    return Outcome(REFUSED if REFUSALS.search(said) else SILENT, "", said)


def curl(call: Call, patience_s: float, _: Path) -> Outcome:
    """A page."""
    done = call.run(
        2 * LONG_S, "curl", "-q", "-sS", "--noproxy", "*", "--interface", call.source, "--local-port",
        str(call.source_port), "--max-time", str(patience_s), f"http://{bracketed(call.destination)}:{call.port}/",
    )  # fmt: skip
    if done is None:
        return Outcome(SILENT, "", "did not end")
    return Outcome(REACHED, done.stdout, "") if done.returncode == 0 else failed(done.stderr)


def dig(call: Call, patience_s: float, _: Path) -> Outcome:
    """A name, once."""
    done = call.run(
        2 * LONG_S, "dig", "-r", "+tries=1", f"+time={round(patience_s)}", "+short",
        "+tcp" if call.program == "dig +tcp" else "+notcp", "-b", f"{call.source}#{call.source_port}",
        "-p", str(call.port), f"@{call.destination}", "seen.example", "TXT",
    )  # fmt: skip
    if done is None:
        return Outcome(SILENT, "", "did not end")
    return Outcome(REACHED, done.stdout.strip().strip('"'), "") if done.returncode == 0 else failed(done.stdout)


def ssh(call: Call, patience_s: float, key: Path) -> Outcome:
    """A login with a key, and a command there."""
    options = [word for option in (*SSH_QUIET, f"ConnectTimeout={round(patience_s)}") for word in ("-o", option)]
    done = call.run(
        2 * LONG_S, "ssh", "-F", "none", *options, "-i", str(key), "-b", call.source, "-p", str(call.port),
        f"root@{call.destination}", "echo $SSH_CONNECTION",
    )  # fmt: skip
    if done is None:
        return Outcome(SILENT, "", "did not end")
    if done.returncode != 0:
        return failed(done.stderr)
    source, _, near, port = done.stdout.split()
    return Outcome(REACHED, seen((source, 0), (near, int(port))), "")


def iperf3(call: Call, patience_s: float, _: Path) -> Outcome:
    """A few packets of measuring: control over TCP, then data over TCP or UDP."""
    sort = ("-u", "-b", "10M") if call.program == "iperf3 -u" else ()
    done = call.run(
        2 * patience_s, "iperf3", "-c", call.destination, "-p", str(call.port), "-B", call.source, "-n", "20K", *sort,
        "--connect-timeout", str(round(1000 * patience_s)),
    )  # fmt: skip
    if done is None:
        return Outcome(SILENT, "", "did not end")
    return Outcome(REACHED, "", "") if done.returncode == 0 else failed(done.stderr + done.stdout)


MADE: dict[str, Callable[[Call, float, Path], Outcome]] = {
    "curl": curl, "dig": dig, "dig +tcp": dig, "ssh": ssh, "iperf3": iperf3, "iperf3 -u": iperf3,
}  # fmt: skip


# ---------------------------------------------------------------- servers


def page_or_name(data: bytes, kind: socket.SocketKind, text: str) -> bytes:
    """Answers HTTP with ``text``, and a question for a name with ``text`` as its TXT record (RFC 1035, section 4)."""
    if data.startswith(b"GET "):
        return b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text.encode()
    framed = kind == socket.SOCK_STREAM  # behind its length
    question = data[2:] if framed else data
    end = question.index(b"\0", 12) + 5
    record = struct.pack("!HHHIHB", 0xC00C, 16, 1, 0, len(text) + 1, len(text)) + text.encode()
    answer = question[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0) + question[12:end] + record
    return struct.pack("!H", len(answer)) + answer if framed else answer


@contextmanager
def started(space: Space, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A server in a namespace; it is ended, however it is."""
    with space.inside():
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def make_key(path: Path) -> Path:
    """A key without a passphrase; ``path`` with ``.pub`` is its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@contextmanager
def ssh_server(space: Space, addresses: Sequence[str], port: int, key: Path, folder: Path) -> Iterator[None]:
    """A real one that lets root in with ``key``, and reads nothing of how this machine's own is set up."""
    host_key, config = make_key(folder / f"{space.name}.host"), folder / f"{space.name}.conf"
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where its unprivileged half lives
    listening = "".join(f"ListenAddress {bracketed(address)}:{port}\n" for address in addresses)
    config.write_text(
        f"{listening}HostKey {host_key}\nAuthorizedKeysFile {key}.pub\nStrictModes no\nPermitRootLogin yes\n"
        "PasswordAuthentication no\nUsePAM yes\nPidFile none\nUseDNS no\nMaxStartups 200\nPrintLastLog no\n",
        encoding="utf-8",
    )
    with started(space, daemon("sshd"), "-D", "-e", "-f", str(config)) as process:
        wait_for("sshd", lambda: process.poll() is None and listens(space, addresses, port))
        yield


def listens(space: Space, addresses: Sequence[str], port: int) -> bool:
    """Does a server listen on each of these?"""
    shown = space.run("ss", "-Hltn")
    return all(f" {bracketed(address)}:{port} " in shown for address in addresses)


def daemon(name: str) -> str:
    """Where a server's program is, which not every PATH leads to."""
    return shutil.which(name) or f"/usr/sbin/{name}"


class IperfServers:
    """``iperf3 -s`` for one test on each of some addresses of a namespace."""

    def __init__(self, space: Space, addresses: Sequence[str], port: int) -> None:
        self._stack = ExitStack()
        self._port = port
        try:
            self._servers = {
                address: self._stack.enter_context(
                    started(space, "iperf3", "-s", "-1", "--forceflush", "-p", str(port), "-B", address)
                )
                for address in addresses
            }
            for server in self._servers.values():
                assert server.stdout is not None
                while "listening" not in (line := server.stdout.readline()):
                    assert line, f"iperf3 -s ended with {server.wait()}"
        except BaseException:
            self._stack.close()
            raise

    def seen(self) -> str:
        """Whom the one that was used saw; called once a test has ended well."""
        used = wait_for("a server that is done", lambda: [one for one in self._servers.values() if one.poll() == 0])[0]
        said, _ = used.communicate(timeout=PATIENCE)
        found = re.search(r"local (\S+) port (\d+) connected to (\S+) port", said)
        assert found, said
        return seen((found[3], 0), (found[1], int(found[2])))

    def close(self) -> None:
        self._stack.close()
