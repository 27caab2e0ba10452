"""The service manager's protocol, over a real socket."""

import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from telemetry_collector.observe.systemd import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's end, and the NOTIFY_SOCKET that names it."""
    name = f"@telemetry-test-{secrets.token_hex(8)}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        channel.settimeout(5)
        yield channel, name


def test_every_word_reaches_the_service_manager(manager: tuple[socket.socket, str]) -> None:
    channel, name = manager
    service = ServiceManager({"NOTIFY_SOCKET": name})
    assert service.present

    service.ready("listening on 0.0.0.0:5001\nand more")
    assert channel.recv(4096) == b"READY=1\nSTATUS=listening on 0.0.0.0:5001 and more"
    service.ready()
    assert channel.recv(4096) == b"READY=1"
    service.alive()
    assert channel.recv(4096) == b"WATCHDOG=1"
    service.status("x" * 500)
    assert channel.recv(4096) == b"STATUS=" + b"x" * 200
    service.extend_timeout(1.5)
    assert channel.recv(4096) == b"EXTEND_TIMEOUT_USEC=1500000"
    service.stopping("draining")
    assert channel.recv(4096) == b"STOPPING=1\nSTATUS=draining"


def test_a_reload_carries_the_moment_it_began(manager: tuple[socket.socket, str]) -> None:
    channel, name = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    ServiceManager({"NOTIFY_SOCKET": name}).reloading()
    first, second = channel.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= before + 60_000_000


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_with_nobody_to_tell_nothing_happens(environ: dict[str, str]) -> None:
    service = ServiceManager({**environ, "WATCHDOG_USEC": "10000000"})
    assert not service.present
    assert service.watchdog_secs is None
    with capture_logs() as logs:
        service.ready()
        service.alive()
        service.stopping()
    assert logs == []


def test_the_process_own_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    assert ServiceManager().present
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not ServiceManager().present


@pytest.mark.parametrize(
    ("period", "pid", "secs"),
    [
        ("10000000", "", 5.0),
        ("10000000", str(os.getpid()), 5.0),
        ("10000000", str(os.getpid() + 1), None),
        ("0", "", None),
        ("", "", None),
        ("soon", "", None),
    ],
)
def test_the_sign_of_life_is_due_at_half_the_watchdogs_period(period: str, pid: str, secs: float | None) -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": period, "WATCHDOG_PID": pid}
    assert ServiceManager(environ).watchdog_secs == secs


def test_a_service_manager_that_is_gone_is_told_once_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    service = ServiceManager({"NOTIFY_SOCKET": str(path)})
    with capture_logs() as logs:
        service.alive()
        service.alive()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind(str(path))
            service.alive()
            assert channel.recv(64) == b"WATCHDOG=1"
        service.alive()
    assert [entry["event"] for entry in logs] == ["service_manager_unreachable"] * 2
