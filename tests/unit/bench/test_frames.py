"""Prepared frames, as another implementation of the wire reads them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.protobuf import Frames, pb

from telemetry_collector.bench.fingerprint import of_rows, of_texts
from telemetry_collector.bench.frames import Content, Lane, content_of, prepare
from telemetry_collector.bench.plan import Plan
from telemetry_collector.bench.reference import Fleet
from telemetry_collector.model import STANDARD_TAGS

START_MS = 1_700_000_000_000


def fleet_of(plan: Plan) -> Fleet:
    return Fleet(plan.agents, plan.series, plan.batch_points, START_MS)


def lanes_of(plan: Plan) -> list[Lane]:
    identities = [f"agent-{number}" for number in range(plan.connections_wanted)]
    return prepare(plan, fleet_of(plan), identities, lambda *_: None)


def read(frame: bytes) -> Any:
    (body,) = Frames().feed(frame)
    return pb.MetricBatch.FromString(body)


def content(batch: Any) -> Content:
    tags = [{tag.key: tag.value for tag in metric.tags} for metric in batch.metrics]
    texts = [
        *([metric.name for metric in batch.metrics], ["gauge"] * len(tags), [metric.unit for metric in batch.metrics]),
        *([own.get(key) for own in tags] for key in STANDARD_TAGS),
    ]
    moments = pa.array([metric.timestamp_unix_ns for metric in batch.metrics], pa.int64())
    values = pa.array([metric.value for metric in batch.metrics], pa.float64())
    return Content(len(tags), pc.sum(of_rows([of_texts(column) for column in texts], moments, values)).as_py())


def test_a_frame_sent_again_has_another_name_and_the_same_points() -> None:
    (lane, *_) = lanes_of(Plan(agents=1, series=10, batch_points=20, form="row", compression="none"))
    count = len(lane.batches)
    first, again = read(lane.frame(1, 1)), read(lane.frame(count + 1, count))
    assert (first.sequence, first.epoch, first.oldest_unacknowledged) == (1, lane.epoch, 1)
    assert (again.sequence, again.epoch, again.oldest_unacknowledged) == (count + 1, lane.epoch, count)
    assert first.metrics == again.metrics
    assert content(first) == lane.prepared(1).content == lane.prepared(count + 1).content


@pytest.mark.parametrize("sequence", [1, 127, 128, 2**14, 2**62])
def test_a_name_of_any_length_is_read_back(sequence: int) -> None:
    (lane, *_) = lanes_of(Plan(agents=400, series=2, batch_points=2, compression="zstd"))
    batch = read(lane.frame(sequence, sequence))
    assert (batch.sequence, batch.epoch, batch.oldest_unacknowledged) == (sequence, lane.epoch, sequence)


@pytest.mark.parametrize(("agents", "connections"), [(5, 5), (5, 2), (1, 1)])
def test_the_lanes_together_have_every_batch_of_the_data_set_once(agents: int, connections: int) -> None:
    plan = Plan(agents=agents, connections=connections, series=3, batch_points=6)
    lanes = lanes_of(plan)
    assert len({lane.epoch for lane in lanes}) == len(lanes)
    assert all(sum(lane.connection == number for lane in lanes) <= 4 for number in range(connections))
    expected = [content_of(fleet_of(plan).readings(number)) for number in range(agents * plan.batches_of_agent)]
    found = [prepared.content for lane in lanes for prepared in lane.batches]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_an_agent_with_a_connection_of_its_own_speaks_for_itself_alone() -> None:
    for lane in lanes_of(Plan(agents=3, series=2, batch_points=2, form="row", compression="none")):
        for sequence in range(1, len(lane.batches) + 1):
            nodes = {tag.value for metric in read(lane.frame(sequence, 1)).metrics for tag in metric.tags
                     if tag.key == "node_id"}  # fmt: skip
            assert nodes == {f"node-{lane.connection:05}"}


def test_definitions_are_sent_once_on_a_stream() -> None:
    (lane, *_) = lanes_of(Plan(agents=1, series=50, batch_points=100, compression="none"))
    counts = [len(read(lane.frame(sequence, 1)).series) for sequence in (1, 2, len(lane.batches) + 1)]
    assert counts == [50, 0, 0]
