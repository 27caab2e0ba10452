"""The Rust core: one class a file in rust/bindings. Every method that can take long releases the GIL.

Units are in the names. Positions are byte positions in the journal's endless log; they only grow. Numbers of outcomes,
reasons and close codes are those of proto/telemetry.proto.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Final, Literal, Protocol, TypeAlias, final

from typing_extensions import Buffer, CapsuleType

__version__: str
CARDINALITY_MAX: Final[int]
"""The most series that may be active: as many as a checkpoint of the journal has room for."""

__all__ = [
    "CARDINALITY_MAX",
    "Ack",
    "AckReader",
    "Batch",
    "Blocks",
    "Conversation",
    "CoreError",
    "Cursor",
    "EncodeError",
    "FaultDisk",
    "FrameEncoder",
    "Heartbeat",
    "Ingest",
    "IngestSettings",
    "JournalError",
    "LineProtocol",
    "PartEncoder",
    "QuicClient",
    "QuicConnection",
    "QuicCredentials",
    "QuicLoad",
    "QuicServer",
    "QuicServerSettings",
    "QuicTrust",
    "Quota",
    "Quotas",
    "RecordBatch",
    "RelayStream",
    "RelayedBatch",
    "Request",
    "RequestError",
    "RequestForm",
    "RequestTooLargeError",
    "Requests",
    "Schema",
    "SignalBlocks",
    "SignalCursor",
    "Signals",
    "Spool",
    "__version__",
    "identity_of",
    "inspect_journal",
    "unpack_small",
]

class _ArrowSchema(Protocol):
    """A schema that leaves through the Arrow C data interface, such as a `pyarrow.Schema`."""

    def __arrow_c_schema__(self) -> CapsuleType: ...

class _ArrowArray(Protocol):
    """Rows that leave through it, such as a `pyarrow.RecordBatch`."""

    def __arrow_c_array__(self, requested_schema: CapsuleType | None = None) -> tuple[CapsuleType, CapsuleType]: ...

class CoreError(Exception):
    """Base of what the core raises."""

class JournalError(CoreError):
    """The journal cannot be opened, read or written; the message names the path and the operating system's error."""

class EncodeError(CoreError):
    """A batch that cannot be encoded; the message names the argument."""

class RequestError(CoreError):
    """A request that cannot be read; the message is for whoever sent it."""

class RequestTooLargeError(RequestError):
    """A request that may be read in smaller parts."""

@final
class IngestSettings:
    """Everything `Ingest` needs to know; frozen."""

    def __new__(
        cls,
        *,
        journal_dir: str,
        journal_segment_bytes: int = ...,
        journal_bytes_max: int = ...,
        recent_bytes_max: int = ...,
        max_cardinality: int = ...,
        series_idle_secs: int = ...,
        max_batch_size: int = ...,
        frame_bytes_max: int = ...,
        inflated_bytes_max: int = ...,
        backpressure_threshold: int = ...,
        inflight_bytes_max: int = ...,
        timestamp_past_secs: int = ...,
        timestamp_future_secs: int = ...,
        bind_node_id: bool = ...,
    ) -> IngestSettings: ...

@final
class FaultDisk:
    """A directory behind a page cache of its own, which dies with the process, that fails on demand. For `torture`.

    What was not synchronized never reaches the directory, so a killed process is a power loss that keeps nothing.
    """

    def __new__(cls, directory: str, seed: int) -> FaultDisk:
        """`seed` decides what `power_loss` keeps. OSError when the directory cannot be opened."""
    @property
    def bytes(self) -> int:
        """Bytes of all files."""
    def limit(self, bytes_max: int | None) -> None:
        """How many bytes all files together may have from now on: beyond it the disk is full."""
    def fail(self, operation: str, *, prefix: str = ..., skip: int = ..., times: int = ..., errno: int) -> None:
        """Fails operations to come on files whose name begins with `prefix`: after `skip` of them, `times` of them.

        Operations are create, read, write, sync_data, rename, remove and sync_dir.
        """
    def heal(self) -> None:
        """Forgets failures that have not happened yet."""
    def power_loss(self) -> None:
        """Leaves in the directory what chance decides of what was not synchronized; everything fails afterwards."""

@final
class QuicServerSettings:
    """How the listener is built; frozen. Certificates and the key (PKCS#8) are in DER."""

    def __new__(
        cls,
        *,
        certificates: Sequence[bytes],
        key: bytes,
        reset_key: bytes,
        threads: int | None = ...,
        connections_max: int,
        connections_per_identity_max: int | None = ...,
        handshakes_max: int,
        handshakes_per_address: int,
        connections_per_address_per_sec: int,
        idle_secs: float,
        handshake_secs: float,
        frame_secs: float,
        replies_secs: float,
        expiry_secs: float,
    ) -> QuicServerSettings: ...

