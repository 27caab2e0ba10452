"""The published test vectors: what they say is what the collector does, and what protobuf's own decoder reads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from tests.contract.door import Door, expect, expect_malformed, expect_refused, expect_stored
from tests.support import dense
from tests.support.protobuf import pb

from telemetry_collector.model import STANDARD_TAGS, Outcome, Reason

DIRECTORY = Path(__file__).parents[2] / "docs" / "wire-vectors"
VECTORS = {path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))}
NOW = 1_790_000_000_000_000_000
TYPES = {0: "gauge", 1: "counter", 2: "gauge", 3: "histogram", 4: "summary", 5: "meter"}
RELAY = "spiffe://fleet/relay"


def those(kind: str) -> pytest.MarkDecorator:
    names = [name for name, vector in VECTORS.items() if kind in vector]
    assert names
    return pytest.mark.parametrize("name", names)


def body(name: str) -> bytes:
    """What stands behind the length, which is right."""
    return without_length(VECTORS[name]["frame"])


def without_length(hexadecimal: str) -> bytes:
    frame = bytes.fromhex(hexadecimal)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return frame[4:]


def inflated(batch: Any) -> Any:
    """The batch that a compressed body holds, under its outer name."""
    if not batch.HasField("compressed"):
        return batch
    sent = batch.compressed
    if sent.algorithm == pb.CompressedBody.GZIP:
        content = gzip.decompress(sent.body)
    else:
        content = pa.Codec("zstd").decompress(sent.body, sent.uncompressed_size, asbytes=True)
    assert len(content) == sent.uncompressed_size
    inner = pb.MetricBatch.FromString(content)
    inner.sequence, inner.epoch = batch.sequence, batch.epoch
    inner.oldest_unacknowledged = batch.oldest_unacknowledged
    return inner


def frames_before(name: str) -> list[bytes]:
    """The frames that its stream has had, which are as they should be."""
    return [without_length(one) for one in VECTORS[name].get("before", [])]


def earlier(said: Any) -> list[dict[str, Any]]:
    """Definitions of the series that a vector takes for granted, since an earlier batch of its stream had them."""
    missing = {point["series_id"] for point in said["points"]} - {one["id"] for one in said["definitions"]}
    return [{"id": one, "name": f"m{one}", "tags": [], "type": 1, "unit": "", "delta": True} for one in missing]


@those("ack")
def test_replies_are_what_protobuf_reads(name: str) -> None:
    ack, said = pb.BatchAck.FromString(body(name)), VECTORS[name]["ack"]
    assert {
        "sequence": str(ack.sequence),
        "outcome": ack.outcome,
        "accepted_points": ack.accepted_points,
        "rejected_points": ack.rejected_points,
        "rejections": [{"reason": one.reason, "points": one.points, "example": one.example} for one in ack.rejections],
        "credit": ack.credit,
        "retry_after_ms": ack.retry_after_ms,
    } == said


@those("malformed")
def test_malformed_frames_are_answered_as_they_say(door: Door, name: str) -> None:
    stream = door.stream(RELAY, "relay", relay=True)
    expect_malformed(stream.ask(body(name), NOW), int(VECTORS[name]["malformed"]["sequence"]))
    # Most are good protobuf: the fault is against the contract.
    if name in ("malformed-not-protobuf", "malformed-before-sequence"):
        with pytest.raises(DecodeError):
            pb.MetricBatch.FromString(body(name))
    else:
        pb.MetricBatch.FromString(body(name))


@those("withdraw")
def test_names_are_taken_back_as_they_say(door: Door, name: str) -> None:
    said = VECTORS[name]["withdraw"]
    sent = pb.MetricBatch.FromString(body(name))
    assert sent.withdraw
    assert {key: str(getattr(sent, key)) for key in said} == said
    stream = door.stream()
    expect_refused(stream.ask(body(name), NOW), Reason.WITHDRAWN)
    whole = pb.MetricBatch(sequence=sent.sequence, epoch=sent.epoch, metrics=[{"name": "m", "value": 1.0}])
    expect_refused(stream.ask(whole, NOW), Reason.WITHDRAWN)
    whole.sequence += 1
    expect_stored(stream.ask(whole, NOW))


@those("batch")
def test_batches_are_stored_as_they_say(door: Door, name: str) -> None:
    said = VECTORS[name]["batch"]
    sent = inflated(pb.MetricBatch.FromString(body(name)))
    assert (str(sent.sequence), str(sent.epoch)) == (said["sequence"], said["epoch"])
    assert str(sent.oldest_unacknowledged) == said["oldest_unacknowledged"]
    assert [[tag.key, tag.value] for tag in sent.common_tags] == said["common_tags"]
    assert [one.id for one in sent.series] == [one["id"] for one in said["definitions"]]
    references = dense.References()
    for one in frames_before(name):
        kept: list[tuple[int, int, int]] = []
        for columns in pb.MetricBatch.FromString(one).points:
            dense.points(columns, references, kept)
        references.keep(kept)
    assert [value for columns in sent.points for value in values_in(columns, references)] == [
        point["value"] for point in said["points"]
    ]
    assert sent.HasField("heartbeat") == (said["heartbeat"] is not None)

    stream = door.stream(RELAY, "relay", relay=True)
    for one in frames_before(name):
        expect(stream.ask(one, NOW), Outcome.STORED, points_of(one))
    door.stored()
    defined = [] if frames_before(name) else earlier(said)
    expect_stored(stream.ask(pb.MetricBatch(sequence=100, series=defined), NOW), 0)
    before = door.core.stats()["heartbeats_taken"]
    ack = stream.ask(body(name), NOW)
    expect(ack, Outcome.STORED, len(said["metrics"]) + len(said["points"]))
    assert str(ack.sequence) == said["sequence"]
    assert door.core.stats()["heartbeats_taken"] - before == (said["heartbeat"] is not None)
    assert door.stored() == rows_of(said, name)


def values_in(columns: Any, references: dense.References) -> list[float]:
    if not dense.is_dense(columns):
        return list(columns.values)
    return [value for _, _, value in dense.points(columns, references)]


def points_of(frame: bytes) -> int:
    return sum(columns.dense_points for columns in pb.MetricBatch.FromString(frame).points)


def known(said: Any, name: str) -> list[dict[str, Any]]:
    """What a vector's stream has defined before it."""
    if not frames_before(name):
        return earlier(said)
    series = [one for frame in frames_before(name) for one in pb.MetricBatch.FromString(frame).series]
    return [
        {
            "id": one.id,
            "name": one.name,
            "tags": [[tag.key, tag.value] for tag in one.tags],
            "type": one.type,
            "unit": one.unit,
            "delta": one.delta,
        }
        for one in series
    ]


