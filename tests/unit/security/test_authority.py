"""The development authority, judged by OpenSSL and by what files it leaves."""

import json
import stat
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.authority import Authority, local_hosts, local_name, set_up
from telemetry_collector.security.identity import Identity


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "certs"


@pytest.fixture
def authority(directory: Path) -> Authority:
    made, new = Authority.create(directory)
    assert new
    return made


def certificate(directory: Path, file: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / file).read_bytes())


def crl(directory: Path) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((directory / "ca.crl").read_bytes())


def crl_number(directory: Path) -> int:
    return crl(directory).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def openssl_verifies(directory: Path, file: str, purpose: str) -> str:
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", directory / "ca.pem", "-CRLfile", directory / "ca.crl",
         "-crl_check", "-purpose", purpose, directory / file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class TestCreating:
    def test_an_authority_can_sign_certificates_and_nothing_below_it_can(self, authority: Authority) -> None:
        ca = certificate(authority.directory, "ca.pem")
        assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
        usage = ca.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)

    def test_its_revocation_list_is_empty_signed_and_has_what_rustls_wants(self, authority: Authority) -> None:
        ca, found = certificate(authority.directory, "ca.pem"), crl(authority.directory)
        assert list(found) == []
        public_key = ca.public_key()
        assert found.is_signature_valid(public_key)  # type: ignore[arg-type]  # an EC key, as made
        identifier = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert identifier == ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert crl_number(authority.directory) == 1
        assert found.next_update_utc == ca.not_valid_after_utc

    def test_creating_again_keeps_everything(self, authority: Authority) -> None:
        before = contents(authority.directory)
        _, new = Authority.create(authority.directory)
        assert not new
        assert contents(authority.directory) == before

    def test_force_makes_a_new_one_that_has_issued_nothing(self, authority: Authority) -> None:
        authority.issue_node("a")
        name = certificate(authority.directory, "ca.pem").subject
        again, new = Authority.create(authority.directory, force=True)
        assert new
        assert again.issued == ()
        assert certificate(authority.directory, "ca.pem").subject != name

    @pytest.mark.parametrize("lost", ["ca.pem", "ca.key", "ca.crl", "issued.json"])
    def test_part_of_an_authority_is_not_overwritten(self, authority: Authority, lost: str) -> None:
        (authority.directory / lost).unlink()
        before = contents(authority.directory)
        with pytest.raises(CertificateError, match=f"{lost} is missing; put it back, or replace .* with --force"):
            Authority.create(authority.directory)
        assert contents(authority.directory) == before

    def test_opening_where_there_is_none_names_the_command(self, directory: Path) -> None:
        with pytest.raises(CertificateError, match=f"`telemetry-collector certs init --dir {directory}` makes one"):
            Authority.open(directory)

    def test_a_directory_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(CertificateError, match=r"cannot make the directory .*: not a directory"):
            Authority.create(tmp_path / "file" / "certs")


