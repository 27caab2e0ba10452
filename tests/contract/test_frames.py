"""Frames, and what is no MetricBatch."""

import struct
from typing import Any

import pytest
from tests.contract.conftest import Doors
from tests.contract.door import (
    NOW,
    Door,
    Stream,
    as_frame,
    batch,
    columns,
    definition,
    expect_malformed,
    expect_stored,
    metric,
)
from tests.contract.raw import FIXED32, GROUP_END, GROUP_START, LENGTH, field, fixed64, groups, key, varint
from tests.support.protobuf import pb

from telemetry_collector.model import CloseCode

MIB = 1024 * 1024

# Fields of MetricBatch, by number.
SEQUENCE, EPOCH, METRICS, POINTS, HEARTBEAT, OLDEST = 1, 2, 4, 6, 7, 9


def test_bytes_make_frames_however_they_are_cut(shared: Door) -> None:
    data = b"".join(as_frame(batch(metric(f"m{number}"), sequence=number)) for number in (1, 2, 3))
    for size in (1, 2, 3, 5, 7):
        stream = shared.stream()
        acks = []
        for start in range(0, len(data), size):
            acks += stream.send(data[start : start + size])
        acks += stream.settle()
        assert [ack.sequence for ack in acks] == [1, 2, 3]
        assert stream.conversation.frames == 3
        assert not stream.mid_frame()


