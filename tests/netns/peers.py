"""Real connections in namespaces: whoever answers, whoever tries, and what became of it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.listening import Listener
from tests.netns.lab import Space

REACHED, REFUSED, SILENT = "reached", "refused", "silent"
LONG_S, SHORT_S = 15.0, 1.0
"""How long an answer is waited for that should come, and one that should not."""


@dataclass(frozen=True)
class Attempt:
    """A connection to be tried in a namespace.  Ports are 0 for a ping."""

    space: Space
    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int

    def __str__(self) -> str:
        if self.protocol == "icmp":
            return f"icmp {self.source} > {self.destination} echo-request id=7 seq=1"
        flags = " S" if self.protocol == "tcp" else ""
        return f"{self.protocol} {self.source}:{self.source_port} > {self.destination}:{self.destination_port}{flags}"

    def made(self, patience_s: float) -> tuple[str, str]:
        """What became of it, and how whoever answered saw it: ``source > destination:port``."""
        return ping(self, patience_s) if self.protocol == "icmp" else talk(self, patience_s)


def talk(attempt: Attempt, patience_s: float) -> tuple[str, str]:
    """A line there, a line back."""
    tcp = attempt.protocol == "tcp"
    source = attempt.source, attempt.source_port
    with attempt.space.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM, source) as made:
        made.settimeout(patience_s)
        try:
            made.connect((attempt.destination, attempt.destination_port))
            made.sendall(b"hello\n")
            answer = made.recv(1000)
        except TimeoutError:
            return SILENT, ""
        except OSError as error:
            return REFUSED, str(error)
        return REACHED, answer.decode()


def ping(attempt: Attempt, patience_s: float) -> tuple[str, str]:
    """An echo request."""
    command = ["ping", "-n", "-c", "1", "-W", str(round(patience_s)), "-I", attempt.source, attempt.destination]
    done = subprocess.run(
        ["ip", "netns", "exec", attempt.space.name, *command], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return REACHED, ""
    return (REFUSED if "filtered" in done.stdout or "nreachable" in done.stdout else SILENT), done.stdout


def plainly(_: bytes, __: socket.SocketKind, text: str) -> bytes:
    """Just the text."""
    return text.encode()


class Answerer(Listener):
    """Answers on each of the addresses and ports of a namespace, TCP and UDP, by saying whom it sees.

    ``speak`` puts that into an answer to what came: request, kind of socket, text.
    """

    def __init__(
        self,
        space: Space,
        addresses: Iterable[str],
        ports: Iterable[int],
        heard: Callable[[str, int, bytes], None] | None = None,
        speak: Callable[[bytes, socket.SocketKind, str], bytes] = plainly,
    ) -> None:
        self._heard = heard
        self._speak = speak
        super().__init__()
        self._places = [(address, port) for address in addresses for port in ports]
        with space.inside():
            for place in self._places:
                family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
                self._open(socket.socket(family, socket.SOCK_STREAM), place)
                self._open(socket.socket(family, socket.SOCK_DGRAM), place)
        self.begin()

    def _open(self, made: socket.socket, place: tuple[str, int]) -> None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.setblocking(False)
        if made.type == socket.SOCK_STREAM:
            made.listen(128)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.listen_to(made, made.getsockname())

    def hear(self, ready: socket.socket, about: Any) -> None:
        """A datagram, a connection, or what comes by one; whoever asked may have gone."""
        with suppress(OSError):
            if ready.type == socket.SOCK_DGRAM:
                self._answer_datagram(ready, about)
            elif about is not None:
                self.listen_to(ready.accept()[0])  # some bring nothing for long, or nothing at all
            else:
                self._answer_stream(ready)

    def _answer_datagram(self, made: socket.socket, place: tuple[str, int]) -> None:
        data, peer = made.recvfrom(2000)
        if self._heard is not None:
            self._heard(peer[0], place[1], data)
        made.sendto(self._speak(data, socket.SOCK_DGRAM, seen(peer, place)), peer)

    def _answer_stream(self, stream: socket.socket) -> None:
        self._selector.unregister(stream)
        with stream:
            stream.settimeout(LONG_S)
            data = stream.recv(4096)
            if data:
                text = seen(stream.getpeername(), stream.getsockname())
                stream.sendall(self._speak(data, socket.SOCK_STREAM, text))


def seen(peer: tuple[str, int], near: tuple[str, int]) -> str:
    """Whom an answerer sees, as :func:`tests.netns.prediction.predicted` writes it."""
    return f"{bracketed(peer[0])} > {bracketed(near[0])}:{near[1]}"


def bracketed(address: str) -> str:
    """As it stands before a port."""
    return f"[{address}]" if ":" in address else address
