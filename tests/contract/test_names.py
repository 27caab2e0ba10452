"""Names: each is stored once, across streams, connections and restarts, and nothing is guessed to be a duplicate."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import Doors
from tests.contract.door import (
    PATIENCE_SECS,
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
    opened,
)

from telemetry_collector.model import Outcome, Reason

RANGES_MAX = 1_024
EPOCHS_MAX = 16
TOP = (1 << 63) - 1


def named(sequence: int, epoch: int = 1, oldest: int = 0, name: str = "m") -> Any:
    return batch(metric(name), sequence=sequence, epoch=epoch, oldest_unacknowledged=oldest)


def expect_duplicate(ack: Any) -> None:
    expect(ack, Outcome.DUPLICATE)


def expect_later(ack: Any) -> None:
    expect(ack, Outcome.RETRY_LATER)
    assert ack.retry_after_ms > 0


def test_a_stored_batch_sent_again_is_a_duplicate_and_stored_once(door: Door) -> None:
    stream = door.stream()
    expect_stored(stream.ask(named(1)))
    expect_duplicate(stream.ask(named(1)))
    expect_duplicate(door.stream().ask(named(1)))
    assert len(door.stored()) == 1


def test_a_partial_batch_closes_its_name(door: Door) -> None:
    message = batch(metric(), metric(""), sequence=1, epoch=1)
    expect(door.ask(message), Outcome.PARTIAL, 1, 1, {Reason.INVALID_NAME: 1})
    expect_duplicate(door.ask(message))


def test_a_second_content_is_not_compared(door: Door) -> None:
    expect_stored(door.ask(named(1, name="first")))
    expect_duplicate(door.ask(batch(metric("second"), metric("third"), sequence=1, epoch=1)))
    expect_duplicate(door.ask(batch(metric(""), sequence=1, epoch=1)))
    expect_duplicate(door.ask(batch(sequence=1, epoch=1)))
    assert [row["name"] for row in door.stored()] == ["first"]


def test_whether_a_batch_is_stored_can_be_asked_with_a_series_that_nobody_defined(door: Door) -> None:
    """As an agent does that must not split a batch which is stored already."""
    question = batch(points=[columns(2**32 - 1)], sequence=1, epoch=1)
    stream = door.stream()
    expect_refused(stream.ask(question), Reason.UNKNOWN_SERIES, 1)
    expect_stored(stream.ask(named(1)))
    expect_duplicate(stream.ask(question))
    expect_duplicate(door.stream().ask(question))
    assert [row["name"] for row in door.stored()] == ["m"]


@pytest.mark.parametrize("same", ["identity", "epoch", "sequence"])
def test_a_name_has_three_parts(door: Door, same: str) -> None:
    stream = door.stream("spiffe://fleet/a", "node-1")
    expect_stored(stream.ask(named(1, epoch=1)))
    other = {
        "identity": ("spiffe://fleet/b", named(1, epoch=1)),
        "epoch": ("spiffe://fleet/a", named(1, epoch=2)),
        "sequence": ("spiffe://fleet/a", named(2, epoch=1)),
    }
    identity, message = other[same]
    # The node is no part of it.
    expect_stored(door.stream(identity, "node-1").ask(message))
    expect_duplicate(door.stream("spiffe://fleet/a", "node-9").ask(named(1, epoch=1)))


def test_sequences_arrive_in_any_order_on_any_stream(door: Door) -> None:
    streams = [door.stream() for _ in range(3)]
    order = [9, 2, 7, 1, 8, 3, TOP, 6, 4, 5]
    for place, sequence in enumerate(order):
        ack = streams[place % 3].ask(named(sequence))
        expect_stored(ack)
        assert ack.sequence == sequence
    for place, sequence in enumerate(reversed(order)):
        expect_duplicate(streams[place % 3].ask(named(sequence)))
    assert [row["sequence"] for row in door.stored()] == order


def test_epoch_0_has_no_names(door: Door) -> None:
    for sequence in (0, 0, 5, 5, 4):
        expect_stored(door.ask(batch(metric(), sequence=sequence)))
    expect_stored(door.ask(batch(metric(), sequence=9, oldest_unacknowledged=9)))
    expect_stored(door.ask(batch(metric(), sequence=5)))
    assert len(door.stored()) == 7
    expect_malformed(door.ask(batch(metric(), epoch=1)))


@pytest.mark.parametrize("epoch", [1, 1 << 63, (1 << 64) - 1])
def test_every_other_number_is_an_epoch(door: Door, epoch: int) -> None:
    expect_stored(door.ask(named(1, epoch)))
    expect_duplicate(door.ask(named(1, epoch)))
    (row,) = door.stored()
    assert row["epoch"] % (1 << 64) == epoch


def test_a_rejected_batch_is_judged_anew(door: Door) -> None:
    for _ in range(2):
        expect_refused(door.ask(batch(metric(""), sequence=1, epoch=1)), Reason.INVALID_NAME)
    expect_stored(door.ask(named(1)))
    expect_duplicate(door.ask(batch(metric(""), sequence=1, epoch=1)))


def test_a_batch_that_was_told_to_come_later_is_judged_anew(doors: Doors) -> None:
    door = doors(inflight_bytes_max=200)
    long = batch(metric(tags={"k": "v" * 200}), sequence=1, epoch=1)
    for _ in range(2):
        expect_later(door.ask(long))
    expect_stored(door.ask(named(1)))
    expect_duplicate(door.ask(long))


def test_copies_of_a_pending_batch_wait_for_its_commit(door: Door) -> None:
    """On its own stream and on others, and only one of them is stored."""
    streams = [door.stream() for _ in range(4)]
    acks = [stream.send(as_frame(named(1)) * 2) for stream in streams]
    answers = [ack.outcome for early, stream in zip(acks, streams, strict=True) for ack in early + stream.settle()]
    assert answers == [Outcome.STORED, *[Outcome.DUPLICATE] * 7]
    assert len(door.stored()) == 1


def test_of_copies_on_many_threads_one_is_stored(door: Door) -> None:
    """A connection each, all with the same sequences at the same time."""
    threads, sequences = 4, range(1, 41)
    together = threading.Barrier(threads)

    def send(_: int) -> list[int]:
        stream = door.stream()
        together.wait()
        outcomes = []
        for start in range(0, len(sequences), 8):
            data = b"".join(map(as_frame, map(named, sequences[start : start + 8])))
            acks = stream.send(data)
            # Threads would take each other's wake-ups; the core's own waiting has none.
            assert door.core.drain(PATIENCE_SECS)
            acks += stream.settle()
            assert [ack.sequence for ack in acks] == list(sequences[start : start + 8])
            outcomes += [ack.outcome for ack in acks]
        return outcomes

    with ThreadPoolExecutor(threads) as pool:
        outcomes = [outcome for answers in pool.map(send, range(threads)) for outcome in answers]
    assert outcomes.count(Outcome.STORED) == len(sequences)
    assert outcomes.count(Outcome.DUPLICATE) == (threads - 1) * len(sequences)
    assert sorted(row["sequence"] for row in door.stored()) == list(sequences)


def test_lower_sequences_are_forgotten_and_duplicates(door: Door) -> None:
    expect_stored(door.ask(named(1)))
    expect_stored(door.ask(named(20, oldest=10)))
    for sequence in (1, 2, 9):
        expect_duplicate(door.ask(named(sequence)))
    expect_stored(door.ask(named(10)))
    expect_stored(door.ask(named(11, oldest=3)))
    expect_duplicate(door.ask(named(9)))
    # Of this epoch only.
    expect_stored(door.ask(named(2, epoch=2)))
    assert [row["sequence"] for row in door.stored()] == [1, 20, 10, 11, 2]


def test_it_may_be_the_batchs_own_sequence(door: Door) -> None:
    expect_stored(door.ask(named(10, oldest=10)))
    expect_duplicate(door.ask(named(9)))
    expect_duplicate(door.ask(named(10)))
    expect_stored(door.ask(named(11)))


REFUSED: dict[str, Any] = {
    "an empty batch": {},
    "a refused point": {"metrics": [metric("")]},
    "another node": {"metrics": [metric(tags={"node_id": "x"})]},
    "an unknown series": {"points": [columns(1)]},
    "too many points": {"metrics": [metric()] * 1_001},
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_counts_from_every_batch_that_is_not_malformed(door: Door, case: str) -> None:
    message = batch(sequence=10, epoch=1, oldest_unacknowledged=5)
    message.MergeFrom(type(message)(**REFUSED[case]))
    assert door.ask(message).outcome in (Outcome.STORED, Outcome.REJECTED)
    expect_duplicate(door.ask(named(4)))
    expect_stored(door.ask(named(5)))


def test_it_counts_from_duplicates_and_from_batches_told_to_come_later(doors: Doors) -> None:
    door = doors(inflight_bytes_max=300)
    expect_stored(door.ask(named(10)))
    expect_duplicate(door.ask(named(10, oldest=5)))
    expect_duplicate(door.ask(named(4)))
    late = batch(metric(tags={"k": "v" * 300}), sequence=11, epoch=1, oldest_unacknowledged=8)
    expect_later(door.ask(late))
    expect_duplicate(door.ask(named(7)))
    expect_stored(door.ask(named(8)))


def test_it_does_not_count_from_a_malformed_one(door: Door) -> None:
    message = named(10, oldest=5)
    message.points.append(columns(1, values=[]))
    expect_malformed(door.ask(message), 10)
    expect_malformed(door.ask(named(10, oldest=11)), 10)
    expect_stored(door.ask(named(4)))


def test_it_counts_before_its_own_batch_is_judged(door: Door) -> None:
    """The batch makes the room that it needs itself."""
    stream = door.stream()
    fill(stream)
    expect_later(stream.ask(named(2 * RANGES_MAX + 2)))
    expect_stored(stream.ask(named(2 * RANGES_MAX + 2, oldest=3)))


def fill(stream: Stream, epoch: int = 1) -> None:
    """Every second sequence, until there are as many ranges as are kept."""
    for start in range(0, RANGES_MAX, 8):
        for ack in stream.ask_all(named(2 * place + 2, epoch) for place in range(start, start + 8)):
            expect_stored(ack)


def test_a_batch_that_needs_one_range_more_comes_later(door: Door) -> None:
    stream = door.stream()
    fill(stream)
    beyond = 2 * RANGES_MAX + 2
    for _ in range(2):
        expect_later(stream.ask(named(beyond)))
    # What widens a range or closes a gap needs none.
    expect_stored(stream.ask(named(beyond - 1)))
    expect_stored(stream.ask(named(beyond)))
    expect_later(stream.ask(named(beyond + 2)))
    expect_stored(stream.ask(named(3)))
    expect_stored(stream.ask(named(beyond + 2)))
    expect_later(stream.ask(named(beyond + 4)))
    # Other epochs have their own.
    expect_stored(stream.ask(named(beyond + 4, epoch=2)))
    # And nothing that was stored was forgotten for it.
    for sequence in (2, 3, 4, 2 * RANGES_MAX, beyond - 1, beyond, beyond + 2):
        expect_duplicate(stream.ask(named(sequence)))
    expect_stored(stream.ask(named(1)))


def test_empty_batches_take_ranges_like_all_others(door: Door) -> None:
    """What is kept of an agent is bounded whatever it sends."""
    stream = door.stream()
    for start in range(0, RANGES_MAX, 8):
        empties = [batch(sequence=2 * place + 2, epoch=1) for place in range(start, start + 8)]
        for ack in stream.ask_all(empties):
            expect_stored(ack, 0)
    for _ in range(2):
        expect_later(stream.ask(batch(sequence=2 * RANGES_MAX + 2, epoch=1)))
        expect_later(stream.ask(batch(sequence=2 * RANGES_MAX + 2, epoch=1, heartbeat={"cpu_usage": 0.5})))
        expect_later(stream.ask(named(2 * RANGES_MAX + 2)))
    expect_duplicate(stream.ask(batch(sequence=2, epoch=1)))
    expect_stored(stream.ask(batch(sequence=2 * RANGES_MAX + 2, epoch=1, oldest_unacknowledged=4)), 0)


def test_sixteen_epochs_are_kept_and_the_least_recently_used_is_forgotten(door: Door) -> None:
    stream = door.stream()
    for epoch in range(1, EPOCHS_MAX + 1):
        expect_stored(stream.ask(named(1, epoch)))
    for epoch in range(EPOCHS_MAX, 0, -1):
        expect_duplicate(stream.ask(named(1, epoch)))
    assert door.core.stats()["epochs_forgotten"] == 0
    # The one asked for longest ago is now the last.
    expect_stored(stream.ask(named(1, 100)))
    assert door.core.stats()["epochs_forgotten"] == 1
    expect_duplicate(stream.ask(named(1, 1)))
    expect_duplicate(stream.ask(named(1, 15)))
    expect_stored(stream.ask(named(1, 16)))
    assert door.core.stats()["epochs_forgotten"] == 2
    # Of one identity only, and epoch 0 is none.
    expect_stored(door.stream("spiffe://fleet/b", "b").ask(named(1, 200)))
    expect_stored(stream.ask(batch(metric(), sequence=1)))
    assert door.core.stats()["epochs_forgotten"] == 2


@pytest.mark.parametrize("heartbeat", [False, True])
def test_no_points_are_stored_with_zero_counts_and_close_their_name(door: Door, heartbeat: bool) -> None:
    fields = {"heartbeat": {"worker_id": "node-1"}} if heartbeat else {}
    expect_stored(door.ask(batch(sequence=1, epoch=1, **fields)), 0)
    expect_duplicate(door.ask(batch(sequence=1, epoch=1, **fields)))
    expect_duplicate(door.ask(named(1)))
    for _ in range(2):
        expect_stored(door.ask(batch(sequence=1, **fields)), 0)
    assert door.stored() == []


def test_names_outlive_a_restart_and_empty_batches_do_not(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        expect_stored(door.ask(named(1)))
        partial = batch(metric(), metric(""), sequence=3, epoch=1)
        expect(door.ask(partial), Outcome.PARTIAL, 1, 1, {Reason.INVALID_NAME: 1})
        expect_refused(door.ask(batch(metric(""), sequence=5, epoch=1)), Reason.INVALID_NAME)
        expect_stored(door.ask(batch(sequence=7, epoch=1)), 0)
        expect_stored(door.ask(batch(sequence=8, epoch=1, heartbeat={"worker_id": "node-1"})), 0)
        expect_stored(door.ask(named(9, epoch=2)))
        expect_stored(door.ask(named(30, epoch=3, oldest=20)))
    for _ in range(2):
        with opened(tmp_path) as door:
            for message in (named(1), named(3), named(9, epoch=2), named(30, epoch=3), named(19, epoch=3)):
                expect_duplicate(door.ask(message))
    with opened(tmp_path) as door:
        for message in (named(5), named(7), named(8), named(20, epoch=3)):
            expect_stored(door.ask(message))
            expect_duplicate(door.ask(message))
        assert [row["sequence"] for row in door.stored()] == [1, 3, 9, 30, 5, 7, 8, 20]


def test_names_outlive_a_crash(tmp_path: Path) -> None:
    """Nothing is written at the end: what was acknowledged is on the disk when the acknowledgement leaves."""
    with opened(tmp_path / "running") as door:
        expect_stored(door.ask(named(1)))
        expect_stored(door.ask(named(5, oldest=4)))
        expect_stored(door.ask(batch(sequence=7, epoch=1)), 0)
        shutil.copytree(tmp_path / "running", tmp_path / "crashed")
    with opened(tmp_path / "crashed") as door:
        for sequence in (1, 3, 5):
            expect_duplicate(door.ask(named(sequence)))
        for sequence in (4, 6, 7):
            expect_stored(door.ask(named(sequence)))
        assert [row["sequence"] for row in door.stored()] == [1, 5, 4, 6, 7]


def test_a_restart_keeps_ranges_and_epochs_within_their_bounds(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        fill(door.stream())
        for epoch in range(2, EPOCHS_MAX + 1):
            expect_stored(door.ask(named(1, epoch)))
    with opened(tmp_path) as door:
        expect_later(door.ask(named(2 * RANGES_MAX + 2)))
        expect_duplicate(door.ask(named(2 * RANGES_MAX)))
        expect_stored(door.ask(named(1, 100)))
        # Epoch 1 was used after the restart; 2 was used the longest ago.
        expect_duplicate(door.ask(named(2)))
        expect_stored(door.ask(named(1, 2)))


def test_a_definition_does_not_outlive_its_stream(door: Door) -> None:
    """A batch sent again keeps its name and points, not its bytes."""
    one = door.stream()
    expect_stored(one.ask(batch(series=[definition(1)])), 0)
    again = batch(points=[columns(1)], sequence=1, epoch=1)
    two = door.stream()
    expect_refused(two.ask(again), Reason.UNKNOWN_SERIES)
    other_id = batch(series=[definition(9)], points=[columns(9)], sequence=1, epoch=1)
    expect_stored(two.ask(other_id))
    expect_duplicate(one.ask(again))


def withdrawal(sequence: int, epoch: int = 1, oldest: int = 0) -> Any:
    """The question whether a batch is stored, which takes its name back if it is not."""
    unknown = [columns(2**32 - 1)]
    return batch(points=unknown, sequence=sequence, epoch=epoch, oldest_unacknowledged=oldest, withdraw=True)


def test_a_name_that_was_taken_back_is_stored_no_more(door: Door) -> None:
    stream, other = door.stream(), door.stream()
    for _ in range(2):
        expect_refused(stream.ask(withdrawal(1)), Reason.WITHDRAWN)
    expect_refused(other.ask(named(1)), Reason.WITHDRAWN)
    expect_refused(other.ask(batch(metric(), metric(), sequence=1, epoch=1)), Reason.WITHDRAWN, 2)
    expect_refused(other.ask(batch(points=[columns(9)], sequence=1, epoch=1)), Reason.WITHDRAWN)
    # Others are as they were.
    expect_stored(other.ask(named(2)))
    expect_stored(other.ask(named(1, epoch=2)))
    expect_stored(door.stream("spiffe://fleet/b", "b").ask(named(1)))
    expect_duplicate(stream.ask(withdrawal(2)))
    assert [row["sequence"] for row in door.stored()] == [2, 1, 1]
    refused = door.core.stats()["points_refused"]
    assert (refused["withdrawn"], refused["unknown_series"]) == (4, 0), "questions are no points"


def test_what_is_on_its_way_to_the_disk_is_waited_for(door: Door) -> None:
    streams = [door.stream() for _ in range(3)]
    early = streams[0].send(as_frame(named(1)))
    asked = [stream.send(as_frame(withdrawal(1))) for stream in streams[1:]]
    expect_stored((early + streams[0].settle())[0])
    for acks, stream in zip(asked, streams[1:], strict=True):
        expect_duplicate((acks + stream.settle())[0])


def test_a_question_counts_as_a_batch_for_what_is_settled(door: Door) -> None:
    expect_refused(door.ask(withdrawal(10, oldest=5)), Reason.WITHDRAWN)
    expect_duplicate(door.ask(named(4)))
    expect_duplicate(door.ask(withdrawal(4)))
    expect_stored(door.ask(named(11, oldest=11)))
    expect_duplicate(door.ask(named(10)))


def test_without_a_name_nothing_can_be_taken_back(door: Door) -> None:
    expect_stored(door.ask(batch(metric(), sequence=1, withdraw=True)))
    expect_stored(door.ask(batch(metric(), sequence=1)))


def test_the_rest_of_a_question_does_not_count(door: Door) -> None:
    whole = named(1)
    whole.withdraw = True
    whole.heartbeat.worker_id = "another"
    expect_refused(door.ask(whole), Reason.WITHDRAWN)
    expect_refused(door.ask(batch(sequence=2, epoch=1, withdraw=True)), Reason.WITHDRAWN, 0)
    assert door.stored() == []


def test_names_that_were_taken_back_are_bounded(door: Door) -> None:
    stream = door.stream()
    for start in range(0, RANGES_MAX, 8):
        for ack in stream.ask_all(withdrawal(2 * place + 4, oldest=2) for place in range(start, start + 8)):
            expect_refused(ack, Reason.WITHDRAWN)
    beyond = 2 * RANGES_MAX + 4
    expect_later(stream.ask(withdrawal(beyond, oldest=2)))
    expect_refused(stream.ask(withdrawal(2, oldest=2)), Reason.WITHDRAWN)
    expect_refused(stream.ask(withdrawal(beyond, oldest=6)), Reason.WITHDRAWN)
    expect_refused(stream.ask(named(6)), Reason.WITHDRAWN)
    expect_stored(stream.ask(named(7)))


def test_of_a_batch_and_its_question_on_two_threads_one_has_its_way(door: Door) -> None:
    """A batch is stored or its name taken back, and both are told the same."""
    sequences = range(1, 201)
    together = threading.Barrier(2)

    def send(make: Any) -> list[Any]:
        stream = door.stream()
        acks = []
        for start in range(0, len(sequences), 8):
            together.wait()
            acks += stream.send(b"".join(as_frame(make(one)) for one in sequences[start : start + 8]))
            assert door.core.drain(PATIENCE_SECS)
            acks += stream.settle()
        return acks

    with ThreadPoolExecutor(2) as pool:
        batches, questions = pool.map(send, (named, withdrawal))
    stored = {row["sequence"] for row in door.stored()}
    for sequence, whole, question in zip(sequences, batches, questions, strict=True):
        kept = sequence in stored
        assert whole.outcome == (Outcome.STORED if kept else Outcome.REJECTED)
        assert question.outcome == (Outcome.DUPLICATE if kept else Outcome.REJECTED)


def test_a_restart_forgets_what_was_taken_back_and_nothing_that_was_stored(tmp_path: Path) -> None:
    """No frame is late that long: connections end with the process."""
    with opened(tmp_path) as door:
        expect_refused(door.ask(withdrawal(1)), Reason.WITHDRAWN)
        expect_stored(door.ask(named(2)))
    with opened(tmp_path) as door:
        expect_duplicate(door.ask(withdrawal(2)))
        expect_stored(door.ask(named(1)))
        expect_duplicate(door.ask(withdrawal(1)))
