"""What the host of an edge does to enrol: it needs nothing of where the control plane keeps things, and starts fast."""

from __future__ import annotations

import base64
import ipaddress
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control.access import tokens
from edge.errors import ArgumentError

DOMAIN: Final = "t1edge.internal"
"""Names in it are no host's."""

CONTROL: Final = f"control.{DOMAIN}"
"""Whom an edge's host finds where it enrols."""


def parted(token: str) -> tuple[str, bytes]:
    """What is to be sent of a token, and the authority to trust, as PEM.  Raises ArgumentError."""
    secret, _, rest = token.strip().partition(".")
    try:
        der = base64.b64decode(rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=True)
        authority = x509.load_der_x509_certificate(der)
    except ValueError:
        authority = None
    if authority is None or not tokens.is_token(secret, tokens.HOST):
        raise ArgumentError("the token is none", [("token", "expected it whole, as it was shown")])
    return secret, authority.public_bytes(serialization.Encoding.PEM)


def signing_request(key: ec.EllipticCurvePrivateKey, host: str) -> str:
    """What a host asks for a certificate with; ``host`` '': it does not say which it is.  Raises ArgumentError."""
    request = x509.CertificateSigningRequestBuilder(named("t1edge"))
    if host:
        try:
            request = request.add_extension(x509.SubjectAlternativeName([general_name(host)]), critical=False)
        except ValueError:
            raise ArgumentError("the host is wrong", [("host", "expected a name or an address")]) from None
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def general_name(host: str) -> x509.GeneralName:
    """A host by its name or address.  Raises ValueError."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host.lower())


def named(text: str) -> x509.Name:
    """Who is called so."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
