"""Edges on other machines: a token that works once, for a certificate.

A token is 256 random bits; behind a dot it has the authority's certificate, so that a host knows whom it talks to from
the first moment on.  Only what is before the dot is ever sent, and only a hash of that is kept.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from control import names
from control.access import tokens
from control.access.authority import EDGE_DAYS, authority_in, identity_of, requested
from control.access.host import DOMAIN
from control.access.login import count_attempt
from control.access.vault import Vault
from control.errors import InvalidCredentialsError
from control.store import Actor, Store, WriteUnit
from control.store.records import EdgeHost
from control.store.unit import PROVIDER
from control.surroundings import SECOND_NS
from edge.errors import ArgumentError
from edge.listening import AddressError, parse_address

TOKEN_NS: Final = 3_600 * SECOND_NS
_METHOD: Final = "EdgeHostService/Enroll"
_ATTEMPTS: Final = "enrolments"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Enrolled:
    """PEM: a certificate, and whom its owner is to listen to."""

    edge: str
    certificate: str
    authorities: str
    expires_ns: int


class Enrolments:
    """Whoever shows a token gets what it is for."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def enrol(self, token: str, request: str) -> Enrolled:
        """Use a token up.  Raises InvalidCredentialsError, TooManyAttemptsError, and ArgumentError for a request that
        is wrong, after which the token still holds."""
        with self._store.write(PROVIDER) as unit:
            hashed = tokens.token_hash(token) if tokens.is_token(token, tokens.HOST) else ""
            host = unit.enrolling(hashed)
            if host is not None:
                return self._enrol(unit, host, request)
            # Nobody finds a token by trying; what is limited is what the trail has to keep of those who do.
            count_attempt(unit, _ATTEMPTS)
            unit.record(names.SYSTEM, _METHOD, names.SYSTEM, outcome=InvalidCredentialsError.reason)
        raise InvalidCredentialsError("the token is unknown, has been used, or does not hold any longer")

    def _enrol(self, unit: WriteUnit, host: EdgeHost, request: str) -> Enrolled:
        name = parse_address(host.token_address).host
        key = requested(request, name)
        edge, serial = unit.get(host.path), x509.random_serial_number()
        identity, authority = identity_of(edge.uid, serial), authority_in(unit, self._vault)
        made = authority.issue(key, [name, identity], unit.now_ns, days=EDGE_DAYS, server=True, serial=serial)
        expires_ns = int(made.not_valid_after_utc.timestamp()) * SECOND_NS
        unit.set_edge_host(EdgeHost(edge.path, host.token_address, identity, expires_ns))
        unit.set_attempts(_ATTEMPTS, 0)
        unit.actor = Actor(edge.path, "")
        unit.touch(edge.path)
        unit.done("Enroll Edge Host", edge.path)
        unit.settle()
        details = {"address": host.token_address, "serial": f"{serial:x}"}
        # Where the provider's hosts are is its own business.
        unit.record(edge.org, _METHOD, edge.path)
        unit.record(names.SYSTEM, _METHOD, edge.path, details=json.dumps(details, sort_keys=True))
        pem = made.public_bytes(serialization.Encoding.PEM).decode()
        return Enrolled(edge.path, pem, authority.pem.decode(), expires_ns)


def new_enrolment(unit: WriteUnit, vault: Vault, edge: str, address: str) -> tuple[str, int]:
    """A token with which a host takes an edge over to ``address``, in place of former ones; when it ends.

    Raises ArgumentError for an address that no host can be asked at.
    """
    _check_address(address)
    secret = tokens.new_token(tokens.HOST, unit.surroundings.random)
    until_ns = unit.now_ns + TOKEN_NS
    known = unit.edge_host(edge) or EdgeHost(edge)
    hashed = tokens.token_hash(secret)
    unit.set_edge_host(replace(known, token_hash=hashed, token_until_ns=until_ns, token_address=address))
    der = authority_in(unit, vault).certificate.public_bytes(serialization.Encoding.DER)
    return f"{secret}.{base64.urlsafe_b64encode(der).decode('ascii').rstrip('=')}", until_ns


def _check_address(text: str) -> None:
    try:
        found = parse_address(text)
    except AddressError as error:
        raise _wrong(str(error)) from None
    if found.path or not found.port:
        raise _wrong("expected HOST:PORT")
    try:
        unspecified = ipaddress.ip_address(found.host).is_unspecified
    except ValueError:
        if not _HOST.fullmatch(found.host) or f".{found.host.lower()}".endswith(f".{DOMAIN}"):
            raise _wrong("expected the name or the address of a host") from None
    else:
        if unspecified:
            raise _wrong("expected an address that the host can be reached at")


def _wrong(text: str) -> ArgumentError:
    return ArgumentError("the address is wrong", [("address", text)])
