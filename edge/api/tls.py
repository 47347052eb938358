"""Credentials from files: read again for each new connection, so that a renewed certificate needs no restart."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import grpc

from edge.errors import EdgeError

_log = logging.getLogger(__name__)


class CredentialsError(EdgeError):
    """Files of certificates and keys that cannot be used."""

    reason = "INVALID_CREDENTIALS"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the own certificate chain, its key, and the authorities that the other side's certificate has to come
    from."""

    certificate: Path
    key: Path
    authorities: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Chain, key, authorities.  Raises CredentialsError naming the file."""
        return (
            _pem(self.certificate, b"CERTIFICATE"),
            _pem(self.key, b"PRIVATE KEY"),
            _pem(self.authorities, b"CERTIFICATE"),
        )


def _pem(path: Path, what: bytes) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read: {error.strerror}") from None
    if what + b"-----" not in content:
        raise CredentialsError(f"{path}: expected PEM with a {what.decode().lower()}")
    return content


def _check_pair(files: TlsFiles) -> None:
    """Raises CredentialsError if certificate and key are not a pair, which gRPC would only tell in its log."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")  # nobody is there to be asked
        context.load_verify_locations(files.authorities)
    except (ssl.SSLError, OSError) as error:
        text = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
        raise CredentialsError(f"{files.certificate}, {files.key}, {files.authorities}: {text}") from None


class ReloadedCredentials:
    """Server credentials that follow their files.

    A file that is unusable at the moment changes nothing: the last good ones stay, and the log says why, once.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = Lock()
        self._seen = self._stamp()
        self._now = self._load()

    def server_credentials(self) -> grpc.ServerCredentials:
        """For ``add_secure_port``; every client has to show a certificate."""
        fetch: Any = self._fetch  # None, for "as before", is missing in its type
        return grpc.dynamic_ssl_server_credentials(self._now, fetch, require_client_authentication=True)

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self._files.certificate, self._files.key, self._files.authorities):
            try:
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        chain, key, authorities = self._files.read()
        _check_pair(self._files)
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authorities)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What a new connection is served with; None: as the last one."""
        with self._lock:
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            self._seen = stamp
            try:
                self._now = self._load()
            except CredentialsError as error:
                _log.error("the certificates stay as they were: %s", error)
                return None
            _log.info("certificates read again from %s", self._files.certificate)
            return self._now
