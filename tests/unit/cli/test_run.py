"""Commands that start something hand it what the user decided, and end with what it ends with."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Command

from telemetry_collector.config import AgentConfig, Config
from telemetry_collector.errors import AddressError, JournalError
from telemetry_collector.security.authority import set_up


def securing(directory: Path, role: str) -> str:
    files = set_up(directory)
    certificate, key = (
        (files.server_certificate, files.server_key) if role == "server" else (files.node_certificate, files.node_key)
    )
    paths = {"tls_cert_path": str(certificate), "tls_key_path": str(key), "tls_ca_path": str(files.ca)}
    return f"security: {json.dumps(paths)}\n"


class Started:
    """Stands where the collector, the agent or the demo would be started."""

    def __init__(self, ends: int | Exception = 0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._ends = ends

    def __call__(self, *args: Any, **named: Any) -> int:
        self.calls.append((*args, named))
        if isinstance(self._ends, Exception):
            raise self._ends
        return self._ends


def test_run_starts_the_collector_with_the_file_it_was_given(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started(ends=7)
    monkeypatch.setattr("telemetry_collector.app.process.run_collector", started)
    Path("mine.yaml").write_text(securing(tmp_path / "certs", "server") + "limits: {max_batch_size: 9}\nconsole:\n")
    assert command("run", "mine.yaml", "--json").exit_code == 7
    assert command("mine.yaml").exit_code == 7
    (config, named), (_, other) = started.calls
    assert isinstance(config, Config)
    assert (config.limits.max_batch_size, list(config.writers), config.source) == (9, ["console"], "mine.yaml")
    assert (named, other) == ({"as_json": True, "fault_fd": None}, {"as_json": False, "fault_fd": None})


@pytest.mark.parametrize("words", [["run", "nowhere.yaml"], ["agent", "nowhere.yaml"]])
def test_a_reload_that_is_asked_for_too_early_ends_nothing(command: Command, words: list[str]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert command(*words).exit_code == 1
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_run_finds_its_file(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started()
    monkeypatch.setattr("telemetry_collector.app.process.run_collector", started)
    Path("config.yaml").write_text(securing(tmp_path / "certs", "server"))
    result = command()
    assert (result.exit_code, result.output) == (0, "")
    assert started.calls[0][0].source == "config.yaml"


def test_run_without_a_file_prints_the_defaults_it_uses(command: Command) -> None:
    result = command("run")
    assert "There is neither ./config.yaml" in result.stderr
    assert "listen_addr: 0.0.0.0:5001" in result.stderr
    assert "output_dir: /var/lib/horizon/telemetry" in result.stderr
    assert result.stdout == ""


def test_run_without_certificates_names_them_and_the_command_that_makes_them(command: Command) -> None:
    result = command("run")
    assert result.exit_code == 1
    for key, file in (("tls_cert_path", "server.pem"), ("tls_key_path", "server.key"), ("tls_ca_path", "ca.pem")):
        assert f"security.{key}: cannot read /etc/horizon/certs/{file}: no such file or directory" in result.stderr
    assert "`telemetry-collector certs init --dir /etc/horizon/certs`" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("error", [AddressError("port 5001 is taken"), JournalError("journal is locked")])
def test_what_stops_a_start_is_told_in_a_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("telemetry_collector.app.process.run_collector", Started(error))
    Path("config.yaml").write_text(securing(tmp_path / "certs", "server"))
    result = command("run")
    assert (result.exit_code, result.stderr) == (1, f"telemetry-collector: {error}\n")


def test_a_defect_keeps_its_traceback(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry_collector.app.process.run_collector", Started(ZeroDivisionError("defect")))
    Path("config.yaml").write_text(securing(tmp_path / "certs", "server"))
    assert isinstance(command("run").exception, ZeroDivisionError)


def test_agent_starts_an_agent(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(ends=3)
    monkeypatch.setattr("telemetry_collector.app.agent.run_agent", started)
    Path("agent.yaml").write_text(securing(tmp_path / "certs", "node") + "observability: {metrics_port: 0}\n")
    assert command("agent").exit_code == 3
    assert command("agent", "agent.yaml", "--json").exit_code == 3
    (config, named), (_, other) = started.calls
    assert isinstance(config, AgentConfig)
    assert (config.observability.metrics_port, config.source) == (0, "agent.yaml")
    assert (named, other) == ({"as_json": False}, {"as_json": True})


def test_agent_without_a_file_prints_the_defaults_it_uses(command: Command) -> None:
    result = command("agent")
    assert result.exit_code == 1
    assert "There is neither ./agent.yaml" in result.stderr
    assert "tls_cert_path: /etc/horizon/certs/node.pem" in result.stderr


def test_demo_starts_a_demo(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(ends=1)
    monkeypatch.setattr("telemetry_collector.demo.run_demo", started)
    assert command("demo").exit_code == 1
    assert command("demo", "--seconds", "2.5", "--json", "--data-dir", "d", "--certs-dir", "c").exit_code == 1
    assert started.calls == [
        (None, {"as_json": False, "data_dir": Path("data"), "certs_dir": Path("certs")}),
        (2.5, {"as_json": True, "data_dir": Path("d"), "certs_dir": Path("c")}),
    ]


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_a_demo_takes_time(command: Command, seconds: str) -> None:
    assert command("demo", "--seconds", seconds).exit_code == 2
