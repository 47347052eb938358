"""Where a service listens: addresses as people write them.  Nothing here loads what serves them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from edge.errors import EdgeError, MetricsAddressError


class ListenError(EdgeError):
    """An address that cannot be listened on."""

    reason = "CANNOT_LISTEN"


class AddressError(ListenError):
    """An address that is none, or that nobody may be let in by."""

    reason = "INVALID_ADDRESS"


@dataclass(frozen=True, slots=True)
class Address:
    """``host:port``, or ``unix:PATH``."""

    host: str
    port: int
    path: str = ""

    @property
    def local(self) -> bool:
        """Can only this machine reach it?"""
        if self.path:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``127.0.0.1:7440``, ``[::1]:7440``, ``localhost:7440`` or ``unix:PATH``.

    Raises AddressError saying what was expected.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise AddressError(f"{text!r}: expected unix:PATH")
        return Address("", 0, path)
    found = _host_and_port(text)
    if found is None:
        raise AddressError(f"{text!r}: expected HOST:PORT, [IPV6]:PORT or unix:PATH")
    return Address(*found)


def metrics_address(text: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9744``, ``[::1]:9744`` or ``localhost:9744``.

    Raises MetricsAddressError saying what was expected.
    """
    found = _host_and_port(text)
    if found is None:
        raise MetricsAddressError(f"{text!r}: expected HOST:PORT or [IPV6]:PORT")
    return found


def check_local(address: Address) -> None:
    """Raises AddressError for an address that others than this machine can reach: that takes TLS."""
    if not address.local:
        raise AddressError(
            f"{address}: without TLS only this machine may be listened to: a loopback address or unix:PATH "
            "(--tls-cert, --tls-key and --tls-ca open it to others)"
        )


def check_called(text: str) -> None:
    """Raises AddressError for an address on another machine, which nothing is said to in clear text, and for what is no
    address."""
    address = parse_address(text)
    if not address.local:
        raise AddressError(
            f"{address}: without TLS only this machine is called: a loopback address or unix:PATH "
            "(--tls-cert, --tls-key and --tls-ca reach others)"
        )


def _host_and_port(text: str) -> tuple[str, int] | None:
    """None for what is neither HOST:PORT nor [IPV6]:PORT."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    if not host or not 0 <= number <= 65_535 or (":" in host) != bracketed:
        return None
    return host, number
