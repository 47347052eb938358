"""The HTTP server of metrics: what it answers, to whom, and for how long."""

from __future__ import annotations

import errno
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge import metrics_server
from edge.errors import MetricsListenError
from edge.listening import metrics_address
from edge.metrics_server import MAX_CONNECTIONS, MetricsServer, takes_gzip

PAGE = b"# HELP x X.\n# TYPE x gauge\nx 1\n" * 50


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """``serve(page)`` starts a server on a free port and says where."""
    servers: list[MetricsServer] = []

    def start(page: Callable[[], bytes] = lambda: PAGE, address: str = "127.0.0.1:0") -> str:
        servers.append(MetricsServer(page, address))
        return servers[-1].start()

    yield start
    for server in servers:
        server.stop()


def asked(
    address: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    host, port = metrics_address(address)
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_metrics_are_served(serve: Callable[..., str]) -> None:
    status, headers, body = asked(serve(), "/metrics?any=thing")
    assert (status, body) == (200, PAGE)
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["content-length"] == str(len(PAGE))
    assert "content-encoding" not in headers
    assert headers["server"].strip() == "t1edge"


def test_metrics_are_compressed_for_who_asks(serve: Callable[..., str]) -> None:
    status, headers, body = asked(serve(), "/metrics", headers={"Accept-Encoding": "deflate, gzip;q=0.5"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(body) < len(PAGE)
    assert gzip.decompress(body) == PAGE


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True), ("GZIP", True), ("x-gzip", True), ("*", True), ("br , gzip ; q=0.1", True), ("gzip;q=1", True),
        ("", False), ("identity", False), ("gzip;q=0", False), ("gzip; q=0.000", False), ("*, gzip;q=0", False),
        ("gzipped", False),
    ],
)  # fmt: skip
def test_whether_gzip_is_asked_for(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/healthz", 200, b"ok\n"),
        ("/", 200, b"t1edge: /metrics for Prometheus, /healthz\n"),
        ("/metrics/", 404, b"not found: there are /metrics and /healthz\n"),
        ("/favicon.ico", 404, b"not found: there are /metrics and /healthz\n"),
    ],
)
def test_other_pages(serve: Callable[..., str], path: str, status: int, body: bytes) -> None:
    address = serve()
    assert asked(address, path)[::2] == (status, body)
    of_head = asked(address, path, "HEAD")
    assert of_head[::2] == (status, b"")
    assert of_head[1]["content-length"] == str(len(body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(serve: Callable[..., str], method: str) -> None:
    body = b"1" * 10 if method in {"POST", "PUT", "PATCH"} else None
    status, headers, body = asked(serve(), "/metrics", method, body=body)
    assert (status, headers["allow"], body) == (405, "GET, HEAD", b"method not allowed\n")


def raw(address: str, *, timeout: float = 10) -> socket.socket:
    return socket.create_connection(metrics_address(address), timeout=timeout)


def rest(connection: socket.socket) -> bytes:
    """Everything until the other side closes, as it likes."""
    got = b""
    try:
        while piece := connection.recv(65_536):
            got += piece
    except ConnectionResetError:
        pass
    return got


@pytest.mark.parametrize(
    "request_head",
    [
        b"nonsense <b>\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000,
        b"GET / HTTP/1.0\r\nA" + b"b" * 70_000,
    ],
    ids=["line", "version", "long line", "long header"],
)
def test_what_is_no_request_is_answered_in_plain_text(serve: Callable[..., str], request_head: bytes) -> None:
    address = serve()
    with raw(address) as connection:
        connection.sendall(request_head)
        answer = rest(connection)
    assert b" 4" in answer[:12] or b" 505 " in answer[:14]
    assert b"nonsense" not in answer
    assert b"<" not in answer
    assert asked(address, "/healthz")[0] == 200


def test_failing_counters_fail_the_scrape_only(serve: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    def page() -> bytes:
        raise RuntimeError("it is replaying")

    address = serve(page)
    assert asked(address, "/metrics")[::2] == (500, b"the counters cannot be read; the log says why\n")
    assert asked(address, "/healthz")[0] == 200
    assert "it is replaying" in caplog.text


def test_the_oldest_of_too_many_connections_goes(serve: Callable[..., str]) -> None:
    address = serve()
    stalled = [raw(address) for _ in range(MAX_CONNECTIONS)]
    try:
        for connection in stalled:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        assert asked(address, "/healthz")[0] == 200
        assert rest(stalled[0]) == b""
        stalled[-1].sendall(b" x\r\n\r\n")
        assert rest(stalled[-1]).endswith(PAGE)
    finally:
        for connection in stalled:
            connection.close()


def test_no_more_threads_than_connections_that_may_be(serve: Callable[..., str]) -> None:
    address = serve()
    before = threading.active_count()
    flood = [raw(address) for _ in range(4 * MAX_CONNECTIONS)]
    try:
        assert asked(address, "/healthz")[0] == 200
        assert threading.active_count() <= before + MAX_CONNECTIONS
    finally:
        for connection in flood:
            connection.close()


def test_a_client_that_drips_is_ended(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTION_S", 0.3)
    with raw(serve()) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012 - which of the drips it is, is open
            for _ in range(1_000):
                connection.sendall(b"A: b\r\n")
                time.sleep(0.01)


def test_a_client_that_does_not_read_is_ended(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTION_S", 0.3)
    page = b"x" * (64 << 20)  # more than the kernel holds for a connection
    address = serve(lambda: page)
    before = threading.active_count()
    with raw(address) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert connection.recv(1) == b"H"
        while threading.active_count() > before:
            time.sleep(0.01)
        assert len(rest(connection)) < len(page)


def test_without_files_for_connections_the_server_waits(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = serve()
    tried = []

    def no_files(_: socket.socket) -> tuple[socket.socket, object]:
        tried.append(time.monotonic())
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", no_files)  # before anybody connects: that would be accepted
        with raw(address) as waiting:
            while len(tried) < 3:
                time.sleep(0.01)
            patch.undo()
            waiting.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert rest(waiting).endswith(b"ok\n")
    assert tried[2] - tried[0] >= 0.2


def test_stop_closes_everything_at_once() -> None:
    server = MetricsServer(lambda: PAGE, "127.0.0.1:0")
    address = server.start()
    with raw(address) as connection:
        assert asked(address, "/healthz")[0] == 200
        server.stop()
        server.stop()
        assert rest(connection) == b""
    with pytest.raises(ConnectionRefusedError):
        raw(address)
    again = MetricsServer(lambda: PAGE, address)
    assert again.start() == address
    again.stop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9744", ("127.0.0.1", 9744)),
        ("[::1]:0", ("::1", 0)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert metrics_address(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "9744", ":9744", "::1:9744", "[::1]", "[]:1", "[localhost]:1", "host:", "host:65536", "host:-1", "host:1x",
     "host:٣", "host:000001", "unix:/run/x"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(MetricsListenError, match=r"expected HOST:PORT or \[IPV6\]:PORT"):
        metrics_address(text)


def test_ipv6(serve: Callable[..., str]) -> None:
    address = serve(address="[::1]:0")
    assert address.startswith("[::1]:")
    assert asked(address, "/metrics")[2] == PAGE


def test_an_address_in_use_is_told(serve: Callable[..., str]) -> None:
    address = serve()
    with pytest.raises(MetricsListenError, match=f"{address}: cannot be listened on: Address already in use"):
        MetricsServer(lambda: PAGE, address).start()


@pytest.mark.parametrize("host", ["203.0.113.77", "no.such.name.invalid", "a..b", "x" * 64])
def test_a_host_that_is_not_here_is_told(host: str) -> None:
    with pytest.raises(MetricsListenError, match=f"{host}:9744: cannot be listened on: ."):
        MetricsServer(lambda: PAGE, f"{host}:9744").start()
