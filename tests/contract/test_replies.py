"""Replies: one for each batch and in order, their counts, and the window that they grant."""

from __future__ import annotations

import math
from typing import Any

import pytest
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
)
from tests.support.protobuf import pb

from telemetry_collector.model import CloseCode, Outcome, Reason

WINDOW = 8


def test_one_reply_for_each_batch_in_the_order_of_the_batches(door: Door) -> None:
    """Although some are known at once and others wait for a commit."""
    expect_stored(door.ask(batch(metric(), sequence=1, epoch=1)))
    stream = door.stream()
    messages: list[Any] = [
        batch(metric(), sequence=2, epoch=1),
        b"\x08\x03\x00",
        batch(metric(), sequence=1, epoch=1),
        batch(sequence=4, epoch=1),
        batch(metric(), sequence=5, epoch=1),
        batch(metric(""), sequence=6, epoch=1),
        batch(metric(), points=[columns(1)], sequence=7, epoch=1),
        batch(metric(), metric(""), sequence=8, epoch=1),
    ]
    outcomes = [
        Outcome.STORED,
        Outcome.REJECTED,
        Outcome.DUPLICATE,
        Outcome.STORED,
        Outcome.STORED,
        Outcome.REJECTED,
        Outcome.REJECTED,
        Outcome.PARTIAL,
    ]
    acks = stream.ask_all(messages)
    assert [(ack.sequence, ack.outcome) for ack in acks] == list(zip([2, 3, 1, 4, 5, 6, 7, 8], outcomes, strict=True))


def test_nothing_is_acknowledged_before_its_commit(door: Door) -> None:
    stream = door.stream()
    acks = stream.send(as_frame(batch(metric(), sequence=1, epoch=1)))
    assert len(acks) + stream.conversation.pending == 1
    acks += stream.settle()
    expect_stored(acks[0])
    assert len(door.stored()) == 1


def test_accepted_and_rejected_are_the_points_of_the_batch(stream: Stream) -> None:
    histogram = pb.Histogram(count=9, upper_bounds=[1, 2, 3], bucket_counts=[1, 2, 3, 3])
    summary = pb.Summary(quantiles=[pb.Quantile(quantile=0.5, value=1)] * 5)
    good = [metric("h", histogram=histogram), metric("s", summary=summary), metric("v")]
    series = [definition(1), definition(2, "")]
    message = batch(*good, metric(""), series=series, points=[columns(1, 1, 2, values=[1, math.nan, 1])])
    reasons = {Reason.INVALID_NAME: 2, Reason.INVALID_VALUE: 1}
    expect(stream.ask(message), Outcome.PARTIAL, 4, 3, reasons)


def test_all_points_refused_is_rejected_for_each_reason(stream: Stream) -> None:
    ack = stream.ask(batch(metric(""), metric(""), metric(value=math.nan), metric(timestamp_unix_ns=1)))
    reasons = {Reason.INVALID_NAME: 2, Reason.INVALID_VALUE: 1, Reason.INVALID_TIMESTAMP: 1}
    expect(ack, Outcome.REJECTED, 0, 4, reasons)


def test_a_rejection_names_a_metric_and_what_was_wrong(stream: Stream) -> None:
    cases = [
        (metric("cpu", tags={"k": "x" * 1_025}), "1024"),
        (metric("cpu", tags={"k\x01": "v"}), "control"),
        (metric("cpu", value=math.inf), "finite"),
        (metric("cpu", timestamp_unix_ns=1), "past"),
        (metric("cpu", timestamp_unix_ns=(1 << 63) - 1), "future"),
        (metric("cpu", histogram=pb.Histogram(count=1, upper_bounds=[2, 1], bucket_counts=[1, 0, 0])), "ascend"),
    ]
    for point, wrong in cases:
        (rejection,) = stream.ask(batch(point)).rejections
        assert rejection.example.startswith("cpu")
        assert wrong in rejection.example
    (rejection,) = stream.ask(batch(series=[definition(1, "gpu")], points=[columns(1, values=[math.nan])])).rejections
    assert rejection.example.startswith("gpu")


def test_eight_batches_may_be_unacknowledged_on_a_new_stream(stream: Stream) -> None:
    acks = stream.send(b"".join(as_frame(batch(metric(), sequence=number)) for number in range(1, WINDOW + 1)))
    assert stream.conversation.fault == 0
    acks += stream.settle()
    assert [ack.sequence for ack in acks] == list(range(1, WINDOW + 1))
    assert {ack.credit for ack in acks} == {WINDOW}
    assert stream.conversation.fault == 0


@pytest.mark.parametrize("body", [batch(metric(), sequence=1), b"\x08"], ids=["good", "malformed"])
def test_more_than_the_window_closes_the_connection(stream: Stream, body: Any) -> None:
    """Batches received less replies sent, whatever becomes of the batches."""
    stream.send(as_frame(body) * (WINDOW + 1))
    assert stream.conversation.fault == CloseCode.CREDIT_EXCEEDED
    frames = stream.conversation.frames
    stream.send(as_frame(body))
    assert stream.conversation.frames == frames


def test_a_window_that_moves_on_is_never_exceeded(stream: Stream) -> None:
    """An agent that keeps exactly its window unacknowledged goes on for ever."""
    sent = answered = 0
    while answered < 200:
        while sent - answered < WINDOW:
            sent += 1
            answered += len(stream.send(as_frame(batch(metric(), sequence=sent))))
        answered += len(stream.settle())
        assert stream.conversation.fault == 0


