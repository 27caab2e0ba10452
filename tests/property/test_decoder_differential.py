"""The decoder beside protobuf's own: the same points out of every batch, and the same verdict on any bytes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.contract import raw
from tests.contract.door import IDENTITY, NODE, NOW, Door, opened
from tests.support import dense
from tests.support.protobuf import pb

from telemetry_collector.model import STANDARD_TAGS, Outcome, Reason

QUICK = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
TYPES = {0: "gauge", 1: "counter", 2: "gauge", 3: "histogram", 4: "summary", 5: "meter"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    directory: Path = tmp_path_factory.mktemp("differential")
    with opened(directory, max_cardinality=10_000_000, inflated_bytes_max=100_000) as door:
        yield door


# ---- valid batches: every point as protobuf has it --------------------------------------------------------------

characters = st.characters(exclude_categories=["Cs"], exclude_characters=[*map(chr, range(0x20)), "\x7f"])


def text(bytes_max: int, size_min: int = 1) -> st.SearchStrategy[str]:
    """Texts of so many bytes in UTF-8 at most."""
    whole = st.text(characters, min_size=size_min, max_size=bytes_max)
    return whole.filter(lambda chosen: len(chosen.encode()) <= bytes_max)


numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, (1 << 63) - 1)
timestamps = st.one_of(st.just(0), st.integers(NOW - 604_800 * 10**9, NOW + 600 * 10**9))
keys = st.one_of(
    st.sampled_from(STANDARD_TAGS[1:]), st.sampled_from("abcd"), text(20).filter(lambda key: key != "node_id")
)
tags = st.dictionaries(keys, text(30), max_size=6)
names = st.one_of(st.sampled_from(["cpu", "system.memory.used", "温度"]), text(40))


@st.composite
def histograms(draw: st.DrawFn) -> Any:
    bounds = sorted(draw(st.sets(numbers, max_size=8)))
    # -0.0 and 0.0 are one element of a set, so that bounds ascend strictly.
    buckets = draw(st.lists(st.integers(0, 1 << 59), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    histogram = pb.Histogram(count=sum(buckets), sum=draw(numbers), upper_bounds=bounds, bucket_counts=buckets)
    low, high = sorted((draw(numbers), draw(numbers)))
    if draw(st.booleans()):
        histogram.min = low
    if draw(st.booleans()):
        histogram.max = high
    return histogram


@st.composite
def summaries(draw: st.DrawFn) -> Any:
    pairs = draw(st.lists(st.tuples(st.floats(0, 1), numbers), max_size=6))
    quantiles = [pb.Quantile(quantile=quantile, value=value) for quantile, value in pairs]
    return pb.Summary(count=draw(counts), sum=draw(numbers), quantiles=quantiles)


@st.composite
def metrics(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["value", "value", "histogram", "summary"]))
    metric = pb.Metric(
        name=draw(names),
        tags=[pb.Tag(key=key, value=value) for key, value in draw(tags).items()],
        unit=draw(text(63, 0)),
        timestamp_unix_ns=draw(timestamps),
        delta=draw(st.booleans()),
    )
    match kind:
        case "value":
            metric.value = draw(numbers)
            metric.type = draw(st.sampled_from([0, 1, 2, 5]))
        case "histogram":
            metric.histogram.CopyFrom(draw(histograms()))
            metric.type = draw(st.sampled_from([0, 3]))
        case _:
            metric.summary.CopyFrom(draw(summaries()))
            metric.type = draw(st.sampled_from([0, 4]))
    return metric


@st.composite
def definitions(draw: st.DrawFn) -> list[Any]:
    numbers_of = draw(st.lists(st.integers(0, (1 << 32) - 1), unique=True, max_size=5))
    return [
        pb.SeriesDefinition(
            id=number,
            name=draw(names),
            tags=[pb.Tag(key=key, value=value) for key, value in draw(tags).items()],
            type=draw(st.sampled_from([0, 1, 2, 5])),
            unit=draw(text(63, 0)),
            delta=draw(st.booleans()),
        )
        for number in numbers_of
    ]


@st.composite
def columns(draw: st.DrawFn, ids: list[int]) -> Any:
    series = draw(st.lists(st.sampled_from(ids), max_size=12))
    points = pb.PointColumns(series_ids=series, values=[draw(numbers) for _ in series])
    form = draw(st.sampled_from(["receipt", "base", "deltas", "base and deltas"]))
    if form.startswith("base"):
        points.base_timestamp_unix_ns = draw(timestamps)
    if form.endswith("deltas"):
        last = points.base_timestamp_unix_ns
        for _ in series:
            here = draw(timestamps.filter(bool))
            points.timestamp_deltas_ns.append(here - last)
            last = here
    return points


@st.composite
def dense_columns(draw: st.DrawFn, ids: list[int]) -> Any:
    """Rounds of ids in any order, and numbers of any scale and width that are finite."""
    series = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=6))
    rounds = draw(st.integers(1, 5))
    points = pb.PointColumns(series_ids=series[:1], dense_points=len(series) * rounds, series_runs=runs(series))
    count = draw(st.sampled_from([0, 1, rounds, len(series) * rounds]))
    if times := [draw(timestamps.filter(bool)) for _ in range(count)]:
        points.time_runs = sint64(times[0]) + runs(times)
    heads, bits, place = b"", 0, 0
    for _ in series:
        scale = draw(st.integers(0, 22) | st.integers(64, 127))
        width = draw(st.integers(0, 64)) if rounds > 1 else 0
        least = draw(st.integers(-(1 << 63), (1 << 63) - 1))
        kept = draw(st.sampled_from([0, dense.KEPT]))
        heads += bytes([scale | kept, 1]) + (bytes([width]) if rounds > 1 else b"") + sint64(least)
        bits |= draw(st.integers(0, (1 << width * rounds) - 1)) << place
        place += width * rounds
    points.value_heads, points.value_bits = heads, bits.to_bytes((place + 7) // 8, "little")
    return points


def runs(numbers: list[int]) -> bytes:
    """The numbers after the first, each as a run of its own."""
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    return b"".join(sint64(after - before) + b"\0" for before, after in itertools.pairwise([0, *steps]))


def sint64(number: int) -> bytes:
    number = (number << 1 ^ number >> 63) & (1 << 64) - 1
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


@st.composite
def batches(draw: st.DrawFn) -> Any:
    series = draw(definitions())
    ids = [definition.id for definition in series]
    batch = pb.MetricBatch(
        sequence=draw(st.integers(1, (1 << 63) - 1)),
        common_tags=[pb.Tag(key=key, value=value) for key, value in draw(tags).items()],
        metrics=draw(st.lists(metrics(), max_size=6)),
        series=series,
        points=draw(st.lists(columns(ids) | dense_columns(ids), max_size=3)) if ids else [],
    )
    if draw(st.booleans()):
        heartbeat = {"worker_id": NODE, "cpu_usage": draw(numbers), "running_tasks": [{"name": draw(text(20))}]}
        batch.heartbeat.CopyFrom(pb.Heartbeat(**heartbeat))
    return batch


def point(batch: Any, series: Any, timestamp: int, value: float | None, *, kind: str) -> dict[str, Any]:
    """A row of the data set, as the contract and docs/dataset.md make it of a point."""
    effective = {"node_id": NODE, **pairs(batch.common_tags), **pairs(series.tags)}
    return {
        "timestamp": timestamp or NOW,
        "received": NOW,
        "name": series.name,
        "type": kind,
        "unit": series.unit,
        "value": value,
        "delta": series.delta,
        **{key: effective.get(key) for key in STANDARD_TAGS},
        "tags": {key: effective[key] for key in sorted(effective, key=str.encode) if key not in STANDARD_TAGS},
        "histogram": None,
        "summary": None,
        "identity": IDENTITY,
        "epoch": 0,
        "sequence": batch.sequence,
    }


def pairs(tags: Any) -> dict[str, str]:
    return {tag.key: tag.value for tag in tags}


def points_of(batch: Any) -> Iterator[dict[str, Any]]:
    """The points that protobuf's own decoder finds."""
    for metric in batch.metrics:
        data = metric.WhichOneof("data")
        kind = TYPES[metric.type] if data == "value" else data
        row = point(batch, metric, metric.timestamp_unix_ns, metric.value if data == "value" else None, kind=kind)
        if data == "histogram":
            sent = metric.histogram
            row["histogram"] = {
                "count": sent.count,
                "sum": sent.sum,
                "min": sent.min if sent.HasField("min") else None,
                "max": sent.max if sent.HasField("max") else None,
                "bounds": list(sent.upper_bounds),
                "counts": list(sent.bucket_counts),
            }
        elif data == "summary":
            row["summary"] = {
                "count": metric.summary.count,
                "sum": metric.summary.sum,
                "quantiles": [quantile.quantile for quantile in metric.summary.quantiles],
                "values": [quantile.value for quantile in metric.summary.quantiles],
            }
        yield row
    series = {definition.id: definition for definition in batch.series}
    for column in batch.points:
        if dense.is_dense(column):
            for number, timestamp, value in dense.points(column):
                definition = series[number]
                yield point(batch, definition, timestamp, value, kind=TYPES[definition.type])
            continue
        timestamp = column.base_timestamp_unix_ns
        for place, (number, value) in enumerate(zip(column.series_ids, column.values, strict=True)):
            if column.timestamp_deltas_ns:
                timestamp += column.timestamp_deltas_ns[place]
            definition = series[number]
            yield point(batch, definition, timestamp, value, kind=TYPES[definition.type])


