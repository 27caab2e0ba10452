"""An agent on a real socket that does what a test tells it to, however rude."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events as quic
from aioquic.quic.configuration import QuicConfiguration
from tests.support.waiting import PATIENCE_SECS

from telemetry_collector.config.section import Address


class QuicAgent(QuicConnectionProtocol):
    """A connection to a collector."""

    closing: quic.ConnectionTerminated | None = None

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.heard: list[quic.QuicEvent] = []
        self._streams_received: dict[int, bytearray] = {}
        self._something_happened = asyncio.Event()

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        self.heard.append(event)
        if isinstance(event, quic.StreamDataReceived):
            self._streams_received.setdefault(event.stream_id, bytearray()).extend(event.data)
        elif isinstance(event, quic.ConnectionTerminated):
            self.closing = event
        self._something_happened.set()

    def say(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self._quic.send_stream_data(stream_id, data, end)
        self.transmit()

    def take_no_more(self) -> None:
        """From now on the collector gets no more room for replies than it has."""
        self._quic._write_stream_limits = lambda **_: None  # type: ignore[method-assign]

    def received(self, stream_id: int) -> bytes:
        return bytes(self._streams_received.get(stream_id, b""))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECS):
            while not condition():
                self._something_happened.clear()
                await self._something_happened.wait()

    async def reply(self, stream_id: int, data: bytes) -> None:
        """Waits until the stream has brought this, from its beginning."""
        await self.until(lambda: len(self.received(stream_id)) >= len(data))
        assert self.received(stream_id) == data

    async def closed(self) -> tuple[int, bool]:
        """Waits for the end; its code and whether it is an application's."""
        await self.until(lambda: self.closing is not None)
        assert self.closing is not None
        return int(self.closing.error_code), self.closing.frame_type is None


@asynccontextmanager
async def agent(
    address: Address, configuration: QuicConfiguration, host: str = "127.0.0.1"
) -> AsyncIterator[QuicAgent]:
    """Begins to connect, and waits for nothing."""
    async with connect(
        host, address.port, configuration=configuration, create_protocol=QuicAgent, wait_connected=False
    ) as protocol:
        assert isinstance(protocol, QuicAgent)
        protocol.transmit()
        yield protocol
