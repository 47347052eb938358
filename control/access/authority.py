"""The authority of the control plane, and the certificates that it and edges on other machines show each other.

An edge's certificate bears a name that no other one has, in the domain ``edge.t1edge.internal``, beside the host that
it was made for: the control plane dials the host and asks for the name.  Only the control plane's own may be shown by
clients, so an edge that was taken over has no power over others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from control.access.host import CONTROL, DOMAIN, general_name, named, private_pem
from control.access.vault import Vault
from control.store import Store, WriteUnit
from control.store.unit import PROVIDER
from control.surroundings import SECOND_NS
from edge.errors import ArgumentError

EDGE_DAYS: Final = 365
_AUTHORITY_DAYS: Final = 3_650
_OWN_DAYS: Final = 30
_TOLERANCE: Final = timedelta(hours=1)
"""So far may the clocks of hosts be apart."""

_CERTIFICATE: Final = "edge-authority"
KEY_FACT: Final = "edge-authority-key"
KEY_PLACE: Final = "authority:edges"
_MAX_REQUEST: Final = 16_384


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, public_key: ec.EllipticCurvePublicKey, hosts: list[str], now_ns: int, *, days: int, server: bool,
        serial: int = 0,
    ) -> x509.Certificate:  # fmt: skip
        """A certificate for ``hosts``, names or addresses, that servers show, or clients."""
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        serial = serial or x509.random_serial_number()
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            _begun(named("t1edge"), self.certificate.subject, public_key, now_ns, days, serial)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([general_name(host) for host in hosts]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self.key, hashes.SHA256())
        )


def authority_in(unit: WriteUnit, vault: Vault) -> Authority:
    """The authority of a store, made by ``unit`` if there is none.  Raises KeyFileError, SealBrokenError."""
    known, sealed = unit.fact(_CERTIFICATE), unit.fact(KEY_FACT)
    if known is None or sealed is None:
        made = _new(unit.now_ns)
        key = made.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        unit.set_facts({_CERTIFICATE: made.pem.decode(), KEY_FACT: vault.seal(key, KEY_PLACE).hex()})
        return made
    return _read(vault, known, sealed)


def authority_of(store: Store, vault: Vault) -> Authority:
    """The same outside of a unit.  Raises StoreError, too."""
    with store.read() as state:
        known, sealed = state.fact(_CERTIFICATE), state.fact(KEY_FACT)
    if known is not None and sealed is not None:
        return _read(vault, known, sealed)
    with store.write(PROVIDER) as unit:
        return authority_in(unit, vault)


def identity_of(uid: str, serial: int) -> str:
    """The name that one certificate of an edge bears, and nothing else in the world."""
    return f"{serial:x}.{uid}.edge.{DOMAIN}"


def requested(text: str, host: str) -> ec.EllipticCurvePublicKey:
    """The key in a certificate signing request of ``host``.  Raises ArgumentError."""
    if len(text) > _MAX_REQUEST:
        raise _wrong(f"expected at most {_MAX_REQUEST} characters")
    try:
        found = x509.load_pem_x509_csr(text.encode())
        signed = found.is_signature_valid
        key = found.public_key()
        names = _names_of(found)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise _wrong("expected a PKCS #10 request in PEM") from None
    if not signed:
        raise _wrong("its signature is not its key's")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _wrong("expected a key on the curve P-256")
    if names - {general_name(host)}:
        raise _wrong(f"it is another host's: the token is for {host}")
    return key


@dataclass(frozen=True, slots=True)
class Shown:
    """PEM: a certificate with what it was signed by, its key, who signs the other side's; ``due_ns``: when to have the
    next one."""

    chain: bytes
    key: bytes
    authorities: bytes
    due_ns: int


class OwnCertificate:
    """The control plane's own: its key is never stored, and it is made anew when half of its time is over.  From any
    thread."""

    def __init__(self, authority: Callable[[], Authority], now_ns: Callable[[], int], *, server: bool) -> None:
        """For where edges enrol if ``server``, else for the calls of edges."""
        self._authority = authority
        self._now_ns = now_ns
        self._server = server
        self._lock = Lock()
        self._shown: Shown | None = None

    def due(self, shown: Shown | None) -> bool:
        """Is there to be another one?"""
        return shown is None or self._now_ns() >= shown.due_ns

    def get(self) -> Shown:
        """What to show now.  Raises StoreError, KeyFileError, SealBrokenError."""
        with self._lock:
            if self._shown is None or self.due(self._shown):
                self._shown = self._made()
            return self._shown

    def _made(self) -> Shown:
        authority, key, now_ns = self._authority(), ec.generate_private_key(ec.SECP256R1()), self._now_ns()
        leaf = authority.issue(key.public_key(), [CONTROL], now_ns, days=_OWN_DAYS, server=self._server)
        return Shown(
            leaf.public_bytes(serialization.Encoding.PEM) + authority.pem,
            private_pem(key),
            authority.pem,
            now_ns + _OWN_DAYS * 43_200 * SECOND_NS,
        )


def _new(now_ns: int) -> Authority:
    key, name = ec.generate_private_key(ec.SECP256R1()), named("t1edge edges")
    signs = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    subject = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        _begun(name, name, key.public_key(), now_ns, _AUTHORITY_DAYS, x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(subject, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(made, key)


def _read(vault: Vault, certificate: str, sealed: str) -> Authority:
    key = serialization.load_der_private_key(vault.open(bytes.fromhex(sealed), KEY_PLACE), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Authority(x509.load_pem_x509_certificate(certificate.encode()), key)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_ns: int, days: int, serial: int
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_ns // SECOND_NS, UTC)
    return x509.CertificateBuilder(
        issuer, subject, key, serial, now - _TOLERANCE, now + timedelta(days=days)
    )  # fmt: skip


def _names_of(request: x509.CertificateSigningRequest) -> set[x509.GeneralName]:
    try:
        return set(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _wrong(text: str) -> ArgumentError:
    return ArgumentError("the request for a certificate is wrong", [("certificate_signing_request", text)])