def exact(rows: list[dict[str, Any]]) -> str:
    """Equal only for equal bits: of 0.0 and -0.0, and of the order of tags, too."""
    return repr(rows)


@given(batch=batches())
@QUICK
def test_every_point_is_stored_as_protobuf_reads_it(door: Door, batch: Any) -> None:
    ack = door.ask(batch)
    expected = list(points_of(pb.MetricBatch.FromString(batch.SerializeToString())))
    assert (Outcome(ack.outcome), ack.accepted_points) == (Outcome.STORED, len(expected)), str(ack)
    assert exact(door.stored()) == exact(expected)


@given(first=batches(), second=batches())
@QUICK
def test_fields_of_two_batches_in_one_frame_merge_as_protobuf_merges_them(door: Door, first: Any, second: Any) -> None:
    """Whatever stands twice: the last number wins, lists go on, heartbeats merge."""
    for definition in second.series:
        definition.id = (definition.id + 7_777) % (1 << 32)
    for column in second.points:
        is_dense = dense.is_dense(column)
        ids = dense.ids_of(column) if is_dense else column.series_ids
        ids = [(number + 7_777) % (1 << 32) for number in ids]
        column.series_ids[:] = ids[:1] if is_dense else ids
        column.series_runs = runs(ids) if is_dense else b""
    taken = {definition.id for definition in first.series} & {definition.id for definition in second.series}
    shared = {tag.key for tag in first.common_tags} & {tag.key for tag in second.common_tags}
    body = first.SerializeToString() + second.SerializeToString()
    ack = door.ask(body)
    rows = door.stored()
    if taken or shared:
        # A definition or a key twice is for other tests.
        return
    expected = list(points_of(pb.MetricBatch.FromString(body)))
    assert (Outcome(ack.outcome), ack.accepted_points) == (Outcome.STORED, len(expected)), str(ack)
    assert exact(rows) == exact(expected)


