"""What the sources read on this machine, against docs/metrics.md and against the system itself."""

import math
import os
import re
import shutil
import time
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry

from telemetry_collector.agent import NodeAgentConfig
from telemetry_collector.agent.monitors.board import Board, ChecksSource, Entry
from telemetry_collector.agent.monitors.outcome import Measure, Outcome, Reason, State
from telemetry_collector.agent.peers import Edge
from telemetry_collector.agent.self_metrics import AgentCost, sender_points
from telemetry_collector.agent.shedding import Shedding
from telemetry_collector.agent.sources import Source, ratio
from telemetry_collector.agent.sources.cpu import CpuSource, CpuUsage
from telemetry_collector.agent.sources.disk import DiskSource
from telemetry_collector.agent.sources.host import HostSource
from telemetry_collector.agent.sources.memory import MemorySource, memory_usage
from telemetry_collector.agent.sources.network import NetworkSource
from telemetry_collector.agent.sources.processes import ProcessesSource
from telemetry_collector.clock import ManualClock, SystemClock
from telemetry_collector.model import MetricType
from telemetry_collector.probe import Failure, Measurement
from telemetry_collector.sender import Point
from telemetry_collector.sender.stats import Tally

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"\| ([a-z][a-z0-9_.]*) \| (gauge|counter) \| (\S+) \| ([a-z_, ]*) ?\|")
NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


def documented() -> dict[str, tuple[str, str, frozenset[str]]]:
    rows = ROW.findall(DOCUMENT.read_text())
    return {name: (kind, unit, frozenset(re.findall(r"\w+", tags))) for name, kind, unit, tags in rows}


def sources() -> list[Source]:
    clock = SystemClock()
    return [
        CpuSource(per_cpu=True),
        MemorySource(),
        DiskSource(),
        NetworkSource(),
        HostSource(clock),
        ProcessesSource(3, clock),
    ]


def described(point: Point) -> tuple[str, str, frozenset[str]]:
    return point.type.label, point.unit, frozenset(key for key, _ in point.tags)


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
def test_points_are_as_documented(source: Source) -> None:
    rows = documented()
    points = list(source.read())
    assert points
    for point in points:
        assert NAME.fullmatch(point.name)
        assert rows[point.name] == described(point), point.name
        assert math.isfinite(point.value)
        if point.unit == "1":
            assert 0 <= point.value <= 1, point
    assert len({(point.name, point.tags) for point in points}) == len(points), "a series has one point a reading"


def test_the_agents_own_metrics_are_as_documented() -> None:
    tally = Tally(batches_acknowledged=1)
    tally.refused["cardinality_limit"] = 1
    tally.dropped["outbox_full"] = 1
    stats = tally.snapshot(points_pending=0, batches_pending=0, connected_to=None)
    rows = documented()
    shedding = Shedding(NodeAgentConfig(), "gpu-7", CollectorRegistry(), ManualClock())
    shedding.begin(stats)
    points = [*sender_points(stats), *AgentCost().points(), *shedding.points()]
    assert {point.name: rows[point.name] for point in points} == {point.name: described(point) for point in points}


def test_what_checks_find_is_as_documented() -> None:
    board = Board()
    board.put_up([Entry("shop", "shop", "http", "http://shop")])
    names = ("service.check.status_code", "service.check.exit_code", "service.process.count")
    found = [Measure(name, 1, "{process}" if name.endswith("count") else "1") for name in names]
    measures = (*found, Measure("service.certificate.expiry", 1, "s"))
    down = Outcome(0, 0.1, State.DOWN, Reason.STATUS, "", measures, {"db": True})
    board.note("shop", down)
    rows = documented()
    points = list(ChecksSource(board).read())
    assert {point.name: rows[point.name] for point in points} == {point.name: described(point) for point in points}
    assert {point.name for point in points} == {name for name in rows if name.startswith("service.")}


def test_what_probes_find_is_as_documented() -> None:
    edge = Edge("b:1")
    edge.note(Measurement(node="gpu-8", handshake_secs=0.1, sent=2, round_trips=(0.2,)))
    assert {point.tags[0] for point in edge.points()} == {("peer", "b:1")}
    edge.note(Measurement(failure=Failure.TIMEOUT))
    failed = {point.name: point for point in edge.points()}
    assert failed["network.peer.loss"].value == 1
    assert "network.peer.rtt" not in failed
    edge.note(Measurement(node="gpu-8", handshake_secs=0.1, sent=2, round_trips=(0.2,)))
    rows = documented()
    points = edge.points()
    assert {point.name: rows[point.name] for point in points} == {point.name: described(point) for point in points}
    assert {point.name for point in points} == {name for name in rows if name.startswith("network.peer.")}
    assert len({(point.name, point.tags) for point in points}) == len(points)


