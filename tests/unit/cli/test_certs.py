"""`certs` makes what a collector and its agents need, and tells what there is."""

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Command

from telemetry_collector.config import load


def test_init_makes_a_set_that_a_configuration_takes(command: Command) -> None:
    result = command("certs", "init")
    assert result.exit_code == 0
    assert "made  certs/ca.pem\nmade  certs/server.pem\nmade  certs/node.pem\n" in result.stdout
    document = result.stdout.split("\n\n")[-1]
    security = load(document, {}).security
    assert security.tls_cert_path == Path("certs/server.pem")
    assert security.tls_crl_path == Path("certs/ca.crl")


def test_init_again_keeps_everything(command: Command) -> None:
    command("certs", "init", "--dir", "here")
    before = {path: path.read_bytes() for path in Path("here").iterdir()}
    result = command("certs", "init", "--dir", "here")
    assert result.exit_code == 0
    assert "kept  here/ca.pem\nkept  here/server.pem\nkept  here/node.pem\n" in result.stdout
    assert {path: path.read_bytes() for path in Path("here").iterdir()} == before
    assert json.loads(command("certs", "init", "--dir", "here", "--force", "--json").stdout) == {
        "ca": "here/ca.pem",
        "crl": "here/ca.crl",
        "server_certificate": "here/server.pem",
        "server_key": "here/server.key",
        "node_certificate": "here/node.pem",
        "node_key": "here/node.key",
        "made": ["ca", "server", "node"],
    }


def test_init_again_with_a_new_host_says_that_the_certificate_lacks_it(command: Command) -> None:
    command("certs", "init", "--host", "a.example")
    again = command("certs", "init", "--host", "a.example", "--host", "b.example").stdout
    assert "certs/server.pem was there and does not name b.example; another certificate will:" in again
    advice = next(line for line in again.splitlines() if "certs issue" in line).split()[1:]
    assert command(*advice).exit_code == 0
    (issued,) = json.loads(command("certs", "show", "certs/collector.pem", "--json").stdout)
    assert issued["hosts"] == ["b.example"]
    assert "does not name" not in command("certs", "init", "--host", "a.example").stdout


def test_issue_and_revoke_a_node(command: Command) -> None:
    command("certs", "init")
    issued = command("certs", "issue", "gpu-07", "--days", "30")
    assert issued.exit_code == 0
    assert "made  certs/gpu-07.pem\nmade  certs/gpu-07.key\nvalid until 20" in issued.stdout
    revoked = command("certs", "revoke", "gpu-07")
    assert revoked.exit_code == 0
    assert revoked.stdout.startswith("revoked  gpu-07  serial ")
    assert revoked.stdout.endswith("signed   certs/ca.crl\n")
    assert "gpu-07 was revoked before" in command("certs", "revoke", "gpu-07").stdout
    (shown,) = json.loads(command("certs", "show", "certs/gpu-07.pem", "--json").stdout)
    assert (shown["node"], shown["status"]) == ("gpu-07", "revoked")


def test_issue_gives_json(command: Command) -> None:
    command("certs", "init")
    issued = json.loads(command("certs", "issue", "n", "--json").stdout)
    assert (issued["file"], issued["key"], issued["kind"]) == ("certs/n.pem", "certs/n.key", "node")
    (revoked,) = json.loads(command("certs", "revoke", issued["serial"], "--json").stdout)
    assert revoked["serial"] == issued["serial"]
    assert revoked["revoked_at"]


def test_issue_a_server_and_an_identity(command: Command) -> None:
    command("certs", "init")
    command("certs", "issue", "c", "--server", "--dns", "c.example.org", "--dns", "10.0.0.1", "--file", "collector")
    command("certs", "issue", "bare.example.org", "--server")
    command("certs", "issue", "relay", "--uri", "spiffe://telemetry/relay/eu")
    shown = {entry["file"]: entry for entry in json.loads(command("certs", "show", "--json").stdout)}
    assert shown["certs/collector.pem"]["hosts"] == ["c.example.org", "10.0.0.1"]
    assert shown["certs/bare.example.org.pem"]["hosts"] == ["bare.example.org"]
    assert shown["certs/relay.pem"]["identity"] == "spiffe://telemetry/relay/eu"
    assert shown["certs/relay.pem"]["node"] == "eu"


def test_show_tells_identity_and_node(command: Command) -> None:
    command("certs", "init", "--node", "gpu-01")
    result = command("certs", "show")
    assert result.exit_code == 0
    assert "certs/node.pem\n  status    valid\n" in result.stdout
    assert "  identity  spiffe://telemetry/node/gpu-01\n  node      gpu-01\n" in result.stdout
    assert "  usage     authority\n" in result.stdout


def test_show_ends_with_1_for_a_named_certificate_that_is_not_good(command: Command) -> None:
    command("certs", "init", "--node", "gpu-01")
    assert command("certs", "show", "certs/node.pem").exit_code == 0
    command("certs", "revoke", "gpu-01")
    assert command("certs", "show", "certs/node.pem").exit_code == 1
    assert command("certs", "show").exit_code == 0


def test_show_judges_by_the_list_beside_the_file(command: Command) -> None:
    command("certs", "init", "--dir", "authority", "--node", "gpu-01")
    command("certs", "revoke", "--dir", "authority", "gpu-01")
    result = command("certs", "show", "authority/node.pem")
    assert (result.exit_code, result.stdout.splitlines()[1]) == (1, "  status    revoked")


def test_show_judges_by_the_list_that_it_is_given(command: Command) -> None:
    command("certs", "init", "--node", "gpu-01")
    Path("old.crl").write_bytes(Path("certs/ca.crl").read_bytes())
    command("certs", "revoke", "gpu-01")
    assert command("certs", "show", "certs/node.pem", "--crl", "old.crl").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (
            ["issue", "n"],
            1,
            "no certificate authority in certs; `telemetry-collector certs init --dir certs` makes one",
        ),
        (["revoke", "n"], 1, "no certificate authority in certs"),
        (["show"], 1, "there are no certificates in certs; `telemetry-collector certs init` makes some"),
        (["show", "none.pem"], 1, "cannot read none.pem: no such file or directory"),
        (["issue", "n", "--server", "--uri", "a:b"], 2, "--uri is for nodes"),
        (["issue"], 2, "Missing argument 'NAME'"),
    ],
)
def test_what_cannot_be_done_is_told(command: Command, words: list[str], code: int, text: str) -> None:
    result = command("certs", *words)
    assert result.exit_code == code
    assert text in result.stderr
    assert not Path("certs").exists()