# ---- any bytes: the same verdict -----------------------------------------------------------------------------------


def broken_rule(batch: Any) -> bool:
    """Whether the contract calls a message malformed that protobuf takes. Of uncompressed batches without definitions
    that contradict each other; texts are bytes."""
    stamps = [metric.timestamp_unix_ns for metric in batch.metrics]
    stamps += [batch.heartbeat.timestamp_unix_ns, *(task.started_unix_ns for task in batch.heartbeat.running_tasks)]
    claimed = 0
    for column in batch.points:
        if dense.is_dense(column):
            claimed += column.dense_points
            # What is too large for the collector is not read.
            unread = 1_000 < claimed <= dense.POINTS_MAX and column.dense_points and dense.stands_alone(column)
            if not (unread or dense_is_sound(column)):
                return True
            continue
        size = len(column.series_ids)
        if len(column.values) != size or len(column.timestamp_deltas_ns) not in (0, size):
            return True
        last = column.base_timestamp_unix_ns
        stamps.append(last)
        for delta in column.timestamp_deltas_ns:
            last += delta
            stamps.append(last)
    if any(not -(1 << 63) <= stamp < 1 << 63 for stamp in stamps):
        return True
    defined: dict[int, Any] = {}
    for definition in batch.series:
        meaning = (
            definition.name,
            sorted((tag.key, tag.value) for tag in definition.tags),
            definition.type,
            definition.unit,
            definition.delta,
        )
        if defined.setdefault(definition.id, meaning) != meaning:
            return True
    named = batch.sequence < 1 << 63 and (batch.sequence > 0 or batch.epoch == 0)
    return not named or batch.oldest_unacknowledged > batch.sequence