def test_a_blocked_check_says_nothing_of_its_own_service() -> None:
    board = Board()
    board.put_up([Entry("shop", "shop", "http", "http://shop")])
    board.note("shop", Outcome(0, 0.1, State.BLOCKED, Reason.STATUS, "", (), {"db": False}))
    points = {point.name: point.value for point in ChecksSource(board).read()}
    assert points["service.check.blocked"] == 1
    assert points["service.dependency.up"] == 0
    assert not {"service.check.up", "service.check.failures"} & set(points)


def test_everything_documented_for_this_machine_is_read() -> None:
    read = {point.name for source in sources() for point in source.read()}
    elsewhere = {name for name in documented() if name.startswith(("gpu.", "agent.", "service.", "network.peer."))}
    devices = {name for name in documented() if name.startswith("system.disk.")}  # a container may have no device
    assert set(documented()) - elsewhere - devices <= read


def test_counters_never_fall() -> None:
    for source in sources():
        before = {(p.name, p.tags): p.value for p in source.read() if p.type is MetricType.COUNTER}
        after = {(p.name, p.tags): p.value for p in source.read() if p.type is MetricType.COUNTER}
        # iowait may step back by a tick: proc(5) says so.
        assert all(after.get(key, value) >= value - 0.02 for key, value in before.items())


def test_cpu_usage_sees_work() -> None:
    source = CpuSource()
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        pass
    usage = next(point.value for point in source.read() if point.name == "system.cpu.usage")
    assert usage > 0


def test_the_modes_add_up_to_the_whole() -> None:
    source = CpuSource()
    ends = time.process_time() + 0.03
    while time.process_time() < ends:
        pass
    points = list(source.read())
    assert sum(point.value for point in points if point.name == "system.cpu.mode.usage") == pytest.approx(1.0, abs=1e-5)


def test_the_first_heartbeats_usage_is_since_the_systems_start() -> None:
    assert 0 < CpuUsage().read() <= 1
    assert 0 < memory_usage() < 1


def test_disk_space_is_what_the_system_says() -> None:
    root = {point.name: point.value for point in DiskSource().read() if dict(point.tags).get("mountpoint") == "/"}
    if root:  # containers may have no device of their own under /
        assert root["system.disk.total"] == pytest.approx(shutil.disk_usage("/").total, rel=0.01)
    assert list(DiskSource(exclude=("*",)).read()) == []


def test_excluded_interfaces_are_left_out() -> None:
    everything = {dict(point.tags)["interface"] for point in NetworkSource().read()}
    assert "lo" in everything
    rest = {dict(point.tags)["interface"] for point in NetworkSource(exclude=("l*",)).read()}
    assert "lo" not in rest


def test_uptime_and_processes() -> None:
    clock = ManualClock(psutil.boot_time() + 100)
    points = {point.name: point.value for point in HostSource(clock).read()}
    assert points["system.uptime"] == pytest.approx(100, abs=1)
    assert points["system.processes.count"] >= 1


def test_the_busiest_program_comes_first_and_a_program_is_one_series() -> None:
    clock = ManualClock()
    source = ProcessesSource(1, clock)
    list(source.read())
    ends = time.process_time() + 0.2
    while time.process_time() < ends:
        pass
    clock.advance(0.2)
    points = {point.name: point for point in source.read()}
    assert set(points) == {"process.cpu.usage", "process.memory.rss", "process.count"}
    own = psutil.Process(os.getpid()).name()
    if points["process.cpu.usage"].tags == (("program", own),):  # unless the machine is busy with something else
        assert points["process.cpu.usage"].value >= 0.5


@pytest.mark.parametrize(("part", "whole", "share"), [(1, 2, 0.5), (3, 2, 1.0), (-1, 2, 0.0), (1, 0, 0.0)])
def test_a_ratio_is_between_0_and_1(part: float, whole: float, share: float) -> None:
    assert ratio(part, whole) == share
