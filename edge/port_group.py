"""The open ports of an edge, as each of its workers has them."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from native.port import Ports


class PortGroup:
    """Places for ports, all closed, of ``workers`` workers; see :class:`native.port.Ports`, whose methods these are.

    Every worker sends by every port.  What comes in by an interface the kernel deals out to them, as :meth:`place` has
    it; what comes in by a TAP device is taken in by the first.
    """

    def __init__(self, workers: int) -> None:
        self._tables = [Ports(0) for _ in range(workers)]
        self._program = b""
        self._placed: dict[int, bytes] = {}  # of every link that several workers have

    def of(self, worker: int) -> Ports:
        """The ports as a worker has them."""
        return self._tables[worker]

    @property
    def count(self) -> int:
        """How many places there are."""
        return self._tables[0].count

    def grow(self, count: int) -> None:
        """Make more places, closed."""
        for table in self._tables:
            table.grow(count)

    def open_memory(self, slot: int, mac: bytes) -> None:
        """A port of frames in memory."""
        for table in self._tables:
            table.open_memory(slot, mac)

    def open_tap(self, slot: int, name: str, mac: bytes) -> None:
        """The far side of a TAP device.  Raises OSError; then it is closed."""
        first, *others = self._tables
        first.open_tap(slot, name, mac)
        try:
            for table in others:
                table.open_beside(slot, first)
        except BaseException:
            self._shut(slot)
            raise

    def open_link(self, slot: int, ifindex: int, mtu: int, mac: bytes) -> None:
        """An interface of this machine.  Raises OSError; then it is closed."""
        first, *others = self._tables
        if not others:
            first.open_link(slot, ifindex, mtu, mac)
            return
        try:
            group = first.open_link_of(slot, ifindex, mtu, mac, 0)
            for table in others:
                table.open_link_of(slot, ifindex, mtu, mac, group)
            self._place(slot)
            for table in self._tables:
                table.listen(slot)
        except BaseException:
            self._shut(slot)
            raise

    def place(self, program: bytes) -> None:
        """Deal out what comes in by interfaces as a program of :mod:`edge.placing` says.  Raises OSError; then some go
        on as before, until it is said again."""
        self._program = program
        for slot in self._placed:
            self._place(slot)

    def _place(self, slot: int) -> None:
        if self._program and self._placed.get(slot) != self._program:
            self._tables[0].place(slot, self._program)
            self._placed[slot] = self._program

    def _shut(self, slot: int) -> None:
        self._placed.pop(slot, None)
        for table in self._tables:
            if table.is_open(slot):
                table.close(slot)

    def close(self, slot: int) -> None:
        """Close a port; its counters stay."""
        self._placed.pop(slot, None)
        for table in self._tables:
            table.close(slot)

    def bind(self, numbers: Sequence[int | None]) -> None:
        """``numbers[slot]`` is the number of the program's port, None where it has none."""
        for table in self._tables:
            table.bind(numbers)

    def feed(self, slot: int, frame: bytes) -> None:
        """A frame comes in by a memory port, at a worker that its addresses choose."""
        addresses = frame[22:54] if frame[12:14] == b"\x86\xdd" else frame[26:34]
        self._tables[crc32(addresses) % len(self._tables)].feed(slot, frame)

    def take(self, slot: int) -> list[bytes]:
        """The frames that have left by a memory port since the last time, worker by worker."""
        return [frame for table in self._tables for frame in table.take(slot)]

    def counters(self, slot: int) -> tuple[int, ...]:
        """Frames, bytes and dropped frames received, then those sent."""
        return tuple(map(sum, zip(*(table.counters(slot) for table in self._tables), strict=True)))

    def failed(self, slot: int) -> bool:
        """Is the device gone for good, so that the port has to be opened again?"""
        return any(table.failed(slot) for table in self._tables)

    def stop(self) -> None:
        """Have every worker end; :meth:`start` takes it back."""
        for table in self._tables:
            table.stop()

    def start(self) -> None:
        """Let workers go on."""
        for table in self._tables:
            table.start()
