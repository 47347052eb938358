"""Those who answer in the namespaces."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.netns.lab import Space
from tests.netns.peers import REACHED, Answerer, Attempt

pytestmark = pytest.mark.needs("netns")

HERE = "127.0.0.1"


def test_whoever_says_nothing_keeps_nobody_from_an_answer() -> None:
    space = Space("peers")
    try:
        with Answerer(space, [HERE], [8000]):
            silent, gone, reset = (space.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(3))
            for one in (silent, gone, reset):
                one.connect((HERE, 8000))
            gone.close()
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            reset.close()
            attempt = Attempt(space, "tcp", HERE, 4000, HERE, 8000)
            assert attempt.made(10) == (REACHED, f"{HERE} > {HERE}:8000")
            silent.close()
    finally:
        space.remove()
