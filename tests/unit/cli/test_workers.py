"""`workers` and `status` against a running API, and against what is none."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.support.api_thread import serving
from tests.unit.cli.conftest import Command

from telemetry_collector.api.workers import Heartbeat, TelemetryManager
from telemetry_collector.cli import workers as module
from telemetry_collector.clock import ManualClock, SystemClock
from telemetry_collector.errors import AddressError

EVIL = "worker\x1b[2J [red]3"


@pytest.fixture(scope="module")
def addr() -> Iterator[str]:
    clock = ManualClock(SystemClock().unix_secs() - 7_500)
    manager = TelemetryManager(clock=clock)
    assert manager.process_heartbeat(Heartbeat("worker-2", "n", 1.0, -1.0, -1.0, [], 0))
    clock.advance(7_500)
    tasks = [("7", "train", "running", 0), (EVIL, "", "", 0)]
    assert manager.process_heartbeat(Heartbeat("worker-1", "n", 0.256, 0.5, 0.75, tasks, 0))
    assert manager.process_heartbeat(Heartbeat(EVIL, "n", 0.0, 0.0, 0.0, [], 0))
    with serving(manager) as address:
        yield str(address)


def test_the_table_has_the_inactive_ones_first(command: Command, addr: str) -> None:
    result = command("workers", "--addr", addr)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[1] == ["worker", "state", "cpu", "memory", "gpu", "tasks", "last", "heard"]
    assert lines[3][:6] == ["worker-2", "inactive", "100%", "–", "–", "0"]
    assert lines[3][6:] == ["2.1", "h", "ago"]
    assert lines[5][:6] == ["worker-1", "active", "26%", "50%", "75%", "2"]
    assert lines[-1] == ["3", "workers,", "2", "active"]


def test_a_workers_words_do_not_command_the_terminal(command: Command, addr: str) -> None:
    for words in (["workers"], ["status", "worker-1"], ["status", EVIL]):
        result = command(*words, "--addr", addr)
        assert "\x1b" not in result.output
        assert "worker�[2J [red]3" in result.output


def test_json_is_what_the_api_has(command: Command, addr: str) -> None:
    found = json.loads(command("workers", "--json", "--addr", addr).stdout)
    assert set(found) == {"worker-1", "worker-2", EVIL}
    assert json.loads(command("status", EVIL, "--json", "--addr", addr).stdout) == found[EVIL]


@pytest.mark.parametrize(("worker", "code"), [("worker-1", 0), ("worker-2", 3), ("worker-3", 4), ("a/../b?", 4)])
def test_the_exit_code_says_whether_it_is_active(command: Command, addr: str, worker: str, code: int) -> None:
    assert command("status", worker, "--addr", addr).exit_code == code


def test_the_address_is_the_environments_unless_it_is_given(
    command: Command, addr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PORT", addr)
    assert command("status", "worker-1").exit_code == 0
    monkeypatch.setenv("HTTP_PORT", f"0.0.0.0:{addr.partition(':')[2]}")
    assert command("status", "worker-1").exit_code == 0, "what listens everywhere listens here"
    monkeypatch.setenv("HTTP_PORT", "1")
    assert command("status", "worker-1").exit_code == 1
    assert command("status", "worker-1", "--addr", addr).exit_code == 0


@pytest.mark.parametrize("words", [["workers"], ["workers", "--watch"], ["status", "worker-1"]])
def test_where_nobody_listens_it_is_said_where_it_was_tried_and_what_sets_it(
    command: Command, words: list[str]
) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        result = command(*words, "--addr", f"127.0.0.1:{port}")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        f"telemetry-collector: cannot reach a collector's API at http://127.0.0.1:{port}: connection refused; "
    )
    for key in ("api.http_addr", "api.http_port", "HTTP_PORT", "--addr"):
        assert key in result.stderr


def test_watching_goes_on_while_the_collector_is_started_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "WATCH_SECS", 0.0)
    for as_json in (True, False):
        answers: list[dict[str, Any] | BaseException] = [{}, AddressError("not there"), {}, KeyboardInterrupt()]

        def ask(answers: list[dict[str, Any] | BaseException] = answers) -> dict[str, Any]:
            answer = answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        with pytest.raises(KeyboardInterrupt):
            module._watch(ask, as_json=as_json)
        told = capsys.readouterr()
        assert not answers
        if as_json:
            assert (told.out, told.err) == ("{}\n{}\n", "not there\n")


@contextmanager
def stranger(status: int, body: bytes) -> Iterator[str]:
    """A server that answers everything so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base calls it
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(30)


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, b"<html>", "its answer to {} is no JSON"),
        (200, b"[]", "it answers 200 to {}"),
        (404, b"{}", "it answers 404 to {}"),
        # As the collector's own metrics page has it.
        (404, b'{"error": "not found", "status": 404}', "it answers 404 to {}"),
        (500, b"{}", "it answers 500 to {}"),
    ],
)
def test_another_server_is_not_taken_for_a_collector(command: Command, status: int, body: bytes, problem: str) -> None:
    with stranger(status, body) as addr:
        for words, path in ((["workers"], "/workers"), (["status", "x"], "/telemetry")):
            result = command(*words, "--addr", addr)
            assert result.exit_code == 1
            told = problem.format(path).partition(" is no JSON")[0]
            assert f"what listens at http://{addr} is no collector's API: {told}" in result.stderr


def test_what_is_no_http_is_told(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        addr = f"127.0.0.1:{server.getsockname()[1]}"
        result = command("workers", "--addr", addr)
        thread.join(30)
    assert result.exit_code == 1
    assert f"what listens at http://{addr} is no collector's API: its answer is no HTTP" in result.stderr


def test_an_address_that_is_none_is_a_mistake_of_the_command_line(command: Command) -> None:
    result = command("workers", "--addr", "8080")
    assert result.exit_code == 2
    assert "--addr: expected host:port" in result.stderr


def test_the_help_teaches(command: Command) -> None:
    text = command("status", "--help").stdout
    assert "Exit codes:" in text
    assert "3  it is known, and inactive" in text
    assert "telemetry-collector workers --watch" in command("workers", "--help").stdout
