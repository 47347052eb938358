"""Metrics over HTTP: a small server in threads of its own, for Prometheus and for whoever asks if the process lives.

A connection carries one request and lasts ten seconds at most.  There are sixteen at a time: for one more, the oldest
has to go, so that clients that stall keep nobody out.
"""

from __future__ import annotations

import gzip
import logging
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

from edge.errors import MetricsListenError
from edge.listening import metrics_address
from edge.metrics import CONTENT_TYPE

MAX_CONNECTIONS = 16
CONNECTION_S = 10.0
"""How long a connection may last."""

_POLL_S = 0.1
_log = logging.getLogger(__name__)


def takes_gzip(header: str) -> bool:
    """Does an Accept-Encoding (RFC 9110 12.5.3) ask for gzip?"""
    wanted = {}
    for item in header.lower().replace(" ", "").replace("\t", "").split(","):
        coding, *parameters = item.split(";")
        wanted[coding] = not any(parameter.rstrip("0") in {"q=", "q=0."} for parameter in parameters)
    return wanted.get("gzip", wanted.get("x-gzip", wanted.get("*", False)))


class MetricsServer:
    """Answers ``/metrics`` with what ``page`` returns, and ``/healthz``, in threads of its own."""

    def __init__(self, page: Callable[[], bytes], address: str) -> None:
        """``address`` as :func:`metrics_address` reads it; port 0 takes a free one.  Raises MetricsListenError."""
        self._page = page
        self._host, self._port = metrics_address(address)
        self._server: _Server | None = None
        self._thread: Thread | None = None

    def start(self) -> str:
        """Listen and serve; returns the address with the port that was taken.  Raises MetricsListenError."""
        shown = f"[{self._host}]" if ":" in self._host else self._host
        try:
            family, _, _, _, place = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._server = _Server(family, place, self._page)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no name of a machine"
            raise MetricsListenError(f"{shown}:{self._port}: cannot be listened on: {why}") from None
        self._thread = Thread(target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)
        self._thread.start()
        return f"{shown}:{self._server.server_port}"

    def stop(self) -> None:
        """Close everything; what is being answered is cut off.  A second call does nothing."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.end_all()
        self._server = self._thread = None


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, family: int, place: tuple[Any, ...], page: Callable[[], bytes]) -> None:
        self.address_family = family
        self.page = page
        self._room = BoundedSemaphore(MAX_CONNECTIONS)
        self._lock = Lock()
        self._open: dict[socket.socket, float] = {}
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        """As HTTPServer does, without asking DNS for the machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection.  Where there is none to be had, for want of files, the loop must not spin."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_POLL_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, if need be instead of the oldest."""
        if not self._room.acquire(blocking=False):
            self._end(1)
            if not self._room.acquire(timeout=1):
                self.shutdown_request(request)
                return
        with self._lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """What the thread does."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def service_actions(self) -> None:
        """End connections that have lasted too long."""
        begun = time.monotonic() - CONNECTION_S
        with self._lock:
            late = sum(since < begun for since in self._open.values())
        self._end(late)

    def end_all(self) -> None:
        """End every connection."""
        self._end(MAX_CONNECTIONS)

    def _end(self, oldest: int) -> None:
        """Shut so many connections; their threads find out, and close them."""
        with self._lock:
            for connection in list(self._open)[:oldest]:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            del self._open[request]
        self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that goes away is none; the rest goes to the log."""
        if not isinstance(sys.exception(), OSError):
            _log.exception("a request for metrics failed")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "t1edge"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # no bare contents, as HTTP/0.9 has them
    timeout = CONNECTION_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._metrics()
        elif path == "/healthz":
            self._answer(HTTPStatus.OK, b"ok\n")
        elif path == "/":
            self._answer(HTTPStatus.OK, b"t1edge: /metrics for Prometheus, /healthz\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"not found: there are /metrics and /healthz\n")

    do_HEAD = do_GET  # noqa: N815

    def _metrics(self) -> None:
        try:
            page = self.server.page()
        except Exception:  # noqa: BLE001 - the scrape fails, the server stays
            _log.exception("metrics cannot be read")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"the counters cannot be read; the log says why\n")
            return
        headers = {"Content-Type": CONTENT_TYPE, "Vary": "Accept-Encoding"}
        if takes_gzip(",".join(self.headers.get_all("Accept-Encoding", []))):
            page = gzip.compress(page, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        self._answer(HTTPStatus.OK, page, headers)

    def _answer(self, status: HTTPStatus, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "text/plain; charset=utf-8"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """A request that is none, or of another method; nothing of it is repeated in the answer."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code, headers["Allow"] = HTTPStatus.METHOD_NOT_ALLOWED, "GET, HEAD"
        status = HTTPStatus(code)
        self._answer(status, f"{status.phrase.lower()}\n".encode(), headers)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Scrapes are not worth a line each."""
