#!/usr/bin/env python3
"""Makes the certificates of these tests: an authority's, and one that serves as the collector's and as the agent's.

They are good for a century, prove nothing to anybody else, and are made again only if a test needs others.
"""

import ipaddress
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = Path(__file__).parent


def begun(name: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """A certificate with everything but its extensions."""

    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
    )


ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
ca = begun("tests", "tests", ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
own = begun("node-1", "tests", key)
own = own.add_extension(
    x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier("spiffe://tests/node-1"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    ),
    critical=False,
)
own = own.add_extension(
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
)
(HERE / "authority.der").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.DER))
(HERE / "own.der").write_bytes(own.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.DER))
(HERE / "own.key.der").write_bytes(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
