"""Whether a client's certificate is good. The table's alerts are checked over QUIC beside the listener."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from tests.support.certificates import DAY, SERVER, Authority, Credentials, pem

from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.refusal import CertificateRefused, TlsAlert
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import CHAIN_CERTIFICATES_MAX, ClientVerifier

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority("Root", now=NOW)


def refusal(
    credentials: Credentials,
    *trusted: Authority,
    lists: list[x509.CertificateRevocationList] | None = None,
    now: datetime = NOW,
) -> TlsAlert | None:
    """The alert that a certificate gets; None when it is good."""
    revocations = None if lists is None else RevocationLists(lists)
    verifier = ClientVerifier([a.certificate for a in trusted], revocations, clock=ManualClock(now.timestamp()))
    try:
        verifier.verify(credentials.certificate, credentials.intermediates)
    except CertificateRefused as refused:
        return refused.alert
    return None


def test_a_certificate_counts_from_its_first_day_to_its_last(root: Authority) -> None:
    credentials = root.issue(names=["node"], not_before=NOW, not_after=NOW + DAY)
    second = timedelta(seconds=1)
    assert refusal(credentials, root, now=NOW - second) is TlsAlert.CERTIFICATE_EXPIRED
    assert refusal(credentials, root, now=NOW) is None
    assert refusal(credentials, root, now=NOW + DAY) is None
    assert refusal(credentials, root, now=NOW + DAY + second) is TlsAlert.CERTIFICATE_EXPIRED


@pytest.mark.parametrize("names", [{"uri": "spiffe://fleet/node"}, {"dns": "node.example"}, {"names": ["node"]}])
def test_a_name_may_stand_in_any_place(root: Authority, names: dict[str, str]) -> None:
    assert refusal(root.issue(**names), root) is None  # type: ignore[arg-type]


def test_any_key_of_a_client_that_tls_can_use_is_good(root: Authority) -> None:
    assert refusal(root.issue(names=["node"], key=ed25519.Ed25519PrivateKey.generate()), root) is None
    assert refusal(root.issue(names=["node"], key=rsa.generate_private_key(65_537, 2_048)), root) is None


def test_a_weak_key_is_bad(root: Authority) -> None:
    weak = root.issue(names=["node"], key=rsa.generate_private_key(65_537, 1_024))
    assert refusal(weak, root) is TlsAlert.BAD_CERTIFICATE


def test_usage_has_to_say_client(root: Authority) -> None:
    assert refusal(root.issue(names=["node"], usages=SERVER), root) is TlsAlert.UNSUPPORTED_CERTIFICATE
    assert refusal(root.issue(names=["node"], usages=None), root) is TlsAlert.UNSUPPORTED_CERTIFICATE


def test_what_is_critical_and_unknown_is_refused(root: Authority) -> None:
    assert refusal(root.issue(names=["node"], critical=True), root) is TlsAlert.UNSUPPORTED_CERTIFICATE


def test_an_authority_of_the_same_name_is_another_one(root: Authority) -> None:
    assert refusal(Authority("Root", now=NOW).issue(names=["node"]), root) is TlsAlert.UNKNOWN_CA


def test_whose_authority_is_unknown_is_told_by_its_issuer(root: Authority) -> None:
    verifier = ClientVerifier([root.certificate], clock=ManualClock(NOW.timestamp()))
    stranger = Authority("A" * 64, now=NOW).issue(names=["node"])
    with pytest.raises(CertificateRefused, match=f"its issuer, 'CN={'A' * 64}', leads to no authority that is trusted"):
        verifier.verify(stranger.certificate, [])


def test_a_chain_leads_over_intermediates_and_any_of_them_may_be_the_trusted_one(root: Authority) -> None:
    middle = Authority("Middle", parent=root, now=NOW)
    credentials = middle.issue(names=["node"])
    alone = Credentials(credentials.certificate, credentials.key)
    assert refusal(credentials, root) is None
    assert refusal(credentials, middle) is None
    assert refusal(alone, middle) is None
    assert refusal(alone, root) is TlsAlert.UNKNOWN_CA


def test_a_node_cannot_sign_for_others(root: Authority) -> None:
    for name, is_authority in (("no authority", False), ("authority", True)):
        signer = Authority(name, parent=root, is_authority=is_authority, now=NOW)
        expected = None if is_authority else TlsAlert.UNKNOWN_CA
        assert refusal(signer.issue(names=["node"]), root) is expected
    node = root.issue(names=["node"])
    impostor = Authority("impostor", parent=root, now=NOW)
    impostor.certificate = node.certificate
    impostor.key = node.key
    assert refusal(impostor.issue(names=["other"]), root) is TlsAlert.UNKNOWN_CA


def test_more_certificates_than_any_chain_has_are_refused_unseen(root: Authority) -> None:
    credentials = root.issue(names=["node"])
    padded = Credentials(credentials.certificate, credentials.key, (root.certificate,) * CHAIN_CERTIFICATES_MAX)
    assert refusal(padded, root) is TlsAlert.BAD_CERTIFICATE


def test_revoked_is_revoked_and_others_of_the_list_are_not(root: Authority) -> None:
    good, bad = root.issue(names=["good"]), root.issue(names=["bad"])
    lists = [root.revocations(bad.certificate)]
    assert refusal(bad, root, lists=lists) is TlsAlert.CERTIFICATE_REVOKED
    assert refusal(good, root, lists=lists) is None
    assert refusal(bad, root) is None


def test_a_revoked_intermediate_takes_its_certificates_with_it(root: Authority) -> None:
    middle = Authority("Middle", parent=root, now=NOW)
    node = middle.issue(names=["node"])
    assert refusal(node, root, lists=[root.revocations(), middle.revocations()]) is None
    lists = [root.revocations(middle.certificate), middle.revocations()]
    assert refusal(node, root, lists=lists) is TlsAlert.CERTIFICATE_REVOKED


def test_a_list_that_ran_out_says_nothing_of_those_it_does_not_name(root: Authority) -> None:
    good, bad = root.issue(names=["good"]), root.issue(names=["bad"])
    lists = [root.revocations(bad.certificate, ends=NOW + DAY)]
    assert refusal(good, root, lists=lists, now=NOW + DAY - timedelta(seconds=1)) is None
    assert refusal(good, root, lists=lists, now=NOW + DAY) is TlsAlert.CERTIFICATE_UNKNOWN
    assert refusal(bad, root, lists=lists, now=NOW + DAY) is TlsAlert.CERTIFICATE_REVOKED
    newer = root.revocations(bad.certificate, ends=NOW + 2 * DAY)
    assert refusal(good, root, lists=[*lists, newer], now=NOW + DAY) is None


def test_without_a_list_of_its_authority_a_certificate_is_unknown(root: Authority) -> None:
    other = Authority("Other", now=NOW)
    verifier = ClientVerifier([root.certificate, other.certificate], RevocationLists([other.revocations()]))
    assert verifier.uncovered == ("CN=Root",)
    node = root.issue(names=["node"])
    assert refusal(node, root, other, lists=[other.revocations()]) is TlsAlert.CERTIFICATE_UNKNOWN
    forged = root.revocations(signed_by=other)
    assert refusal(node, root, other, lists=[forged]) is TlsAlert.CERTIFICATE_UNKNOWN


def test_a_list_of_changes_only_is_no_list(root: Authority) -> None:
    with pytest.raises(CertificateError, match="complete list"):
        RevocationLists([root.revocations(partial=True)])


def test_an_authority_that_can_never_be_trusted_is_an_error_at_start() -> None:
    unsupported = Authority("Ed25519", key=ed25519.Ed25519PrivateKey.generate(), now=NOW)
    with pytest.raises(CertificateError, match="CN=Ed25519"):
        ClientVerifier([unsupported.certificate])


def test_files_are_read_with_all_that_is_in_them(root: Authority, tmp_path: Path) -> None:
    other = Authority("Other", now=NOW)
    bad = other.issue(names=["bad"])
    ca, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"
    ca.write_bytes(pem(root.certificate, other.certificate))
    lists = [root.revocations(), other.revocations(bad.certificate, ends=NOW + 2 * DAY)]
    crl.write_bytes(b"".join(entry.public_bytes(serialization.Encoding.PEM) for entry in lists))
    verifier = ClientVerifier.read(ca, crl, clock=ManualClock(NOW.timestamp()))
    assert verifier.uncovered == ()
    assert verifier.revocations_end_unix_secs == (NOW + 2 * DAY).timestamp()
    with pytest.raises(CertificateRefused, match="revoked by CN=Other"):
        verifier.verify(bad.certificate, ())
    verifier.verify(root.issue(names=["good"]).certificate, ())


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_files_that_cannot_be_used_are_named(root: Authority, tmp_path: Path, content: bytes | None) -> None:
    ca, crl = tmp_path / "ca.pem", tmp_path / "crl.pem"
    with pytest.raises(CertificateError, match=r"ca\.pem"):
        ClientVerifier.read(ca)
    ca.write_bytes(pem(root.certificate))
    if content is not None:
        crl.write_bytes(content)
    with pytest.raises(CertificateError, match=r"crl\.pem"):
        ClientVerifier.read(ca, crl)
