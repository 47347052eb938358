"""A data directory: made if need be, used by one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from edge.errors import StoreError

LOCK: Final = "lock"


def locked(directory: Path) -> int:
    """The directory, made if need be, with its lock taken: the lock's file descriptor.  The kernel gives the lock back
    however the process ends.  Raises StoreError."""
    try:
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(directory.parent)
        lock_file = os.open(directory / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_file)
        text = "another process uses it" if isinstance(error, BlockingIOError) else error.strerror
        raise StoreError(f"{directory}: {text}") from error
    return lock_file


def sync_directory(directory: Path) -> None:
    """Put names that were made in it on the disk."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
