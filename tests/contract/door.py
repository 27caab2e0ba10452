"""The core's door as a client sees it: frames of protobuf's own encoder in, acknowledgements by its own decoder out.

Commits are waited for at the eventfd, never by the clock. The time of receipt is the test's.
"""

from __future__ import annotations

import resource
import select
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.support.protobuf import Frames, framed, pb

from telemetry_collector import _core
from telemetry_collector.model import Outcome, Reason

NOW = 1_800_000_000_000_000_000
"""When batches are received unless a test says otherwise, nanoseconds since 1970."""

IDENTITY = "spiffe://fleet/node/node-1"
NODE = "node-1"
PATIENCE_SECS = 30.0
"""A test fails when a commit takes longer."""


class Door:
    """An open `Ingest` with its own small journal."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        settings = {"journal_segment_bytes": 4 * 1024 * 1024, **settings}
        self.core = _core.Ingest(_core.IngestSettings(journal_dir=str(directory), **settings))
        self._cursor: _core.Cursor | None = None

    def stream(self, identity: str = IDENTITY, node: str = NODE, *, relay: bool = False) -> Stream:
        return Stream(self.core, self.core.conversation(identity, node, relay=relay))

    def ask(self, message: Any) -> Any:
        """The answer to one batch on a stream of its own."""
        return self.stream().ask(message)

    def stored(self) -> list[dict[str, Any]]:
        """The points committed since the last call, in order; timestamps are numbers of nanoseconds."""
        # Replies may be out a moment before consumers can read what they acknowledge.
        assert self.core.drain(PATIENCE_SECS)
        self._cursor = self._cursor or self.core.cursor("test")
        rows: list[dict[str, Any]] = []
        while blocks := self._cursor.read(1_000_000):
            table = pa.record_batch(blocks.record_batch("ns"))
            for place, name in enumerate(table.schema.names):
                if name in ("timestamp", "received"):
                    table = table.set_column(place, name, table.column(place).cast(pa.int64()))
            rows += table.to_pylist(maps_as_pydicts="strict")
        return rows


class Stream:
    """A conversation of one agent, whose replies are taken when they are due."""

    def __init__(self, core: _core.Ingest, conversation: _core.Conversation) -> None:
        self.core = core
        self.conversation = conversation
        self._frames = Frames()

    def send(self, data: bytes, now: int = NOW) -> list[Any]:
        """Brings bytes; the replies that are due at once."""
        return self._acks(self.conversation.receive(data, now))

    def settle(self) -> list[Any]:
        """Waits until every batch received is answered; the replies."""
        acks = self._acks(self.conversation.replies())
        while self.conversation.pending:
            readable, _, _ = select.select([self.core.fileno()], [], [], PATIENCE_SECS)
            assert readable, "no commit within the time"
            # Other streams of the test wait for nobody but themselves, so their ids may be dropped here.
            self.core.ready()
            acks += self._acks(self.conversation.replies())
        return acks

    def ask_all(self, messages: Iterable[Any], now: int = NOW) -> list[Any]:
        """The answers to batches (messages, or bodies as bytes) sent at once."""
        acks = self.send(b"".join(map(as_frame, messages)), now)
        return acks + self.settle()

    def ask(self, message: Any, now: int = NOW) -> Any:
        """The answer to one batch."""
        (ack,) = self.ask_all([message], now)
        return ack

    def mid_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self.conversation.mid_frame

    def _acks(self, data: bytes) -> list[Any]:
        return [pb.BatchAck.FromString(body) for body in self._frames.feed(data)]


@contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[Door]:
    """A door that is closed at the end; its directory may be opened again then."""
    door = Door(directory, **settings)
    try:
        yield door
    finally:
        door.core.close()


def as_frame(message: Any) -> bytes:
    """A message, or a body that some test encoded by hand, with its length in front."""
    if isinstance(message, bytes):
        return len(message).to_bytes(4, "big") + message
    return framed(message)


def resident_bytes() -> int:
    """Memory of this process, the core's among it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def tags(given: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[Any]:
    """A list of Tag messages."""
    pairs = given.items() if isinstance(given, Mapping) else given
    return [pb.Tag(key=key, value=value) for key, value in pairs]


def metric(name: str = "m", **fields: Any) -> Any:
    """A Metric; a value unless it says otherwise."""
    if not fields.keys() & {"value", "histogram", "summary"}:
        fields["value"] = 1.0
    fields["tags"] = tags(fields.get("tags", {}))
    return pb.Metric(name=name, **fields)


def batch(*metrics: Any, **fields: Any) -> Any:
    """A MetricBatch in row form; without a name unless it says otherwise."""
    fields["common_tags"] = tags(fields.get("common_tags", {}))
    return pb.MetricBatch(metrics=metrics, **fields)


def definition(number: int, name: str = "m", **fields: Any) -> Any:
    """A SeriesDefinition of a gauge unless it says otherwise."""
    fields["tags"] = tags(fields.get("tags", {}))
    return pb.SeriesDefinition(id=number, name=name, **{"type": pb.GAUGE, **fields})


def columns(*series_ids: int, values: Iterable[float] | None = None, base: int = 0, deltas: Iterable[int] = ()) -> Any:
    """PointColumns; every value is 1 unless it says otherwise."""
    return pb.PointColumns(
        series_ids=series_ids,
        values=[1.0] * len(series_ids) if values is None else values,
        base_timestamp_unix_ns=base,
        timestamp_deltas_ns=deltas,
    )


def expect(
    ack: Any, outcome: Outcome, accepted: int = 0, rejected: int = 0, reasons: Mapping[Reason, int] | None = None
) -> None:
    """An answer is as the contract has it: outcome, counts, and the points by reason."""
    found = {Reason(rejection.reason): rejection.points for rejection in ack.rejections}
    assert (Outcome(ack.outcome), ack.accepted_points, ack.rejected_points, found) == (
        outcome,
        accepted,
        rejected,
        reasons or {},
    ), str(ack)
    assert len(found) == len(ack.rejections), "one rejection a reason"
    assert all(rejection.example for rejection in ack.rejections)
    assert ack.credit >= 1


def expect_stored(ack: Any, points: int = 1) -> None:
    """Everything was stored."""
    expect(ack, Outcome.STORED, points)


def expect_refused(ack: Any, reason: Reason, points: int = 1) -> None:
    """Nothing was stored, for one reason."""
    expect(ack, Outcome.REJECTED, 0, points, {reason: points})


def expect_malformed(ack: Any, sequence: int = 0) -> None:
    """The frame is no batch; its sequence, when that was read before the fault."""
    expect(ack, Outcome.REJECTED, 0, 0, {Reason.MALFORMED: 0})
    assert ack.sequence == sequence