class TestIssuing:
    def test_a_nodes_certificate_names_it_and_is_for_clients_only(self, authority: Authority) -> None:
        issued = authority.issue_node("gpu-07")
        made = certificate(authority.directory, "gpu-07.pem")
        assert Identity.of(made) == Identity("spiffe://telemetry/node/gpu-07", "gpu-07")
        assert made.subject.rfc4514_string() == "CN=gpu-07"
        usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        assert f"{made.serial_number:x}" == issued.serial
        assert "OK" in openssl_verifies(authority.directory, "gpu-07.pem", "sslclient")
        assert "error" in openssl_verifies(authority.directory, "gpu-07.pem", "sslserver")

    def test_a_servers_certificate_has_its_names_and_is_for_servers_only(self, authority: Authority) -> None:
        authority.issue_server("collector", ["collector.example.org", "10.0.0.5", "::1", "::1"])
        made = certificate(authority.directory, "collector.pem")
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["collector.example.org"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "::1"]
        assert "OK" in openssl_verifies(authority.directory, "collector.pem", "sslserver")
        assert "error" in openssl_verifies(authority.directory, "collector.pem", "sslclient")

    def test_a_node_may_have_another_identity(self, authority: Authority) -> None:
        authority.issue_node("relay", uris=["spiffe://telemetry/relay/eu"], dns=["relay.example.org"])
        authority.issue_node("named", dns=["gpu-08.example.org"])
        relay, named = (certificate(authority.directory, f"{file}.pem") for file in ("relay", "named"))
        assert Identity.of(relay) == Identity("spiffe://telemetry/relay/eu", "eu")
        assert Identity.of(named) == Identity("gpu-08.example.org", "gpu-08.example.org")

    def test_keys_are_for_their_owner_alone(self, authority: Authority) -> None:
        authority.issue_node("gpu-07")
        keys = sorted(authority.directory.glob("*.key"))
        assert [path.name for path in keys] == ["ca.key", "gpu-07.key"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}

    def test_nothing_is_overwritten_without_force(self, authority: Authority) -> None:
        authority.issue_node("gpu-07")
        before = contents(authority.directory)
        with pytest.raises(CertificateError, match=r"gpu-07\.pem exists; expected another name, or --force"):
            authority.issue_node("gpu-07")
        assert contents(authority.directory) == before
        authority.issue_node("gpu-07", force=True)
        assert contents(authority.directory)["gpu-07.pem"] != before["gpu-07.pem"]
        assert [entry.name for entry in authority.issued] == ["gpu-07", "gpu-07"]

    def test_no_certificate_outlives_its_authority_or_its_days(self, directory: Path) -> None:
        clock = ManualClock(unix_secs=datetime(2026, 1, 1, tzinfo=UTC).timestamp())
        authority, _ = Authority.create(directory, clock=clock)
        authority.issue_node("short", days=2)
        authority.issue_node("long", days=3_650)
        clock.advance(86_400)
        authority.issue_node("later", days=3_650)
        end = certificate(directory, "ca.pem").not_valid_after_utc
        assert certificate(directory, "short.pem").not_valid_after_utc == datetime(2026, 1, 3, tzinfo=UTC)
        assert certificate(directory, "long.pem").not_valid_after_utc == end
        assert certificate(directory, "later.pem").not_valid_after_utc == end

    def test_a_certificate_is_good_on_a_machine_whose_clock_is_slow(self, authority: Authority) -> None:
        authority.issue_node("a")
        assert certificate(authority.directory, "a.pem").not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=4)

    @pytest.mark.parametrize("name", ["", "-a", "a/b", "../a", "a b", "é", "a" * 65, ".", "a\n"])
    def test_a_name_that_is_no_file_name_is_refused(self, authority: Authority, name: str) -> None:
        before = contents(authority.directory)
        with pytest.raises(CertificateError, match="cannot name a certificate; expected 1 to 64"):
            authority.issue_node(name, uris=["spiffe://a/b"])
        assert contents(authority.directory) == before

    @pytest.mark.parametrize("file", ["ca", "issued", "../x", ""])
    def test_the_authoritys_own_files_are_never_replaced(self, authority: Authority, file: str) -> None:
        before = contents(authority.directory)
        for name in ("a", "ca"):
            with pytest.raises(CertificateError, match="cannot name a certificate's file here"):
                authority.issue_node(name, file=file or "ca", force=True)
        assert contents(authority.directory) == before

    @pytest.mark.parametrize("days", [0, -1, 3_651])
    def test_days_have_bounds(self, authority: Authority, days: int) -> None:
        with pytest.raises(CertificateError, match=f"cannot be valid for {days} days; expected 1 to 3650"):
            authority.issue_node("a", days=days)

    @pytest.mark.parametrize("host", ["", "a b", "-a", "a..b", "http://a", "a" * 64, ".".join(["a" * 60] * 5)])
    def test_what_is_no_host_is_refused(self, authority: Authority, host: str) -> None:
        with pytest.raises(CertificateError, match="is no host name"):
            authority.issue_server("collector", [host])

    @pytest.mark.parametrize("uri", ["", "a", "/a/b", "a: b", "spiffe://é"])
    def test_what_is_no_uri_is_refused(self, authority: Authority, uri: str) -> None:
        with pytest.raises(CertificateError, match="is no URI"):
            authority.issue_node("a", uris=[uri])

    def test_a_server_without_names_is_refused(self, authority: Authority) -> None:
        with pytest.raises(CertificateError, match="needs a host name or address"):
            authority.issue_server("collector")