def dense_is_sound(column: Any) -> bool:
    try:
        dense.points(column)
    except dense.UnknownReference:
        return True
    except dense.DenseError:
        return False
    return True


def numbered_0(message: Any) -> bool:
    """Whether a group inside holds a field of number 0: its specification forbids it, this decoder does not."""

    def among(unknown: Any) -> bool:
        return any(
            field.field_number == 0 or (field.wire_type == raw.GROUP_START and among(field.data)) for field in unknown
        )

    if among(UnknownFieldSet(message)):
        return True
    for field, content in message.ListFields():
        if field.message_type is not None:
            contents = content if field.is_repeated else [content]
            if any(map(numbered_0, contents)):
                return True
    return False


def malformed(ack: Any) -> bool:
    return [rejection.reason for rejection in ack.rejections] == [Reason.MALFORMED]


def same_verdict(door: Door, body: bytes) -> None:
    """Malformed if protobuf says so (texts aside) or the contract does, and else not; and as many points."""
    if not body:
        return
    ack = door.ask(body)
    try:
        batch = raw.MetricBatch.FromString(body)
    except DecodeError:
        assert malformed(ack), f"protobuf refuses it: {ack}"
        return
    if batch.HasField("compressed"):
        # Whether it inflates is for other tests.
        return
    if numbered_0(batch):
        assert malformed(ack), str(ack)
        return
    assert malformed(ack) == broken_rule(batch), str(ack)
    assert ack.sequence == batch.sequence
    if not malformed(ack) and ack.outcome not in (Outcome.DUPLICATE, Outcome.RETRY_LATER):
        points = len(batch.metrics)
        points += sum(column.dense_points or len(column.series_ids) for column in batch.points)
        assert ack.accepted_points + ack.rejected_points == points, str(ack)
        assert sum(rejection.points for rejection in ack.rejections) == ack.rejected_points
        assert (ack.outcome == Outcome.REJECTED) == bool(ack.rejections and not ack.accepted_points)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A batch's bytes with a few of them changed, removed, doubled or added."""
    body = bytearray(draw(batches()).SerializeToString())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["change", "flip", "remove", "insert", "double", "cut", "varint"])):
            case "change" if place < len(body):
                body[place] = draw(st.integers(0, 255))
            case "flip" if place < len(body):
                body[place] ^= 1 << draw(st.integers(0, 7))
            case "remove":
                del body[place : place + draw(st.integers(1, 8))]
            case "insert":
                body[place:place] = draw(st.binary(max_size=6))
            case "double":
                body[place:place] = body[place : place + draw(st.integers(1, 30))]
            case "cut":
                del body[place:]
            case "varint":
                body[place:place] = b"\xff" * draw(st.integers(1, 10)) + b"\x01"
            case _:
                pass
    return bytes(body)


