"""What every gRPC server of ours has: where it listens, who may come in, health, reflection, a clean end."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from edge.api.tls import ReloadedCredentials, TlsFiles
from edge.listening import Address, ListenError, check_local

GRACE_S = 3.0
"""How long calls may go on when the server stops."""


class Credentials(Protocol):
    """What clients are met with, whoever may come."""

    def server_credentials(self) -> grpc.ServerCredentials:
        """For ``add_secure_port``."""


def credentials_for(address: Address, tls: TlsFiles | None) -> ReloadedCredentials | None:
    """What clients of an address are met with.

    Raises AddressError for an address that others could reach without TLS, CredentialsError for bad files.
    """
    if tls is None:
        check_local(address)
        return None
    return ReloadedCredentials(tls)


class Host:
    """A gRPC server around services."""

    def __init__(
        self,
        address: Address,
        tls: TlsFiles | Credentials | None,
        services: Sequence[str],
        register: Callable[[grpc.aio.Server], None],
        *,
        max_request: int,
    ) -> None:
        """``services`` are full names, ``register`` puts their handlers into the server, ``max_request`` counts bytes.

        Raises what :func:`credentials_for` does.
        """
        self._address = address
        self._services = tuple(services)
        self._bound = False
        if tls is None or isinstance(tls, TlsFiles):
            tls = credentials_for(address, tls)
        self._credentials: Credentials | None = tls
        checks: Any = health  # whose stubs lack aio
        self._health = checks.aio.HealthServicer()
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", max_request),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a second one on the same port has to be told so
            )
        )
        register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> Address:
        """Listen; the address with the port that was given where 0 was asked for.  Raises ListenError."""
        address = str(self._address)
        if self._address.path:
            _remove_stale_socket(Path(self._address.path))
        _try(self._address)
        mask = os.umask(0o177)  # of the Unix socket, from its first moment
        try:
            if self._credentials:
                port = self._server.add_secure_port(address, self._credentials.server_credentials())
            else:
                port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ListenError(f"{address}: cannot be listened on: {error}") from None
        finally:
            os.umask(mask)
        self._bound = True
        await self._server.start()
        await self.set_serving(True)
        return self._address if self._address.path else Address(self._address.host, port)

    async def set_serving(self, serving: bool) -> None:
        """What whoever asks for the health is told of the services."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._services):
            await self._health.set(name, state)

    async def retire(self) -> None:
        """Tell whoever asks for the health that the end has come."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Let calls finish for a while, close."""
        await self._server.stop(GRACE_S)
        if self._address.path and self._bound:  # else the file is somebody else's
            Path(self._address.path).unlink(missing_ok=True)


def _remove_stale_socket(path: Path) -> None:
    """A socket that a killed edge left behind.  Raises ListenError for a file that is none, or that is in use."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ListenError(f"unix:{path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"unix:{path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ListenError(f"unix:{path}: {error.strerror}") from None
    raise ListenError(f"unix:{path}: another process listens there")


def _try(address: Address) -> None:
    """Listen for a moment: gRPC would not say why it cannot, but in a log of its own.  Raises ListenError."""
    try:
        if address.path:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(address.path)
            Path(address.path).unlink(missing_ok=True)
        else:
            _try_all(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ListenError(f"{address}: cannot be listened on: {why}") from None


def _try_all(found: Sequence[tuple[Any, ...]]) -> None:
    """All that a name stands for.  Those that this machine has not got, ``::1`` without IPv6, may fail beside others.

    Raises OSError.
    """
    missing: list[OSError] = []
    for family, kind, _, _, place in found:
        try:
            with socket.socket(family, kind) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(place)
                listener.listen()
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise
            missing.append(error)
    if len(missing) == len(found):
        raise missing[0]
