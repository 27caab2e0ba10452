"""The agent's own use against its budgets, and what of its sources is wanted then."""

import time
from collections.abc import Iterator, Mapping

import pytest
from prometheus_client import CollectorRegistry

from telemetry_collector.agent import NodeAgentConfig
from telemetry_collector.agent.sampler import Sampler
from telemetry_collector.agent.shedding import Shedding
from telemetry_collector.agent.sources import gauge
from telemetry_collector.clock import ManualClock
from telemetry_collector.sender import Point, SenderStats
from telemetry_collector.sender.stats import Tally

NOTHING_TO_SPARE = {"max_cpu_percent": None, "max_memory_mb": 16, "max_disk_mb": None}
PLENTY = {"max_cpu_percent": None, "max_memory_mb": 1_048_576, "max_disk_mb": None}


def config(resources: Mapping[str, object], **changes: object) -> NodeAgentConfig:
    return NodeAgentConfig.model_validate({"resources": resources, "spool_dir": None, **changes})


def stats() -> SenderStats:
    return Tally().snapshot(points_pending=0, batches_pending=0, connected_to=None)


class Mixed:
    """Some points that may be left out, and one that may be sometimes."""

    name = "mixed"

    def __init__(self, *names: str) -> None:
        self.names = names
        self.readings = 0

    def read(self) -> Iterator[Point]:
        self.readings += 1
        return (gauge(name, 1, "1") for name in self.names)


class Node:
    def __init__(self, configuration: NodeAgentConfig) -> None:
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.shedding = Shedding(configuration, "gpu-7", self.registry, self.clock)

    def pass_steps(self, steps: int) -> None:
        for _ in range(steps + 1):
            self.shedding.begin(stats())
            self.clock.advance(10)

    def shed(self, pattern: str) -> float | None:
        return self.registry.get_sample_value("telemetry_collector_agent_points_shed_total", {"pattern": pattern})


def test_an_agent_over_its_memory_falls_step_by_step_and_rises_when_it_may_use_more() -> None:
    node = Node(config(NOTHING_TO_SPARE))
    node.pass_steps(0)
    assert node.shedding.rates["*"] == 1.0, "what it uses to begin does not count"
    node.pass_steps(3)
    assert node.shedding.rates["*"] == pytest.approx(0.9**4)
    assert node.shedding.rates["agent.*"] == 1.0
    node.shedding.exchange(config(NOTHING_TO_SPARE, per_cpu=True))
    assert node.shedding.rates["*"] == pytest.approx(0.9**4), "nothing that it goes by has changed"
    node.shedding.exchange(config(PLENTY))
    assert node.shedding.rates["*"] == 1.0


def test_its_processor_time_counts_as_a_share_of_one_processor() -> None:
    node = Node(config({**PLENTY, "max_cpu_percent": 0.000_001}))
    node.pass_steps(0)
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        pass
    node.pass_steps(0)
    assert node.shedding.rates["*"] == pytest.approx(0.9)


def test_switched_off_it_leaves_nothing_out() -> None:
    node = Node(config(NOTHING_TO_SPARE, sampling={"enabled": False}))
    node.pass_steps(50)
    assert set(node.shedding.rates.values()) == {1.0}
    assert node.shedding.wants("mixed")


async def test_a_source_is_read_only_when_something_of_it_is_due_and_the_rest_is_counted() -> None:
    node = Node(config(NOTHING_TO_SPARE))
    node.pass_steps(60)
    assert node.shedding.rates["process.*"] == 0.01
    rare, mixed = Mixed("process.count", "process.count"), Mixed("service.check.up", "system.load.1m")
    rare.name = "rare"
    sampler = Sampler([rare, mixed], node.registry, node.clock, timeout_secs=10)
    names: list[str] = []
    for _ in range(200):
        node.shedding.begin(stats())
        names += [point.name for point in await sampler.sample(node.shedding)]
    sampler.stop()
    assert rare.readings <= 4, "once to know it, then a hundredth"
    assert names.count("process.count") <= 2 * 3
    assert mixed.readings == names.count("service.check.up") == 200
    assert names.count("system.load.1m") == pytest.approx(20, abs=1)
    assert node.shed("*") == 200 - names.count("system.load.1m")
    assert node.shed("process.*") == 400 - names.count("process.count")
    assert node.shed("service.*") is None
    told = {(point.name, *point.tags): point.value for point in node.shedding.points()}
    assert told["agent.points.shed", ("pattern", "process.*")] == node.shed("process.*")
    assert told["agent.sampling.rate", ("pattern", "*")] == 0.1
    assert told["agent.budget.usage", ("budget", "memory")] > 1


async def test_a_source_that_had_nothing_to_tell_is_read_again() -> None:
    node = Node(config(NOTHING_TO_SPARE))
    node.pass_steps(60)
    late = Mixed()
    sampler = Sampler([late], node.registry, node.clock, timeout_secs=10)
    assert await sampler.sample(node.shedding) == []
    late.names = ("service.check.up",)
    assert [point.name for point in await sampler.sample(node.shedding)] == ["service.check.up"]
    sampler.stop()
