"""What keeps the host's own stack off an interface: a table of nftables that drops whatever the interface receives,
behind the packet sockets that the edge reads from.

The table belongs to a netlink socket (``flags owner``, Linux 5.12): the kernel takes it away when the socket is closed,
however the process ends.  Two edges cannot have one interface: the second finds the table there.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from types import TracebackType
from typing import Self

NETLINK_NETFILTER = 12
NFPROTO_NETDEV = 5
NF_NETDEV_INGRESS = 0
NF_DROP = 0
REQUEST, ACK, CREATE, EXCLUSIVE = 0x001, 0x004, 0x400, 0x200
NLMSG_ERROR = 2
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN = 0, 3
NFTA_TABLE_NAME, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER = 1, 2, 2
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE = 1, 3, 4, 5, 7
NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_HOOK_DEV = 1, 2, 3
NESTED = 0x8000
PRIORITY = -500
"""Before every other chain."""


class InterfaceGuard:
    """From its construction to :meth:`close`, nothing that the interface ``device`` (number ``index``) receives reaches
    the host.  Raises OSError: EEXIST or EPERM where another process guards it, EOPNOTSUPP without nftables."""

    def __init__(self, device: str, index: int) -> None:
        name = f"t1edge-{index}".encode() + b"\0"
        table = _attribute(NFTA_TABLE_NAME, name) + _attribute(NFTA_TABLE_FLAGS, struct.pack(">I", NFT_TABLE_F_OWNER))
        hook = (
            _attribute(NFTA_HOOK_HOOKNUM, struct.pack(">I", NF_NETDEV_INGRESS))
            + _attribute(NFTA_HOOK_PRIORITY, struct.pack(">i", PRIORITY))
            + _attribute(NFTA_HOOK_DEV, device.encode() + b"\0")
        )
        chain = (
            _attribute(NFTA_CHAIN_TABLE, name)
            + _attribute(NFTA_CHAIN_NAME, b"received\0")
            + _attribute(NFTA_CHAIN_HOOK | NESTED, hook)
            + _attribute(NFTA_CHAIN_POLICY, struct.pack(">I", NF_DROP))
            + _attribute(NFTA_CHAIN_TYPE, b"filter\0")
        )
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(5.0)
            self._batch([(NFT_MSG_NEWTABLE, table), (NFT_MSG_NEWCHAIN, chain)])
        except BaseException:
            self._socket.close()
            raise

    def _batch(self, changes: list[tuple[int, bytes]]) -> None:
        """All of them at once, or none."""
        messages = [_message(NFNL_MSG_BATCH_BEGIN, REQUEST, NFNL_SUBSYS_NFTABLES, 0, b"", 0)]
        for number, (kind, body) in enumerate(changes, 1):
            flags = REQUEST | ACK | CREATE | EXCLUSIVE
            messages.append(_message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, 0, NFPROTO_NETDEV, body, number))
        messages.append(_message(NFNL_MSG_BATCH_END, REQUEST, NFNL_SUBSYS_NFTABLES, 0, b"", len(changes) + 1))
        self._socket.send(b"".join(messages))
        problem = 0
        heard = 0
        while heard < len(changes):
            data = self._socket.recv(65536)
            while len(data) >= 16:
                length, kind, _, number, _ = struct.unpack_from("=IHHII", data)
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", data, 16)[0]
                    problem = problem or code
                    # What is wrong with the batch as a whole is said once, in answer to its first message.
                    heard = len(changes) if number == 0 and code else heard + 1
                data = data[(length + 3) & ~3 :]
        if problem:
            raise OSError(problem, "another edge has it" if problem == errno.EEXIST else os.strerror(problem))

    def close(self) -> None:
        """Let the host have the interface again."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _message(kind: int, flags: int, resource: int, family: int, body: bytes, number: int) -> bytes:
    head = struct.pack("=BBH", family, 0, socket.htons(resource))
    return struct.pack("=IHHII", 20 + len(body), kind, flags, number, 0) + head + body
