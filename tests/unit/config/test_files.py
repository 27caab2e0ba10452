"""Certificate files are looked into when a document is loaded."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telemetry_collector.config import load, load_agent
from telemetry_collector.config.files import FILE_BYTES_MAX, read_certificates
from telemetry_collector.errors import ConfigError
from telemetry_collector.security.authority import Authority, Files, set_up


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return set_up(tmp_path_factory.mktemp("certs"), name="collector", node="node-1")


def document(files: Files, **other: Path | str) -> str:
    paths = {
        "tls_cert_path": files.server_certificate,
        "tls_key_path": files.server_key,
        "tls_ca_path": files.ca,
        "tls_crl_path": files.crl,
    } | other
    return "security:\n" + "".join(f"  {key}: '{path}'\n" for key, path in paths.items())


def mistakes(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(text, {})
    return {mistake.key: f"{mistake.problem}; {mistake.expected}" for mistake in caught.value.mistakes}


def test_files_that_fit_are_taken(made: Files) -> None:
    assert load(document(made), {}).security.tls_crl_path == made.crl


def test_missing_files_are_named_and_so_is_the_command_that_makes_them(made: Files, tmp_path: Path) -> None:
    found = mistakes(document(made, tls_cert_path=tmp_path / "no.pem", tls_crl_path=tmp_path / "no.crl"))
    assert found == {
        f"security.{key}": (
            f"cannot read {tmp_path / file}: no such file or directory; expected a readable PEM file "
            f"(`telemetry-collector certs init --dir {tmp_path}` makes a set for development)"
        )
        for key, file in (("tls_cert_path", "no.pem"), ("tls_crl_path", "no.crl"))
    }


def test_files_of_the_default_paths_are_looked_for_too() -> None:
    assert set(mistakes("")) == {"security.tls_cert_path", "security.tls_key_path", "security.tls_ca_path"}
    with pytest.raises(ConfigError, match=r"/etc/horizon/certs/node\.pem"):
        load_agent("", {})


def test_a_directory_is_no_file(made: Files, tmp_path: Path) -> None:
    assert "is a directory" in mistakes(document(made, tls_ca_path=tmp_path))["security.tls_ca_path"]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("tls_cert_path", "holds no certificate; expected a PEM block BEGIN CERTIFICATE"),
        ("tls_key_path", "holds no private key; expected a PEM block BEGIN PRIVATE KEY"),
        ("tls_ca_path", "holds no certificate; expected a PEM block BEGIN CERTIFICATE"),
        ("tls_crl_path", "holds no revocation list; expected a PEM block BEGIN X509 CRL"),
    ],
)
@pytest.mark.parametrize("content", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_holds_something_else_is_told(
    made: Files, tmp_path: Path, key: str, kind: str, content: str
) -> None:
    path = tmp_path / "file.pem"
    path.write_text(content)
    assert mistakes(document(made, **{key: path})) == {f"security.{key}": f"{path} {kind}"}


def test_an_encrypted_key_is_told(made: Files, tmp_path: Path) -> None:
    path = tmp_path / "encrypted.key"
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(b"password")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    assert (
        "is encrypted; expected a key without a password"
        in mistakes(document(made, tls_key_path=path))["security.tls_key_path"]
    )


def test_a_key_of_another_certificate_is_told(made: Files) -> None:
    assert mistakes(document(made, tls_key_path=made.node_key)) == {
        "security": (
            f"tls_key_path {made.node_key} is not the key of tls_cert_path {made.server_certificate}; "
            "expected the two to be made together"
        )
    }


def test_a_huge_file_is_not_read(made: Files, tmp_path: Path) -> None:
    path = tmp_path / "huge.pem"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    assert f"larger than {FILE_BYTES_MAX} bytes" in mistakes(document(made, tls_ca_path=path))["security.tls_ca_path"]


def test_a_file_with_several_certificates_gives_all(made: Files, tmp_path: Path) -> None:
    other, _ = Authority.create(tmp_path / "other")
    path = tmp_path / "both.pem"
    path.write_bytes(made.ca.read_bytes() + (other.directory / "ca.pem").read_bytes())
    assert len(read_certificates(path)) == 2


def test_nothing_is_looked_into_when_not_asked_for(tmp_path: Path) -> None:
    config = load(f"security: {{tls_cert_path: {tmp_path}/no}}", {}, check_files=False)
    assert config.security.tls_cert_path == tmp_path / "no"
