"""What is told about a certificate."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from telemetry_collector.errors import CertificateError
from telemetry_collector.security.authority import Files, set_up
from telemetry_collector.security.description import describe, revoked_serials, unfit_for_server
from telemetry_collector.security.issuing import certificate_pem, new_key

NOW = datetime.now(UTC) + timedelta(hours=1)
"""Certificates are made while tests run, however long those before them took: by then all are valid."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return set_up(tmp_path_factory.mktemp("certs"), name="collector", hosts=["c.example.org"], node="gpu-07")


def test_a_nodes_identity_and_node_are_those_of_the_collector(files: Files) -> None:
    (found,) = describe(files.node_certificate, NOW)
    assert (found.identity, found.node) == ("spiffe://telemetry/node/gpu-07", "gpu-07")
    assert (found.usage, found.status, found.subject) == ("client", "valid", "CN=gpu-07")
    assert found.not_before < NOW.isoformat() < found.not_after


def test_a_server_has_hosts_and_no_identity(files: Files) -> None:
    (found,) = describe(files.server_certificate, NOW)
    assert (found.usage, found.identity, found.node) == ("server", None, None)
    assert {"localhost", "127.0.0.1", "::1", "c.example.org"} <= set(found.hosts)


def test_an_authority_is_one(files: Files) -> None:
    (found,) = describe(files.ca, NOW)
    assert (found.usage, found.identity, found.hosts) == ("authority", None, ())


def test_the_status_follows_time_and_list(files: Files) -> None:
    serial = x509.load_pem_x509_certificate(files.node_certificate.read_bytes()).serial_number
    moments = {NOW: "valid", NOW + timedelta(days=400): "expired", NOW - timedelta(days=1): "not yet valid"}
    assert {now: describe(files.node_certificate, now)[0].status for now in moments} == moments
    assert describe(files.node_certificate, NOW, {serial})[0].status == "revoked"


def test_it_is_told_what_makes_a_certificate_no_collectors(files: Files) -> None:
    assert unfit_for_server(files.server_certificate, NOW) is None
    assert unfit_for_server(files.node_certificate, NOW) == "is made for: client; expected server"
    assert unfit_for_server(files.ca, NOW) == "is made for: authority; expected server"
    assert str(unfit_for_server(files.server_certificate, NOW + timedelta(days=400))).startswith("expired at 20")
    assert str(unfit_for_server(files.server_certificate, NOW - timedelta(days=1))).startswith("not valid before 20")


def test_a_file_with_several_certificates_tells_of_each(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(files.node_certificate.read_bytes() + files.ca.read_bytes())
    assert [found.usage for found in describe(path, NOW)] == ["client", "authority"]


def test_a_certificate_with_nothing_in_it_is_described_too(tmp_path: Path) -> None:
    key = new_key()
    name = x509.Name([])
    bare = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "bare.pem"
    path.write_bytes(certificate_pem(bare))
    (found,) = describe(path, NOW + timedelta(hours=1))
    assert (found.usage, found.identity, found.hosts, found.subject) == ("other", None, (), "")


def test_a_file_that_is_no_certificate_is_told(tmp_path: Path, files: Files) -> None:
    with pytest.raises(CertificateError, match=r"cannot read .*no\.pem: no such file"):
        describe(tmp_path / "no.pem", NOW)
    with pytest.raises(CertificateError, match="holds no certificate"):
        describe(files.node_key, NOW)


def test_a_file_that_is_no_list_is_told(tmp_path: Path, files: Files) -> None:
    assert revoked_serials(files.crl) == frozenset()
    with pytest.raises(CertificateError, match=r"cannot read .*no\.crl: no such file"):
        revoked_serials(tmp_path / "no.crl")
    with pytest.raises(CertificateError, match="holds no revocation list"):
        revoked_serials(files.ca)
