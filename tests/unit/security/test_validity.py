"""Until when certificate files are good, and what is told about those that are not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from telemetry_collector.config import AgentSecurity, Security, Tls
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.authority import Files, set_up
from telemetry_collector.security.validity import SOON, concerns, ends

NOW = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return set_up(tmp_path_factory.mktemp("certs"))


def collectors(files: Files) -> Security:
    return Security(
        tls_cert_path=files.server_certificate,
        tls_key_path=files.server_key,
        tls_ca_path=files.ca,
        tls_crl_path=files.crl,
    )


def agents(files: Files) -> AgentSecurity:
    return AgentSecurity(tls_cert_path=files.node_certificate, tls_key_path=files.node_key, tls_ca_path=files.ca)


def told(security: Tls, now: datetime) -> list[tuple[str, str, bool]]:
    """Of each concern the key, the first words of the problem, and whether it is in force."""
    return [
        (found.key.removeprefix("security."), " ".join(found.problem.split()[:2]), found.in_force)
        for found in concerns(security, ends(security), now)
    ]


def test_of_several_certificates_the_first_to_run_out_counts(files: Files, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files.ca.read_bytes() + files.node_certificate.read_bytes())
    security = agents(files).model_copy(update={"tls_ca_path": both})
    assert ends(security)["tls_ca_path"] == ends(security)["tls_cert_path"] < ends(agents(files))["tls_ca_path"]


def test_a_revocation_list_is_among_them_where_there_is_one(files: Files) -> None:
    assert set(ends(collectors(files))) == {"tls_cert_path", "tls_ca_path", "tls_crl_path"}
    assert set(ends(agents(files))) == {"tls_cert_path", "tls_ca_path"}


@pytest.mark.parametrize("side", [collectors, agents])
def test_what_runs_out_is_told_before_and_after(files: Files, side: type) -> None:
    security = side(files)
    end = ends(security)["tls_cert_path"]
    assert told(security, end - SOON - timedelta(hours=1)) == []
    assert told(security, end - SOON + timedelta(hours=1)) == [("tls_cert_path", "expires at", False)]
    assert told(security, end + timedelta(hours=1)) == [("tls_cert_path", "expired at", True)]
    years = told(security, ends(security)["tls_ca_path"] + timedelta(hours=1))
    assert {key for key, _, in_force in years if in_force} == set(ends(security))


def test_the_other_sides_certificate_is_none_of_ours(files: Files) -> None:
    paths = {"tls_cert_path": files.server_certificate}
    security = agents(files).model_copy(update=paths)
    (concern,) = concerns(security, ends(security), NOW)
    assert str(concern) == (
        f"security.tls_cert_path = {files.server_certificate}: is made for: server; expected client; "
        "no collector will let it in"
    )


def test_a_file_that_is_not_there_is_named(files: Files, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"nowhere\.pem"):
        ends(agents(files).model_copy(update={"tls_ca_path": tmp_path / "nowhere.pem"}))
