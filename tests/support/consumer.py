"""A consumer of streams without a core behind it: it splits frames and acknowledges them when told to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from telemetry_collector.model import CloseCode


class FakeConversation:
    """Takes frames and owes a reply for each: 4 bytes of length, then the frame's number as 8 bytes."""

    def __init__(
        self, consumer: FakeConsumer, identity: str, node: str, ready: Callable[[], None], *, relay: bool
    ) -> None:
        self.id = next(consumer.ids)
        self.identity = identity
        self.node = node
        self.relay = relay
        self.fault = 0
        self.frames = 0
        self.bytes = 0
        self.bodies: list[bytes] = []
        self.finished = False
        self._consumer = consumer
        self._ready = ready
        self._buffer = bytearray()
        self._due = 0
        self._taken = 0
        self._committed = 0

    @property
    def pending(self) -> int:
        return self.frames - self._taken

    @property
    def mid_frame(self) -> bool:
        return bool(self._buffer) and not self.finished

    @property
    def done(self) -> bool:
        return (self.finished or self.fault != 0) and self.pending == 0

    def receive(self, data: bytes, now_unix_ns: int) -> bytes:
        if self._consumer.error is not None:
            raise self._consumer.error
        assert not self.finished, "bytes after the end"
        assert not self.fault, "bytes after a fault"
        assert now_unix_ns > 0
        self.bytes += len(data)
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if not 1 <= size <= self._consumer.frame_bytes_max:
                self.fault = CloseCode.FRAME_TOO_LARGE
                self._buffer.clear()
                break
            if len(self._buffer) < 4 + size:
                break
            self.bodies.append(bytes(self._buffer[4 : 4 + size]))
            del self._buffer[: 4 + size]
            self.frames += 1
            if self.pending > self._consumer.credit:
                self.fault = CloseCode.CREDIT_EXCEEDED
                break
        if self._consumer.immediate:
            self._committed = self.frames
            return self.replies()
        return b""

    def replies(self) -> bytes:
        numbers = range(self._taken + 1, self._committed + 1)
        self._taken = self._committed
        return b"".join(reply(number, self._consumer.reply_bytes) for number in numbers)

    def finish(self) -> None:
        self.finished = True
        self._buffer.clear()

    def commit(self) -> None:
        """Everything received is stored: its replies are due."""
        if self._committed < self.frames:
            self._committed = self.frames
            self._ready()


class FakeConsumer:
    """Remembers every conversation; replies at once when `immediate`, else at `commit`."""

    def __init__(
        self, *, immediate: bool = True, credit: int = 8, frame_bytes_max: int = 1024 * 1024, reply_bytes: int = 8
    ) -> None:
        self.ids = count(1)
        self.conversations: list[FakeConversation] = []
        self.immediate = immediate
        self.credit = credit
        self.frame_bytes_max = frame_bytes_max
        self.reply_bytes = reply_bytes
        self.error: Exception | None = None
        """Raised by the next `receive`s, while it is set."""

    def conversation(self, identity: str, node: str, *, relay: bool, ready: Callable[[], None]) -> FakeConversation:
        conversation = FakeConversation(self, identity, node, ready, relay=relay)
        self.conversations.append(conversation)
        return conversation

    def commit(self) -> None:
        """Commits everything that was received on any stream."""
        for conversation in self.conversations:
            conversation.commit()


def frame(body: bytes) -> bytes:
    """A body with its length prefix."""
    return len(body).to_bytes(4, "big") + body


def reply(number: int, size: int = 8) -> bytes:
    """What a stream's conversation answers to its frame of this number."""
    return frame(number.to_bytes(8, "big").ljust(size, b"."))
