"""Connections to a collector as a measurement needs them: one that times its answers, and rude ones."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events as quic
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

from benches.reference import Definition, batch, series
from telemetry_collector._core import AckReader, FrameEncoder
from telemetry_collector.model import ALPN

STREAMS = 4
WINDOW = 8
"""Batches that a stream may have unanswered at first; nobody here goes beyond."""
FLOOD_ADDRESSES = tuple(f"127.0.0.{last}" for last in range(2, 10))
RECONNECTS_AT_A_TIME = 8


def configuration(certs: Path, node: str) -> QuicConfiguration:
    """How this node connects."""
    made = QuicConfiguration(
        is_client=True,
        alpn_protocols=[ALPN],
        server_name="localhost",
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    made.load_cert_chain(certs / f"{node}.pem", certs / f"{node}.key")
    made.load_verify_locations(str(certs / "ca.pem"))
    return made


class Peer(QuicConnectionProtocol):
    """Streams on which frames go out and answers come back."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.answered: Callable[[int], None] = lambda _: None
        """Called with the stream of each answer."""
        self.ended: Callable[[int], None] = lambda _: None
        """Called with the stream that the collector has finished."""
        self.over = asyncio.Event()
        self._acks: dict[int, AckReader] = {}

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        """See aioquic."""
        if isinstance(event, quic.StreamDataReceived):
            for _ in self._acks.setdefault(event.stream_id, AckReader()).feed(event.data):
                self.answered(event.stream_id)
            if event.end_stream:
                self._quic.reset_stream(event.stream_id, 0)
                self.ended(event.stream_id)
        elif isinstance(event, quic.ConnectionTerminated):
            self.over.set()

    def say(self, stream_id: int, data: bytes) -> None:
        """Sends bytes at once; none on a stream that the collector wants no more of."""
        stream = self._quic._streams.get(stream_id)
        refused = self._quic._stream_is_discarded(stream_id) or (
            stream is not None and stream.sender._reset_error_code is not None
        )
        if refused or self.over.is_set():
            return
        self._quic.send_stream_data(stream_id, data)
        self.transmit()


class TimedPeer:
    """Sends a small batch so often, by the clock, and notes how long each answer took from when it was due."""

    def __init__(self, node: str, points: int, per_sec: float) -> None:
        self.latencies_ms: list[float] = []
        self._node = node
        self._definitions = [_of_node(one, node) for one in series()[:points]]
        self._interval = 1 / per_sec
        self._due: deque[float] = deque()

    async def run(self, port: int, certs: Path, recording: Callable[[], bool]) -> None:
        """Until cancelled; latencies count while `recording`."""
        async with connect(
            "127.0.0.1", port, configuration=configuration(certs, self._node), create_protocol=Peer
        ) as peer:
            assert isinstance(peer, Peer)
            peer.answered = lambda _: self._answered(recording())
            encoder = FrameEncoder(compression="none")
            # Each has its own place in the interval.
            at = time.monotonic() + random.random() * self._interval
            while True:
                await asyncio.sleep(max(at - time.monotonic(), 0))
                self._due.append(at)
                made = batch(time.time_ns(), self._definitions, len(self._definitions))
                peer.say(0, encoder.frame(made, sequence=0, epoch=0))
                at += self._interval

    def _answered(self, recorded: bool) -> None:
        due = self._due.popleft()
        if recorded:
            self.latencies_ms.append((time.monotonic() - due) * 1_000)


def _of_node(definition: Definition, node: str) -> Definition:
    name, tags, kind, unit, delta = definition
    return name, tuple((key, node if key == "node_id" else value) for key, value in tags), kind, unit, delta


async def windows_full(port: int, certs: Path, node: str, frames: Callable[[], Callable[[], bytes]]) -> None:
    """Every window of every stream is full all the time, whatever the answers say, until the connection is closed."""
    async with connect("127.0.0.1", port, configuration=configuration(certs, node), create_protocol=Peer) as peer:
        assert isinstance(peer, Peer)
        _keep_full(peer, frames)
        await peer.over.wait()


def _keep_full(peer: Peer, frames: Callable[[], Callable[[], bytes]]) -> None:
    streams: dict[int, Callable[[], bytes]] = {}

    def begin(stream_id: int) -> None:
        streams[stream_id] = frames()
        for _ in range(WINDOW):
            peer.say(stream_id, streams[stream_id]())

    peer.answered = lambda stream_id: peer.say(stream_id, streams[stream_id]())
    # A stream that the collector reads no further makes room for another.
    peer.ended = lambda stream_id: begin(stream_id + 4 * STREAMS)
    for number in range(STREAMS):
        begin(4 * number)


def valid_frames(node: str) -> Callable[[], Callable[[], bytes]]:
    """For each stream a source of batches of 1,000 points."""
    definitions = [_of_node(one, node) for one in series()]

    def source() -> Callable[[], bytes]:
        encoder = FrameEncoder(compression="none")
        return lambda: encoder.frame(batch(time.time_ns(), definitions), sequence=0, epoch=0)

    return source


def garbage_frames() -> Callable[[], bytes]:
    """For a stream a source of frames that are no batch; now and then one that is too large, which ends its stream."""
    body = os.urandom(60_000)
    sizes = itertools.cycle([len(body)] * 50 + [2**31])
    return lambda: next(sizes).to_bytes(4, "big") + body


async def reconnecting(port: int, certs: Path, node: str) -> None:
    """Connections that begin, send a byte and end, a few at a time, without end."""

    async def loop() -> None:
        while True:
            try:
                async with asyncio.timeout(2):
                    async with connect(
                        "127.0.0.1", port, configuration=configuration(certs, node), create_protocol=Peer
                    ) as peer:
                        assert isinstance(peer, Peer)
                        peer.say(0, b"\0")
            except (TimeoutError, ConnectionError):
                continue

    await asyncio.gather(*(loop() for _ in range(RECONNECTS_AT_A_TIME)))


async def first_datagrams(port: int, certs: Path, node: str) -> None:
    """First datagrams as fast as they go out, from several addresses, each for another connection."""
    del certs, node  # they are a stranger's
    sockets = []
    for address in FLOOD_ADDRESSES:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, 0))
        made.connect(("127.0.0.1", port))
        sockets.append(made)
    rest = b"\x08ssssssss\x00\x44\x96" + os.urandom(1_174)
    for number, sock in enumerate(itertools.cycle(sockets)):
        sock.send(b"\xc0\x00\x00\x00\x01\x08" + number.to_bytes(8, "big") + rest)


FLOODS: dict[str, Callable[[int, Path, str], Awaitable[None]]] = {
    "batches": lambda port, certs, node: windows_full(port, certs, node, valid_frames(node)),
    "garbage": lambda port, certs, node: windows_full(port, certs, node, garbage_frames),
    "initials": first_datagrams,
    "reconnects": reconnecting,
}


async def _forever(flood: Callable[[], Awaitable[None]]) -> None:
    while True:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await flood()
        await asyncio.sleep(0.1)


def main() -> None:
    """`python -m benches.floods KIND PORT CERTS NODE`: floods until it is ended."""
    kind, port, certs, node = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    os.nice(5)  # it shares a processor with the agents that are measured, and is not to take theirs
    asyncio.run(_forever(lambda: FLOODS[kind](port, certs, node)))


if __name__ == "__main__":
    main()
