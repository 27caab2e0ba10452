"""The scripted collector behind a real QUIC listener on the loopback, made of nothing but aioquic."""

from pathlib import Path
from typing import Any, Self

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer, serve
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from tests.support.collector import Books, FakeStream

from telemetry_collector.config import Address
from telemetry_collector.model import ALPN, CloseCode

STREAMS_MAX = 4


class _Connection(QuicConnectionProtocol):
    owner: "QuicCollector"

    def __init__(self, quic: Any, stream_handler: Any = None) -> None:
        super().__init__(quic, stream_handler)
        self.streams: dict[int, FakeStream] = {}
        initialize = quic._initialize

        def ask_for_certificate(peer_cid: bytes) -> None:
            initialize(peer_cid)
            quic.tls._request_client_certificate = True
            quic._local_max_streams_bidi.value = STREAMS_MAX
            quic._local_max_streams_bidi.sent = STREAMS_MAX

        quic._initialize = ask_for_certificate

    def quic_event_received(self, event: events.QuicEvent) -> None:
        match event:
            case events.HandshakeCompleted():
                self.owner.certificates.append(self._quic.tls._peer_certificate)
                self.owner.connections.append(self)
                if self.owner.refuse is not None:
                    self.close(self.owner.refuse, "by the test")
            case events.StreamDataReceived(stream_id=number):
                stream = self.streams.setdefault(number, FakeStream(self.owner.books))
                stream.receive(event.data, finished=event.end_stream)
                self.answer()
            case events.ConnectionTerminated():
                if self in self.owner.connections:
                    self.owner.connections.remove(self)
                self.owner.closes.append(event.error_code)

    def answer(self) -> None:
        if self.owner.silent:
            return
        for number, stream in list(self.streams.items()):
            replies = stream.replies()
            if replies or stream.finished:
                self._quic.send_stream_data(number, replies, end_stream=stream.finished)
            if stream.finished:
                del self.streams[number]
        self.transmit()


class QuicCollector:
    """`async with QuicCollector(certificates) as collector`; `collector.address` is where it listens."""

    def __init__(self, certificates: Path, *, host: str = "127.0.0.1") -> None:
        self.books = Books()
        self.silent = False
        """Replies are held back."""
        self.refuse: CloseCode | None = None
        """New connections are closed at once with this code."""
        self.connections: list[_Connection] = []
        self.certificates: list[Any] = []
        self.closes: list[int] = []
        """Codes with which agents closed, in order."""
        self.certificate = "server"
        self.alpn = ALPN
        self._directory = certificates
        self._host = host
        self._port = 0
        self._server: QuicServer | None = None

    @property
    def address(self) -> Address:
        return Address(self._host, self._port)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    async def start(self) -> None:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=[self.alpn])
        configuration.load_cert_chain(
            self._directory / f"{self.certificate}.pem", self._directory / f"{self.certificate}.key"
        )
        protocol = type("Bound", (_Connection,), {"owner": self})
        self._server = await serve(self._host, self._port, configuration=configuration, create_protocol=protocol)
        assert self._server._transport is not None
        self._port = self._server._transport.get_extra_info("sockname")[1]

    def stop(self, *, code: CloseCode | None = CloseCode.SHUTTING_DOWN) -> None:
        """Stops listening; None: like a killed process, without a word."""
        if self._server is None:
            return
        for connection in list(self.connections):
            if code is not None:
                connection.close(code)
            if connection._timer is not None:
                connection._timer.cancel()
                connection._timer = None
        self.connections.clear()
        assert self._server._transport is not None
        self._server._transport.close()
        self._server = None

    def close_connections(self, code: CloseCode) -> None:
        for connection in list(self.connections):
            connection.close(code)

    def speak(self) -> None:
        """Ends `silent`."""
        self.silent = False
        for connection in list(self.connections):
            connection.answer()