@final
class QuicTrust:
    """Whom the listener lets in; frozen. With any revocation list, every certificate needs one of its issuer."""

    def __new__(
        cls,
        *,
        authorities: Sequence[bytes],
        revocation_lists: Sequence[bytes],
        allowed: Sequence[str],
        relays: Sequence[str],
    ) -> QuicTrust:
        """Certificates and lists in DER, patterns of identities. CoreError says which cannot be used."""

@final
class QuicServer:
    """The listener on quinn: journals what agents send, on threads of its own."""

    def __new__(cls, ingest: Ingest, socket_fd: int, settings: QuicServerSettings, trust: QuicTrust) -> QuicServer:
        """Serves a bound UDP socket, on a descriptor of its own. CoreError says what cannot be used."""
    @property
    def connections(self) -> int:
        """Open connections that were let in."""
    @property
    def datagrams_received(self) -> int:
        """Datagrams of all connections since the start; asks every open one, so not for each moment."""
    @property
    def offloads(self) -> tuple[int, int]:
        """Datagrams of one flow that the system sends, and hands over, in one call; 1 where it does not bundle them."""
    def fileno(self) -> int:
        """Readable when there are events to take."""
    def events(self) -> tuple[list[tuple[object, ...]], list[tuple[str, list[str], int]]]:
        """What has happened since the last call, each with its kind first, and by kind and labels how much more did."""
    def counters(self) -> dict[str, int]:
        """What was counted since the start."""
    def reconfigure(self, settings: QuicServerSettings) -> None:
        """New handshakes show its certificate; bounds and deadlines hold for all. CoreError: nothing has changed."""
    def update_trust(self, trust: QuicTrust) -> None:
        """Returns when every open connection was judged by it."""
    def settle(self, timeout_secs: float) -> int:
        """Lets nobody in, reads no more and answers what was received; how many connections are still open then."""
    def close(self) -> None:
        """Says SHUTTING_DOWN to all that are left and frees everything. Idempotent; ends a `settle` under way."""

@final
class Quota:
    """What one identity may send a second, and how many of the active series it may have brought; None: no bound.

    Bytes are those of frames, or of what they inflate to where that is more.
    """

    def __new__(
        cls,
        *,
        batches_per_sec: int | None = ...,
        points_per_sec: int | None = ...,
        bytes_per_sec: int | None = ...,
        series: int | None = ...,
    ) -> Quota: ...

@final
class Quotas:
    """Everybody's quota. Of `overrides`, the first with a pattern that fits an identity wins; `*` is any text."""

    def __new__(cls, *, default: Quota, overrides: Sequence[tuple[Sequence[str], Quota]] = ...) -> Quotas: ...

@final
class Ingest:
    """The one door of the data plane: decode, admit, journal. Opening recovers the journal, replaying what it must."""

    def __new__(cls, settings: IngestSettings, disk: FaultDisk | None = None) -> Ingest:
        """With `disk`, the journal is on that one rather than in `settings`' directory."""
    @property
    def recovery(self) -> dict[str, Any]:
        """What opening found: records, points, series, torn_bytes, quarantined (list of str), seconds."""
    @property
    def journal_id(self) -> str:
        """32 hexadecimal digits: the random name of this journal's life."""
    @property
    def committed(self) -> int:
        """Position up to which everything is on stable storage."""
    def conversation(self, identity: str, node: str, *, relay: bool) -> Conversation:
        """A new stream of a peer: its definitions, window and replies."""
    def take(
        self, form: RequestForm, body: bytes, encoding: str, *, identity: str, node: str, relay: bool, now_unix_ns: int
    ) -> Request:
        """Takes a request of another protocol: unpacks it by its Content-Encoding, and judges and journals its points.

        Its id is among those of `ready` when its commits are known. RequestError refuses it whole."""
    def fileno(self) -> int:
        """An eventfd that is readable when a commit made replies ready or blocks readable."""
    def ready(self) -> list[int]:
        """Clears the eventfd; the ids of conversations whose replies became ready since the last call."""
    def cursor(self, consumer: str) -> Cursor:
        """The durable cursor of a required consumer: what it has not passed is kept.

        A new one starts at the oldest record kept.
        """
    def close_cursor(self, consumer: str) -> None:
        """The journal is no longer kept for this consumer. Its stored position stays, for when it is opened again."""
    def set_policy(self, settings: IngestSettings) -> None:
        """Judges by the limits and `bind_node_id` of these settings from the next frames on; the rest is not looked at.

        Series that are active go on, also above a lower limit.
        """
    def maintain(self, now_unix_secs: float) -> None:
        """Expires idle series, writes a checkpoint where one is due, deletes segments that all consumers passed."""
    def room_wanted(self, passable: int) -> int | None:
        """Position before which the journal must be given up for appends to go on, `passable` at most.

        None when there is room enough, or when giving up what may be given up would make none.
        """
    def refusal(self) -> tuple[str, str] | None:
        """Why the journal takes nothing at present, which is not over in a moment; None where it takes.

        no_space, bytes_max, failed or closed, and the same in words.
        """
    def stats(self) -> dict[str, Any]:
        """A snapshot of counters and gauges; docs/operations.md lists them."""
    def set_quotas(self, quotas: Quotas) -> None:
        """What each identity may send from now on; everybody begins anew. Before the first call nothing is bounded."""
    def quota_offenders(self) -> list[tuple[str, str, int]]:
        """(identity, quota, amount) of who exceeded which quota most, worst first.

        The quota is quota_batches, quota_points or quota_bytes with batches put off, or quota_series with points.
        """
    def offenders(self) -> list[tuple[str, str, int]]:
        """(identity, metric name, points refused) of the worst offenders against the cardinality limit, worst first."""
    def hand_on_heartbeats(
        self, count_max: int
    ) -> list[tuple[str, str, float, float, float, list[tuple[str, str, str, int]], int]]:
        """The newest heartbeat of each worker since it was last handed on, `count_max` at most, in no order.

        Each is (worker_id, node_id, cpu_usage, memory_usage, gpu_usage, running_tasks, timestamp_unix_ns), a task
        (task_id, name, status, started_unix_ns). Usages are at most 1, and -1 where they are not known.
        """
    def store_workers(self, states: Sequence[tuple[str, str, float, float, float, int, int]], now_unix_ns: int) -> None:
        """Journals states of workers as gauges of the collector's own; does not wait for the commit.

        Each is as from `hand_on_heartbeats`, with the number of tasks. What is not stored is counted by reason.
        """
    def drain(self, timeout_secs: float) -> bool:
        """Waits until everything received is committed; false when time ran out first."""
    def close(self) -> None:
        """Commits, writes a checkpoint and releases the lock. Idempotent."""

