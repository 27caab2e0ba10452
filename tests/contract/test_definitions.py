"""Series defined in a stream: what a definition is, when it counts, how many there may be."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from tests.contract import raw
from tests.contract.conftest import Doors
from tests.contract.door import (
    Door,
    Stream,
    as_frame,
    batch,
    columns,
    definition,
    expect,
    expect_malformed,
    expect_refused,
    expect_stored,
    metric,
    resident_bytes,
    tags,
)
from tests.contract.raw import field
from tests.support.protobuf import pb

from telemetry_collector.model import Outcome, Reason

DEFINITIONS_MAX = 131_072
DEFINITION_BYTES_MAX = 32 * 1024 * 1024

FULL = {"name": "s", "tags": {"a": "1", "b": "2"}, "type": pb.COUNTER, "unit": "s", "delta": True}


def test_the_same_definition_again_is_free_in_any_order_of_its_tags(door: Door) -> None:
    stream = door.stream()
    turned = {**FULL, "tags": {"b": "2", "a": "1"}}
    message = batch(series=[definition(1, **FULL), definition(1, **turned)], points=[columns(1)])
    expect_stored(stream.ask(message))
    expect_stored(stream.ask(batch(series=[definition(1, **turned)], points=[columns(1)])))
    assert door.core.stats()["series"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"name": "t"},
        {"name": "S"},
        {"tags": {"a": "1"}},
        {"tags": {}},
        {"tags": {"a": "1", "b": "2", "c": "3"}},
        {"tags": {"a": "1", "b": "3"}},
        {"tags": {"a": "2", "b": "1"}},
        {"tags": {"a": "1b", "2": ""}},
        {"type": pb.GAUGE},
        {"type": pb.HISTOGRAM},
        {"type": 99},
        {"unit": "ms"},
        {"unit": ""},
        {"delta": False},
    ],
    ids=str,
)
def test_another_meaning_for_an_id_makes_its_batch_malformed(stream: Stream, change: dict[str, Any]) -> None:
    first, second = definition(7, **FULL), definition(7, **{**FULL, **change})
    expect_malformed(stream.ask(batch(series=[first, second], sequence=1)), 1)
    expect_stored(stream.ask(batch(series=[first], points=[columns(7)], sequence=2)))
    expect_malformed(stream.ask(batch(metric("row"), series=[second], sequence=3)), 3)
    # The first meaning still holds.
    expect_stored(stream.ask(batch(series=[first], points=[columns(7)], sequence=4)))


def test_ids_are_of_their_stream(shared: Door) -> None:
    one, two = shared.stream(), shared.stream()
    expect_stored(one.ask(batch(series=[definition(1, "one")], points=[columns(1)])))
    expect_refused(two.ask(batch(points=[columns(1)])), Reason.UNKNOWN_SERIES)
    expect_stored(two.ask(batch(series=[definition(1, "two")], points=[columns(1)])))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 1_023, 1_024, 1_000_000, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_every_number_is_an_id(door: Door, number: int) -> None:
    stream = door.stream()
    expect_refused(stream.ask(batch(points=[columns(number)])), Reason.UNKNOWN_SERIES)
    expect_stored(stream.ask(batch(series=[definition(number, "it")])), 0)
    expect_stored(stream.ask(batch(points=[columns(number)])))
    expect_malformed(stream.ask(batch(series=[definition(number, "other")])))
    expect_stored(stream.ask(batch(series=[definition(number, "it")], points=[columns(number)])))
    assert [row["name"] for row in door.stored()] == ["it", "it"]


def test_many_ids_in_no_order_keep_apart(door: Door) -> None:
    """Small and large ones, as agents that hash names would choose them."""
    stream = door.stream()
    numbers = [pow(7, place, 2**32 - 5) for place in range(1, 900)]
    assert len(set(numbers)) == len(numbers)
    for start in range(0, len(numbers), 100):
        series = [definition(number, f"m{number}") for number in numbers[start : start + 100]]
        expect_stored(stream.ask(batch(series=series)), 0)
    expect_stored(stream.ask(batch(points=[columns(*reversed(numbers))])), len(numbers))
    assert [row["name"] for row in door.stored()] == [f"m{number}" for number in reversed(numbers)]


def test_definitions_count_before_the_points_of_their_batch_wherever_they_stand(door: Door) -> None:
    points = batch(points=[columns(1)]).SerializeToString()
    series = batch(series=[definition(1, "late")]).SerializeToString()
    expect_stored(door.ask(points + series))
    assert [row["name"] for row in door.stored()] == ["late"]


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all points refused": ({"metrics": [metric(value=float("inf"))]}, {}),
    "another node": ({"metrics": [metric()], "common_tags": tags({"node_id": "x"})}, {}),
    "another worker": ({"heartbeat": {"worker_id": "x"}}, {}),
    "too large": ({"metrics": [metric()] * 3}, {"max_batch_size": 2}),
    "another unknown series": ({"points": [columns(9)]}, {}),
    "no room": ({"metrics": [metric()]}, {"backpressure_threshold": 0}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_definitions_of_a_batch_that_is_not_stored_count(doors: Doors, case: str) -> None:
    fields, settings = REFUSED[case]
    stream = doors(**settings).stream()
    ack = stream.ask(pb.MetricBatch(series=[definition(1)], sequence=1, **fields))
    assert ack.outcome == (Outcome.RETRY_LATER if case == "no room" else Outcome.REJECTED)
    assert all(rejection.reason != Reason.MALFORMED for rejection in ack.rejections)
    # Known now: what it is refused for, if for anything, is not the series.
    ack = stream.ask(batch(points=[columns(1)], sequence=2))
    if case == "no room":
        assert ack.outcome == Outcome.RETRY_LATER
    else:
        expect_stored(ack)
    expect_malformed(stream.ask(batch(series=[definition(1, "other")])))


def test_definitions_of_a_duplicate_count(door: Door) -> None:
    named = {"sequence": 1, "epoch": 5}
    expect_stored(door.ask(batch(metric(), **named)))
    stream = door.stream()
    ack = stream.ask(batch(series=[definition(1)], points=[columns(1)], **named))
    expect(ack, Outcome.DUPLICATE)
    expect_stored(stream.ask(batch(points=[columns(1)])))


def test_definitions_of_a_batch_whose_commit_is_pending_count(door: Door) -> None:
    """Agents need not wait for an acknowledgement before they use what they defined."""
    first = batch(series=[definition(1)], points=[columns(1)])
    for ack in door.stream().ask_all([first, *[batch(points=[columns(1)])] * 7]):
        expect_stored(ack)


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": [columns(1, values=[])]},
        {"metrics": [pb.Metric(timestamp_unix_ns=1 << 63)]},
        {"series": [definition(2), definition(2, "other")]},
        {"sequence": 1, "oldest_unacknowledged": 2},
        {"epoch": 1},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_definitions_of_a_malformed_batch_do_not_count(stream: Stream, wrong: dict[str, Any]) -> None:
    message = pb.MetricBatch(**wrong)
    message.series.insert(0, definition(1, "never"))
    expect_malformed(stream.ask(message), wrong.get("sequence", 0))
    expect_refused(stream.ask(batch(points=[columns(1)])), Reason.UNKNOWN_SERIES)
    # The id is free.
    expect_stored(stream.ask(batch(series=[definition(1, "something else")], points=[columns(1)])))


def test_a_malformed_batch_takes_back_nothing_that_was_defined_before(stream: Stream) -> None:
    expect_stored(stream.ask(batch(series=[definition(1), definition(5_000)])), 0)
    series = [definition(1), definition(2), definition(70_000), definition(5_000, "other")]
    expect_malformed(stream.ask(batch(series=series)))
    expect_stored(stream.ask(batch(points=[columns(1, 5_000)])), 2)
    for number in (2, 70_000):
        expect_refused(stream.ask(batch(points=[columns(number)])), Reason.UNKNOWN_SERIES)


def test_bytes_behind_a_definition_that_are_no_message_take_it_back(stream: Stream) -> None:
    body = field(5, definition(1).SerializeToString()) + b"\x22\x05"
    expect_malformed(stream.ask(body))
    expect_refused(stream.ask(batch(points=[columns(1)])), Reason.UNKNOWN_SERIES)


def test_a_definition_that_breaks_a_rule_refuses_its_points_and_no_more(stream: Stream) -> None:
    series = [
        raw.SeriesDefinition(id=1, name=b"\xff", type=2),
        raw.SeriesDefinition(id=2, name=b"m", tags=[raw.Tag(key=b"k")], type=2),
        raw.SeriesDefinition(id=3, name=b"m", unit=b"\n", type=2),
        raw.SeriesDefinition(id=4, name=b"m", type=3),
        raw.SeriesDefinition(id=5, name=b"m", type=2),
    ]
    points = [{"series_ids": [1, 2, 3, 4, 5], "values": [1] * 5}]
    for _ in range(2):
        ack = stream.ask(raw.MetricBatch(series=series, points=points))
        reasons = {Reason.INVALID_NAME: 1, Reason.INVALID_TAG: 2, Reason.INVALID_VALUE: 1}
        expect(ack, Outcome.PARTIAL, 1, 4, reasons)


@pytest.mark.parametrize("count", [65, 66, 300, 10_000])
def test_a_definition_with_too_many_tags_is_known_again(stream: Stream, count: int) -> None:
    crowd = [(f"k{place}", f"v{place}") for place in range(count)]
    first = definition(1, tags=crowd)
    for same in (first, definition(1, tags=reversed(crowd)), first):
        expect_refused(stream.ask(batch(series=[same], points=[columns(1)])), Reason.INVALID_TAG)
    for other in (crowd[1:], [*crowd, ("k", "v")], [*crowd[1:], ("k0", "v")], [*crowd[1:], ("k", "v0")]):
        expect_malformed(stream.ask(batch(series=[definition(1, tags=other)])))
    foreign = definition(2, tags=[*crowd, ("node_id", "node-2"), ("node_id", "node-1")])
    expect_refused(stream.ask(batch(series=[foreign], points=[columns(2)])), Reason.IDENTITY_MISMATCH)


def test_tags_without_a_byte_of_text_take_no_memory(door: Door) -> None:
    """Millions of them fit into a small frame, and none counts towards the bound on definitions."""
    stream = door.stream()

    def ask(number: int) -> None:
        inner = field(5, field(1, number) + field(2, b"m") + b"\x1a\x00" * 4_000_000)
        body = gzip.compress(inner, 1)
        compressed = pb.CompressedBody(algorithm=pb.CompressedBody.GZIP, uncompressed_size=len(inner), body=body)
        expect_stored(stream.ask(pb.MetricBatch(compressed=compressed)), 0)

    ask(0)
    before = resident_bytes()
    for number in range(1, 9):
        ask(number)
    # Each would take 8 MB if its tags were kept.
    assert resident_bytes() - before < 32 * 1024 * 1024
    expect_refused(stream.ask(batch(points=[columns(8)])), Reason.INVALID_TAG)


def test_common_tags_are_those_of_the_batch_that_carries_the_point(door: Door) -> None:
    """Not those of the batch that defined the series."""
    stream = door.stream()
    first = batch(series=[definition(1)], points=[columns(1)], common_tags={"zone": "one"})
    expect_stored(stream.ask(first))
    for zone in ({"zone": "two"}, {}, {"zone": "one"}):
        expect_stored(stream.ask(batch(points=[columns(1)], common_tags=zone)))
    expect_refused(stream.ask(batch(points=[columns(1)], common_tags={"zone": ""})), Reason.INVALID_TAG)
    expect_stored(stream.ask(batch(points=[columns(1)], common_tags={"zone": "one"})))
    assert [row["zone"] for row in door.stored()] == ["one", "two", None, "one", "one"]


def series_frames(count: int) -> list[bytes]:
    """Definitions of the ids below a number, in frames of at most 1 MiB."""
    bodies = [field(5, field(1, number) + field(2, b"m%d" % number) + b"\x20\x02") for number in range(count)]
    return [as_frame(b"".join(bodies[start : start + 50_000])) for start in range(0, count, 50_000)]


def test_a_stream_has_at_most_131_072_definitions(stream: Stream) -> None:
    for frame in series_frames(DEFINITIONS_MAX - 1):
        (ack,) = stream.send(frame)
        expect_stored(ack, 0)
    last, repeat = DEFINITIONS_MAX - 1, definition(3, "m3")
    # Two more are one too many, and neither counts.
    expect_malformed(stream.ask(batch(series=[definition(last), definition(last + 1)])))
    expect_refused(stream.ask(batch(points=[columns(last)])), Reason.UNKNOWN_SERIES)
    expect_stored(stream.ask(batch(series=[definition(last)])), 0)
    expect_malformed(stream.ask(batch(series=[definition(last + 1)])))
    # Repeats are free, and everything that is defined can be used.
    expect_stored(stream.ask(batch(series=[repeat, definition(last)], points=[columns(0, 3, last)])), 3)


def test_a_stream_has_at_most_32_mib_of_definitions(shared: Door) -> None:
    """Of names, keys, values and units, not of the bytes around them."""
    stream = shared.stream()
    size = 1024 * 1024 - 1_024
    count, rest = divmod(DEFINITION_BYTES_MAX, size)
    parts = (100, 128, 63)
    for number in range(count):
        one = definition(number, "n" * 100, tags={"k" * 128: "v" * (size - sum(parts))}, unit="u" * 63)
        (ack,) = stream.send(as_frame(batch(series=[one])))
        expect_stored(ack, 0)
        (ack,) = stream.send(as_frame(batch(series=[one])))
        expect_stored(ack, 0)
    expect_malformed(stream.ask(batch(series=[definition(count, "n" * (rest + 1))])))
    expect_stored(stream.ask(batch(series=[definition(count, "n" * rest)])), 0)
    expect_malformed(stream.ask(batch(series=[definition(count + 1, "n")])))
    # A definition without any text takes none of it.
    expect_stored(stream.ask(batch(series=[definition(count + 2, "")])), 0)
