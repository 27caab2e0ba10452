"""What a measurement may be asked for; every refusal names the option, its value and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from telemetry_collector.bench.plan import PREPARED_BATCHES, Plan, PlanError, Target
from telemetry_collector.config import Address

TARGET = Target(
    address=Address("collector", 5001), certificate=Path("node.pem"), key=Path("node.key"), authority=Path("ca.pem")
)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"agents": 0}, "--agents 0: expected 1 to"),
        ({"series": 0}, "--series 0: expected 1 to"),
        ({"batch_points": 0}, "--batch-points 0: expected 1 to"),
        ({"agents": 4, "connections": 5}, "--connections 5: expected 1 to the number of agents, 4"),
        ({"connections": 0}, "--connections 0: expected 1 to"),
        ({"writers": ("kafka",)}, "--writers kafka: expected none, or some of parquet, influxdb"),
        ({"influxdb_url": "http://db:8086"}, "--influxdb-url http://db:8086: expected influxdb among --writers"),
        ({"influxdb_url": "ftp://db", "writers": ("influxdb",)}, "--influxdb-url ftp://db: expected an address"),
        *(({"rate": odd}, f"--rate {odd}: expected a finite number") for odd in (float("nan"), float("inf"))),
        *(({"seconds": odd}, f"--seconds {odd}: expected a finite number") for odd in (float("nan"), float("inf"))),
        ({"rate": 10.0}, "--rate 10: is less than a batch of 1000 points a minute"),
        ({"agents": 1_000, "series": 1_000_000}, "--agents 1000 with --series 1000000"),
        ({"target": TARGET, "agents": 100}, "--connections 100: expected at most 4 with --target"),
        ({"target": TARGET, "agents": 1, "pin": True}, "--pin: expected no --target"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_starts(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError) as refused:
        Plan(**asked)
    assert told in str(refused.value)


def test_a_connection_for_each_agent_unless_there_are_to_be_fewer() -> None:
    assert (Plan(agents=7).connections_wanted, Plan(agents=7).relayed) == (7, False)
    assert (Plan(agents=7, connections=2).connections_wanted, Plan(agents=7, connections=2).relayed) == (2, True)


@pytest.mark.parametrize(("agents", "series"), [(1, 100), (4, 5_000), (1_000, 100), (3, 1)])
def test_enough_batches_are_prepared_to_hold_every_series_and_not_the_same_few_bytes(agents: int, series: int) -> None:
    plan = Plan(agents=agents, series=series)
    assert plan.batches_of_agent * plan.batch_points >= series
    assert plan.batches_of_agent * agents >= PREPARED_BATCHES


def test_idle_agents_need_no_batches() -> None:
    assert Plan(agents=10_000, series=1_000_000, rate=0).idle
