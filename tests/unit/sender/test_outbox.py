"""The outbox against a model: any sequence of operations, compared with a list of what must be there."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from telemetry_collector.model import MetricType
from telemetry_collector.sender import Batch, Point, batch_of
from telemetry_collector.sender.outbox import POINT_BYTES, MemoryOutbox

POINTS_MAX = 20


def batch(points: int) -> Batch:
    readings = [Point("m", float(place), MetricType.GAUGE, "1") for place in range(points)]
    return batch_of(readings, common_tags=(), timestamp_unix_ns=1)


def test_histograms_count_with_all_their_buckets() -> None:
    dropped: list[tuple[int, int, str]] = []
    outbox = MemoryOutbox(points_max=100, bytes_max=10_000, on_drop=lambda *drop: dropped.append(drop))
    wide = ("h", (), "", True, 1, 0.0, None, None, [float(bound) for bound in range(500)], [0] * 501)
    large = Batch(common_tags=(), series=(), series_index=b"", timestamps_unix_ns=b"", values=b"", histograms=[wide])
    outbox.put(large)
    assert 4_500 < outbox.bytes < 10_000
    outbox.put(large)
    outbox.put(large)
    assert dropped == [(1, 1, "outbox_full")]
    for sequence in (2, 3):
        outbox.acknowledge(sequence)
    assert outbox.bytes == 0


class OutboxModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[tuple[int, int, str]] = []
        self.outbox = MemoryOutbox(
            points_max=POINTS_MAX, bytes_max=1 << 30, on_drop=lambda *drop: self.dropped.append(drop)
        )
        self.model: dict[int, int] = {}
        self.next = 1

    @rule(points=st.integers(1, 25))
    def put(self, points: int) -> None:
        fitted = self.outbox.has_room(points)
        before = len(self.dropped)
        assert self.outbox.put(batch(points)) == self.next
        expected = []
        while self.model and sum(self.model.values()) + points > POINTS_MAX:
            oldest = min(self.model)
            expected.append((oldest, self.model.pop(oldest), "outbox_full"))
        assert self.dropped[before:] == expected
        assert fitted == (not expected)
        self.model[self.next] = points
        self.next += 1

    @rule(data=st.data())
    def acknowledge(self, data: Any) -> None:
        sequence = data.draw(st.integers(1, self.next))
        self.outbox.acknowledge(sequence)
        self.model.pop(sequence, None)

    @precondition(lambda self: any(points > 1 for points in self.model.values()))
    @rule(data=st.data())
    def split(self, data: Any) -> None:
        sequence = data.draw(st.sampled_from([key for key, points in self.model.items() if points > 1]))
        held = self.outbox.batch(sequence)
        assert held is not None
        halves = held.split()
        assert self.outbox.split(sequence) == [self.next, self.next + 1]
        del self.model[sequence]
        for half in halves:
            self.model[self.next] = half.points
            self.next += 1

    @invariant()
    def agrees(self) -> None:
        outbox = self.outbox
        assert outbox.points == sum(self.model.values())
        assert outbox.bytes == outbox.points * POINT_BYTES
        assert outbox.batches == len(self.model)
        assert outbox.oldest == (min(self.model) if self.model else None)
        walked, sequence = [], 0
        while (found := outbox.next_after(sequence)) is not None:
            sequence = found
            walked.append(sequence)
            held = outbox.batch(sequence)
            assert held is not None
            assert held.points == outbox.points_of(sequence) == self.model[sequence]
        assert walked == sorted(self.model)


OutboxModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOutbox = OutboxModel.TestCase


def test_the_bytes_are_bounded_too() -> None:
    drops: list[tuple[int, int, str]] = []
    outbox = MemoryOutbox(points_max=1_000, bytes_max=10 * POINT_BYTES, on_drop=lambda *drop: drops.append(drop))
    for _ in range(3):
        outbox.put(batch(5))
    assert drops == [(1, 5, "outbox_full")]


def test_a_batch_larger_than_the_bound_is_taken_alone() -> None:
    drops: list[tuple[int, int, str]] = []
    outbox = MemoryOutbox(points_max=10, bytes_max=1 << 30, on_drop=lambda *drop: drops.append(drop))
    outbox.put(batch(5))
    outbox.put(batch(50))
    assert drops == [(1, 5, "outbox_full")]
    assert outbox.points == 50


def test_epochs_are_random_and_not_zero() -> None:
    epochs = {MemoryOutbox(points_max=1, bytes_max=1, on_drop=lambda *_: None).epoch for _ in range(50)}
    assert len(epochs) == 50
    assert all(0 < epoch < 2**64 for epoch in epochs)