@final
class Conversation:
    """One stream of one peer, without I/O. Not safe to call from two threads at a time."""

    @property
    def id(self) -> int: ...
    @property
    def fault(self) -> int:
        """0, or the CloseCode that ends it: FRAME_TOO_LARGE (the stream), CREDIT_EXCEEDED or QUOTA_EXCEEDED."""
    @property
    def pending(self) -> int:
        """Batches received whose reply has not been taken."""
    @property
    def mid_frame(self) -> bool:
        """A frame has begun and not ended."""
    @property
    def done(self) -> bool:
        """The peer has finished (or is at fault) and every reply due was taken: finish our side."""
    @property
    def frames(self) -> int:
        """Whole frames received."""
    def receive(self, data: bytes, now_unix_ns: int) -> bytes:
        """Takes the stream's next bytes; returns the framed replies that are due now."""
    def replies(self) -> bytes:
        """Framed replies that became due, in order; empty when there are none."""
    def finish(self) -> None:
        """The peer finished its sending side; a frame that was begun is thrown away."""

@final
class RequestForm:
    """How the bodies of a protocol's requests are read."""

    @staticmethod
    def otlp_metrics(ignored_attributes: list[str], *, json: bool = False) -> RequestForm:
        """OTLP's ExportMetricsServiceRequest. Attributes of resources that begin with one of these become no tags."""
    @staticmethod
    def otlp_traces(*, json: bool = False) -> RequestForm:
        """OTLP's ExportTraceServiceRequest."""
    @staticmethod
    def otlp_logs(*, json: bool = False) -> RequestForm:
        """OTLP's ExportLogsServiceRequest."""
    @property
    def signal(self) -> str:
        """metrics, traces or logs: who takes such requests."""
    @staticmethod
    def line_protocol(precision: str, renames: list[tuple[str, str]]) -> RequestForm:
        """InfluxDB line protocol with timestamps in `precision` (n, ns, u, us, ms, s, m, h or "" for ns); ValueError
        for another. Tags with one of the first names get the second."""
    @staticmethod
    def exposition(labels: list[tuple[str, str]], *, openmetrics: bool = False) -> RequestForm:
        """A page of a target with these labels: Prometheus' text, or OpenMetrics, refused when it is cut short."""
    @staticmethod
    def remote_write(renames: list[tuple[str, str]]) -> RequestForm:
        """Prometheus' WriteRequest, version 1."""