@pytest.mark.parametrize("size", [0, MIB + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_that_is_not_allowed_ends_the_stream_after_the_replies_due(stream: Stream, size: int) -> None:
    acks = stream.send(as_frame(batch(metric(), sequence=1)) + size.to_bytes(4, "big") + as_frame(batch(sequence=2)))
    assert stream.conversation.fault == CloseCode.FRAME_TOO_LARGE
    acks += stream.settle()
    assert [ack.sequence for ack in acks] == [1]
    assert stream.conversation.done
    assert stream.send(as_frame(batch(sequence=3))) == []
    assert stream.conversation.pending == 0
    assert stream.conversation.done


@pytest.mark.parametrize("limit", [None, 64, 100_000])
def test_the_largest_frame_is_as_large_as_the_limit(shared: Door, doors: Doors, limit: int | None) -> None:
    """The default is 1 MiB."""
    door = shared if limit is None else doors(frame_bytes_max=limit)
    size = limit or MIB
    padding = size - len(key(99, LENGTH)) - len(varint(size))
    body = key(99, LENGTH) + varint(padding) + bytes(padding)
    assert len(body) == size
    expect_stored(door.ask(body), 0)
    stream = door.stream()
    stream.send(as_frame(body + b"\x08\x01"))
    assert stream.conversation.fault == CloseCode.FRAME_TOO_LARGE


def test_the_smallest_frame_has_one_byte(stream: Stream) -> None:
    """No message is that short, but a frame may be: what is wrong is the message."""
    (ack,) = stream.send(b"\x00\x00\x00\x01\x08")
    expect_malformed(ack)
    assert stream.conversation.fault == 0


def test_the_end_of_the_stream_inside_a_frame_throws_the_part_away(stream: Stream) -> None:
    whole = as_frame(batch(metric(), sequence=1))
    acks = stream.send(whole + whole[:-1])
    assert stream.mid_frame()
    stream.conversation.finish()
    acks += stream.settle()
    assert [ack.sequence for ack in acks] == [1]
    assert not stream.mid_frame()
    assert stream.conversation.done


def test_an_agent_that_finishes_still_gets_every_reply_due(stream: Stream) -> None:
    acks = stream.send(b"".join(as_frame(batch(metric(), sequence=number)) for number in range(1, 9)))
    stream.conversation.finish()
    assert stream.conversation.done == (len(acks) == 8)
    acks += stream.settle()
    assert [ack.sequence for ack in acks] == list(range(1, 9))
    assert stream.conversation.done


def packed(number: int, *values: int) -> bytes:
    return field(number, b"".join(map(varint, values)))


def doubles(*values: float) -> bytes:
    return field(4, struct.pack(f"<{len(values)}d", *values))


NO_MESSAGE = {
    "a field beyond the end": b"\x22\x05\x0a\x01m",
    "a varint beyond the end": b"\x08\xff",
    "a fixed64 beyond the end": b"\x11\x01\x02\x03",
    "a varint of eleven bytes": b"\x48" + b"\xff" * 10 + b"\x01",
    "field number 0": b"\x00\x01",
    "wire type 6": b"\x0e\x01",
    "wire type 7": b"\x0f\x01",
    "the end of a group that was not begun": key(20, GROUP_END),
    "a group without its end": key(20, 3) + b"\x08\x01",
    "a group that ends as another": key(20, 3) + key(21, GROUP_END),
    "groups nested too deep": groups(20, 101),
    "a fixed32 beyond the end": key(20, FIXED32) + b"\x01\x02\x03",
    "a metric's tag beyond its metric": field(METRICS, b"\x12\x05\x0a\x01"),
    "a histogram's packed bounds cut short": field(METRICS, field(7, field(5, b"\x00" * 7))),
    "packed counts cut short": field(METRICS, field(7, field(6, b"\x80"))),
    "packed values cut short": field(POINTS, packed(1, 1) + field(4, b"\x00" * 9)),
    "packed ids cut short": field(POINTS, field(1, b"\x80") + doubles(1.0)),
    "a definition's tag cut short": field(5, field(3, b"\x0a\x05k")),
    "a heartbeat cut short": field(HEARTBEAT, b"\x0a\x05w"),
    "text": b"GET / HTTP/1.1\r\n\r\n",
}

MALFORMED: dict[str, bytes] = {
    "more ids than values": field(POINTS, packed(1, 1, 1) + doubles(1.0)),
    "more values than ids": field(POINTS, packed(1, 1) + doubles(1.0, 2.0)),
    "values without ids": field(POINTS, doubles(1.0)),
    "fewer deltas than points": field(POINTS, packed(1, 1, 1) + packed(3, 2) + doubles(1.0, 2.0)),
    "more deltas than points": field(POINTS, packed(1, 1) + packed(3, 2, 2) + doubles(1.0)),
    "deltas without points": field(POINTS, packed(3, 2)),
    "a metric's timestamp of 2^63": field(METRICS, fixed64(5, 1 << 63)),
    "a metric's timestamp of 2^64 - 1": field(METRICS, fixed64(5, (1 << 64) - 1)),
    "a base timestamp of 2^63": field(POINTS, fixed64(2, 1 << 63) + packed(1, 1) + doubles(1.0)),
    "deltas that come to 2^63": field(POINTS, fixed64(2, (1 << 63) - 1) + packed(1, 1) + packed(3, 2) + doubles(1.0)),
    "deltas that come to 2^63 and back": field(
        POINTS, fixed64(2, (1 << 63) - 1) + packed(1, 1, 1) + packed(3, 2, 1) + doubles(1.0, 1.0)
    ),
    "deltas that come below -2^63": field(POINTS, packed(1, 1, 1) + packed(3, (1 << 64) - 1, 1) + doubles(1.0, 1.0)),
    "a heartbeat's timestamp of 2^63": field(HEARTBEAT, fixed64(6, 1 << 63)),
    "a task's start of 2^63": field(HEARTBEAT, field(5, fixed64(4, 1 << 63))),
    "oldest_unacknowledged above the sequence": field(OLDEST, 8),
}


@pytest.mark.parametrize("body", [*NO_MESSAGE.values(), *MALFORMED.values()], ids=[*NO_MESSAGE, *MALFORMED])
def test_malformed_frames_are_named_and_the_stream_goes_on(stream: Stream, body: bytes) -> None:
    """With the sequence when it was read before the fault, else 0."""
    before, after = field(SEQUENCE, 7) + body, batch(metric(), sequence=9)
    acks = stream.ask_all([before, after])
    expect_malformed(acks[0], 7)
    expect_stored(acks[1])


@pytest.mark.parametrize("case", ["field number 0", "wire type 6", "groups nested too deep"])
def test_a_sequence_after_the_fault_was_not_read(stream: Stream, case: str) -> None:
    expect_malformed(stream.ask(NO_MESSAGE[case] + field(SEQUENCE, 7)), 0)


@pytest.mark.parametrize(
    ("sequence", "epoch", "oldest", "good"),
    [
        (0, 0, 0, True),
        (5, 0, 0, True),
        (0, 1, 0, False),
        (1, 1, 1, True),
        (1, 1, 2, False),
        (0, 0, 1, False),
        ((1 << 63) - 1, 2, 0, True),
        ((1 << 63) - 1, 0, 0, True),
        (1 << 63, 2, 0, False),
        (1 << 63, 0, 0, False),
        ((1 << 64) - 1, 2, 0, False),
        (1, (1 << 64) - 1, 0, True),
        (4, 3, 4, True),
        (4, 3, 5, False),
    ],
)
def test_sequence_epoch_and_oldest_fit_together(door: Door, sequence: int, epoch: int, oldest: int, good: bool) -> None:
    ack = door.ask(batch(metric(), sequence=sequence, epoch=epoch, oldest_unacknowledged=oldest))
    if good:
        expect_stored(ack)
        assert ack.sequence == sequence
    else:
        expect_malformed(ack, sequence)


def test_nothing_of_a_malformed_batch_is_stored(door: Door) -> None:
    stream = door.stream()
    good = batch(metric("good"), sequence=1).SerializeToString()
    expect_malformed(stream.ask(good + b"\x22\x05\x0a"), 1)
    expect_malformed(stream.ask(batch(metric("good"), points=[columns(1, values=[])], sequence=2)), 2)
    expect_stored(stream.ask(batch(metric("other"), sequence=3)))
    assert [row["name"] for row in door.stored()] == ["other"]
    assert door.core.stats()["batches_malformed"] == 2


UNKNOWN = {
    "a varint": field(100, 1 << 63),
    "a fixed64": fixed64(100, 7),
    "a fixed32": key(100, FIXED32) + b"\x01\x02\x03\x04",
    "bytes": field(100, b"anything"),
    "a group": key(100, GROUP_START) + field(1, 5) + groups(7, 3) + key(100, GROUP_END),
    "groups as deep as protobuf has them": groups(100, 90),
    "the largest number": field((1 << 29) - 1, 1),
    "known numbers with other wire types": key(1, FIXED32)
    + b"\x01\x02\x03\x04"
    + key(2, FIXED32)
    + b"\x01\x02\x03\x04",
}


@pytest.mark.parametrize("unknown", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_fields_are_skipped_wherever_they_stand(door: Door, unknown: bytes) -> None:
    tag = field(1, b"k") + unknown + field(2, b"v") + unknown
    histogram = unknown + pb.Histogram(count=1, sum=2, bucket_counts=[1]).SerializeToString() + unknown
    summary = unknown + field(3, unknown + pb.Quantile(quantile=0.5, value=1).SerializeToString() + unknown)
    body = (
        unknown
        + field(METRICS, unknown + metric("row").SerializeToString() + field(2, tag) + unknown)
        + unknown
        + field(METRICS, field(1, b"histogram") + unknown + field(7, histogram))
        + field(METRICS, field(1, b"summary") + unknown + field(8, summary))
        + field(5, unknown + definition(1, "column").SerializeToString() + field(3, tag) + unknown)
        + field(POINTS, unknown + columns(1).SerializeToString() + unknown)
        + field(HEARTBEAT, unknown + field(5, unknown) + unknown)
        + unknown
    )
    expect_stored(door.ask(body), 4)
    rows = door.stored()
    assert [row["name"] for row in rows] == ["row", "histogram", "summary", "column"]
    assert [row["tags"] for row in rows] == [{"k": "v"}, {}, {}, {"k": "v"}]
    assert rows[1]["histogram"]["counts"] == [1]
    assert rows[2]["summary"]["quantiles"] == [0.5]


def test_scalars_that_come_twice_are_the_last_and_messages_merge(door: Door) -> None:
    """As in every protobuf decoder."""
    one = pb.Histogram(count=9, sum=1, upper_bounds=[1], bucket_counts=[1]).SerializeToString()
    two = pb.Histogram(count=3, min=0.5, upper_bounds=[2], bucket_counts=[0, 2]).SerializeToString()
    body = (
        field(SEQUENCE, 3)
        + field(METRICS, field(1, b"a") + field(1, b"b") + field(7, one) + field(7, two))
        + field(METRICS, field(1, b"c") + field(7, one) + key(6, 1) + struct.pack("<d", 4.0))
        + field(SEQUENCE, 4)
    )
    ack = door.ask(body)
    expect_stored(ack, 2)
    assert ack.sequence == 4
    merged, last = door.stored()
    assert merged["name"] == "b"
    assert merged["histogram"] == {
        "count": 3, "sum": 1.0, "min": 0.5, "max": None, "bounds": [1.0, 2.0], "counts": [1, 0, 2]
    }  # fmt: skip
    assert (last["histogram"], last["value"]) == (None, 4.0)


def test_repeated_numbers_need_not_be_packed(door: Door) -> None:
    loose = b"".join(
        field(1, 1) + key(3, 0) + varint(delta) + key(4, 1) + struct.pack("<d", value)
        for delta, value in ((0, 1.0), (20, 2.0))
    )
    body: Any = field(5, definition(1).SerializeToString()) + field(POINTS, fixed64(2, NOW) + loose)
    expect_stored(door.ask(body), 2)
    assert [(row["timestamp"] - NOW, row["value"]) for row in door.stored()] == [(0, 1.0), (10, 2.0)]
