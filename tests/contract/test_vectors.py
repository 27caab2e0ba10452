"""The published test vectors: what they say is what the collector does, and what protobuf's own decoder reads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from tests.contract.door import Door, expect, expect_malformed, expect_stored
from tests.support import dense
from tests.support.protobuf import pb

from telemetry_collector.model import STANDARD_TAGS, Outcome

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
    frame = bytes.fromhex(VECTORS[name]["frame"])
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


@those("batch")
def test_batches_are_stored_as_they_say(door: Door, name: str) -> None:
    said = VECTORS[name]["batch"]
    sent = inflated(pb.MetricBatch.FromString(body(name)))
    assert (str(sent.sequence), str(sent.epoch)) == (said["sequence"], said["epoch"])
    assert str(sent.oldest_unacknowledged) == said["oldest_unacknowledged"]
    assert [[tag.key, tag.value] for tag in sent.common_tags] == said["common_tags"]
    assert [one.id for one in sent.series] == [one["id"] for one in said["definitions"]]
    assert sum(map(points_in, sent.points)) == len(said["points"])
    assert sent.HasField("heartbeat") == (said["heartbeat"] is not None)

    stream = door.stream(RELAY, "relay", relay=True)
    expect_stored(stream.ask(pb.MetricBatch(sequence=100, series=earlier(said)), NOW), 0)
    before = door.core.stats()["heartbeats_taken"]
    ack = stream.ask(body(name), NOW)
    expect(ack, Outcome.STORED, len(said["metrics"]) + len(said["points"]))
    assert str(ack.sequence) == said["sequence"]
    assert door.core.stats()["heartbeats_taken"] - before == (said["heartbeat"] is not None)
    assert door.stored() == rows_of(said, name)


def points_in(columns: Any) -> int:
    if not dense.is_dense(columns):
        return len(columns.series_ids)
    return len(dense.points(columns))


def rows_of(said: Any, name: str) -> list[dict[str, Any]]:
    """The rows of the data set that a vector's batch becomes."""
    definitions = {one["id"]: one for one in [*said["definitions"], *earlier(said)]}
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
