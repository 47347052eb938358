"""Programs of classic BPF: run by the kernel, and step by step."""

from __future__ import annotations

import ctypes
import operator
import socket
import struct
from functools import cache

SO_ATTACH_FILTER = 26

MASK = 0xFFFFFFFF
JUMP = 0x05
TESTS = {0x15: operator.eq, 0x25: operator.gt, 0x35: operator.ge}
LOADS = {0x20: 4, 0x30: 1}
SUMS = {
    0x0C: (operator.add, "x"),
    0x24: (operator.mul, "k"),
    0x74: (operator.rshift, "k"),
    0xA4: (operator.xor, "k"),
    0xAC: (operator.xor, "x"),
}
MOVES = {0x00: ("a", "k"), 0x02: ("m", "a"), 0x07: ("x", "a"), 0x60: ("a", "m"), 0x61: ("x", "m")}
RETURNS = {0x06: "k", 0x16: "a"}


def in_kernel(program: bytes, packets: list[bytes]) -> list[int]:
    """What the kernel finds for each packet, all longer than any of the results: a filter says how much of a datagram
    its receiver gets."""
    code = ctypes.create_string_buffer(program, len(program))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
        far.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)
        far.setblocking(False)
        found = []
        for packet in packets:
            near.send(packet)
            try:
                found.append(len(far.recv(len(packet))))
            except BlockingIOError:
                found.append(0)
    return found


@cache
def _read(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program))


def step_by_step(program: bytes, packet: bytes) -> int:
    """What a program finds for a packet; as the kernel does it, 0 where it reads behind its end.  Only what
    :mod:`edge.placing` writes is known."""
    code = _read(program)
    now: dict[str, int] = {"a": 0}  # m: the only word of memory
    at = 0
    while True:
        operation, yes, no, now["k"] = code[at]
        at += 1
        if operation in RETURNS:
            return now[RETURNS[operation]]
        if operation in LOADS:
            size = LOADS[operation]
            if now["k"] + size > len(packet):
                return 0
            now["a"] = int.from_bytes(packet[now["k"] : now["k"] + size])
        elif operation in MOVES:
            to, what = MOVES[operation]
            now[to] = now[what]
        elif operation in SUMS:
            work, what = SUMS[operation]
            now["a"] = work(now["a"], now[what]) & MASK
        else:
            at += now["k"] if operation == JUMP else yes if TESTS[operation](now["a"], now["k"]) else no
