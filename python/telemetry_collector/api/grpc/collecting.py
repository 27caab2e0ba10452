"""Batches by gRPC: each message becomes a frame of a conversation, as if it had come over QUIC.

    messages ─► read ─► conversation ─► replies ─► deliver
               (window)                (after the commit)

A client of CollectMetrics is answered once and cannot see its window, so it is kept here: with as many batches
unanswered as the last reply allowed, the stream is not read on, and gRPC's flow control holds the client up.
StreamMetrics is kept to the same, so no client can exceed its credit.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

from telemetry_collector.api.grpc.calls import Code, Refusal
from telemetry_collector.api.grpc.events import GrpcEvents
from telemetry_collector.api.grpc.messages import telemetry_pb2 as wire
from telemetry_collector.api.grpc.peers import Context
from telemetry_collector.api.grpc.summary import Summary
from telemetry_collector.component import BatchConsumer
from telemetry_collector.listeners.requests.peers import Peer
from telemetry_collector.model import CloseCode

FIRST_WINDOW: Final = 8
"""Batches of a new stream that may be unanswered, as docs/wire-protocol.md has it."""
SILENCE_SECS_MAX: Final = 300.0
"""A stream on which no batch comes for so long is ended."""
REPLY_SECS_MAX: Final = 30.0
"""An answer that the client does not read for so long ends its stream."""
SETTLE_SECS_MAX: Final = 10.0
"""How long a call whose client has left goes on counting what of its batches is stored."""
PAUSE_SECS_MAX: Final = 5.0
"""After a batch that was put off, a client that is answered once is not read for as long as its reply says, at most so
long."""

EMPTY_BATCH: Final = b"\x08\x00"
"""The batch without anything as it is written here: of no bytes, which a message may have, there is no frame."""


Deliver = Callable[[bytes, wire.BatchAck], Awaitable[None]]
"""Takes an answer, as bytes and as what they say."""


class Collecting:
    """The two methods that take batches."""

    def __init__(self, consumer: BatchConsumer, events: GrpcEvents, frame_bytes_max: int) -> None:
        """`frame_bytes_max` bounds one batch, over gRPC as over QUIC."""
        self._consumer = consumer
        self._events = events
        self._frame_bytes_max = frame_bytes_max
        # Bounded by the calls that the server lets in.
        self._streams: set[_Stream] = set()

    async def collect(self, messages: AsyncIterator[bytes], peer: Peer, _context: Context) -> bytes:
        """CollectMetrics: the summary, when the client has finished and all is answered."""
        summary = Summary()

        async def add(_body: bytes, ack: wire.BatchAck) -> None:
            summary.add(ack)

        await self._run(messages, peer, add, pauses=True)
        return summary.message().SerializeToString()

    async def stream(self, messages: AsyncIterator[bytes], peer: Peer, context: Context) -> None:
        """StreamMetrics: each answer when it is true."""

        async def write(body: bytes, _ack: wire.BatchAck) -> None:
            try:
                async with asyncio.timeout(REPLY_SECS_MAX):
                    await context.write(body)
            except TimeoutError as error:
                raise Refusal(Code.DEADLINE_EXCEEDED, f"no answer was read for {REPLY_SECS_MAX:g} seconds") from error

        await self._run(messages, peer, write, pauses=False)

    def stop(self) -> None:
        """Reads no further; what was read is answered, and then each client hears UNAVAILABLE."""
        for stream in self._streams:
            stream.stop()

    async def _run(self, messages: AsyncIterator[bytes], peer: Peer, tell: Deliver, *, pauses: bool) -> None:
        stream = _Stream(self._consumer, peer, self._frame_bytes_max, tell, self._events.accepted, pauses=pauses)
        self._streams.add(stream)
        try:
            await stream.run(messages)
        finally:
            self._streams.discard(stream)


class _Stream:
    """One call's conversation."""

    def __init__(
        self,
        consumer: BatchConsumer,
        peer: Peer,
        frame_bytes_max: int,
        deliver: Deliver,
        accepted: Callable[[int], None],
        *,
        pauses: bool,
    ) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._deliver = deliver
        self._accepted = accepted
        self._pauses = pauses
        # Answers that were taken and are to be delivered; bounded by the window.
        self._due: deque[tuple[bytes, wire.BatchAck]] = deque()
        self._window = FIRST_WINDOW
        self._pause_until = 0.0
        self._reading: asyncio.Task[None] | None = None
        # Something is due, or reading has ended; and an answer was delivered.
        self._woken, self._delivered = asyncio.Event(), asyncio.Event()
        self._conversation = consumer.conversation(peer.identity, peer.node, relay=peer.relay, ready=self._woken.set)

    async def run(self, messages: AsyncIterator[bytes]) -> None:
        """Returns when the client has finished and was answered. Refusal says why it was not let finish."""
        conversation = self._conversation
        reading = self._reading = asyncio.create_task(self._read(messages))
        reading.add_done_callback(lambda _done: self._woken.set())
        try:
            while not (reading.done() and conversation.done and not self._due):
                await self._woken.wait()
                self._woken.clear()
                await self._deliver_due()
            if reading.cancelled():
                raise Refusal(
                    Code.UNAVAILABLE, "the collector stops; send what was not answered again, here or elsewhere"
                )
            reading.result()
        finally:
            reading.cancel()
            await self._settle(reading)

    async def _settle(self, reading: asyncio.Task[None]) -> None:
        """What is under way when a client leaves is committed all the same, and counted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECS_MAX):
                await asyncio.wait((reading,))
                while True:
                    self._take(self._conversation.replies())
                    if self._conversation.done:
                        return
                    await self._woken.wait()
                    self._woken.clear()

    def stop(self) -> None:
        """Reads no further."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, messages: AsyncIterator[bytes]) -> None:
        try:
            while (message := await self._next(messages)) is not None:
                await self._until_room()
                self._feed(message)
        finally:
            self._conversation.finish()

    async def _next(self, messages: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(SILENCE_SECS_MAX):
                return await anext(messages, None)
        except TimeoutError as error:
            raise Refusal(Code.DEADLINE_EXCEEDED, f"no batch came for {SILENCE_SECS_MAX:g} seconds") from error

    async def _until_room(self) -> None:
        while self._conversation.pending + len(self._due) >= self._window:
            self._delivered.clear()
            await self._delivered.wait()
        pause = self._pause_until - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)

    def _feed(self, message: bytes) -> None:
        body = message or EMPTY_BATCH
        if len(body) > self._frame_bytes_max:
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"a batch of {len(body)} bytes; expected at most limits.frame_bytes_max = {self._frame_bytes_max}",
            )
        frame = len(body).to_bytes(4, "big") + body
        self._take(self._conversation.receive(frame, time.time_ns()))
        if self._due:
            self._woken.set()
        fault = self._conversation.fault
        if fault == CloseCode.QUOTA_EXCEEDED:
            raise Refusal(Code.RESOURCE_EXHAUSTED, "the client keeps sending above its quota")
        if fault:
            raise Refusal(Code.INVALID_ARGUMENT, f"the stream cannot be read on: {CloseCode(fault).name}")

    async def _deliver_due(self) -> None:
        """Everything that is due, in order. Replies are taken only when those before them are delivered, so that what a
        client does not read counts as unanswered."""
        while True:
            while self._due:
                await self._deliver(*self._due[0])
                self._due.popleft()
                self._delivered.set()
            self._take(self._conversation.replies())
            if not self._due:
                return

    def _take(self, replies: bytes) -> None:
        for body in _bodies(replies):
            ack = wire.BatchAck.FromString(body)
            # Stored it is, whether or not its client still hears of it.
            self._accepted(ack.accepted_points)
            self._due.append((body, ack))
            self._window = max(ack.credit, 1)
            if self._pauses and ack.outcome == wire.RETRY_LATER:
                self._pause_until = time.monotonic() + min(ack.retry_after_ms / 1e3, PAUSE_SECS_MAX)


def _bodies(frames: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(frames):
        end = at + 4 + int.from_bytes(frames[at : at + 4], "big")
        yield frames[at + 4 : end]
        at = end
