"""Heartbeats on their way through the core: handed on once, bound to their identity, and stored as metrics apart from
the batches that brought them.
"""

from __future__ import annotations

from typing import Any

from tests.contract.door import (
    IDENTITY,
    NODE,
    NOW,
    Door,
    batch,
    expect,
    expect_refused,
    expect_stored,
    metric,
)
from tests.support.protobuf import pb

from telemetry_collector.api.workers import Heartbeat
from telemetry_collector.api.workers.worker import IDENTITY as COLLECTOR
from telemetry_collector.model import Outcome, Reason

TASK = pb.RunningTask(task_id="7", name="train", status="running", started_unix_ns=5)
BEAT: dict[str, Any] = {"cpu_usage": 0.5, "memory_usage": 0.25, "gpu_usage": -1.0, "timestamp_unix_ns": NOW - 1}


def handed_on(door: Door) -> list[Heartbeat]:
    return [Heartbeat._make(one) for one in door.core.hand_on_heartbeats(100)]


def test_a_heartbeat_is_handed_on_whole_and_once(door: Door) -> None:
    expect_stored(door.ask(batch(heartbeat={**BEAT, "worker_id": NODE, "running_tasks": [TASK]})), 0)
    expect_stored(door.ask(batch(heartbeat={**BEAT, "timestamp_unix_ns": NOW - 2})), 0)
    found, *more = handed_on(door)
    assert more == []
    assert found.valid
    assert found == (NODE, NODE, 0.5, 0.25, -1.0, [("7", "train", "running", 5)], NOW - 1)
    assert handed_on(door) == []
    assert door.core.stats()["heartbeats_taken"] == 2


def test_without_a_name_and_time_it_is_the_nodes_and_of_now(door: Door) -> None:
    expect_stored(door.stream().ask(batch(heartbeat={"cpu_usage": 1.0})), 0)
    assert handed_on(door) == [(NODE, NODE, 1.0, 0.0, 0.0, [], NOW)]


def test_a_relay_speaks_for_others_and_the_common_tags_name_the_node(door: Door) -> None:
    relay = door.stream("spiffe://fleet/relay", "relay", relay=True)
    expect_stored(relay.ask(batch(heartbeat={**BEAT, "worker_id": "a"}, common_tags={"node_id": "a-node"})), 0)
    expect_stored(relay.ask(batch(heartbeat={**BEAT, "worker_id": "b"})), 0)
    assert {(found.worker_id, found.node_id) for found in handed_on(door)} == {("a", "a-node"), ("b", "b")}


def test_nobody_speaks_for_another_and_a_duplicate_brings_nothing(door: Door) -> None:
    expect_refused(door.ask(batch(heartbeat={**BEAT, "worker_id": "node-2"})), Reason.IDENTITY_MISMATCH, 0)
    assert handed_on(door) == []
    message = batch(metric(), heartbeat=BEAT, sequence=1, epoch=1)
    expect_stored(door.ask(message), 1)
    assert len(handed_on(door)) == 1
    expect(door.ask(message), Outcome.DUPLICATE)
    assert handed_on(door) == []


def test_what_workers_say_is_stored_as_gauges_of_the_collectors_own(door: Door) -> None:
    expect_stored(door.ask(batch(metric())))
    door.core.store_workers([("a", "a-node", 0.5, 0.25, -1.0, 3, NOW - 1), ("", "n", 0.0, 0.0, 0.0, 0, NOW)], NOW)
    sent, *rows = door.stored()
    assert (sent["identity"], sent["name"]) == (IDENTITY, "m")
    assert {row["name"]: row["value"] for row in rows} == {
        "worker.cpu.usage": 0.5,
        "worker.memory.usage": 0.25,
        "worker.running_tasks": 3.0,
    }
    for row in rows:
        assert (row["type"], row["unit"], row["node_id"], row["tags"]) == ("gauge", "1", "a-node", {"worker_id": "a"})
        assert (row["identity"], row["epoch"], row["sequence"]) == (COLLECTOR, 0, 0)
        assert (row["timestamp"], row["delta"]) == (NOW - 1, False)
    stats = door.core.stats()
    assert (stats["points_committed"], stats["worker_points_committed"]) == (1, 3)
    assert stats["worker_points_dropped"] == {"invalid_tag": 4}