def rows_of(said: Any, name: str) -> list[dict[str, Any]]:
    """The rows of the data set that a vector's batch becomes."""
    definitions = {one["id"]: one for one in [*said["definitions"], *known(said, name)]}
    rows = [row(said, metric, metric) for metric in said["metrics"]]
    rows += [row(said, definitions[point["series_id"]], point) for point in said["points"]]
    assert rows or name in ("empty", "heartbeat")
    return rows


def row(said: Any, series: Any, point: Any) -> dict[str, Any]:
    effective = {"node_id": "relay", **dict(said["common_tags"]), **dict(series["tags"])}
    time = point["timestamp_unix_ns"]
    epoch = int(said["epoch"])
    histogram, summary = point.get("histogram"), point.get("summary")
    return {
        "timestamp": NOW if time is None else int(time),
        "received": NOW,
        "name": series["name"],
        "type": TYPES[series["type"]],
        "unit": series["unit"],
        "value": point.get("value"),
        "delta": series["delta"],
        **{key: effective.get(key) for key in STANDARD_TAGS},
        "tags": {key: value for key, value in effective.items() if key not in STANDARD_TAGS},
        "histogram": histogram
        and {
            "count": int(histogram["count"]),
            **{key: histogram[key] for key in ("sum", "min", "max")},
            "bounds": histogram["upper_bounds"],
            "counts": [int(count) for count in histogram["bucket_counts"]],
        },
        "summary": summary
        and {
            "count": int(summary["count"]),
            "sum": summary["sum"],
            "quantiles": [quantile for quantile, _ in summary["quantiles"]],
            "values": [value for _, value in summary["quantiles"]],
        },
        "identity": RELAY,
        "epoch": epoch - (1 << 64) if epoch >> 63 else epoch,
        "sequence": int(said["sequence"]),
    }
