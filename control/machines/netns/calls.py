"""System calls that Python's library does not have, or only in versions later than the oldest that is supported."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
CLONE_NEWPID, CLONE_NEWNET = 0x2000_0000, 0x4000_0000
MACHINE = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
"""The namespaces that a machine has of its own."""

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 4, 24, 36, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

# capabilities(7), as containers have them but for MKNOD and AUDIT_WRITE.  A machine's user namespace is the host's:
# with NET_ADMIN it could change the namespace at the other end of each of its cables, where everybody's networks are.
KEPT = frozenset({
    *(0, 1, 3, 4, 5, 6, 7, 8),  # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
    *(10, 13, 18, 31),  # NET_BIND_SERVICE NET_RAW SYS_CHROOT SETFCAP
})  # fmt: skip
_CAPABILITIES = 64
_CAPABILITY_VERSION_3 = 0x2008_0522

_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """New namespaces for this thread.  Raises OSError, as do all below."""
    _checked(_LIBC.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """This thread is in the namespaces of a descriptor, a namespace's or a process's."""
    _checked(_LIBC.setns(descriptor, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """See the manual, section 2."""
    result = _LIBC.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(options))
    _checked(result, f"mount {target}")


def unmount(target: str) -> None:
    """Out of sight now, gone when nobody uses it any more."""
    _checked(_LIBC.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def enter_root(directory: str) -> None:
    """The mount at ``directory`` is the root of this mount namespace, the one before is out of it: pivot_root(2),
    "pivot_root(".", ".")"."""
    os.chdir(directory)
    _checked(_LIBC.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def set_host_name(name: str) -> None:
    """Of this thread's UTS namespace."""
    encoded = name.encode()
    _checked(_LIBC.sethostname(encoded, len(encoded)), "sethostname")


def adopt_orphans() -> None:
    """Grandchildren whose parents end are this process's children from then on."""
    _checked(_LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def drop_capabilities() -> None:
    """This process, and all that comes of it, cannot reach the host's devices, networks, mounts and clock, nor become
    more by what it executes.  Its memory, which is still the helper's, is nobody's to read."""
    _checked(_LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")
    _checked(_LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    _checked(_LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl")
    for number in range(_CAPABILITIES):
        if number not in KEPT and _LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            if ctypes.get_errno() == errno.EINVAL:
                break  # the kernel does not have so many
            _checked(-1, "prctl")
    kept = sum(1 << number for number in KEPT)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, the lower 32 of each first.
    _checked(_LIBC.capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0)), "capset")
