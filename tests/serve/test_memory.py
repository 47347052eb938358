"""What ``t1edge serve`` asks of its process: memory in one heap, and a collector that leaves alone what stays."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import SAMPLE

SCRIPT = """
import asyncio, ctypes, gc, json, logging, os, signal, sys
from edge.serving import ServeSettings, serve

found = {}

class Serving(logging.Handler):
    def emit(self, record):
        if "serves revision" in record.getMessage():
            found["frozen"], found["others"] = gc.get_freeze_count(), len(gc.get_objects())
            if os.confstr("CS_GNU_LIBC_VERSION"):
                libc = ctypes.CDLL(None)
                libc.fopen.restype = ctypes.c_void_p
                file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
                libc.malloc_info(0, file)
                libc.fclose(file)
            os.kill(os.getpid(), signal.SIGTERM)

logging.basicConfig(level=logging.INFO, handlers=[Serving()])
asyncio.run(serve(ServeSettings(sys.argv[1], "127.0.0.1:0", "127.0.0.1:0", None, (), None, False)))
print(json.dumps(found))
"""


@pytest.fixture
def served(tmp_path: Path) -> dict[str, int]:
    """What a process found out about itself when it served, and how many heaps it had, if somebody can tell."""
    file, told = tmp_path / "edge.yaml", tmp_path / "malloc.xml"
    file.write_text(SAMPLE)
    command = [sys.executable, "-c", SCRIPT, str(file), str(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, stdin=subprocess.DEVNULL)
    heaps = told.read_text().count("<heap nr=") if told.exists() else 0
    return {**json.loads(done.stdout), "heaps": heaps}


def test_what_is_there_when_it_begins_is_left_to_itself_by_the_collector(served: dict[str, int]) -> None:
    assert served["frozen"] > 10 * served["others"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps of threads are glibc's")
def test_all_threads_have_one_heap(served: dict[str, int]) -> None:
    assert served["heaps"] == 1