@final
class Request:
    """A request that was taken. What it was answered is known when `done`."""

    @property
    def id(self) -> int: ...
    @property
    def points(self) -> int:
        """Points that it brought and that were judged."""
    @property
    def left_out(self) -> list[tuple[str, int]]:
        """What has no place in a point, by kind: exemplar, no_value, native_histogram, text_field, bad_line."""
    @property
    def first_fault(self) -> str | None:
        """Where the first line that was left out stands, and what is wrong with it."""
    def done(self) -> bool:
        """Every commit that it waits for is known."""
    @property
    def accepted_points(self) -> int:
        """Points on stable storage."""
    @property
    def rejected_points(self) -> int:
        """Points refused for good."""
    @property
    def rejections(self) -> list[tuple[str, int, str]]:
        """One a reason: the reason, how many points, and an example."""
    @property
    def retry_after_ms(self) -> int | None:
        """Not all of it was taken: the request is to be sent again after so long."""

@final
class Signals:
    """Traces or logs, from a request to the cursor of their dataset's writer: a journal of their own."""

    def __new__(
        cls,
        signal: Literal["traces", "logs"],
        ingest: Ingest,
        *,
        journal_dir: str,
        journal_segment_bytes: int,
        journal_bytes_max: int,
    ) -> Signals:
        """Opens the journal and recovers it; limits, quotas and the binding of nodes are those of `ingest`.

        JournalError when it is held by another process, of a newer format, or cannot be read or written.
        """
    @staticmethod
    def no_rows(signal: Literal["traces", "logs"], timestamp_unit: Literal["us", "ns"] = "us") -> RecordBatch:
        """An empty record batch, for its columns."""
    @property
    def recovery(self) -> dict[str, Any]:
        """What opening found: records, rows, undecodable, torn_bytes, quarantined, seconds."""
    @property
    def journal_id(self) -> str:
        """32 hexadecimal digits."""
    def take(
        self,
        form: RequestForm,
        body: bytes,
        encoding: str,
        *,
        identity: str,
        node: str,
        relay: bool,
        now_unix_ns: int,
    ) -> Request:
        """Takes a request, whose points are spans or log records; its id is among `ready` when its commit is known.

        RequestError when it is refused whole; ValueError for a form of another signal.
        """
    def fileno(self) -> int:
        """A descriptor that is readable after a commit, for an event loop."""
    def ready(self) -> list[int]:
        """Ids of requests whose commits became known since the last call; clears the descriptor."""
    def cursor(self, consumer: str) -> SignalCursor:
        """The cursor of the writer, of which there is one: what it has not stored is kept."""
    def room_wanted(self, passable: int) -> int | None:
        """As of `Ingest`."""
    def maintain(self) -> None:
        """Writes a checkpoint when it is time and deletes what the writer has passed. Call it every second or so."""
    def refusal(self) -> tuple[str, str] | None:
        """As `Ingest.refusal`."""
    def stats(self) -> dict[str, Any]:
        """Counters: requests_received, rows_received, rows_committed, rows_refused (by reason), retries_asked,
        commits_failed, undecodable, journal_bytes, journal_bytes_max, journal_quarantined."""
    def drain(self, timeout_secs: float) -> bool:
        """Waits until everything appended is committed or failed; False when time ran out first."""
    def close(self) -> None:
        """Commits what was appended, writes a checkpoint and lets go of the journal. Idempotent."""

