"""The batch table: what refuses a batch as a whole, and in which order everything is judged. Heartbeats."""

from __future__ import annotations

import gzip
import math
from typing import Any

import pytest
from tests.contract import raw
from tests.contract.conftest import Doors
from tests.contract.door import (
    IDENTITY,
    Door,
    Stream,
    batch,
    columns,
    definition,
    expect,
    expect_malformed,
    expect_refused,
    expect_stored,
    metric,
    resident_bytes,
)
from tests.support.protobuf import pb

from telemetry_collector.model import Outcome, Reason

OTHER = {"node_id": "node-2"}
OWN = {"node_id": "node-1"}


@pytest.mark.parametrize("limit", [1, 3, None])
def test_more_points_than_the_limit(shared: Door, doors: Doors, limit: int | None) -> None:
    """Of rows and columns together; a histogram is one point. The default is 1,000."""
    door = shared if limit is None else doors(max_batch_size=limit)
    size = limit or 1_000
    one = metric("h", histogram=pb.Histogram(count=3, upper_bounds=[1, 2], bucket_counts=[1, 1, 1]))
    rows = [one] * (size - size // 2)
    series = [definition(1)]
    columned = columns(*[1] * (size // 2))
    expect_stored(door.ask(batch(*rows, series=series, points=[columned])), size)
    expect_refused(door.ask(batch(*rows, metric(), series=series, points=[columned])), Reason.BATCH_TOO_LARGE, size + 1)
    too_many = batch(*rows, series=series, points=[columned, columns(1, 1)])
    expect_refused(door.ask(too_many), Reason.BATCH_TOO_LARGE, size + 2)
    expect_refused(door.ask(batch(*rows, *rows, *rows)), Reason.BATCH_TOO_LARGE, 3 * len(rows)) if size > 1 else None


def test_points_that_would_be_refused_count_too(doors: Doors) -> None:
    door = doors(max_batch_size=2)
    bad = metric("", value=math.nan)
    expect_refused(door.ask(batch(bad, bad, bad)), Reason.BATCH_TOO_LARGE, 3)


def points(form: str, tags: dict[str, str], common: dict[str, str]) -> Any:
    """A batch of two points, of which the second has these tags."""
    if form == "row":
        return batch(metric("first"), metric("second", tags=tags), common_tags=common)
    series = [definition(1, "first"), definition(2, "second", tags=tags)]
    return batch(series=series, points=[columns(1, 2)], common_tags=common)


@pytest.mark.parametrize("form", ["row", "column"])
@pytest.mark.parametrize(
    ("tags", "common", "good"),
    [
        ({}, {}, True),
        (OWN, {}, True),
        ({}, OWN, True),
        (OWN, OWN, True),
        (OTHER, {}, False),
        ({}, OTHER, False),
        (OTHER, OWN, False),
        (OTHER, OTHER, False),
        # The first point has the common one, which is another's.
        (OWN, OTHER, False),
        ({"node_id": "Node-1"}, {}, False),
        ({"node_id": "node-1 "}, {}, False),
        ({"node_id": ""}, {}, False),
        ({}, {"node_id": ""}, False),
        ({"NODE_ID": "node-2"}, {}, True),
    ],
)
def test_an_effective_node_id_is_the_identitys_node(
    door: Door, form: str, tags: dict[str, str], common: dict[str, str], good: bool
) -> None:
    ack = door.ask(points(form, tags, common))
    if good:
        expect_stored(ack, 2)
        assert [row["node_id"] for row in door.stored()] == ["node-1"] * 2
    else:
        expect_refused(ack, Reason.IDENTITY_MISMATCH, 2)
        assert door.stored() == []


@pytest.mark.parametrize("form", ["row", "column"])
def test_a_common_node_id_that_every_point_overrides_is_nobodys(door: Door, form: str) -> None:
    if form == "row":
        message = batch(metric(tags=OWN), common_tags=OTHER)
    else:
        message = batch(series=[definition(1, tags=OWN)], points=[columns(1)], common_tags=OTHER)
    expect_stored(door.ask(message))
    assert [row["node_id"] for row in door.stored()] == ["node-1"]


def test_a_definition_that_no_point_uses_speaks_for_nobody(shared: Door) -> None:
    stream = shared.stream()
    expect_stored(stream.ask(batch(metric(), series=[definition(1, tags=OTHER)])))
    expect_refused(stream.ask(batch(metric(), points=[columns(1)])), Reason.IDENTITY_MISMATCH, 2)


def test_a_node_id_beyond_the_64th_tag_is_seen(shared: Door) -> None:
    crowd = [(f"k{number}", "v") for number in range(100)]
    for message in (
        batch(metric(tags=[*crowd, ("node_id", "node-2")])),
        batch(metric(), common_tags=[*crowd, ("node_id", "node-2")]),
    ):
        expect_refused(shared.ask(message), Reason.IDENTITY_MISMATCH)


@pytest.mark.parametrize(
    ("message", "good"),
    [
        (batch(sequence=1, common_tags=OWN), True),
        (batch(sequence=1, common_tags=OTHER), False),
        (batch(heartbeat={"worker_id": "node-1"}), True),
        (batch(heartbeat={}), True),
        (batch(sequence=1, heartbeat={"worker_id": "node-2"}), False),
        (batch(heartbeat={"worker_id": "node-1"}, common_tags=OTHER), False),
        (batch(series=[definition(1)], common_tags=OTHER), False),
    ],
)
def test_the_check_holds_without_points(shared: Door, message: Any, good: bool) -> None:
    ack = shared.ask(message)
    if good:
        expect_stored(ack, 0)
    else:
        expect_refused(ack, Reason.IDENTITY_MISMATCH, 0)


def test_a_worker_of_another_node_refuses_the_points_beside_it(shared: Door) -> None:
    ack = shared.ask(batch(metric(), metric("n"), heartbeat={"worker_id": "worker-7"}))
    expect_refused(ack, Reason.IDENTITY_MISMATCH, 2)


FOREIGN = [
    batch(metric(tags=OTHER)),
    batch(metric(), common_tags=OTHER),
    batch(series=[definition(1, tags=OTHER)], points=[columns(1)]),
    batch(metric(), heartbeat={"worker_id": "node-2"}),
]


def test_relays_may_speak_for_any_node(door: Door) -> None:
    stream = door.stream("spiffe://fleet/relay", "relay", relay=True)
    for ack in stream.ask_all(FOREIGN):
        expect_stored(ack)
    expect_stored(stream.ask(batch(metric())))
    rows = door.stored()
    assert [row["node_id"] for row in rows] == ["node-2", "node-2", "node-2", "relay", "relay"]
    assert {row["identity"] for row in rows} == {"spiffe://fleet/relay"}


def test_without_the_binding_anybody_may_speak_for_any_node(doors: Doors) -> None:
    door = doors(bind_node_id=False)
    for ack in door.stream().ask_all([*FOREIGN, batch(metric())]):
        expect_stored(ack)
    rows = door.stored()
    assert [row["node_id"] for row in rows] == ["node-2", "node-2", "node-2", "node-1", "node-1"]
    assert {row["identity"] for row in rows} == {IDENTITY}


def test_a_series_that_is_not_defined_refuses_the_whole_batch(shared: Door) -> None:
    stream = shared.stream()
    message = batch(metric(), series=[definition(1)], points=[columns(1, 1, 2)])
    expect_refused(stream.ask(message), Reason.UNKNOWN_SERIES, 4)
    expect_refused(stream.ask(batch(points=[columns(1), columns(2)])), Reason.UNKNOWN_SERIES, 2)


def test_an_unknown_series_is_sent_again_under_its_name_on_a_new_stream(door: Door) -> None:
    named = {"sequence": 3, "epoch": 9, "points": [columns(1)]}
    expect_refused(door.ask(batch(**named)), Reason.UNKNOWN_SERIES)
    expect_stored(door.ask(batch(series=[definition(1)], **named)))
    expect(door.ask(batch(series=[definition(1)], **named)), Outcome.DUPLICATE)


def test_the_order_of_judgement(doors: Doors) -> None:
    """Malformed, stored before, unknown series, too large, another's, then the points."""
    door = doors(max_batch_size=2)
    expect_stored(door.ask(batch(metric(), sequence=1, epoch=1)))
    malformed = pb.MetricBatch(
        sequence=1, epoch=1, points=[columns(5), columns(1, values=[])], metrics=[metric("", tags=OTHER)] * 3
    )
    expect_malformed(door.ask(malformed), 1)

    duplicate = batch(*[metric("", tags=OTHER)] * 3, points=[columns(5)], sequence=1, epoch=1)
    expect(door.ask(duplicate), Outcome.DUPLICATE)

    unknown = batch(*[metric("", tags=OTHER)] * 3, points=[columns(5)], sequence=2, epoch=1)
    expect_refused(door.ask(unknown), Reason.UNKNOWN_SERIES, 4)

    large = batch(*[metric("", tags=OTHER)] * 3, sequence=2, epoch=1)
    expect_refused(door.ask(large), Reason.BATCH_TOO_LARGE, 3)

    other = batch(*[metric("", tags=OTHER)] * 2, sequence=2, epoch=1)
    expect_refused(door.ask(other), Reason.IDENTITY_MISMATCH, 2)

    expect_refused(door.ask(batch(metric(""), sequence=2, epoch=1)), Reason.INVALID_NAME)
    expect_stored(door.ask(batch(metric(), sequence=2, epoch=1)))


def test_a_definition_again_differently_is_malformed_before_it_is_a_duplicate(door: Door) -> None:
    stream = door.stream()
    expect_stored(stream.ask(batch(metric(), series=[definition(1)], sequence=1, epoch=1)))
    expect_malformed(stream.ask(batch(metric(), series=[definition(1, "n")], sequence=1, epoch=1)), 1)


def test_a_batch_that_fits_no_segment_of_the_journal_is_too_large(doors: Doors) -> None:
    """Whatever of it was refused already: its points are told in full."""
    door = doors(journal_segment_bytes=64 * 1024, max_batch_size=100_000)
    noise = [metric(f"m{number:05}{pow(7, number, 2**127 - 1):x}", value=math.sqrt(number)) for number in range(6_000)]
    expect_refused(door.ask(batch(*noise)), Reason.BATCH_TOO_LARGE, 6_000)
    ack = door.ask(batch(*noise, metric("bad", value=math.nan)))
    assert ack.outcome == Outcome.REJECTED
    assert (ack.accepted_points, ack.rejected_points) == (0, 6_001)
    assert sum(rejection.points for rejection in ack.rejections) == 6_001


HEARTBEAT = {"worker_id": "node-1", "cpu_usage": 0.5, "memory_usage": 0.5, "gpu_usage": 0.5, "timestamp_unix_ns": 5}


@pytest.mark.parametrize("usage", ["cpu_usage", "memory_usage", "gpu_usage"])
@pytest.mark.parametrize(
    ("number", "good"),
    [(0.0, True), (1.0, True), (-1.0, True), (math.nextafter(1, 2), False), (math.nan, False), (math.inf, False)],
)
def test_a_heartbeat_with_a_number_that_is_none_is_ignored_and_counted(
    door: Door, usage: str, number: float, good: bool
) -> None:
    """The rest of its batch is judged as ever."""
    expect_stored(door.ask(batch(metric(), heartbeat={**HEARTBEAT, usage: number}, sequence=1, epoch=1)))
    stats = door.core.stats()
    assert (stats["heartbeats_taken"], stats["heartbeats_ignored"]) == ((1, 0) if good else (0, 1))
    expect_stored(door.ask(batch(heartbeat={**HEARTBEAT, usage: number}, sequence=2, epoch=1)), 0)
    stats = door.core.stats()
    assert stats["heartbeats_taken"] + stats["heartbeats_ignored"] == 2


def test_a_heartbeat_with_thousands_of_tasks_is_taken(stream: Stream) -> None:
    tasks = [pb.RunningTask(task_id=f"task {number}", status="running") for number in range(3_000)]
    expect_stored(stream.ask(batch(metric(), heartbeat={**HEARTBEAT, "running_tasks": tasks})))


def test_a_refused_batch_brings_no_heartbeat(door: Door) -> None:
    expect_refused(door.ask(batch(heartbeat={**HEARTBEAT, "worker_id": "x"})), Reason.IDENTITY_MISMATCH, 0)
    expect_refused(door.ask(batch(heartbeat=HEARTBEAT, points=[columns(1)])), Reason.UNKNOWN_SERIES)
    expect_malformed(door.ask(batch(heartbeat=HEARTBEAT, epoch=1)))
    assert door.core.stats()["heartbeats_taken"] == 0


def test_a_heartbeats_texts_are_not_judged(stream: Stream) -> None:
    task = raw.message("RunningTask")(task_id=b"\xff", name=b"\x00" * 2_000, status=b"")
    message = raw.MetricBatch(heartbeat=raw.Heartbeat(worker_id=b"node-1", running_tasks=[task]), sequence=1)
    expect_stored(stream.ask(message), 0)
    refused = raw.MetricBatch(heartbeat=raw.Heartbeat(worker_id=b"\xff"), sequence=1)
    expect_refused(stream.ask(refused), Reason.IDENTITY_MISMATCH, 0)


def test_a_heartbeats_texts_are_kept_in_part(door: Door) -> None:
    """A small frame may hold megabytes of them, and the newest heartbeat of each worker is kept."""
    stream = door.stream("spiffe://fleet/relay", "relay", relay=True)
    long = "x" * 4_000_000

    def ask(worker: int) -> None:
        task = pb.RunningTask(task_id=long, name=long, status=long)
        inner = batch(heartbeat={"worker_id": f"worker-{worker}", "running_tasks": [task]}).SerializeToString()
        body = gzip.compress(inner, 1)
        compressed = pb.CompressedBody(algorithm=pb.CompressedBody.GZIP, uncompressed_size=len(inner), body=body)
        expect_stored(stream.ask(pb.MetricBatch(compressed=compressed)), 0)

    ask(0)
    before = resident_bytes()
    for worker in range(1, 9):
        ask(worker)
    assert door.core.stats()["heartbeats_taken"] == 9
    # Each would take 12 MB if its texts were kept.
    assert resident_bytes() - before < 48 * 1024 * 1024
