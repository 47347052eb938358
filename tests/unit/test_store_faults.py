"""Kills, torn logs and full disks: what was acknowledged is there, what was not is there wholly or not at all."""

from __future__ import annotations

import random
import re
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from edge.store import RevisionStore
from edge.store.database import DATABASE
from tests.store_writer import document, revision
from tests.writing import line, running

KILLS = 30
writer = partial(running, "tests.store_writer")


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(root: Path, tmp_path: Path) -> None:
    rng = random.Random(20)
    acknowledged = 0
    for _ in range(KILLS):
        with writer(root, tmp_path) as child:
            assert line(child).startswith("open ")
            told = [line(child) for _ in range(rng.randrange(12))]
            time.sleep(rng.random() * 0.004)
            child.kill()
            assert child.stdout is not None
            told += child.stdout.read().splitlines()
        acknowledged = max([acknowledged, *(int(text.removeprefix("saved ")) for text in told)])
        store = RevisionStore(tmp_path, max_revisions=50)
        # One more may have reached the disk without its writer having lived to say so.
        assert acknowledged <= store.last_number() <= acknowledged + 1
        found = store.page(None, 1000)
        assert [info.number for info in found] == list(range(store.last_number(), 0, -1))[:50]
        for info in found[:3]:
            kept = store.get(info.number)
            assert kept is not None
            assert kept.document == document(info.number)
        acknowledged = store.last_number()
        store.close()
    assert acknowledged > KILLS


def test_a_log_that_ends_anywhere_gives_the_newest_revision_that_is_wholly_in_it(tmp_path: Path) -> None:
    store = RevisionStore(tmp_path / "whole")
    log = tmp_path / "whole" / f"{DATABASE}-wal"
    ends = [log.stat().st_size]
    for number in range(1, 9):
        store.save(revision(number)).result()
        ends.append(log.stat().st_size)
    content, main = log.read_bytes(), (tmp_path / "whole" / DATABASE).read_bytes()
    store.close()
    assert len(content) == ends[-1]
    rng = random.Random(3)
    cuts = [0, 1, 31, 32, *ends, *(end - 1 for end in ends), *(rng.randrange(len(content)) for _ in range(40))]
    for at, cut in enumerate(cuts):
        directory = tmp_path / f"cut{at}"
        directory.mkdir()
        (directory / DATABASE).write_bytes(main)
        (directory / f"{DATABASE}-wal").write_bytes(content[:cut])
        again = RevisionStore(directory)
        whole = max((number for number, end in enumerate(ends) if end <= cut), default=0)
        latest = again.latest_confirmed()
        assert (latest.number if latest else 0) == again.last_number() == whole
        assert latest is None or latest.document == document(whole)
        again.save(revision(whole + 1)).result()
        assert again.last_number() == whole + 1
        again.close()
        shutil.rmtree(directory)


def test_a_full_disk_is_told_changes_nothing_and_passes(root: Path, tmp_path: Path) -> None:
    with writer(root, tmp_path, "--limit", 300_000) as child:
        assert line(child) == "open 0"
        saved = 0
        while (text := line(child)).startswith("saved "):
            saved = int(text.removeprefix("saved "))
        assert re.fullmatch(rf"full {saved + 1} {re.escape(str(tmp_path / DATABASE))}: .+", text)
        assert saved > 3
        assert child.stdin is not None
        child.stdin.write("there is room again\n")
        child.stdin.flush()
        assert line(child) == f"saved {saved + 1}"
        assert line(child) == f"saved {saved + 2}"
        child.kill()
        child.wait()
    store = RevisionStore(tmp_path, max_revisions=50)
    assert store.last_number() >= saved + 2
    for info in store.page(None, 100):
        kept = store.get(info.number)
        assert kept is not None
        assert kept.document == document(info.number)
    store.close()


def test_a_disk_that_stays_full_does_not_bring_back_what_was_refused(root: Path, tmp_path: Path) -> None:
    with writer(root, tmp_path, "--limit", 300_000) as child:
        while not (text := line(child)).startswith("full "):
            assert text
        child.kill()
        child.wait()
    refused = int(text.split()[1])
    store = RevisionStore(tmp_path)
    assert store.last_number() == refused - 1
    store.close()


@pytest.mark.needs("strace")
def test_the_disk_has_it_before_anybody_is_told(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    traced = ("strace", "-f", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(log))
    with writer(root, tmp_path / "data", "--count", 20, prefix=traced) as child:
        assert child.wait() == 0
    unsynced = syncs = told = 0
    for text in log.read_text().splitlines():
        if re.search(r" pwrite64\(| <\.\.\. pwrite64 resumed", text):
            unsynced += 1
        elif re.search(r" f(data)?sync\(\d+\) += 0| f(data)?sync resumed.* = 0", text):
            unsynced, syncs = 0, syncs + 1
        elif '"saved ' in text:
            assert (unsynced, syncs > 0) == (0, True)
            told, syncs = told + 1, 0
    assert told == 20
