"""A network namespace without a name, and TUN devices in it that this process reads and writes.

Nothing outlives the process: the kernel takes the namespace away with the last descriptor, whatever happened.
Writing to a TUN device takes the packet through the whole stack before it returns, so whatever comes out of it can be
read at once; nobody has to wait.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import POLLIN, poll

from tests.closing import Closing

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LARGEST = 65535

LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace(Closing):
    """``with Namespace(3) as inside:`` has devices ``p0`` to ``p2``, which are down; their order is theirs for good."""

    def __init__(self, devices: int, sysctls: Mapping[str, str]) -> None:
        self._files: list[int] = []
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _system("unshare", CLONE_NEWNET)
            try:
                self._self = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                for name, value in sysctls.items():
                    Path("/proc/sys/net", name).write_text(value, encoding="ascii")
                self._files = [_tun(f"p{number}") for number in range(devices)]
            finally:
                _system("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)
        self._poll = poll()
        for file in self._files:
            self._poll.register(file, POLLIN)

    def close(self) -> None:
        """Let go of it."""
        for file in (*self._files, self._self):
            os.close(file)
        self._files = []

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and what it starts, is in the namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _system("setns", self._self, CLONE_NEWNET)
            yield
        finally:
            _system("setns", home, CLONE_NEWNET)
            os.close(home)

    def command(self, *arguments: str, text: str = "") -> str:
        """What a command says that runs in the namespace; RuntimeError with its complaint if it fails."""
        with self.inside():
            done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def write(self, device: int, packet: bytes) -> None:
        """One IP packet arrives by a device; what does not look like IP is refused by the kernel and gone."""
        try:
            os.write(self._files[device], packet)
        except OSError as error:
            if error.errno != 22:  # EINVAL: neither IPv4 nor IPv6
                raise

    def read(self, wait: int = 0) -> Iterable[tuple[int, bytes]]:
        """The packets that have left, each with its device; ``wait``: milliseconds, if there is nothing yet."""
        found = []
        while ready := self._poll.poll(wait):
            for file, _ in ready:
                found.append((self._files.index(file), os.read(file, LARGEST)))
            wait = 0
        return found


def _system(name: str, *arguments: int) -> None:
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _tun(name: str) -> int:
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(file)
        raise
    return file
