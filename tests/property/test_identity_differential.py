"""Both listeners give a certificate the same identity and node: the core's reading against the package's own."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_collector import _core
from telemetry_collector.security.identity import IDENTITY_BYTES_MAX, Identity

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.now(UTC)

# Everything that means something in a URI, and what a certificate's IA5 strings can carry besides.
PIECES = st.sampled_from(
    [
        *("spiffe:", "urn:", ":", "/", "//", "?", "#", "@", "[", "]", "~", " ", "\t", "\x00", "\x7f"),
        *("%", "%2F", "%20", "%C3%B6", "%FF", "%0a", "%7f", "%4"),
        *("node-1", "fleet", "a", "Z", "0", "::1", "x" * IDENTITY_BYTES_MAX),
    ]
)
URIS = st.lists(PIECES, max_size=8).map("".join)
HOSTS = st.sampled_from(
    ["", "node-2.example.org", "*", "a b", "x" * IDENTITY_BYTES_MAX, "x" * (IDENTITY_BYTES_MAX + 1)]
)
KINDS = st.sampled_from([_ASN1Type.UTF8String, _ASN1Type.BMPString, _ASN1Type.UniversalString])
NAMES = st.tuples(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), KINDS)


def certificate(names: list[x509.GeneralName], common: list[tuple[str, _ASN1Type]]) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name, _type=kind) for name, kind in common])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def agree(shown: x509.Certificate) -> tuple[str, str] | None:
    """What both say."""
    here = Identity.of(shown)
    core = _core.identity_of(shown.public_bytes(Encoding.DER))
    assert core == (None if here is None else (here.name, here.node))
    return core


@settings(max_examples=500, deadline=None)
@given(uris=st.lists(URIS, max_size=2), hosts=st.lists(HOSTS, max_size=2), common=st.lists(NAMES, max_size=2))
def test_of_any_names(uris: list[str], hosts: list[str], common: list[tuple[str, _ASN1Type]]) -> None:
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    names += [x509.UniformResourceIdentifier(uri) for uri in uris]
    agree(certificate(names, common))


@pytest.mark.parametrize("place", range(60))
def test_of_a_damaged_certificate(place: int) -> None:
    """One that cannot be read has no identity; one that still can has the same one for both."""
    whole = certificate([x509.UniformResourceIdentifier("spiffe://fleet/node-1")], [("node", _ASN1Type.UTF8String)])
    encoded = bytearray(whole.public_bytes(Encoding.DER))
    encoded[len(encoded) * place // 60] ^= 0x55
    try:
        here = Identity.of(x509.load_der_x509_certificate(bytes(encoded)))
    except ValueError:
        return
    core = _core.identity_of(bytes(encoded))
    # Where the two libraries differ about what is damaged, the core is the stricter.
    assert core is None or here is None or core == (here.name, here.node)


def test_that_nobody_is_confused_with_anybody() -> None:
    """The differences above are seen: a node that is not its neighbour's."""
    first = agree(certificate([x509.UniformResourceIdentifier("spiffe://fleet/node-1")], []))
    assert first == ("spiffe://fleet/node-1", "node-1")
