"""A thread that looks after sockets."""

from __future__ import annotations

import selectors
import socket
import threading
from abc import abstractmethod
from typing import Any

from tests.closing import Closing


class Listener(Closing):
    """Hears what comes by sockets until :meth:`close`, which closes them all."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._stopping, self._stop = socket.socketpair()
        self.listen_to(self._stopping)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def listen_to(self, made: socket.socket, about: Any = None) -> None:
        """Another socket, and what :meth:`hear` is to be told of it."""
        self._selector.register(made, selectors.EVENT_READ, about)

    def begin(self) -> None:
        """From now on."""
        self._thread.start()

    @abstractmethod
    def hear(self, ready: socket.socket, about: Any) -> None:
        """Something has come, or somebody."""

    def _work(self) -> None:
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._stopping:
                    return
                self.hear(ready, key.data)

    def close(self) -> None:
        """Hear no more."""
        self._stop.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
