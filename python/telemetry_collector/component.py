"""What the parts of the collector promise each other. Everything here is structural: nobody has to inherit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from telemetry_collector.breaker import Breaker

if TYPE_CHECKING:
    from typing_extensions import CapsuleType

    from telemetry_collector.config import Section
    from telemetry_collector.observe.writer_events import WriterEvents


class Component(Protocol):
    """Something that runs between `start` and `stop`."""

    async def start(self) -> None:
        """Begins work; raises a TelemetryCollectorError that names what is wrong when it cannot."""

    async def stop(self) -> None:
        """Ends work and frees everything. Idempotent, and safe before `start`."""


class ArrowSchema(Protocol):
    """A schema that leaves through the Arrow C data interface: `pyarrow.schema(it)`."""

    def __arrow_c_schema__(self) -> CapsuleType: ...


class ArrowRecordBatch(Protocol):
    """A record batch that leaves through the Arrow C data interface: `pyarrow.record_batch(it)`."""

    @property
    def num_rows(self) -> int: ...

    @property
    def schema(self) -> ArrowSchema: ...

    def __arrow_c_array__(self, requested_schema: CapsuleType | None = None) -> tuple[CapsuleType, CapsuleType]: ...


class Lines(Protocol):
    """InfluxDB line protocol, ready to send."""

    @property
    def chunks(self) -> Sequence[bytes]:
        """Whole lines, in chunks of at most about the size that was asked for."""

    @property
    def lines(self) -> int: ...

    @property
    def rewritten(self) -> int:
        """Points whose name or tags had to be rewritten because line protocol cannot carry them."""


class Requests(Protocol):
    """Requests of another protocol, ready to be sent."""

    @property
    def bodies(self) -> Sequence[bytes]: ...
    @property
    def points(self) -> Sequence[int]:
        """Points of each."""

    @property
    def rewritten(self) -> int:
        """Points that had to be changed because the protocol cannot carry them."""


class Blocks(Protocol):
    """A contiguous range of the journal, decoded: whole batches, all received in one UTC hour.

    Safe to use from any thread; the two conversions can take milliseconds and belong in one.
    """

    @property
    def start(self) -> int:
        """Journal position of the first byte."""

    @property
    def end(self) -> int:
        """Journal position after the last byte."""

    @property
    def batches(self) -> int: ...

    @property
    def points(self) -> int: ...

    @property
    def hour(self) -> int:
        """Hours since 1970 of the receipt."""

    @property
    def received_first_us(self) -> int:
        """Receipt of the first batch, microseconds since 1970."""

    @property
    def received_last_us(self) -> int:
        """Receipt of the last batch, microseconds since 1970."""

    def record_batch(self, timestamp_unit: Literal["us", "ns"] = "us") -> ArrowRecordBatch:
        """The points in the columns of `telemetry_collector.store.schema`."""

    def line_protocol(self, bytes_max: int) -> Lines:
        """The points as line protocol with nanosecond timestamps, in chunks of at most about `bytes_max` bytes."""

    def otlp(self, bytes_max: int) -> Requests:
        """The points as OTLP requests in protobuf, of at most about `bytes_max` bytes."""

    def remote_write(self, bytes_max: int) -> Requests:
        """The points as remote write requests in snappy, of at most about `bytes_max` bytes before that."""


@dataclass(frozen=True, slots=True)
class WriterContext:
    """What a writer is told besides its own configuration."""

    name: str
    """The writer's name: its configuration section and the label of its metrics."""

    journal_id: str
    """32 hexadecimal digits that name the journal whose positions the writer sees."""

    events: WriterEvents
    """Where the writer reports what happens: one call is one log line or none, and its counters."""

    breaker: Breaker = field(default_factory=Breaker)
    """For a writer that makes attempts of its own again: it waits here before each, and tells how it went."""


class Writer(Protocol):
    """A consumer of committed blocks, built by `cls(config, context)`.

    Fan-out calls the methods one at a time; cancelling one is allowed. None blocks the event loop. A fault is a
    RetryableError (the same data may be taken later) or a PermanentError (these blocks never will be; the writer goes
    on with the next ones).

    After a RetryableError fan-out calls `stop`, waits for the breaker, calls `start` again and reads on from the
    position that it returns: a writer may forget what it took since its last `flush`, and can be started again after
    each `stop`. So it does, at any moment, with a writer that has to give way; what is read then begins further on.
    """

    Config: ClassVar[type[Section]]
    """The writer's frozen configuration section."""

    @property
    def flush_interval_secs(self) -> float:
        """How often to call `flush` while there is data that was taken and not flushed."""

    @property
    def batch_points(self) -> int:
        """So many points are worth a `write` before the flush interval has passed: a request, a row group."""

    async def start(self, stored: int) -> int:
        """Opens the destination. Returns the position to read from: `stored`, or further on where the destination
        already has what follows. Every block from there on is to be handed to `write`, in journal order."""

    async def write(self, blocks: Blocks) -> None:
        """Takes blocks. They may stay in memory, within the writer's own named bound, until `flush`."""

    async def flush(self) -> int:
        """Makes everything taken durable at the destination. Returns the position up to which that now holds."""

    async def maintain(self) -> None:
        """Begins or continues background work, such as compaction, and returns soon. Called every few seconds."""

    async def stop(self) -> None:
        """Frees everything; idempotent, and safe before `start`. What was not flushed is read again after a restart."""


class Conversation(Protocol):
    """One stream of one peer, without I/O: bytes of frames in, bytes of replies out. Used from the event loop alone.

    In flight, as the consumer sees it, is what was received less the replies that were taken. A listener therefore
    takes replies only while the stream has none left to send: what the peer's flow control holds back counts against
    the peer.
    """

    @property
    def id(self) -> int: ...

    @property
    def fault(self) -> int:
        """0, or the CloseCode that ends it: FRAME_TOO_LARGE the stream, any other the connection."""

    @property
    def pending(self) -> int:
        """Batches received whose reply has not been taken."""

    @property
    def mid_frame(self) -> bool:
        """A frame has begun and not ended."""

    @property
    def done(self) -> bool:
        """The peer has finished, or is at fault, and every reply due was taken: finish our side."""

    @property
    def frames(self) -> int:
        """Whole frames received."""

    def receive(self, data: bytes, now_unix_ns: int) -> bytes:
        """Takes the stream's next bytes; returns the framed replies that are due now."""

    def replies(self) -> bytes:
        """Framed replies that became due, in order; empty when there are none."""

    def finish(self) -> None:
        """The peer sends no more; a frame that was begun is thrown away."""


class BatchConsumer(Protocol):
    """What a listener hands its streams to, and all that it knows of the rest of the collector."""

    def conversation(self, identity: str, node: str, *, relay: bool, ready: Callable[[], None]) -> Conversation:
        """A new stream of a peer. `ready` is called on the event loop when replies became due.

        A listener ends a conversation early by dropping it, so the consumer must not hold on to it.
        """
