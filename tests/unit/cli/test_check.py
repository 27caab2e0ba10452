"""`check` tells every mistake and nothing secret."""

import json
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.conftest import Command

from telemetry_collector.security.authority import Files, set_up


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return set_up(tmp_path / "certs")


@pytest.fixture
def security(files: Files) -> str:
    return section(files.server_certificate, files.server_key, files.ca)


@pytest.fixture
def node_security(files: Files) -> str:
    return section(files.node_certificate, files.node_key, files.ca)


def section(certificate: Path, key: Path, authority: Path) -> str:
    paths = {"tls_cert_path": str(certificate), "tls_key_path": str(key), "tls_ca_path": str(authority)}
    return f"security: {json.dumps(paths)}\n"


WRONG = "limits:\n  max_batch_size: none\nparket: {}\ninfluxdb: {token: hunter2, url: 5}\n"


def test_every_mistake_is_printed_with_its_line(command: Command, security: str) -> None:
    Path("c.yaml").write_text(WRONG + security)
    result = command("check", "c.yaml")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "5 mistakes in c.yaml"
    assert lines[1].startswith("c.yaml:2: limits.max_batch_size = none: is not a whole number; expected a whole number")
    assert lines[2] == "c.yaml:3: parket: is not a section; did you mean parquet?"
    assert [line.split(": ")[1] for line in lines[3:]] == ["influxdb.url = 5", "influxdb.org", "influxdb.bucket"]
    assert "hunter2" not in result.output


def test_machines_get_json(command: Command, security: str) -> None:
    Path("c.yaml").write_text("limits:\n  max_batch_size: none\n" + security)
    result = command("check", "c.yaml", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "source": "c.yaml",
        "mistakes": [
            {
                "key": "limits.max_batch_size",
                "value": "none",
                "line": 2,
                "problem": "is not a whole number",
                "expected": "expected a whole number from 1 to 1000000: points of one batch",
            }
        ],
    }


def test_a_good_file_is_told_to_be_one(command: Command, security: str) -> None:
    Path("c.yaml").write_text(security + "console: {}\nparquet: {}\n")
    result = command("check", "c.yaml")
    assert (result.exit_code, result.stdout) == (
        0,
        "c.yaml: no mistakes; its sections are server, security, receivers, scrape, grpc, query, limits, quotas, "
        "journal, traces, logs, api, observability, console, parquet\n",
    )
    assert json.loads(command("check", "c.yaml", "--json").stdout) == {
        "ok": True,
        "source": "c.yaml",
        "mistakes": [],
        "warnings": [],
    }


def test_a_certificate_of_the_wrong_kind_is_a_warning(command: Command, files: Files, node_security: str) -> None:
    Path("c.yaml").write_text(node_security)
    problem = "is made for: client; expected server; no agent will connect"
    warning = f"security.tls_cert_path = {files.node_certificate}: {problem}"
    result = command("check", "c.yaml")
    assert (result.exit_code, result.stdout.splitlines()[1:]) == (0, [f"c.yaml: warning: {warning}"])
    assert json.loads(command("check", "c.yaml", "--json").stdout)["warnings"] == [warning]


def test_what_it_comes_to_can_be_shown_and_has_no_secrets(
    command: Command, security: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFLUXDB_TOKEN", "hunter2")
    Path("c.yaml").write_text(
        security + 'influxdb: {url: "http://db:8086", org: o, bucket: b, token: "${INFLUXDB_TOKEN}"}\n'
    )
    shown = command("check", "--show", "c.yaml")
    assert shown.exit_code == 0
    values = yaml.safe_load(shown.stdout)
    assert values["limits"]["max_cardinality"] == 100_000
    assert values["influxdb"]["token"] == "**********"
    assert json.loads(command("check", "--show", "--json", "c.yaml").stdout)["config"] == values
    assert "hunter2" not in shown.output


def test_the_file_is_found_like_the_collectors(command: Command, security: str) -> None:
    Path("config.yaml").write_text(security)
    assert command("check").stdout.startswith("config.yaml: no mistakes")


def test_a_file_that_is_not_there_is_a_mistake(command: Command) -> None:
    result = command("check", "none.yaml")
    assert result.exit_code == 1
    assert "none.yaml: cannot be read: no such file or directory" in result.stdout


def test_an_agents_file_is_checked_as_one(command: Command, node_security: str) -> None:
    Path("a.yaml").write_text(node_security)
    assert command("check", "--agent", "a.yaml").stdout.startswith("a.yaml: no mistakes")
    Path("a.yaml").write_text(node_security + "limits: {}\n")
    result = command("check", "--agent", "a.yaml")
    assert result.exit_code == 1
    assert "a.yaml:2: limits: is not a section" in result.stdout
