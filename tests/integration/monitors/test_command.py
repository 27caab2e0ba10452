"""Checks that are commands."""

import asyncio
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.checks import alive, look, measures
from tests.support.waiting import until

from telemetry_collector.agent.monitors.outcome import Reason, State


async def test_a_command_ends_as_expected_or_its_first_words_are_told() -> None:
    assert (await look("command", command=["true"])).state is State.UP
    failed = await look("command", shell="echo the disk is full >&2; exit 3")
    assert (failed.reason, failed.detail) == (Reason.EXIT, "/bin/sh ended with 3: the disk is full")
    assert measures(failed) == {"service.check.exit_code": 3}
    assert (await look("command", shell="exit 3", expected_exit=[0, 3])).state is State.UP
    assert (await look("command", command=["/no/such/program"])).reason is Reason.START
    # Without a shell nobody reads this as more than a word.
    assert (await look("command", command=["echo", "; exit 1"])).state is State.UP
    killed = await look("command", shell="kill -9 $$")
    assert killed.detail == "/bin/sh was ended by signal 9"


async def test_what_a_command_prints_is_bounded_and_never_holds_it_up() -> None:
    outcome = await look("command", shell="head -c 20000000 /dev/zero | tr '\\0' x; exit 1")
    assert outcome.reason is Reason.EXIT
    assert len(outcome.detail) <= 300


async def test_a_command_is_killed_with_its_group_at_its_timeout(tmp_path: Path) -> None:
    file = shlex.quote(str(tmp_path / "pid"))
    outcome = await look("command", shell=f"trap '' TERM; sleep 900 & echo $! > {file}; wait", timeout_secs=0.5)
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.secs < 5
    grandchild = int((tmp_path / "pid").read_text())
    await until(lambda: not alive(grandchild))


async def test_a_command_is_killed_with_its_group_also_when_its_time_is_over_while_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    starting = subprocess.Popen.__init__

    def slow(process: "subprocess.Popen[bytes]", *args: Any, **kwargs: Any) -> None:
        starting(process, *args, **kwargs)
        while not pid.exists():  # as long as the command takes to have a child of its own
            os.sched_yield()
        looking.cancel()

    monkeypatch.setattr(subprocess.Popen, "__init__", slow)
    file = shlex.quote(str(pid))
    looking = asyncio.ensure_future(
        look("command", shell=f"sleep 900 & echo $! > {file}.new; mv {file}.new {file}; wait")
    )
    with pytest.raises(asyncio.CancelledError):
        await looking
    grandchild = int(pid.read_text())
    await until(lambda: not alive(grandchild))


async def test_a_grandchild_that_keeps_the_output_open_does_not_hold_the_check_and_does_not_stay(
    tmp_path: Path,
) -> None:
    file = shlex.quote(str(tmp_path / "pid"))
    outcome = await look("command", shell=f"sleep 900 & echo $! > {file}; exit 0")
    assert (outcome.state, outcome.secs < 10) == (State.UP, True)
    grandchild = int((tmp_path / "pid").read_text())
    await until(lambda: not alive(grandchild))
