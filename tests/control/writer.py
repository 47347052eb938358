"""Changes a store and says so after each: ``python -m tests.control.writer DIRECTORY [--limit BYTES]``.

``--limit``: no file grows past that many bytes until a line comes in on stdin.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from pathlib import Path

from control.errors import NoSuchObjectError
from control.objects import Org
from control.store import Actor, Store
from control.surroundings import Surroundings
from edge.errors import StoreError


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def change(store: Store, number: int) -> None:
    """Three things that belong together: an object, its task, its audit record."""
    path = f"orgs/US{number}"
    with store.write(Actor("orgs/system/users/writer", "u")) as unit:
        unit.create("org", path, Org(account_id=f"US{number}", display_name="x" * 100))
        unit.done("Create Organization", path, place="orgs/system")
        unit.record("orgs/system", "OrgService/CreateOrg", path)


def newest(store: Store) -> int:
    """The number of the last organization; there is none missing before it."""
    number = 0
    with store.read() as state:
        while state.find(f"orgs/US{number + 1}"):
            number += 1
    return number


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--limit", type=int, default=resource.RLIM_INFINITY)
    given = parser.parse_args()
    store = Store(given.directory, Surroundings())
    number = newest(store)
    resource.setrlimit(resource.RLIMIT_FSIZE, (given.limit, resource.RLIM_INFINITY))
    say(f"open {number}")
    while True:
        number += 1
        try:
            change(store, number)
        except StoreError as error:
            with store.read() as state:
                try:
                    state.get(f"orgs/US{number}")
                except NoSuchObjectError:
                    say(f"full {number} {error}")
            if not sys.stdin.readline():
                return
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            number -= 1
            continue
        say(f"saved {number}")


if __name__ == "__main__":
    main()
