"""All checks of a configuration in their thread: what is counted, what stays open, what stopping ends."""

import asyncio
import os
import shlex
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry
from tests.support.checks import PATIENCE, alive, config
from tests.support.waiting import until

from telemetry_collector.agent.monitors import MonitorsConfig, MonitorThread
from telemetry_collector.agent.monitors.thread import make
from telemetry_collector.clock import SystemClock
from telemetry_collector.sender import Point


async def test_looks_leave_no_file_open(server: str) -> None:
    process = psutil.Process()
    settings = config(
        http=[{**PATIENCE, "url": f"{server}/ok"}, {**PATIENCE, "url": "http://127.0.0.1:9/"}],
        tcp=[{**PATIENCE, "address": server.removeprefix("http://")}],
        command=[{**PATIENCE, "command": ["true"]}, {**PATIENCE, "command": ["/none"]}],
    )
    watches = make(settings, lambda *_: None)

    async def all_of_them() -> int:
        for watch in watches:
            await watch.outcome_since(asyncio.get_running_loop().time())
        return process.num_fds()

    before = await all_of_them()
    for _ in range(5):
        await all_of_them()
    await until(lambda: process.num_fds() <= before)


def value(points: list[Point], name: str, **tags: str) -> float | None:
    fitting = [point for point in points if point.name == name and set(tags.items()) <= set(point.tags)]
    return fitting[0].value if fitting else None


async def test_a_service_that_goes_down_and_comes_back_is_counted_and_told_once_each(
    server: str, tmp_path: Path
) -> None:
    registry = CollectorRegistry()
    monitors, pid_file = MonitorThread(registry, SystemClock()), tmp_path / "service.pid"
    pid_file.write_text(str(os.getpid()))
    often = {"interval_secs": 0.5, "timeout_secs": 0.5}
    shop = {**PATIENCE, "url": f"{server}/ok", "service": "shop", "depends_on": ["process0"]}
    settings = config(process=[{**often, "pid_file": str(pid_file)}], http=[shop])
    monitors.start(settings)

    def read() -> list[Point]:
        return list(monitors.source.read())

    def told(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"telemetry_collector_{name}_total", labels)

    try:
        await until(lambda: value(read(), "service.check.up", check="process0") == 1)
        pid_file.unlink()
        await until(lambda: value(read(), "service.check.up", check="process0") == 0)
        await until(lambda: (value(read(), "service.check.failures", check="process0") or 0) >= 2)
        pid_file.write_text(str(os.getpid()))
        await until(lambda: value(read(), "service.check.up", check="process0") == 1)
        tags = {"service": "shop", "check": "http0", "kind": "http", "target": f"{server}/ok"}
        await until(lambda: value(read(), "service.check.status_code", **tags) == 200)
        points = read()
        assert value(points, "service.check.blocked", **tags) == 0
        assert value(points, "service.dependency.up", service="shop", check="http0", dependency="process0") == 1
    finally:
        await monitors.stop()
        await monitors.stop()
    assert told("agent_checks_recovered") == 1
    assert told("agent_checks_failed", state="down") == 1


async def test_checks_that_stay_the_same_go_on_and_stopping_ends_commands(tmp_path: Path) -> None:
    monitors, file = MonitorThread(CollectorRegistry(), SystemClock()), tmp_path / "pid"
    settings = config(command=[{**PATIENCE, "shell": f"echo $$ > {shlex.quote(str(file))}; exec sleep 900"}])
    monitors.start(settings)
    await until(lambda: file.exists() and file.read_text().strip())
    command = int(file.read_text())
    await monitors.stop_unless(settings)
    monitors.start(settings)
    assert alive(command)
    await monitors.stop_unless(MonitorsConfig())
    assert not alive(command)
    monitors.start(MonitorsConfig())
    assert list(monitors.source.read()) == []
    await monitors.stop()
