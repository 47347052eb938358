"""Where edges on other machines enrol: TLS, with clients that have no certificate yet."""

from __future__ import annotations

from typing import Any, Final

import grpc

from control.access.authority import OwnCertificate

DOOR: Final = frozenset({"EdgeHostService/Enroll"})
"""What can be called there."""


class DoorCredentials:
    """The control plane's own certificate, followed as it is renewed."""

    def __init__(self, own: OwnCertificate) -> None:
        """Raises what :meth:`OwnCertificate.get` does."""
        self._own = own
        self._shown = own.get()

    def server_credentials(self) -> grpc.ServerCredentials:
        """See Credentials."""
        fetch: Any = self._fetch  # None, for "as before", is missing in its type
        return grpc.dynamic_ssl_server_credentials(self._configuration(), fetch, require_client_authentication=False)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self._shown.key, self._shown.chain)])

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        if not self._own.due(self._shown):
            return None
        self._shown = self._own.get()
        return self._configuration()
