"""Sources that fail or hang cost only themselves."""

import asyncio
import threading
from collections.abc import Iterable, Iterator

import pytest
from prometheus_client import CollectorRegistry

from telemetry_collector.agent.sampler import Sampler
from telemetry_collector.agent.sources import Source, gauge
from telemetry_collector.clock import ManualClock
from telemetry_collector.sender import Point


class Good:
    name = "good"

    def read(self) -> Iterator[Point]:
        yield gauge("good.value", 1.0, "1")


class Failing:
    """Fails after its first point."""

    name = "failing"

    def read(self) -> Iterator[Point]:
        yield gauge("failing.value", 1.0, "1")
        raise OSError("no such device")


class Hanging:
    """Does not return before it is released."""

    name = "hanging"

    def __init__(self) -> None:
        self.release = threading.Event()

    def read(self) -> Iterable[Point]:
        assert self.release.wait(30), "the test has forgotten us"
        return [gauge("hanging.value", 1.0, "1")]


class Odd:
    name = "odd"

    def read(self) -> Iterator[Point]:
        for value in (float("nan"), float("inf"), -float("inf"), 2.0):
            yield gauge("odd.value", value, "1")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def sampler(registry: CollectorRegistry, *sources: Source, timeout_secs: float = 10.0) -> Sampler:
    return Sampler(sources, registry, ManualClock(), timeout_secs=timeout_secs)


async def test_a_source_that_fails_does_not_cost_the_others(registry: CollectorRegistry) -> None:
    sampling = sampler(registry, Failing(), Good())
    for _ in range(3):
        assert [point.name for point in await sampling.sample()] == ["good.value"]
    assert sampling.failures == {"failing": 3, "good": 0}
    labels = {"source": "failing"}
    assert registry.get_sample_value("telemetry_collector_agent_source_failures_total", labels) == 3
    sampling.stop()


async def test_a_source_that_hangs_does_not_cost_the_others_and_returns(registry: CollectorRegistry) -> None:
    hanging = Hanging()
    sampling = sampler(registry, hanging, Good(), timeout_secs=0.05)
    assert [point.name for point in await sampling.sample()] == ["good.value"]
    assert [point.name for point in await sampling.sample()] == ["good.value"]
    assert sampling.failures["hanging"] == 2
    hanging.release.set()
    async with asyncio.timeout(10):
        while len(await sampling.sample()) < 2:  # noqa: ASYNC110  # threads have no events for the loop
            await asyncio.sleep(0.001)
    sampling.stop()


async def test_values_that_are_not_finite_are_left_out(registry: CollectorRegistry) -> None:
    sampling = sampler(registry, Odd())
    assert [point.value for point in await sampling.sample()] == [2.0]
    sampling.stop()


async def test_failures_and_durations_are_metrics_themselves(registry: CollectorRegistry) -> None:
    sampling = sampler(registry, Failing(), Good())
    await sampling.sample()
    own = {(point.name, point.tags): point.value for point in sampling.own_points()}
    assert own["agent.source.errors", (("source", "failing"),)] == 1
    assert own["agent.source.errors", (("source", "good"),)] == 0
    assert 0 <= own["agent.sample.duration", (("source", "good"),)] < 10
    sampling.stop()
    sampling.stop()


async def test_without_sources_there_are_no_points(registry: CollectorRegistry) -> None:
    assert await sampler(registry).sample() == []