@st.composite
def fields(draw: st.DrawFn, depth: int = 0) -> bytes:
    """Fields that nobody's encoder wrote: any number and wire type, with content that fits or does not."""
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        number = draw(st.one_of(st.integers(1, 9), st.integers(0, 20), st.sampled_from([15, 16, 2_047, (1 << 29) - 1])))
        kind = draw(st.integers(0, 7))
        parts.append(raw.key(number, kind))
        match kind:
            case raw.VARINT:
                parts.append(raw.varint(draw(st.one_of(st.integers(0, 300), st.integers(0, (1 << 64) - 1)))))
            case raw.FIXED64:
                parts.append(draw(st.binary(min_size=8, max_size=8)))
            case raw.FIXED32:
                parts.append(draw(st.binary(min_size=4, max_size=4)))
            case raw.LENGTH:
                content = draw(fields(depth + 1) if depth < 3 else st.binary(max_size=9))
                parts.append(raw.varint(len(content)) + content)
            case raw.GROUP_START:
                parts.append((draw(fields(depth + 1)) if depth < 3 else b"") + raw.key(number, raw.GROUP_END))
            case _:
                pass
    return b"".join(parts)


NESTED = [raw.field(4, raw.field(7, raw.groups(9, depth))) for depth in (97, 98, 99, 100, 101)]


@given(body=mutated())
@settings(QUICK, max_examples=400)
def test_mutated_batches_are_judged_as_protobuf_judges_them(door: Door, body: bytes) -> None:
    same_verdict(door, body)
    door.stored()


@given(body=fields())
@settings(QUICK, max_examples=400)
@example(NESTED[0])
@example(NESTED[1])
@example(NESTED[2])
@example(NESTED[3])
@example(NESTED[4])
@example(raw.key(1, raw.GROUP_START) + bytes(2) + raw.key(1, raw.GROUP_END))
@example(raw.groups(100, 99))
@example(raw.groups(100, 100))
@example(raw.groups(100, 101))
@example(b"\x08" + b"\xff" * 9 + b"\x7f")
@example(b"\x88\x80\x80\x80\x80\x00\x01")
@example(raw.field(6, raw.field(1, b"\xff" * 9 + b"\x7f") + raw.field(4, bytes(8))))
@example(raw.field(4, raw.field(1, b"m") + raw.field(9, 1 << 40)))
def test_any_fields_are_judged_as_protobuf_judges_them(door: Door, body: bytes) -> None:
    same_verdict(door, body)
    door.stored()


@given(body=st.binary(max_size=64))
@settings(QUICK, max_examples=400)
def test_any_bytes_are_judged_as_protobuf_judges_them(door: Door, body: bytes) -> None:
    same_verdict(door, body)
    door.stored()


def test_texts_that_protobuf_refuses_cost_their_point_and_no_more(door: Door) -> None:
    """The one place where the contract and protobuf differ."""
    metrics = [raw.Metric(name=b"\xff", value=1), raw.Metric(name=b"good", value=math.pi)]
    body = raw.MetricBatch(metrics=metrics).SerializeToString()
    with pytest.raises(DecodeError):
        pb.MetricBatch.FromString(body)
    ack = door.ask(body)
    assert (ack.outcome, ack.accepted_points, ack.rejected_points) == (Outcome.PARTIAL, 1, 1)
    assert [row["value"] for row in door.stored()] == [math.pi]