@final
class SignalCursor:
    """A `Cursor` of a signal's journal; its points are spans or log records."""

    @property
    def consumer(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def stored(self) -> int: ...
    @property
    def lag_bytes(self) -> int: ...
    @property
    def lag_secs(self) -> float: ...
    @property
    def lag_points(self) -> int: ...
    def want(self, points: int) -> None:
        """Nothing to do: whoever reads is told of every commit."""
    def read(self, points_max: int) -> SignalBlocks | None: ...
    def measure(self, start: int, end: int) -> tuple[int, int, tuple[int, int] | None]: ...
    def claim(self, position: int) -> bool: ...
    def seek(self, position: int) -> None: ...
    def store(self, position: int) -> None: ...

@final
class SignalBlocks:
    """A contiguous range of a signal's journal: whole requests, received in one UTC hour."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def batches(self) -> int:
        """Requests."""
    @property
    def points(self) -> int:
        """Spans or log records."""
    @property
    def hour(self) -> int: ...
    @property
    def received_first_us(self) -> int: ...
    @property
    def received_last_us(self) -> int: ...
    def record_batch(self, timestamp_unit: Literal["us", "ns"] = "us") -> RecordBatch:
        """The rows as one Arrow record batch, in the columns of docs/signals.md."""

@final
class Cursor:
    """A consumer's place in the journal. One reader at a time."""

    @property
    def consumer(self) -> str: ...
    @property
    def position(self) -> int:
        """Where the next read starts."""
    @property
    def stored(self) -> int:
        """The durable position: what a restart begins with."""
    @property
    def lag_bytes(self) -> int:
        """Committed bytes behind `position` still to read."""
    @property
    def lag_secs(self) -> float:
        """Age of the oldest committed batch that was not stored by this consumer; 0 when there is none."""
    @property
    def lag_points(self) -> int:
        """Committed points still to read: exact while they are in memory, else an estimate from `lag_bytes`."""
    def want(self, points: int) -> None:
        """From now on only commits that leave so many points to read, or more, signal `Ingest.fileno`.

        What is there already does not, so look at `lag_points` afterwards. Until the first call every commit signals;
        one that made replies due always does.
        """
    def read(self, points_max: int) -> Blocks | None:
        """The next committed batches, at least one and until `points_max` is passed; None at the end.

        All were received in one UTC hour.
        """
    def measure(self, start: int, end: int) -> tuple[int, int, tuple[int, int] | None]:
        """Batches, points, and first and last receipt (microseconds since 1970) of the journal's range [start, end)."""
    def claim(self, position: int) -> bool:
        """The destination has everything before a position, whatever the journal has: what comes goes behind it.

        True when the journal ended before it; JournalError when batches were appended since it was opened.
        """
    def seek(self, position: int) -> None:
        """Continues reading at a position that a `Blocks` had as start or end, or that `room_wanted` named."""
    def store(self, position: int) -> None:
        """Makes a position durable: everything before it is the consumer's own responsibility from now on."""

@final
class Blocks:
    """A contiguous range of the journal, decoded: whole batches, received in one UTC hour."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def batches(self) -> int: ...
    @property
    def points(self) -> int: ...
    @property
    def hour(self) -> int:
        """Hours since 1970 of the receipt."""
    @property
    def received_first_us(self) -> int: ...
    @property
    def received_last_us(self) -> int: ...
    def record_batch(self, timestamp_unit: Literal["us", "ns"] = "us") -> RecordBatch:
        """The points as one Arrow record batch, in the columns of docs/dataset.md."""
    def otlp(self, bytes_max: int) -> Requests:
        """The points as OTLP's ExportMetricsServiceRequests in protobuf, not compressed."""
    def remote_write(self, bytes_max: int) -> Requests:
        """The points as Prometheus' WriteRequests (remote write 1.0), in snappy.

        Changes become what they add up to. The totals stay with the cursor: written again, these blocks say the same.
        """
    def line_protocol(self, bytes_max: int) -> LineProtocol:
        """The points as InfluxDB line protocol with timestamps in ns, in chunks of at most about `bytes_max` bytes."""

@final
class RecordBatch:
    """An Arrow record batch that leaves through the C data interface without copying: `pyarrow.record_batch(it)`."""

    @property
    def num_rows(self) -> int: ...
    @property
    def schema(self) -> Schema: ...
    def __arrow_c_array__(self, requested_schema: CapsuleType | None = None) -> tuple[CapsuleType, CapsuleType]: ...

@final
class Schema:
    """The columns of a record batch, which leave through the Arrow C data interface: `pyarrow.schema(it)`."""

    def __arrow_c_schema__(self) -> CapsuleType: ...

@final
class PartEncoder:
    """A Parquet file in the making, without I/O: rows go in, the file's bytes come out, in order.

    After a CoreError the file is of no use.
    """

    def __new__(
        cls,
        schema: _ArrowSchema,
        *,
        compression: Literal["snappy", "zstd", "none"],
        statistics: Sequence[str],
        group_rows_max: int,
        group_bytes_max: int,
    ) -> PartEncoder:
        """A row group ends with so many rows, or when it takes so many bytes here.

        `statistics` names the columns, with dots where they are nested, whose bounds and nulls readers are told.

        CoreError for a column of a type that points do not have.
        """
    @property
    def group_bytes(self) -> int:
        """Bytes that the row group in the making takes in memory."""
    def push(self, batch: _ArrowArray) -> bytes:
        """Takes rows of the schema; what is finished of the file, mostly nothing. CoreError for other columns."""
    def finish(self) -> bytes:
        """The rest of the file, footer included, with the schema's metadata."""

@final
class Requests:
    """Requests of another protocol, ready to be sent."""

    @property
    def bodies(self) -> list[bytes]:
        """As they are to be posted, of about the size that was asked for before compression."""
    @property
    def points(self) -> list[int]:
        """Points of each."""
    @property
    def rewritten(self) -> int:
        """Points whose name or tags had to be rewritten, or that fell together with another of the same time."""

@final
class LineProtocol:
    """Lines ready to send."""

    @property
    def chunks(self) -> list[bytes]: ...
    @property
    def lines(self) -> int: ...
    @property
    def rewritten(self) -> int:
        """Points whose name or tags had to be rewritten because line protocol cannot carry them."""

@final
class Batch:
    """Points with everything needed to send them on any stream; frozen. Of the sender.

    `series` lists (name, tags, type, unit, delta) with types numbered as in MetricType. The three buffers have one
    element a plain point, C-contiguous: uint32 places in `series`, int64 nanoseconds since 1970, float64 values.
    `histograms` lists (name, tags, unit, delta, nanoseconds since 1970, sum, least, greatest, upper bounds, counts),
    with one count more than bounds; they stand behind the plain points.
    """

    def __new__(
        cls,
        *,
        common_tags: Sequence[tuple[str, str]],
        series: Sequence[tuple[str, Sequence[tuple[str, str]], int, str, bool]],
        series_index: Buffer,
        timestamps_unix_ns: Buffer,
        values: Buffer,
        histograms: Sequence[
            tuple[
                str,
                Sequence[tuple[str, str]],
                str,
                bool,
                int,
                float,
                float | None,
                float | None,
                Sequence[float],
                Sequence[int],
            ]
        ] = ...,
    ) -> Batch: ...
    @property
    def points(self) -> int: ...
    @property
    def row_bytes(self) -> int:
        """Memory that histograms and summaries take besides what a point takes."""
    def split(self) -> tuple[Batch, Batch]:
        """Two halves of a batch with at least two points; EncodeError otherwise."""

@final
class FrameEncoder:
    """Encodes batches for one stream and remembers which series the stream has defined."""

    def __new__(
        cls,
        *,
        form: Literal["dense", "columnar", "row"] = ...,
        references: bool = ...,
        compression: Literal["none", "gzip", "zstd"] = ...,
        frame_bytes_max: int = ...,
    ) -> FrameEncoder:
        """A batch whose frame would have more than `frame_bytes_max` bytes is an EncodeError. With `references` dense
        values are told by what frames before them had: each is to be sent once, in order.
        """
    @property
    def definitions(self) -> int:
        """Series defined on this stream so far."""
    def frame(
        self,
        batch: Batch | None,
        *,
        sequence: int,
        epoch: int,
        oldest_unacknowledged: int = ...,
        heartbeat: Heartbeat | None = ...,
    ) -> bytes:
        """One frame with its length prefix.

        EncodeError, with nothing remembered, when the stream's definitions are used up.
        """
    @staticmethod
    def question(*, sequence: int, epoch: int, oldest_unacknowledged: int = ...) -> bytes:
        """A frame, with its length prefix, that asks on any stream whether the batch of this name is stored.

        DUPLICATE says yes. REJECTED says no: with WITHDRAWN for good, with UNKNOWN_SERIES (from an older collector) of
        this moment.
        """

@final
class Heartbeat:
    """A worker's state, as in the message of that name."""

    def __new__(
        cls,
        *,
        worker_id: str,
        cpu_usage: float,
        memory_usage: float,
        gpu_usage: float,
        timestamp_unix_ns: int,
        running_tasks: Sequence[tuple[str, str, str, int]] = ...,
    ) -> Heartbeat: ...
    def without_tasks(self) -> Heartbeat:
        """The same state in as few bytes as possible."""

@final
class Spool:
    """The batches of an agent that wait for their answer, on disk: docs/spool-format.md. Opening takes its lock.

    Only opening, `maintain` and `close` wait for the disk to write; `batch` may read.
    """

    def __new__(
        cls,
        *,
        directory: str,
        bytes_max: int,
        memory_bytes_max: int,
        machine_id: str,
        identity: str,
        node: str,
        started_unix_us: int = 0,
        disk: FaultDisk | None = None,
    ) -> Spool:
        """With `disk`, the spool is on that one rather than in `directory`. Unless it is new, its sequences go on above
        `started_unix_us`, when this life of it begins: so a disk that is put back uses no name twice.
        """
    @property
    def opening(self) -> dict[str, Any]:
        """What opening found: renewal (None, fresh, another_machine, another_identity), batches and points that waited,
        undecodable, torn_bytes, damaged_bytes, damaged_files, and what had been dropped before.
        """
    @property
    def epoch(self) -> int:
        """Random and not 0; a new one on another machine or for another identity."""
    @property
    def oldest_unacknowledged(self) -> int:
        """What collectors may be told: every lower sequence is answered or abandoned, and stays so after a crash."""
    @property
    def next_sequence(self) -> int:
        """What the next batch will be called."""
    @property
    def waiting(self) -> tuple[int, int]:
        """Batches and points without an answer."""
    @property
    def pressed(self) -> bool:
        """`maintain` has something to do that should not wait."""
    def has_room(self, points: int) -> bool:
        """Whether `put` of a batch of so many points would drop nothing."""
    def put(self, batch: Batch) -> int:
        """Takes a batch, names it, and hands it to the thread that writes; its sequence."""
    def points_of(self, sequence: int) -> int | None:
        """Points of a batch without an answer; None when it has one, was dropped, or halves are to take its place."""
    def durable(self, sequence: int) -> bool:
        """Whether a batch is on stable storage, has its answer, or was given up."""
    def next_after(self, sequence: int) -> int | None:
        """The lowest sequence above another, if it is on stable storage or never will be because the disk fails."""
    def batch(self, sequence: int) -> Batch | None:
        """A batch without an answer, read back if need be. None for one that has its points still: the disk cannot
        read it now. One whose record is damaged, or not read after a few calls, is dropped and told.
        """
    def acknowledge(self, sequence: int) -> None:
        """Forgets a batch; `maintain` makes that durable."""
    def abandon_too_large(self, sequence: int) -> None:
        """Drops a batch of one point that no collector takes."""
    def split(self, sequence: int) -> int | None:
        """Puts halves in a batch's place, under this sequence and the next; None when that is not possible now."""
    def fileno(self) -> int:
        """An eventfd that is readable when `next_after` may have more, there is more room, or something to be told."""
    def told(self) -> list[tuple[int, int, str | None]]:
        """Clears the eventfd; (sequence, points, reason) of batches that were dropped since the last call.

        Without a reason: a split did not reach the disk and never will, and the whole batch is there again.
        """
    def maintain(self) -> None:
        """Makes answers durable, gives room back, drops the oldest batches where there is none."""
    def stats(self) -> dict[str, Any]:
        """Counters and gauges; dropped has (batches, points) by reason, since the spool was made."""
    def close(self) -> None:
        """Makes everything durable that can be, and releases the lock. Idempotent."""

@final
class RelayStream:
    """The receiving half of a stream of batches in row form that this agent takes over from a service."""

    def __new__(
        cls, *, common_tags: Sequence[tuple[str, str]], node: str, points_max: int, frame_bytes_max: int
    ) -> RelayStream:
        """Points get those common tags that they do not bring themselves; those of another node are refused."""
    @property
    def mid_frame(self) -> bool:
        """A frame has begun and not ended."""
    def feed(self, data: bytes, now_unix_ns: int) -> list[RelayedBatch]:
        """The frames that are whole now; points without a time get this one.

        CoreError on a frame of length 0 or above the limit, from then on at every call, after the frames before it.
        """

@final
class RelayedBatch:
    """One frame of a service, judged but for what only a collector can know."""

    @property
    def sequence(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def oldest_unacknowledged(self) -> int: ...
    @property
    def withdraws(self) -> bool:
        """No batch, but the question whether this one was taken; if not, it is not to be any more."""
    @property
    def batch(self) -> Batch | None:
        """The points to send on; None when there are none."""
    @property
    def rejections(self) -> list[tuple[int, int, str]]:
        """(reason, points, example) a reason."""
    def reply(
        self,
        answer: Literal["kept", "duplicate", "retry_later", "withdrawn"],
        *,
        credit: int,
        retry_after_ms: int = ...,
    ) -> bytes:
        """The BatchAck with its length prefix. Where all that could be kept is, it says what was refused."""

@final
class Ack:
    """A BatchAck."""

    @property
    def sequence(self) -> int: ...
    @property
    def outcome(self) -> int: ...
    @property
    def accepted_points(self) -> int: ...
    @property
    def rejected_points(self) -> int: ...
    @property
    def rejections(self) -> list[tuple[int, int, str]]:
        """(reason, points, example) a reason."""
    @property
    def credit(self) -> int: ...
    @property
    def retry_after_ms(self) -> int: ...

@final
class AckReader:
    """Splits a stream's received bytes into BatchAcks. CoreError on bytes that are none."""

    def __new__(cls) -> AckReader: ...
    def feed(self, data: bytes) -> list[Ack]: ...

@final
class QuicCredentials:
    """What connections of one agent prove themselves with, and whom they believe; everything in DER.

    Absent, as the next three are, where the core was built without quinn.
    """

    def __new__(cls, *, chain: Sequence[bytes], key: bytes, authorities: Sequence[bytes]) -> QuicCredentials:
        """The certificate and its intermediates, its private key, and the only authorities of collectors' certificates.

        Raises ValueError when they cannot be used.
        """

_QuicEvent: TypeAlias = (
    tuple[int, Literal["established"], list[bytes]]
    | tuple[int, Literal["received"], int, bytes]
    | tuple[int, Literal["ended"], int]
    | tuple[int, Literal["stopped"], int, int]
    | tuple[int, Literal["closed"], Literal["application", "transport", "reset", "network", "fault"], int, str]
)
"""The connection's number, what happened, and with what: the collector's certificate and its intermediates in DER; a
stream and its bytes; a stream that brings nothing more; a stream that the collector reads no further, and its code; who
ended the connection, the code and the reason. Exists in this stub only."""

@final
class QuicClient:
    """Connections over quinn whose events come out of one queue. Their work is done on one thread of the process."""

    def __new__(cls) -> QuicClient: ...
    def fileno(self) -> int:
        """An eventfd that becomes readable when something has happened; `take` makes it unreadable again."""
    def connect(
        self,
        host: str,
        port: int,
        *,
        server_name: str,
        credentials: QuicCredentials,
        datagram_bytes_max: int = 1_200,
        unreachable_secs: float = 1.0,
    ) -> QuicConnection:
        """Begins a handshake with an address. `server_name` is what the collector's certificate must carry.

        Once the network has said that nobody listens, a handshake ends at once, and an established connection after
        `unreachable_secs` without a datagram. Raises OSError without a socket or a way, ValueError for a bad address.
        """
    def departed(self, timeout_secs: float) -> bool:
        """Waits until every close is sent, and says whether they are: for a process that is about to end."""
    def take(self) -> list[_QuicEvent]:
        """What has happened to all connections since the last call, in order for each.

        At most 4 MiB of received bytes wait here; beyond that flow control holds the collectors back.
        """

@final
class QuicConnection:
    """One connection; its methods never wait. Forgotten without `close`, it is closed with code 0."""

    @property
    def number(self) -> int:
        """What events call it; never used twice by one client."""
    @property
    def queued_bytes(self) -> int:
        """Bytes written that flow control has not let through yet."""
    def write(self, stream: int, data: bytes, *, finish: bool = False) -> None:
        """Puts bytes on a bidirectional stream of the caller's numbering, which the first ones open.

        Streams are opened in ascending order. Does nothing once the stream or the connection is over. Raises CoreError,
        and sends nothing, when more than 64 MiB would wait.
        """
    def close(self, code: int, reason: str = "") -> None:
        """Closes the connection with a code of the wire contract. No event tells of it."""

@final
class QuicLoad:
    """Simulated agents, each with a connection and a closed loop over one stream, all in the core.

    An agent follows the collector's credit and sends again what is to be sent again, under its name. One whose
    connection is lost is lost: what it had acknowledged counts, and it sends no more. Agents close with code 0.
    """

    def __new__(
        cls,
        host: str,
        port: int,
        *,
        server_name: str,
        agents: Sequence[tuple[QuicCredentials, int, Sequence[bytes], Sequence[bytes]]],
        batches_per_sec: float | None = None,
        inflight_max: int = 1_024,
        datagram_bytes_max: int = 1_200,
        connect_timeout_secs: float = 30.0,
    ) -> QuicLoad:
        """Begins to connect; each agent sends `batches_per_sec`, or as many as credit and `inflight_max` let through.

        An agent is its credentials, its epoch (not 0), frames sent once and first, and frames sent over and over after
        these; all of one `FrameEncoder`, which made those that define series first. The frames' own names are replaced:
        sequences are 1, 2, 3, …, so sequence s is `opening[s - 1]`, then `cycle[(s - 1 - len(opening)) % len(cycle)]`.
        Agents of a rate are spread over its interval. Raises ValueError for what cannot be, OSError without sockets, or
        for bytes that are no frame.
        """
    def begin(self) -> None:
        """Agents send from now on. Wait for `poll()["connected"]` first to leave the handshakes out."""
    def poll(self) -> dict[str, int]:
        """Counters of all agents together.

        `connected` and `lost` agents; `batches_sent` (again does not count), `batches_acknowledged` (STORED, PARTIAL,
        DUPLICATE), `batches_refused` (REJECTED), `batches_retried` (RETRY_LATER); `points_acknowledged`,
        `points_refused`; `frame_bytes_sent` with prefixes and without QUIC.
        """
    def latency_secs(self, part: float) -> float:
        """The quantile of the time to a batch's final answer: from when it was due, if it then had to wait for room,
        else from its sending.

        At most 1/32 too long; 0 before the first answer.
        """
    @property
    def faults(self) -> list[str]:
        """Why agents were lost, 16 of the first."""
    def stop(self, drain_secs: float) -> None:
        """Sends nothing that becomes due from now on, waits so long for answers, closes all connections. Idempotent."""
    def acknowledged(self) -> list[bytes]:
        """For each agent an array of unsigned 32-bit integers in native order (`array("I", …)`), by sequence from 1 on.

        The points on stable storage; 0 for a refused batch, 0xFFFFFFFF for one without a final answer.
        """

def identity_of(certificate: bytes) -> tuple[str, str] | None:
    """The identity and the node that a certificate in DER names, as the quinn listener sees them."""

def inspect_journal(
    directory: str | PathLike[str], progress: Callable[[int, int], object] | None = None
) -> dict[str, Any]:
    """Reads a whole journal, open or not, and changes nothing; `journal inspect --json` documents the answer.

    `progress` is called with the bytes read and the bytes there are, after each segment. JournalError when the
    directory cannot be read, holds files of two journals, or of a newer format.
    """

def unpack_small(body: bytes, encoding: str, bytes_max: int) -> bytes | None:
    """What a request's body unpacks to; None when that is more than `bytes_max`, of which no more is unpacked.

    RequestError when it is damaged, or the encoding is not known.
    """