def test_windows_are_of_a_stream(shared: Door) -> None:
    streams = [shared.stream() for _ in range(4)]
    early = [stream.send(as_frame(batch(metric(), sequence=1)) * WINDOW) for stream in streams]
    for acks, stream in zip(early, streams, strict=True):
        assert len(acks + stream.settle()) == WINDOW
        assert stream.conversation.fault == 0


def crowd(door: Door, streams: int = 8) -> list[Any]:
    """The answers to a full window on each of many streams at once."""
    opened = [door.stream() for _ in range(streams)]
    data = [
        b"".join(as_frame(batch(metric(), sequence=number, epoch=1 + place)) for number in range(1, WINDOW + 1))
        for place in range(streams)
    ]
    early = [stream.send(data[place]) for place, stream in enumerate(opened)]
    answers = [ack for acks, stream in zip(early, opened, strict=True) for ack in acks + stream.settle()]
    assert all(stream.conversation.fault == 0 for stream in opened)
    return answers


def test_at_twice_the_threshold_agents_are_told_to_come_later(doors: Doors) -> None:
    """Nothing of such a batch is stored, and it may be sent again under its name."""
    door = doors(backpressure_threshold=1)
    later = []
    for _ in range(50):
        later += [ack for ack in crowd(door) if ack.outcome == Outcome.RETRY_LATER]
        if later:
            break
    assert later, "64 batches at once never came to two in flight"
    for ack in later:
        expect(ack, Outcome.RETRY_LATER)
        assert ack.retry_after_ms > 0
    rows = door.stored()
    assert len({(row["epoch"], row["sequence"]) for row in rows}) == len(rows)
    stream = door.stream()
    for epoch in range(1, 9):
        for sequence in range(1, WINDOW + 1):
            ack = stream.ask(batch(metric(), sequence=sequence, epoch=epoch))
            assert ack.outcome in (Outcome.STORED, Outcome.DUPLICATE)
    rows += door.stored()
    assert sorted((row["epoch"], row["sequence"]) for row in rows) == [
        (epoch, sequence) for epoch in range(1, 9) for sequence in range(1, WINDOW + 1)
    ]


def test_a_threshold_of_0_takes_nothing_with_points(doors: Doors) -> None:
    """And answers everything else."""
    door = doors(backpressure_threshold=0)
    stream = door.stream()
    ack = stream.ask(batch(metric(), sequence=1, epoch=1))
    expect(ack, Outcome.RETRY_LATER)
    assert ack.retry_after_ms > 0
    expect_stored(stream.ask(batch(sequence=2, epoch=1)), 0)
    expect_malformed(stream.ask(b"\x08\x03\x00"), 3)
    expect_refused(stream.ask(batch(metric(), points=[columns(1)], sequence=4)), Reason.UNKNOWN_SERIES, 2)
    assert door.stored() == []


def test_above_the_threshold_windows_shrink_to_1_and_what_was_granted_stays_good(doors: Doors) -> None:
    door = doors(backpressure_threshold=2)
    busy, asking = [door.stream() for _ in range(4)], door.stream()
    windows = set()
    for attempt in range(1, 100):
        for place, stream in enumerate(busy):
            stream.send(as_frame(batch(metric(), sequence=attempt, epoch=1 + place)))
        # Known at once, so it tells the window while the others wait for their commit.
        (ack,) = asking.send(as_frame(batch(sequence=1)))
        windows.add(ack.credit)
        for stream in busy:
            stream.settle()
        if windows == {1, WINDOW}:
            break
        if 1 in windows:
            (ack,) = asking.send(as_frame(batch(sequence=1)))
            windows.add(ack.credit)
    assert windows == {1, WINDOW}
    # The largest window ever granted is what is enforced: the agent may not have heard of the smaller one yet.
    asking.send(as_frame(batch(sequence=1)) * WINDOW)
    assert asking.conversation.fault == 0


def test_bytes_in_flight_are_bounded(doors: Doors) -> None:
    """Those of frames that have begun, on whatever stream, among them."""
    door = doors(inflight_bytes_max=10_000)
    half = door.stream()
    half.send((20_000).to_bytes(4, "big") + bytes(9_990))
    ack = door.ask(batch(metric(), sequence=1, epoch=1))
    expect(ack, Outcome.RETRY_LATER)
    half.conversation.finish()
    expect_stored(door.ask(batch(metric(), sequence=1, epoch=1)))


def test_retries_duplicates_and_malformed_frames_have_zero_counts(doors: Doors) -> None:
    door = doors(inflight_bytes_max=500)
    expect_stored(door.ask(batch(metric(), sequence=1, epoch=1)))
    many = [metric()] * 100
    expect(door.ask(batch(*many, sequence=1, epoch=1)), Outcome.DUPLICATE)
    expect(door.ask(batch(*many, sequence=2, epoch=1)), Outcome.RETRY_LATER)
    expect_malformed(door.ask(batch(*many, sequence=0, epoch=1)))


def test_a_full_journal_pauses_agents_and_drops_nothing(doors: Doors) -> None:
    door = doors(journal_segment_bytes=64 * 1024, journal_bytes_max=4 * 64 * 1024)
    assert door.stored() == []
    stream = door.stream()
    stored = 0
    for sequence in range(1, 2_000):
        noise = [metric(f"m{pow(7, 50 * sequence + place, 2**127 - 1):x}") for place in range(50)]
        ack = stream.ask(batch(*noise, sequence=sequence, epoch=1))
        if ack.outcome == Outcome.RETRY_LATER:
            break
        expect_stored(ack, 50)
        stored += 50
    expect(ack, Outcome.RETRY_LATER)
    assert ack.retry_after_ms >= 100
    assert len(door.stored()) == stored
