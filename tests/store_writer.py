"""Saves revisions and says so after each: ``python -m tests.store_writer DIRECTORY``.

``--count N`` of them, otherwise for as long as it lives.  ``--limit BYTES``: no file grows past that many bytes until a
line comes in on stdin.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
from pathlib import Path

from edge.errors import StoreError
from edge.store import RevisionStore, StoredRevision, packed


def document(number: int) -> str:
    """What revision ``number`` holds: up to 40 kB that do not pack."""
    rng = random.Random(number)
    return f"{number}:{rng.randbytes(rng.choice((10, 500, 20_000))).hex()}"


def revision(number: int, *, deadline: int | None = None) -> StoredRevision:
    """Revision ``number``."""
    return StoredRevision(
        number=number,
        etag=f"e{number}",
        created_ns=number,
        confirm_deadline_ns=deadline,
        packed=packed(document(number)),
    )


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--limit", type=int, default=resource.RLIM_INFINITY)
    parser.add_argument("--count", type=int, default=1 << 62)
    given = parser.parse_args()
    store = RevisionStore(given.directory, max_revisions=50)
    resource.setrlimit(resource.RLIMIT_FSIZE, (given.limit, resource.RLIM_INFINITY))
    number = store.last_number()
    say(f"open {number}")
    while number < given.count:
        number += 1
        try:
            store.save(revision(number)).result()
        except StoreError as error:
            assert store.last_number() == number - 1
            say(f"full {number} {error}")
            if not sys.stdin.readline():
                return
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            number -= 1
            continue
        say(f"saved {number}")


if __name__ == "__main__":
    main()
