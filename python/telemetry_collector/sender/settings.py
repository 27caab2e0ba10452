"""What a developer passes to a sender."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.x509 import Certificate

from telemetry_collector import _core
from telemetry_collector._core import FaultDisk
from telemetry_collector.config import Address
from telemetry_collector.sender import wire

Form = Literal["dense", "columnar", "row"]
"""How points are written. A collector that does not know `dense` is sent `columnar` while it is connected."""

TransportName = Literal["quinn", "aioquic"]


def has_quinn() -> bool:
    """Whether the extension was built with it."""
    return hasattr(_core, "QuicClient")


TRANSPORT_DEFAULT: TransportName = "quinn" if has_quinn() else "aioquic"
"""quinn takes half the processor time; a build of the core without it leaves aioquic, which always works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How batches are sent and what the bounds are."""

    form: Form = "dense"
    compression: Literal["none", "gzip", "zstd"] = "zstd"
    streams_max: int = wire.STREAMS_MAX
    """Streams open at a time, 1 to 4. Another is opened only when the others have used up their credit."""
    credit_max: int = 1_024
    """A larger window from the collector is taken as this."""
    inflight_bytes_max: int = 8 * 1024 * 1024
    """Bytes of unanswered frames on one connection: aioquic would keep any amount in memory. One frame always goes."""
    frame_bytes_max: int = wire.FRAME_BYTES_MAX
    """A batch that makes a larger frame is split."""
    retry_after_max_secs: float = 60.0
    """A longer wait from the collector is cut to this."""
    reply_timeout_secs: float = 10.0
    """With frames unanswered and no reply for so long, the connection is given up."""
    keepalive_secs: float = 15.0
    """After so long without a frame a probe is sent: it shows that the collector is there, and that we are."""
    backlog_share: float = 0.25
    """The part of what may be unanswered that goes to batches that have piled up; the rest is kept for new ones."""
    unknown_series_max: int = 3
    """A batch refused so often for unknown series, with its definitions and nothing before it, is refused for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """How collectors are reached. File contents are read anew for each connection, so renewed certificates are used."""

    endpoints: tuple[Address, ...]
    """In order of preference: the first one that works is used, and gone back to when it recovers."""
    cert_path: Path
    key_path: Path
    transport: TransportName = field(default_factory=lambda: TRANSPORT_DEFAULT)
    """What speaks QUIC: the core, or aioquic on the event loop."""
    ca_path: Path
    """The only authorities that a collector's certificate may come from."""
    judge: Callable[[Certificate, Sequence[Certificate]], None] | None = None
    """A say on a collector's verified certificate and its intermediates: raises CertificateError to refuse it."""
    server_name: str | None = None
    """The name that the collector's certificate must carry; the endpoint's host unless given."""
    max_datagram_size: int = 1_200
    """Bytes of QUIC in one datagram; 1,200 pass everywhere, jumbo networks gain from up to 9,000."""
    connect_timeout_secs: float = 10.0
    """From the first datagram to the first reply."""
    unreachable_secs: float = 1.0
    """How long a connection lives on without a datagram after the network said that nobody listens there."""
    backoff_min_secs: float = 0.25
    backoff_max_secs: float = 30.0
    failback_secs: float = 30.0
    """Mean interval at which better collectors than the one in use are tried."""


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """How the agent of this machine is reached: over its unix socket, which takes the row form on a single stream."""

    path: Path
    connect_timeout_secs: float = 5.0
    """Until the first reply."""
    backoff_min_secs: float = 0.1
    backoff_max_secs: float = 5.0
    failback_secs: float = 30.0
    judge: None = None
    """The socket's permissions say who is there."""

    @property
    def endpoints(self) -> tuple[Path]:
        """The one place where it can be."""
        return (self.path,)


Reach = TransportSettings | SocketSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    """Bounds of what waits in memory; over either, the oldest batches are dropped."""

    points_max: int = 1_000_000
    bytes_max: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """Where batches wait on disk, so that they survive the process; over a bound the oldest are dropped."""

    directory: Path
    """Of this sender alone; made if it is not there."""
    bytes_max: int = 1024 * 1024 * 1024
    """Bytes of all files with batches together, 1 MiB at least."""
    memory_bytes_max: int = 64 * 1024 * 1024
    """Memory for batches that are not on disk yet, or are kept to be sent without reading them back."""
    identity: str = ""
    """The certificate's identity. With another one the batches get new names; empty: a change is not noticed."""
    node: str = ""
    """The node that the certificate names: the tag `node_id` of batches that a renamed machine left changes with it."""
    machine_id: str | None = None
    """What tells this machine from a copy of its disk; None: /etc/machine-id."""
    started_unix_us: int | None = None
    """When this life begins, microseconds since 1970; None: now. Sequences go on from there, so that a disk that is put
    back to an earlier state gives no name twice."""
    disk: FaultDisk | None = None
    """Takes the place of the directory: a disk that fails on command, for `torture`."""
