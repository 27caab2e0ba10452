"""Checks of real processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.checks import look, measures

from telemetry_collector.agent.monitors.outcome import Reason, State


async def test_a_process_is_found_by_its_file_by_its_name_and_by_both(tmp_path: Path) -> None:
    own, pid_file = psutil.Process(), tmp_path / "service.pid"
    pid_file.write_text(f"{own.pid}\n")
    found = await look("process", pid_file=str(pid_file))
    assert (found.state, measures(found)) == (State.UP, {"service.process.count": 1})
    assert (await look("process", pid_file=str(pid_file), pattern=own.name()[:4] + "*")).state is State.UP
    # The number may have gone to another program since.
    assert (await look("process", pid_file=str(pid_file), pattern="no-such*")).reason is Reason.PROCESSES
    assert (await look("process", pattern=own.name())).state is State.UP
    assert (await look("process", pattern="no-such-*")).reason is Reason.PROCESSES
    assert (await look("process", pattern="no-such-*", processes_min=0)).state is State.UP
    many = await look("process", pattern="*", processes_max=1)
    assert (many.reason, measures(many)["service.process.count"] > 1) == (Reason.PROCESSES, True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, Reason.PROCESSES),
        ("4194999", Reason.PROCESSES),
        ("9" * 60, Reason.PROCESSES),
        ("-1", Reason.FAULT),
        ("", Reason.FAULT),
        ("1" * 1_000_000, Reason.FAULT),
    ],
)
async def test_a_file_without_a_living_process_is_down(tmp_path: Path, content: str | None, reason: Reason) -> None:
    pid_file = tmp_path / "service.pid"
    if content is not None:
        pid_file.write_text(content)
    assert (await look("process", pid_file=str(pid_file))).reason is reason


@pytest.fixture
def ended() -> Iterator[int]:
    """A process that nobody has collected."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    yield pid
    os.waitpid(pid, 0)


async def test_a_process_that_has_ended_and_waits_for_its_parent_is_down(tmp_path: Path, ended: int) -> None:
    pid_file = tmp_path / "service.pid"
    pid_file.write_text(str(ended))
    assert (await look("process", pid_file=str(pid_file))).reason is Reason.PROCESSES
