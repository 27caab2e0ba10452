"""Values, distributions, types, timestamps and cardinality: the rest of the points table."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

import pytest
from tests.contract import raw
from tests.contract.conftest import Doors
from tests.contract.door import (
    NOW,
    Door,
    Stream,
    batch,
    columns,
    definition,
    expect,
    expect_refused,
    expect_stored,
    metric,
)
from tests.support.protobuf import pb

from telemetry_collector.model import Outcome, Reason

NAN = math.nan
INF = math.inf
SIGNALLING = struct.unpack("<d", (0x7FF0_0000_0000_0001).to_bytes(8, "little"))[0]
NOT_FINITE = [NAN, -NAN, SIGNALLING, INF, -INF]
FINITE = [0.0, -0.0, 5e-324, -1.7976931348623157e308, 1.7976931348623157e308, 0.1]
LARGE = 1 << 63


def histogram(**fields: Any) -> Any:
    """A good one but for what is given."""
    return pb.Histogram(**{"count": 3, "sum": 2.0, "upper_bounds": [1.0, 2.0], "bucket_counts": [1, 1, 1], **fields})


def buckets(bounds: Iterable[float], counts: list[int], **fields: Any) -> Any:
    return histogram(upper_bounds=bounds, bucket_counts=counts, **{"count": sum(counts), **fields})


def summary(*quantiles: tuple[float, float], **fields: Any) -> Any:
    """A good one but for what is given."""
    points = [pb.Quantile(quantile=quantile, value=value) for quantile, value in quantiles]
    return pb.Summary(**{"count": 3, "sum": 2.0, "quantiles": points, **fields})


def refused(stream: Stream, *points: Any, reason: Reason = Reason.INVALID_VALUE) -> None:
    """Each of the points is refused and the one beside it stored."""
    for ack, point in zip(ask_eight(stream, points), points, strict=True):
        expect(ack, Outcome.PARTIAL, 1, 1, {reason: 1})
        assert ack.rejections[0].example.startswith(point.name)


def taken(stream: Stream, *points: Any) -> None:
    for ack in ask_eight(stream, points):
        expect_stored(ack, 2)


def ask_eight(stream: Stream, points: Iterable[Any]) -> list[Any]:
    """A batch for each point, as many at a time as the window allows."""
    batches = [batch(point, metric("good")) for point in points]
    return [ack for start in range(0, len(batches), 8) for ack in stream.ask_all(batches[start : start + 8])]


def test_a_value_is_finite(stream: Stream) -> None:
    refused(stream, *(metric(value=value) for value in NOT_FINITE))
    taken(stream, *(metric(value=value) for value in FINITE))


def test_a_value_in_columns_is_finite(stream: Stream) -> None:
    values = [1.0, *NOT_FINITE, *FINITE]
    ack = stream.ask(batch(series=[definition(1)], points=[columns(*[1] * len(values), values=values)]))
    expect(ack, Outcome.PARTIAL, 1 + len(FINITE), len(NOT_FINITE), {Reason.INVALID_VALUE: len(NOT_FINITE)})


def test_a_point_has_data(stream: Stream) -> None:
    refused(stream, *(pb.Metric(name="m", type=number) for number in range(6)))


@pytest.mark.parametrize("place", ["sum", "min", "max", "first bound", "last bound"])
def test_a_histogram_is_finite(stream: Stream, place: str) -> None:
    def with_number(number: float) -> Any:
        match place:
            case "first bound":
                return metric(histogram=histogram(upper_bounds=[number, 2.0]))
            case "last bound":
                return metric(histogram=histogram(upper_bounds=[1.0, number]))
            case _:
                return metric(histogram=histogram(**{place: number}))

    refused(stream, *map(with_number, NOT_FINITE))


@pytest.mark.parametrize("place", ["sum", "quantile", "value"])
def test_a_summary_is_finite(stream: Stream, place: str) -> None:
    def with_number(number: float) -> Any:
        match place:
            case "quantile":
                return metric(summary=summary((0.5, 1.0), (number, 1.0)))
            case "value":
                return metric(summary=summary((0.5, 1.0), (0.9, number)))
            case _:
                return metric(summary=summary(sum=number))

    refused(stream, *map(with_number, NOT_FINITE))


GOOD_HISTOGRAMS = {
    "plain": histogram(),
    "one open bucket": buckets([], [5]),
    "nothing observed": pb.Histogram(bucket_counts=[0]),
    "min and max": histogram(min=-1.0, max=9.0),
    "min alone": histogram(min=5.0),
    "max alone": histogram(max=-5.0),
    "min equals max": histogram(min=1.5, max=1.5),
    "negative bounds": buckets([-2.0, -1.0, 0.0], [0, 0, 0, 0]),
    "bounds next to each other": buckets([1.0, math.nextafter(1.0, 2.0)], [1, 1, 1]),
    "count just below 2^63": buckets([1.0], [LARGE - 1, 0]),
    "counts that add up to just below 2^63": buckets([1.0, 2.0], [LARGE - 3, 1, 1]),
    "1,024 buckets": buckets(range(1_023), [1] * 1_024),
    "sum of nothing": histogram(sum=0.0),
}

BAD_HISTOGRAMS = {
    "empty": pb.Histogram(),
    "no counts": histogram(bucket_counts=[], count=0),
    "as many counts as bounds": histogram(bucket_counts=[1, 2]),
    "two counts more than bounds": histogram(bucket_counts=[1, 1, 1, 0]),
    "bounds without counts": pb.Histogram(upper_bounds=[1.0]),
    "equal bounds": histogram(upper_bounds=[1.0, 1.0]),
    "positive and negative zero": histogram(upper_bounds=[-0.0, 0.0]),
    "descending bounds": histogram(upper_bounds=[2.0, 1.0]),
    "min above max": histogram(min=2.0, max=math.nextafter(2.0, 1.0)),
    "count of 2^63": buckets([1.0], [LARGE, 0]),
    "count of 2^64 - 1": buckets([1.0], [2 * LARGE - 1, 0]),
    "a sum of counts that wraps around": histogram(count=1, upper_bounds=[1.0, 2.0], bucket_counts=[LARGE, LARGE, 1]),
    "a bucket count of 2^63": histogram(count=1, bucket_counts=[LARGE, 1, 1]),
    "counts that fall short of count": histogram(count=4),
    "counts beyond count": histogram(count=2),
    "1,025 buckets": buckets(range(1_024), [1] * 1_025),
    "1,024 bounds and as many counts": buckets(range(1_024), [1] * 1_024),
    "5,000 buckets": buckets(range(4_999), [1] * 5_000),
    "1,024 counts and 5,000 bounds": buckets(range(5_000), [1] * 1_024),
}


def test_good_histograms_are_stored(stream: Stream) -> None:
    taken(stream, *(metric(name, histogram=one) for name, one in GOOD_HISTOGRAMS.items()))


def test_bad_histograms_are_refused(stream: Stream) -> None:
    refused(stream, *(metric(name, histogram=one) for name, one in BAD_HISTOGRAMS.items()))


GOOD_SUMMARIES = {
    "plain": summary((0.5, 1.0), (0.9, 2.0)),
    "no quantiles": summary(),
    "empty": pb.Summary(),
    "0 and 1": summary((0.0, 1.0), (1.0, 1.0)),
    "negative zero": summary((-0.0, 1.0)),
    "the smallest and the largest between": summary((5e-324, 1.0), (math.nextafter(1.0, 0.0), 2.0)),
    "count just below 2^63": summary(count=LARGE - 1),
    "64 quantiles": summary(*((number / 64, 1.0) for number in range(64))),
    "in any order": summary((0.9, 1.0), (0.5, 2.0)),
}

BAD_SUMMARIES = {
    "above 1": summary((1.0001, 1.0)),
    "just above 1": summary((math.nextafter(1.0, 2.0), 1.0)),
    "below 0": summary((-5e-324, 1.0)),
    "a percentage": summary((99.0, 1.0)),
    "count of 2^63": summary(count=LARGE),
    "65 quantiles": summary(*((number / 65, 1.0) for number in range(65))),
    "500 quantiles": summary(*((0.5, 1.0) for _ in range(500))),
}


def test_good_summaries_are_stored(stream: Stream) -> None:
    taken(stream, *(metric(name, summary=one) for name, one in GOOD_SUMMARIES.items()))


def test_bad_summaries_are_refused(stream: Stream) -> None:
    refused(stream, *(metric(name, summary=one) for name, one in BAD_SUMMARIES.items()))


DATA = {"value": 1.0, "histogram": histogram(), "summary": summary((0.5, 1.0))}
TYPES = {
    "value": {0: "gauge", pb.COUNTER: "counter", pb.GAUGE: "gauge", pb.METER: "meter"},
    "histogram": {0: "histogram", pb.HISTOGRAM: "histogram"},
    "summary": {0: "summary", pb.SUMMARY: "summary"},
}


@pytest.mark.parametrize("kind", DATA)
def test_type_and_data_agree_or_the_type_is_unspecified(door: Door, kind: str) -> None:
    stream = door.stream()
    for number in (*range(6), 6, 99, 0x7FFFFFFF, -1, -(1 << 31)):
        # A series of its own for each type, so that none changes.
        one = pb.Metric(name=f"type {number}", **{kind: DATA[kind]})
        one.type = number
        if number in TYPES[kind]:
            expect_stored(stream.ask(batch(one)))
            assert [row["type"] for row in door.stored()] == [TYPES[kind][number]]
        else:
            expect_refused(stream.ask(batch(one)), Reason.INVALID_VALUE)


def test_definitions_carry_scalar_types_only(door: Door) -> None:
    stream = door.stream()
    for number in (*range(6), 6, 99, -1):
        message = batch(series=[definition(number + 5, f"type {number}", type=number)], points=[columns(number + 5)])
        if number in TYPES["value"]:
            expect_stored(stream.ask(message))
            assert [row["type"] for row in door.stored()] == [TYPES["value"][number]]
        else:
            expect_refused(stream.ask(message), Reason.INVALID_VALUE)


PAST, FUTURE = NOW - 604_800 * 10**9, NOW + 600 * 10**9


@pytest.mark.parametrize(
    ("timestamp", "good"),
    [
        (0, True),
        (1, False),
        (PAST - 1, False),
        (PAST, True),
        (PAST + 1, True),
        (NOW, True),
        (FUTURE, True),
        (FUTURE + 1, False),
        ((1 << 63) - 1, False),
    ],
)
def test_timestamps_lie_within_the_limits(stream: Stream, timestamp: int, good: bool) -> None:
    """To the nanosecond. In columns a base of 0 without deltas is the time of receipt too."""
    series = [definition(1, "column")]
    whole = batch(metric(timestamp_unix_ns=timestamp), series=series, points=[columns(1, base=timestamp)])
    ack = stream.ask(whole)
    if good:
        expect_stored(ack, 2)
    else:
        expect_refused(ack, Reason.INVALID_TIMESTAMP, 2)
    if timestamp:
        # The same as differences from the point before, with and without a base.
        for base in (0, NOW, 5):
            ack = stream.ask(batch(points=[columns(1, 1, base=base, deltas=[NOW - base, timestamp - NOW])]))
            if good:
                expect_stored(ack, 2)
            else:
                expect(ack, Outcome.PARTIAL, 1, 1, {Reason.INVALID_TIMESTAMP: 1})


def test_limits_of_timestamps_are_the_operators(doors: Doors) -> None:
    door = doors(timestamp_past_secs=10, timestamp_future_secs=0)
    good = [metric(timestamp_unix_ns=NOW - 10 * 10**9), metric(timestamp_unix_ns=NOW)]
    bad = [metric(timestamp_unix_ns=NOW - 10 * 10**9 - 1), metric(timestamp_unix_ns=NOW + 1)]
    expect(door.ask(batch(*good, *bad)), Outcome.PARTIAL, 2, 2, {Reason.INVALID_TIMESTAMP: 2})


def test_a_timestamp_of_0_is_the_time_of_receipt(door: Door) -> None:
    series = [definition(1, "column")]
    ack = door.ask(batch(metric("row"), series=series, points=[columns(1)]))
    expect_stored(ack, 2)
    assert [row["timestamp"] for row in door.stored()] == [NOW, NOW]


def test_deltas_add_up_from_point_to_point(door: Door) -> None:
    deltas = [5, 0, -7, 1_000_000_000]
    stream = door.stream()
    stream.ask(batch(series=[definition(1)]))
    expect_stored(stream.ask(batch(points=[columns(1, 1, 1, 1, base=NOW, deltas=deltas)])), 4)
    expect_stored(stream.ask(batch(points=[columns(1, 1, base=NOW + 3)])), 2)
    expect_stored(stream.ask(batch(points=[columns(1, 1, deltas=[NOW, 9])])), 2)
    offsets = [5, 5, -2, 999_999_998, 3, 3, 0, 9]
    assert [row["timestamp"] - NOW for row in door.stored()] == offsets


def test_a_sum_of_deltas_that_is_0_is_1970_and_not_now(stream: Stream) -> None:
    stream.ask(batch(series=[definition(1)]))
    ack = stream.ask(batch(points=[columns(1, 1, 1, base=NOW, deltas=[0, -NOW, NOW])]))
    expect(ack, Outcome.PARTIAL, 2, 1, {Reason.INVALID_TIMESTAMP: 1})
    expect_refused(stream.ask(batch(points=[columns(1, deltas=[0])])), Reason.INVALID_TIMESTAMP)


def test_each_message_of_columns_begins_anew(door: Door) -> None:
    message = batch(
        series=[definition(1)], points=[columns(1, base=NOW, deltas=[7]), columns(1), columns(1, deltas=[NOW + 1])]
    )
    expect_stored(door.ask(message), 3)
    assert [row["timestamp"] - NOW for row in door.stored()] == [7, 0, 1]


def test_delta_is_stored_with_its_point(door: Door) -> None:
    series = [definition(1, "total"), definition(2, "change", delta=True)]
    rows = [metric("row total", delta=False), metric("row change", delta=True)]
    expect_stored(door.ask(batch(*rows, series=series, points=[columns(1, 2)])), 4)
    assert {row["name"]: row["delta"] for row in door.stored()} == {
        "total": False, "change": True, "row total": False, "row change": True
    }  # fmt: skip


def test_over_the_limit_new_series_are_refused_and_known_ones_go_on(doors: Doors) -> None:
    door = doors(max_cardinality=3)
    stream = door.stream()
    expect_stored(stream.ask(batch(metric("a"), metric("b"))), 2)
    series = [definition(1, "column c"), definition(2, "column d"), definition(3, "b")]
    ack = stream.ask(batch(metric("a"), series=series, points=[columns(1, 2, 2, 3)]))
    expect(ack, Outcome.PARTIAL, 3, 2, {Reason.CARDINALITY_LIMIT: 2})
    assert "Cardinality limit exceeded" in ack.rejections[0].example
    assert ack.rejections[0].example.startswith("column d")
    ack = stream.ask(batch(metric("e"), metric("a", histogram=histogram())))
    expect(ack, Outcome.PARTIAL, 1, 1, {Reason.CARDINALITY_LIMIT: 1})
    assert "Cardinality limit exceeded" in ack.rejections[0].example
    expect_refused(stream.ask(batch(points=[columns(2)])), Reason.CARDINALITY_LIMIT)
    assert door.core.stats()["series"] == 3


def test_a_series_is_its_name_and_effective_tags_and_nothing_else(door: Door) -> None:
    stream = door.stream()
    same = [
        metric("s", tags={"a": "1", "b": "2", "node_id": "node-1"}),
        metric("s", tags=[("node_id", "node-1"), ("b", "2"), ("a", "1")]),
        metric("s", tags={"b": "2", "a": "1"}, type=pb.COUNTER, unit="s", delta=True),
        metric("s", tags={"b": "2", "a": "1"}, histogram=histogram()),
        metric("s", tags={"b": "2", "a": "1"}, summary=summary()),
    ]
    expect_stored(stream.ask(batch(*same)), len(same))
    expect_stored(stream.ask(batch(metric("s", tags={"a": "1"}), common_tags={"b": "2"})))
    expect_stored(stream.ask(batch(metric("s", tags={"a": "1", "b": "2"}), common_tags={"b": "3"})))
    series = [definition(1, "s", tags={"b": "2"}, type=pb.METER)]
    expect_stored(stream.ask(batch(common_tags={"a": "1"}, series=series, points=[columns(1)])))
    assert door.core.stats()["series"] == 1
    rows = door.stored()
    assert [row["type"] for row in rows] == [
        "gauge", "gauge", "counter", "histogram", "summary", "gauge", "gauge", "meter"
    ]  # fmt: skip
    assert [row["unit"] for row in rows] == ["", "", "s", "", "", "", "", ""]
    assert [row["delta"] for row in rows] == [False, False, True, False, False, False, False, False]
    assert door.core.stats()["series_changed"] == 5
    # Bytes are compared, not characters; and lists are not glued together.
    others = [
        metric("S", tags={"a": "1", "b": "2"}),
        metric("s", tags={"a": "1b", "c": "2"}),
        metric("s", tags={"a": "é"}),
        metric("s", tags={"a": "e\u0301"}),
        metric("sa", tags={"a": "1", "b": "2"}),
    ]
    expect_stored(stream.ask(batch(*others)), len(others))
    assert door.core.stats()["series"] == 1 + len(others)


def test_two_definitions_of_one_series_keep_their_own_type_and_unit(door: Door) -> None:
    series = [definition(1, "s", unit="s"), definition(2, "s", type=pb.COUNTER, unit="By", delta=True)]
    stream = door.stream()
    expect_stored(stream.ask(batch(series=series, points=[columns(1, 2, 1, 2)])), 4)
    expect_stored(stream.ask(batch(points=[columns(1, 2)])), 2)
    assert [(row["type"], row["unit"], row["delta"]) for row in door.stored()] == [
        ("gauge", "s", False), ("counter", "By", True)
    ] * 3  # fmt: skip
    assert door.core.stats()["series"] == 1


def test_a_point_is_refused_by_the_first_row_of_the_table_that_fits(doors: Doors) -> None:
    """Name before tags and unit, before value, before timestamp, before cardinality."""
    door = doors(max_cardinality=1)
    stream = door.stream()
    expect_stored(stream.ask(batch(metric("known"))))
    name, tag = b"\xff", raw.Tag(key=b"", value=b"v")
    value, late = math.nan, 1
    ladder = [
        ({"name": name, "tags": [tag], "value": value, "timestamp_unix_ns": late}, Reason.INVALID_NAME),
        ({"name": b"m", "tags": [tag], "value": value, "timestamp_unix_ns": late}, Reason.INVALID_TAG),
        ({"name": b"m", "unit": b"\x00", "value": value, "timestamp_unix_ns": late}, Reason.INVALID_TAG),
        ({"name": b"m", "value": value, "timestamp_unix_ns": late}, Reason.INVALID_VALUE),
        ({"name": b"m", "type": 99, "value": 1, "timestamp_unix_ns": late}, Reason.INVALID_VALUE),
        ({"name": b"m", "value": 1, "timestamp_unix_ns": late}, Reason.INVALID_TIMESTAMP),
        ({"name": b"m", "value": 1}, Reason.CARDINALITY_LIMIT),
    ]
    for number, (fields, reason) in enumerate(ladder):
        expect_refused(stream.ask(raw.MetricBatch(metrics=[raw.Metric(**fields)])), reason)
        own = {key: what for key, what in fields.items() if key in ("name", "tags", "unit", "type")}
        points = {
            "series_ids": [number],
            "values": [fields["value"]],
            "base_timestamp_unix_ns": fields.get("timestamp_unix_ns", 0),
        }
        series = [raw.SeriesDefinition(id=number, **own)]
        expect_refused(stream.ask(raw.MetricBatch(series=series, points=[points])), reason)
    # A bad common tag comes after a bad name and before a bad value.
    for fields, reason in (
        ({"name": name, "value": value}, Reason.INVALID_NAME),
        ({"name": b"m", "value": value}, Reason.INVALID_TAG),
    ):
        expect_refused(stream.ask(raw.MetricBatch(common_tags=[tag], metrics=[raw.Metric(**fields)])), reason)
    assert door.core.stats()["series"] == 1


def test_rows_and_columns_may_share_a_batch(door: Door) -> None:
    message = batch(
        metric("row"),
        metric("histogram", histogram=histogram(min=0.5)),
        metric("summary", summary=summary((0.5, 1.0))),
        series=[definition(0, "column")],
        points=[columns(0, values=[2.5]), columns(0, 0, values=[3.5, 4.5])],
        heartbeat={"worker_id": "node-1"},
    )
    ack = door.ask(message)
    expect_stored(ack, 6)
    found = {(row["name"], row["value"]) for row in door.stored()}
    assert found == {
        ("row", 1.0), ("histogram", None), ("summary", None), ("column", 2.5), ("column", 3.5), ("column", 4.5)
    }  # fmt: skip
