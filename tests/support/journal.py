"""A real journal of the core to read real blocks from: batches go in as protobuf's own code encodes them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.blocks import Point
from tests.support.protobuf import framed, pb

from telemetry_collector import _core

IDENTITY = "spiffe://example.org/node/node-1"
EPOCH = 0xF123_4567_89AB_CDEF
"""Above 2^63, so that it is negative in the dataset."""

_TYPES = {"counter": 1, "gauge": 2, "histogram": 3, "summary": 4, "meter": 5}


class Journal:
    """An `Ingest` of one conversation, and its reader."""

    def __init__(self, core: _core.Ingest) -> None:
        self.core = core
        self.sequence = 0
        self._conversation = core.conversation(IDENTITY, "node-1", relay=False)
        self._cursor = core.cursor("reader")

    def append(self, points: Sequence[Point], received_unix_ns: int | None = None) -> None:
        """Commits the points as one batch, received now or at a given time."""
        self.sequence += 1
        batch = pb.MetricBatch(sequence=self.sequence, epoch=EPOCH, metrics=[_metric(point) for point in points])
        answer = self._conversation.receive(framed(batch), received_unix_ns or time.time_ns())
        assert self.core.drain(30.0), "the batch was not committed"
        answer += self._conversation.replies()
        (ack,) = _core.AckReader().feed(answer)
        assert (ack.outcome, ack.accepted_points) == (1, len(points)), ack.rejections

    def blocks(self, position: int | None = None, points_max: int = 1_000_000) -> list[_core.Blocks]:
        """What is committed from a position on, or from where the last reading ended."""
        if position is not None:
            self._cursor.seek(position)
        return list(iter(lambda: self._cursor.read(points_max), None))


@contextmanager
def journal(directory: Path, *, disk: _core.FaultDisk | None = None, **settings: Any) -> Iterator[Journal]:
    """An open journal in a directory; closed at the end, to be opened again there."""
    core = _core.Ingest(_core.IngestSettings(journal_dir=str(directory), **settings), disk)
    try:
        yield Journal(core)
    finally:
        core.close()


def _metric(point: Point) -> Any:
    data: dict[str, Any] = {"value": point.value}
    if point.histogram is not None:
        data = {"histogram": _renamed(point.histogram, bounds="upper_bounds", counts="bucket_counts")}
    elif point.summary is not None:
        pairs = zip(point.summary["quantiles"], point.summary["values"], strict=True)
        quantiles = [pb.Quantile(quantile=quantile, value=value) for quantile, value in pairs]
        data = {"summary": pb.Summary(count=point.summary["count"], sum=point.summary["sum"], quantiles=quantiles)}
    return pb.Metric(
        name=point.name,
        tags=[pb.Tag(key=key, value=value) for key, value in point.tags.items()],
        type=_TYPES[point.type],
        unit=point.unit,
        timestamp_unix_ns=point.timestamp_ns,
        delta=point.delta,
        **data,
    )


def _renamed(histogram: Mapping[str, Any], **names: str) -> Any:
    return pb.Histogram(**{names.get(key, key): value for key, value in histogram.items()})
