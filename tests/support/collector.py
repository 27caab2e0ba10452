"""A collector for tests of clients: the contract's side of a stream, on protobuf's own decoder, scripted by the test.

It keeps the agent to the contract: a frame that breaks it is an AssertionError in the test.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.support import dense
from tests.support.protobuf import Frames, framed, pb

from telemetry_collector.model import Outcome, Reason


class StoredPoint(NamedTuple):
    name: str
    tags: tuple[tuple[str, str], ...]
    """Effective, sorted."""
    type: int
    unit: str
    timestamp_unix_ns: int
    value: float


Answer = Callable[[Any], Any]
"""From a MetricBatch to a BatchAck, or to None for the usual answer."""


def usual(_batch: Any) -> Any:
    """What a collector says to a batch that is good, and to one it knows."""
    return None


def stored(batch: Any) -> Any:
    """The usual answer to a batch that is good."""
    return pb.BatchAck(sequence=batch.sequence, outcome=Outcome.STORED, accepted_points=points_in(batch), credit=8)


def retry_later(batch: Any, after_ms: int = 0) -> Any:
    return pb.BatchAck(sequence=batch.sequence, outcome=Outcome.RETRY_LATER, credit=8, retry_after_ms=after_ms)


def rejected(batch: Any, reason: Reason, example: str = "") -> Any:
    ack = pb.BatchAck(sequence=batch.sequence, outcome=Outcome.REJECTED, rejected_points=points_in(batch), credit=8)
    ack.rejections.add(reason=reason, points=points_in(batch), example=example)
    return ack


def points_in(batch: Any) -> int:
    return len(batch.metrics) + sum(columns.dense_points or len(columns.series_ids) for columns in batch.points)


def malformed(batch: Any) -> Any:
    ack = pb.BatchAck(sequence=batch.sequence, outcome=Outcome.REJECTED, credit=8)
    ack.rejections.add(reason=Reason.MALFORMED, example="columns of unequal length")
    return ack


def unequal(columns: Any) -> bool:
    """Malformed to a collector that knows the plain columns only, as the first version of the contract has it."""
    points = len(columns.series_ids)
    return len(columns.values) != points or len(columns.timestamp_deltas_ns) not in (0, points)


def plain(columns: Any) -> Iterator[tuple[int, int, float]]:
    """Id, time and value of each point."""
    time = columns.base_timestamp_unix_ns
    deltas = columns.timestamp_deltas_ns or [0] * len(columns.series_ids)
    for series, delta, value in zip(columns.series_ids, deltas, columns.values, strict=True):
        time += delta
        yield series, time, value


@dataclass
class Books:
    """What a collector has stored and seen; shared by all its streams."""

    answer: Answer = usual
    stored: dict[tuple[int, int], list[StoredPoint]] = field(default_factory=dict)
    seen: list[Any] = field(default_factory=list)
    """Every MetricBatch in the order of receipt."""
    heartbeats: list[Any] = field(default_factory=list)
    oldest: dict[int, int] = field(default_factory=dict)
    """The highest `oldest_unacknowledged` of each epoch."""
    withdrawn: set[tuple[int, int]] = field(default_factory=set)
    """Names that agents have taken back."""
    knows_withdraw: bool = True
    """Else a collector of before `withdraw`, which skips it."""
    knows_dense: bool = True
    """Else a collector of before the dense form, which skips fields that it does not know."""
    knows_references: bool = True
    """Else one of before references, to which groups that use or keep them are malformed."""

    @property
    def points(self) -> list[StoredPoint]:
        return [point for points in self.stored.values() for point in points]


class FakeStream:
    """The collector's side of one stream."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._frames = Frames()
        self._series: dict[int, Any] = {}
        self._references = dense.References()
        self._window_max = 8
        self.pending: list[Any] = []
        """Batches without a reply."""
        self.finished = False

    def receive(self, data: bytes, *, finished: bool = False) -> None:
        self.finished = self.finished or finished
        for body in self._frames.feed(data):
            assert 1 <= len(body) <= 1024 * 1024, "a frame has 1 byte to 1 MiB"
            batch = pb.MetricBatch.FromString(body)
            assert not batch.HasField("compressed"), "these tests send plain frames"
            for definition in [] if self._is_malformed(batch) else batch.series:
                known = self._series.setdefault(definition.id, definition)
                assert known == definition, "an id keeps its definition"
            self._books.seen.append(batch)
            self.pending.append(batch)
            assert len(self.pending) <= self._window_max, "the window is kept"

    def reply(self) -> bytes:
        """Judges the oldest pending batch and returns the framed reply."""
        batch = self.pending.pop(0)
        ack = self._judge(batch)
        if ack.credit == 0:
            ack.credit = 8
        self._window_max = max(self._window_max, ack.credit)
        return framed(ack)

    def replies(self) -> bytes:
        return b"".join(self.reply() for _ in range(len(self.pending)))

    def _judge(self, batch: Any) -> Any:
        books = self._books
        if self._is_malformed(batch):
            return malformed(batch)
        points = self._points(batch)
        name = (batch.epoch, batch.sequence)
        assert batch.sequence > 0 or batch.epoch == 0, "sequence 0 belongs to epoch 0 only"
        assert batch.oldest_unacknowledged <= batch.sequence, "a batch is not above its own oldest"
        if batch.HasField("heartbeat"):
            books.heartbeats.append(batch.heartbeat)
        if batch.epoch:
            books.oldest[batch.epoch] = max(books.oldest.get(batch.epoch, 0), batch.oldest_unacknowledged)
            if batch.sequence < books.oldest[batch.epoch] or name in books.stored:
                return pb.BatchAck(sequence=batch.sequence, outcome=Outcome.DUPLICATE)
        if batch.epoch and batch.withdraw and books.knows_withdraw:
            books.withdrawn.add(name)
        if name in books.withdrawn:
            return rejected(batch, Reason.WITHDRAWN)
        if points is None:
            return rejected(batch, Reason.UNKNOWN_SERIES)
        ack = books.answer(batch)
        if ack is None:
            ack = stored(batch)
        if ack.outcome == Outcome.STORED and batch.epoch:
            books.stored[name] = points
        return ack

    def _points(self, batch: Any) -> list[StoredPoint] | None:
        common = {tag.key: tag.value for tag in batch.common_tags}
        points: list[StoredPoint] = []
        kept: list[tuple[int, int, int]] = []
        for columns in batch.points:
            try:
                read = dense.points(columns, self._references, kept) if dense.is_dense(columns) else plain(columns)
            except dense.UnknownReference:
                return None
            for place, time, value in read:
                series = self._series.get(place)
                if series is None:
                    return None
                tags = common | {tag.key: tag.value for tag in series.tags}
                points.append(
                    StoredPoint(series.name, tuple(sorted(tags.items())), series.type, series.unit, time, value)
                )
        # What becomes of the batch does not matter, as with definitions.
        self._references.keep(kept)
        return points

    def _is_malformed(self, batch: Any) -> bool:
        knows_dense = self._books.knows_dense
        known = [columns for columns in batch.points if knows_dense and dense.is_dense(columns)]
        if not self._books.knows_references and any(map(dense.has_references, known)):
            return True
        return any(unequal(columns) for columns in batch.points if columns not in known)

    def forget_references(self) -> None:
        """As if the batches that kept references had been lost."""
        self._references = dense.References()

    def forget_series(self) -> None:
        """As if the stream had never defined anything."""
        self._series.clear()
        self._references = dense.References()
