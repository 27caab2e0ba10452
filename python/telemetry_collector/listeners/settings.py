"""What a QUIC listener is told, whichever one, and the bounds that nobody needs to set."""

from dataclasses import dataclass, field
from pathlib import Path

from telemetry_collector.config.section import Address


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long peers may take, and how long the collector does, in seconds."""

    idle: float = 300.0
    """A connection without a whole frame for so long is closed; keep-alives are no frames."""

    handshake: float = 10.0
    """From the first datagram to the end of the handshake."""

    frame: float = 30.0
    """From a frame's first byte to its last."""

    replies: float = 30.0
    """Replies may wait so long for the peer's flow control to let them go."""

    expiry: float = 5.0
    """How often open connections are asked whether their certificate has run out."""


@dataclass(frozen=True, slots=True)
class QuicListenerSettings:
    """How a listener is built."""

    address: Address
    """Where to listen; port 0 lets the system choose. `[::]` takes IPv4 as well."""

    tls_cert_path: Path
    """The server's certificate as PEM, intermediates after it."""

    tls_key_path: Path
    """Its unencrypted key as PEM."""

    connections_max: int = 1_000
    """Connections that are let in at a time; one more is told TOO_MANY_CONNECTIONS after its handshake."""

    connections_per_identity_max: int | None = 64
    """Of these, so many of one identity; one more is told the same. None: no bound but that on all."""

    handshakes_max: int = 256
    """Connections that are not let in yet, or on their way out. Beyond them first datagrams are dropped, and the
    client's transport sends them again; with aioquic, who has proven its address waits for its turn."""

    handshakes_per_address: int = 64
    """The same for each address (IPv6: each /64): half-open connections of one must not take every place."""

    connections_per_address_per_sec: int = 50
    """Connections that an address may begin a second, and twice as many at once; first datagrams beyond are dropped.
    Many agents may share an address, and all come back when a collector restarts."""

    deadlines: Deadlines = field(default_factory=Deadlines)

    receive_buffer_bytes: int = 8 * 1024 * 1024
    """The socket's buffer for what arrives while the loop is busy."""

    send_buffer_bytes: int = 2 * 1024 * 1024
    """The socket's buffer for replies."""

    threads: int | None = None
    """Threads that serve connections, where the transport has any of its own; None: one a processor."""
