"""The systemd units, judged by systemd's own tools."""

import configparser
import re
from pathlib import Path

import pytest
from tests.support.repository import REPOSITORY, run

from telemetry_collector.agent import NodeAgentConfig
from telemetry_collector.cli.main import COMMANDS
from telemetry_collector.config import Journal, Server

COLLECTOR = REPOSITORY / "telemetry-collector.service"
AGENT = REPOSITORY / "telemetry-collector-agent.service"
EXPOSURE_MAX = 25
"""Tenths, of 100: what `systemd-analyze security` calls OK ends at 40."""

both = pytest.mark.parametrize("unit", [COLLECTOR, AGENT], ids=lambda path: path.stem)


def settings(unit: Path) -> configparser.SectionProxy:
    """The [Service] section; where a key stands more than once, its last value."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    return parser["Service"]


@both
def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    run("systemd-analyze", "verify", "--man=no", unit)


@both
def test_systemd_finds_it_well_confined(unit: Path) -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)


@both
def test_it_starts_a_command_that_exists(unit: Path) -> None:
    program, command, *_ = settings(unit)["ExecStart"].removeprefix("/usr/bin/env ").split()
    assert program == "telemetry-collector"
    assert command in COMMANDS


@both
def test_it_does_not_run_as_root(unit: Path) -> None:
    assert settings(unit)["User"] not in ("", "root")
    assert settings(unit)["NoNewPrivileges"] == "yes"
    assert settings(unit)["CapabilityBoundingSet"] == ""


@both
def test_its_user_is_the_one_that_installing_creates(unit: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", REPOSITORY / "deploy/sysusers.conf")
    users = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert settings(unit)["User"] in users
    assert settings(unit)["Group"] in groups


@both
def test_systemd_waits_until_it_is_ready_and_restarts_it_when_it_hangs(unit: Path) -> None:
    service = settings(unit)
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert service["Restart"] == "always"


def test_stopping_may_take_as_long_as_the_collector_gives_itself() -> None:
    assert int(settings(COLLECTOR)["TimeoutStopSec"]) > Server().shutdown_timeout_secs


def calls_let_through(unit: Path) -> set[str]:
    """What the SystemCallFilter lines leave, read in their order as systemd does."""
    left: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), flags=re.MULTILINE):
        named = {call for group in line.removeprefix("~").split() for call in calls_of(group)}
        left = left - named if line.startswith("~") else left | named
    return left


def calls_of(group: str) -> set[str]:
    """The system calls of a group such as @chown, those of groups within it included."""
    if not group.startswith("@"):
        return {group}
    lines = (line.strip() for line in run("systemd-analyze", "syscall-filter", group).splitlines()[1:])
    return {call for line in lines if line and not line.startswith("#") for call in calls_of(line)}


def test_the_agent_may_give_its_socket_to_a_group_and_to_a_mode() -> None:
    assert {"chown", "fchownat", "chmod"} <= calls_let_through(AGENT)
    assert not {"chroot", "setuid", "nice"} & calls_let_through(AGENT)


def test_the_collector_may_write_where_its_defaults_say() -> None:
    state = {Path("/var/lib") / name for name in settings(COLLECTOR)["StateDirectory"].split()}
    assert Journal().dir.parent in state


def test_the_agent_may_write_where_its_defaults_say() -> None:
    state = {Path("/var/lib") / name for name in settings(AGENT)["StateDirectory"].split()}
    assert NodeAgentConfig().spool_dir in state