class TestRevoking:
    def test_a_node_is_revoked_with_all_its_certificates(self, authority: Authority) -> None:
        first = authority.issue_node("gpu-07")
        second = authority.issue_node("gpu-07", force=True)
        authority.issue_node("gpu-08")
        revoked = authority.revoke("gpu-07")
        assert {entry.serial for entry in revoked} == {first.serial, second.serial}
        assert {f"{entry.serial_number:x}" for entry in crl(authority.directory)} == {first.serial, second.serial}
        assert "certificate revoked" in openssl_verifies(authority.directory, "gpu-07.pem", "sslclient")
        assert "OK" in openssl_verifies(authority.directory, "gpu-08.pem", "sslclient")

    @pytest.mark.parametrize("form", ["{serial}", "0x{serial}", "{upper}", "{colons}", "00{serial}"])
    def test_one_certificate_is_revoked_by_its_serial_however_written(self, authority: Authority, form: str) -> None:
        first = authority.issue_node("gpu-07")
        authority.issue_node("gpu-07", force=True)
        even = first.serial.zfill(len(first.serial) + len(first.serial) % 2)
        colons = ":".join(even[place : place + 2] for place in range(0, len(even), 2))
        (revoked,) = authority.revoke(form.format(serial=first.serial, upper=first.serial.upper(), colons=colons))
        assert revoked.serial == first.serial
        assert revoked.revoked_at is not None
        assert len(list(crl(authority.directory))) == 1

    def test_the_lists_number_grows_with_each_signing(self, authority: Authority) -> None:
        numbers = [crl_number(authority.directory)]
        for node in ("a", "b"):
            authority.issue_node(node)
            authority.revoke(node)
            numbers.append(crl_number(authority.directory))
        assert numbers == sorted(set(numbers))

    def test_revoking_twice_changes_nothing_but_signs_anew(self, authority: Authority) -> None:
        authority.issue_node("a")
        (first,) = authority.revoke("a")
        (authority.directory / "ca.crl").write_text("lost")
        assert authority.revoke("a") == ()
        assert [f"{entry.serial_number:x}" for entry in crl(authority.directory)] == [first.serial]
        assert authority.issued[0].revoked_at == first.revoked_at

    def test_what_was_never_issued_cannot_be_revoked(self, authority: Authority) -> None:
        before = contents(authority.directory)
        with pytest.raises(CertificateError, match=r"'nobody' names no certificate that .* has issued"):
            authority.revoke("nobody")
        assert contents(authority.directory) == before


