"""An agent of aioquic and protobuf alone, and the whole collector for it to talk to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events as quic
from aioquic.quic.configuration import QuicConfiguration
from tests.contract.door import as_frame
from tests.support.certificates import SERVER, Authority, Credentials, pem
from tests.support.protobuf import Frames, pb
from tests.support.running import collector_of

from telemetry_collector.api.workers.worker import IDENTITY as COLLECTOR
from telemetry_collector.app.collector import Collector

ALPN = "telemetry/1"
PATIENCE_SECS = 20.0


class Client(QuicConnectionProtocol):
    """One connection. Streams are numbered 0, 4, 8, …"""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.events: list[quic.QuicEvent] = []
        self.acks: dict[int, list[Any]] = {}
        self.ended: set[int] = set()
        self.closed: tuple[int, bool] | None = None
        """The code of the connection's end, and whether it is an application's."""
        self._frames: dict[int, Frames] = {}
        self._changed = asyncio.Event()

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        """See aioquic."""
        self.events.append(event)
        if isinstance(event, quic.StreamDataReceived):
            number = event.stream_id
            bodies = self._frames.setdefault(number, Frames()).feed(event.data)
            self.acks.setdefault(number, []).extend(pb.BatchAck.FromString(body) for body in bodies)
            if event.end_stream:
                self.ended.add(number)
        elif isinstance(event, quic.ConnectionTerminated):
            self.closed = (event.error_code, event.frame_type is None)
        self._changed.set()

    @property
    def quic(self) -> Any:
        """The connection underneath."""
        return self._quic

    def say(self, stream: int, *messages: Any, end: bool = False) -> None:
        """Sends batches (or bodies, as bytes) on a stream."""
        self.write(stream, b"".join(map(as_frame, messages)), end=end)

    def write(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends bytes as they are."""
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits for something that events bring."""
        async with asyncio.timeout(PATIENCE_SECS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def opened(self) -> None:
        """Waits for the end of the handshake, as this side sees it."""
        await self.until(lambda: any(isinstance(event, quic.HandshakeCompleted) for event in self.events))

    async def answers(self, stream: int, count: int) -> list[Any]:
        """So many replies of a stream, from its beginning; fewer when the connection ends."""
        await self.until(lambda: len(self.acks.get(stream, ())) >= count or self.closed)
        return self.acks.get(stream, [])

    async def ask(self, stream: int, message: Any) -> Any:
        """The answer to one more batch of a stream whose others are answered."""
        before = len(self.acks.get(stream, ()))
        self.say(stream, message)
        answers = await self.answers(stream, before + 1)
        assert len(answers) == before + 1, f"closed with {self.closed}"
        return answers[-1]

    async def end(self) -> tuple[int, bool]:
        """Waits for the collector to close the connection."""
        await self.until(lambda: self.closed)
        assert self.closed is not None
        return self.closed


class Site:
    """Certificates, a directory, and the collector that runs there now and then."""

    def __init__(self, directory: Path, transport: str = "aioquic") -> None:
        self.transport = transport
        self.authority = Authority()
        self.directory = directory
        self.server = self.authority.issue(dns="collector", usages=SERVER).write(directory, "server")
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(pem(self.authority.certificate))
        self.collector: Collector | None = None

    @asynccontextmanager
    async def running(self, **sections: Any) -> AsyncIterator[Collector]:
        """The collector, until the end of the block. `sections` are merged into a small configuration."""
        document: dict[str, Any] = {
            "server": {"listen_addr": "127.0.0.1:0", "shutdown_timeout_secs": 10, "transport": self.transport},
            "security": {
                "tls_cert_path": str(self.server[0]),
                "tls_key_path": str(self.server[1]),
                "tls_ca_path": str(self.ca),
            },
            "journal": {"dir": str(self.directory / "journal"), "segment_bytes": 1 << 22, "max_bytes": 1 << 27},
            "parquet": {"output_dir": str(self.directory / "data"), "flush_interval_secs": 0.2},
            "api": {"http_port": 0},
            "observability": {"metrics_addr": "127.0.0.1", "metrics_port": 0},
        }
        for name, section in sections.items():
            document.setdefault(name, {}).update(section)
        async with collector_of(document) as self.collector:
            yield self.collector

    @asynccontextmanager
    async def client(self, who: str | Credentials = "spiffe://fleet/node-1", **options: Any) -> AsyncIterator[Client]:
        """A connection of the identity in a URI, or with other credentials. It begins without waiting."""
        assert self.collector is not None
        credentials = self.authority.issue(uri=who) if isinstance(who, str) else who
        configuration = QuicConfiguration(
            is_client=True,
            cadata=pem(self.authority.certificate),
            server_name="collector",
            **{"alpn_protocols": [ALPN], **options},
        )
        configuration.certificate = credentials.certificate
        configuration.private_key = credentials.key
        host, _, port = self.collector.listen_addr.rpartition(":")
        async with connect(
            host, int(port), configuration=configuration, create_protocol=Client, wait_connected=False
        ) as client:
            assert isinstance(client, Client)
            client.transmit()
            yield client

    def rows(self) -> list[dict[str, Any]]:
        """Who sent what, as it stands in the files of the data set; what the collector adds itself nobody sent."""
        files = sorted(str(path) for path in (self.directory / "data").glob("date=*/hour=*/*.parquet"))
        if not files:
            return []
        columns = ["name", "node_id", "identity", "sequence"]
        rows: list[dict[str, Any]] = ds.dataset(files).to_table(columns).to_pylist()
        return [row for row in rows if row["identity"] != COLLECTOR]
