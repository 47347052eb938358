"""The open ports of an edge, for Engine.forward()."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

import os

from native.port cimport IO_CLOSED, IO_LINK, IO_MEMORY, IO_TAP, IoPort, load_flag, store_flag
from native.port_link cimport link_close, link_drops, link_listen, link_open, link_place
from native.port_memory cimport memory_close, memory_open, queue_drop, queue_head, queue_put, ring_copy_out
from native.port_tap cimport IFNAMSIZ, c_close, tap_open
from native.record cimport NO_PORT

cdef extern from "sys/eventfd.h":
    int eventfd(unsigned int start, int flags)
    int EFD_CLOEXEC
    int EFD_NONBLOCK

cdef extern from "unistd.h" nogil:
    ssize_t c_write "write"(int fd, const void *data, size_t size)

cdef enum:
    LARGEST = 14 + 8 + 65535


cdef class Ports:
    """Places for ``count`` ports, all closed.  While an engine forwards with them, its turn has to be taken for every
    method but :meth:`stop` and :meth:`wake`."""

    def __cinit__(self, uint32_t count):
        cdef uint32_t i
        memset(&self.table, 0, sizeof(self.table))
        self.table.wake_fd = -1
        self.table.ports = <IoPort *>calloc(count + 1, sizeof(IoPort))
        if self.table.ports == NULL:
            raise MemoryError("no memory for ports")
        self.table.count = count
        for i in range(count):
            self.table.ports[i].fd = -1
            self.table.ports[i].number = NO_PORT
        self.table.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.table.wake_fd < 0:
            raise OSError(errno, os.strerror(errno), "eventfd")

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.table.count):
            shut(&self.table.ports[i])
        free(self.table.ports)
        free(self.table.by_number)
        if self.table.wake_fd >= 0:
            c_close(self.table.wake_fd)

    cdef IoPort *_open(self, uint32_t slot) except NULL:
        if slot >= self.table.count or self.table.ports[slot].kind == IO_CLOSED:
            raise ValueError(f"port {slot} is not open")
        return &self.table.ports[slot]

    cdef IoPort *_closed(self, uint32_t slot, mac) except NULL:
        cdef IoPort *port
        if slot >= self.table.count or self.table.ports[slot].kind != IO_CLOSED:
            raise ValueError(f"there is no closed port {slot}")
        if len(mac) != 6:
            raise ValueError("a MAC address has six bytes")
        port = &self.table.ports[slot]
        for i in range(6):
            port.mac[i] = mac[i]
        return port

    @property
    def count(self) -> int:
        """How many places there are."""
        return self.table.count

    def grow(self, uint32_t count) -> None:
        """Make more places, closed."""
        cdef IoPort *larger
        cdef uint32_t i
        if count <= self.table.count:
            return
        larger = <IoPort *>realloc(self.table.ports, (<size_t>count + 1) * sizeof(IoPort))
        if larger == NULL:
            raise MemoryError("no memory for ports")
        self.table.ports = larger
        for i in range(self.table.count, count):
            memset(&larger[i], 0, sizeof(IoPort))
            larger[i].fd = -1
            larger[i].number = NO_PORT
        self.table.count = count

    def open_memory(self, uint32_t slot, bytes mac not None) -> None:
        """A port of frames in memory: see :meth:`feed` and :meth:`take`."""
        cdef IoPort *port = self._closed(slot, mac)
        port.kind = IO_MEMORY
        port.longest = LARGEST
        if memory_open(port) != 0:
            shut(port)
            raise MemoryError("no memory for a port")

    def open_tap(self, uint32_t slot, str name not None, bytes mac not None) -> None:
        """The far side of a TAP device, which is made if it is not there.  Raises OSError."""
        cdef IoPort *port = self._closed(slot, mac)
        cdef char device[16]
        encoded = name.encode()
        if not 0 < len(encoded) < IFNAMSIZ:
            raise ValueError(f"no name for a device: {name!r}")
        memset(device, 0, sizeof(device))
        memcpy(device, <const char *>encoded, len(encoded))
        port.fd = tap_open(device)
        if port.fd < 0:
            raise OSError(errno, os.strerror(errno), name)
        port.kind = IO_TAP
        port.longest = LARGEST

    def open_link(self, uint32_t slot, int ifindex, uint32_t mtu, bytes mac not None) -> None:
        """An interface of this machine, all of whose frames are for the edge.  Raises OSError."""
        cdef IoPort *port = self._closed(slot, mac)
        check_mtu(mtu)
        if link_open(port, ifindex, mtu, NULL) != 0:
            raise OSError(errno, os.strerror(errno))
        port.kind = IO_LINK

    def open_link_of(self, uint32_t slot, int ifindex, uint32_t mtu, bytes mac not None, int group) -> int:
        """Likewise as one of several workers, among whom the kernel deals out the frames: the number of their group, 0
        begins one.  Nothing comes in before :meth:`listen`.  Raises OSError."""
        cdef IoPort *port = self._closed(slot, mac)
        check_mtu(mtu)
        if link_open(port, ifindex, mtu, &group) != 0:
            raise OSError(errno, os.strerror(errno))
        port.kind = IO_LINK
        return group

    def listen(self, uint32_t slot) -> None:
        """Let frames in by a port of :meth:`open_link_of`: every worker has opened it.  Raises OSError."""
        if link_listen(self._open(slot).fd) != 0:
            raise OSError(errno, os.strerror(errno))

    def place(self, uint32_t slot, bytes program not None) -> None:
        """Deal out the frames of a port of :meth:`open_link_of` by a program of classic BPF (struct sock_filter[])
        whose results are the workers of the group in the order of joining; until then the first has all.  To say so
        to one of the group is enough.  Raises OSError; then it stays as it was."""
        if link_place(self._open(slot).fd, <const char *>program, <uint16_t>(len(program) // 8)) != 0:
            raise OSError(errno, os.strerror(errno))

    def open_beside(self, uint32_t slot, Ports first not None) -> None:
        """The TAP device that another worker has open and takes in from; this one only sends.  Raises OSError."""
        cdef IoPort *port
        cdef IoPort *opened = first._open(slot)
        if opened.kind != IO_TAP:
            raise ValueError(f"port {slot} is no TAP device")
        port = self._closed(slot, <bytes>opened.mac[:6])
        port.fd = os.dup(opened.fd)
        port.kind = IO_TAP
        port.silent = True
        port.longest = opened.longest

    def is_open(self, uint32_t slot) -> bool:
        """Has a port been opened and not been closed?"""
        return slot < self.table.count and self.table.ports[slot].kind != IO_CLOSED

    def close(self, uint32_t slot) -> None:
        """Close a port; its counters stay."""
        shut(self._open(slot))

    def bind(self, numbers) -> None:
        """``numbers[slot]`` is the number of the program's port, None where it has none."""
        cdef uint32_t slot
        cdef uint32_t *by_number
        cdef uint32_t highest
        if len(numbers) != self.table.count:
            raise ValueError("every port needs a number or None")
        used = [number for number in numbers if number is not None]
        if len(set(used)) != len(used) or not all(0 <= number < NO_PORT for number in used):
            raise ValueError("numbers of ports are below 65,535 and differ")
        highest = max(used, default=-1) + 1
        by_number = <uint32_t *>malloc(4 * (<size_t>highest + 1))
        if by_number == NULL:
            raise MemoryError("no memory for ports")
        memset(by_number, 0xff, 4 * (<size_t>highest + 1))
        for slot in range(self.table.count):
            self.table.ports[slot].number = NO_PORT
            if numbers[slot] is not None:
                self.table.ports[slot].number = numbers[slot]
                by_number[<uint32_t>numbers[slot]] = slot
        free(self.table.by_number)
        self.table.by_number = by_number
        self.table.numbers = highest

    def feed(self, uint32_t slot, const unsigned char[::1] frame) -> None:
        """A frame comes in by a memory port; of what nobody takes in time the oldest gives way."""
        cdef IoPort *port = self._open(slot)
        if port.kind != IO_MEMORY or not 0 < frame.shape[0] <= LARGEST:
            raise ValueError(f"port {slot} takes no such frame")
        port.counters.rx_dropped += queue_put(&port.waiting, &frame[0], <uint32_t>frame.shape[0])
        self.wake()

    def take(self, uint32_t slot) -> list:
        """The frames that have left by a memory port since the last time, as far as there was room for them."""
        cdef IoPort *port = self._open(slot)
        cdef uint32_t length
        found = []
        if port.kind != IO_MEMORY:
            raise ValueError(f"port {slot} is not in memory")
        while port.sent.count:
            length = queue_head(&port.sent)
            frame = PyBytes_FromStringAndSize(NULL, length)
            ring_copy_out(&port.sent, port.sent.first + 4, <uint8_t *><char *>frame, length)
            queue_drop(&port.sent)
            found.append(frame)
        return found

    def counters(self, uint32_t slot) -> tuple:
        """Frames, bytes and dropped frames received, then those sent."""
        cdef IoPort *port
        if slot >= self.table.count:
            raise ValueError(f"there is no port {slot}")
        port = &self.table.ports[slot]
        if port.kind == IO_LINK:
            port.counters.rx_dropped += link_drops(port.fd)
        return (port.counters.rx_packets, port.counters.rx_bytes, port.counters.rx_dropped,
                port.counters.tx_packets, port.counters.tx_bytes, port.counters.tx_dropped)

    def failed(self, uint32_t slot) -> bool:
        """Is the device gone for good, so that the port has to be opened again?"""
        return bool(self._open(slot).failed)

    def wake(self) -> None:
        """End the sleep of whoever forwards with these ports."""
        cdef uint64_t one = 1
        c_write(self.table.wake_fd, &one, sizeof(one))      # fails only where enough have done so

    def stop(self) -> None:
        """Have Engine.forward() return; :meth:`start` takes it back."""
        store_flag(&self.table.stop, 1)
        self.wake()

    def start(self) -> None:
        """Let Engine.forward() go on."""
        store_flag(&self.table.stop, 0)

    @property
    def stopped(self) -> bool:
        """Has :meth:`stop` been called?"""
        return load_flag(&self.table.stop) != 0


cdef int check_mtu(uint32_t mtu) except -1:
    if not 0 < mtu <= 65535:
        raise ValueError(f"no MTU: {mtu}")
    return 0


cdef void shut(IoPort *port):
    if port.kind == IO_MEMORY:
        memory_close(port)
    elif port.kind == IO_LINK:
        port.counters.rx_dropped += link_drops(port.fd)
        link_close(port)
    if port.fd >= 0:
        c_close(port.fd)
    port.fd = -1
    port.kind = IO_CLOSED
    port.failed = False
    port.silent = False
    memset(&port.rings, 0, sizeof(port.rings))
    memset(&port.waiting, 0, sizeof(port.waiting))
    memset(&port.sent, 0, sizeof(port.sent))