class TestTrouble:
    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"issued": [{}], "crl_number": 1}', '{"issued": 5}'])
    def test_a_damaged_record_is_told(self, authority: Authority, content: str) -> None:
        (authority.directory / "issued.json").write_text(content)
        with pytest.raises(CertificateError, match=r"issued\.json is damaged"):
            authority.issue_node("a")

    def test_a_record_that_is_gone_is_told(self, authority: Authority) -> None:
        (authority.directory / "issued.json").unlink()
        with pytest.raises(CertificateError, match=r"cannot read .*issued\.json: no such file or directory"):
            authority.revoke("a")

    def test_a_damaged_key_is_told(self, authority: Authority) -> None:
        (authority.directory / "ca.key").write_text("nothing")
        with pytest.raises(CertificateError, match=r"ca\.key is damaged"):
            authority.issue_node("a")

    def test_a_key_of_another_authority_is_told(self, authority: Authority, tmp_path: Path) -> None:
        other, _ = Authority.create(tmp_path / "other")
        (authority.directory / "ca.key").write_bytes((other.directory / "ca.key").read_bytes())
        with pytest.raises(CertificateError, match=r"ca\.key is not the key of"):
            authority.issue_node("a")

    def test_a_directory_that_is_gone_is_told(self, authority: Authority) -> None:
        for path in authority.directory.iterdir():
            path.unlink()
        authority.directory.rmdir()
        with pytest.raises(CertificateError, match=r"cannot open the directory .*: no such file or directory"):
            authority.revoke("a")

    def test_a_file_that_cannot_be_written_leaves_nothing_behind(self, authority: Authority) -> None:
        (authority.directory / "a.key").mkdir()
        before = sorted(path.name for path in authority.directory.iterdir())
        with pytest.raises(CertificateError, match=r"cannot write .*a\.key: is a directory"):
            authority.issue_node("a", force=True)
        assert sorted(path.name for path in authority.directory.iterdir()) == before

    def test_issuing_at_the_same_time_loses_nothing(self, authority: Authority) -> None:
        names = [f"node-{number}" for number in range(8)]
        threads = [
            threading.Thread(target=Authority.open(authority.directory).issue_node, args=(name,)) for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(entry.name for entry in authority.issued) == names


class TestSettingUp:
    def test_one_call_makes_all_that_two_sides_need(self, directory: Path) -> None:
        files = set_up(directory, hosts=["collector.example.org"])
        assert files.made == ("ca", "server", "node")
        names = certificate(directory, "server.pem").extensions.get_extension_for_class(x509.SubjectAlternativeName)
        hosts = names.value.get_values_for_type(x509.DNSName)
        assert {"localhost", "collector.example.org", local_name()} <= set(hosts)
        assert "OK" in openssl_verifies(directory, files.server_certificate.name, "sslserver")
        assert "OK" in openssl_verifies(directory, files.node_certificate.name, "sslclient")
        node = Identity.of(certificate(directory, "node.pem"))
        assert node is not None
        assert node.node == local_name()
        assert all(path.is_file() for path in (files.ca, files.crl, files.server_key, files.node_key))

    def test_a_second_call_changes_nothing(self, directory: Path) -> None:
        set_up(directory)
        before = contents(directory)
        assert set_up(directory, node="other").made == ()
        assert contents(directory) == before

    def test_what_is_missing_is_made_by_the_same_authority(self, directory: Path) -> None:
        set_up(directory)
        for path in directory.glob("node.*"):
            path.unlink()
        assert set_up(directory, node="again").made == ("node",)
        assert "OK" in openssl_verifies(directory, "node.pem", "sslclient")

    def test_force_replaces_everything(self, directory: Path) -> None:
        set_up(directory)
        before = contents(directory)
        assert set_up(directory, force=True).made == ("ca", "server", "node")
        after = contents(directory)
        assert all(after[name] != before[name] for name in before)

    def test_certificates_without_their_authority_are_not_mixed_with_a_new_one(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "server.pem").write_text("mine")
        with pytest.raises(CertificateError, match="exists without the authority that issued it"):
            set_up(directory)
        assert [path.name for path in directory.iterdir()] == ["server.pem"]

    def test_the_record_is_readable_json(self, directory: Path) -> None:
        set_up(directory, name="collector", node="node-1")
        record = json.loads((directory / "issued.json").read_text())
        assert [(entry["name"], entry["kind"], entry["file"]) for entry in record["issued"]] == [
            ("collector", "server", "server.pem"),
            ("node-1", "node", "node.pem"),
        ]


def test_this_machine_has_names() -> None:
    assert local_hosts()[:3] == ("localhost", "127.0.0.1", "::1")
    assert local_name() in local_hosts()


@pytest.mark.parametrize(
    ("hostname", "name"),
    [("gpu_07.example.org", "gpu-07.example.org"), ("-a-", "a"), ("", "localhost"), ("x" * 100, "x" * 64)],
)
def test_a_machines_name_is_made_fit(monkeypatch: pytest.MonkeyPatch, hostname: str, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: hostname)
    assert local_name() == name
