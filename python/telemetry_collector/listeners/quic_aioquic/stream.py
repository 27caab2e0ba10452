"""One stream of an agent: its bytes go to a conversation, the conversation's replies go back.

    peer ─► held ─► conversation ─► reply buffer ─► peer
            (window)                 (REPLY_BYTES_MAX)

Replies are taken from the conversation only while none wait to be sent, and bytes are fed to it only while few do. An
agent that does not read its replies is therefore either over its credit, which the conversation notices, or runs into
the end of its window; after `Deadlines.replies` it is disconnected.
"""

from __future__ import annotations

from collections import deque

from telemetry_collector.component import Conversation
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic.transport import Transport
from telemetry_collector.listeners.settings import Deadlines
from telemetry_collector.model import CloseCode

REPLY_BYTES_MAX = 64 * 1024
"""With more reply bytes waiting to be sent, no more is fed to the conversation."""

FEED_BYTES_MAX = 256 * 1024
"""Bytes fed to the conversation at a time: one call for what many datagrams brought, and a bound on what it answers."""


class AgentStream:
    """A bidirectional stream that an agent opened."""

    def __init__(
        self,
        stream_id: int,
        transport: Transport,
        conversation: Conversation,
        deadlines: Deadlines,
        events: ListenerEvents,
    ) -> None:
        self.stream_id = stream_id
        self.failed: CloseCode | None = None
        """With what the stream was ended before its time; whoever reports it sets it back."""
        self.frames = 0
        """Whole frames received."""
        self._transport = transport
        self._conversation: Conversation | None = conversation
        self._deadlines = deadlines
        self._events = events
        self._held: deque[bytes] = deque()
        self._peer_finished = False
        self._finish_told = False
        self._frame_due: float | None = None
        # When the replies written up to this offset must have been sent.
        self._replies_due: float | None = None
        self._replies_end = 0

    @property
    def over(self) -> bool:
        """Our side is finished: nothing is read or answered any more."""
        return self._conversation is None

    @property
    def settled(self) -> bool:
        """Every batch that was handed over is answered and the answer is sent."""
        answered = self._conversation is None or self._conversation.pending == 0
        return answered and self._transport.unsent(self.stream_id) == 0

    @property
    def deadline(self) -> float | None:
        """When `expired` will have something to say."""
        dues = [due for due in (self._frame_due, self._replies_due) if due is not None]
        return min(dues, default=None)

    def take(self, data: bytes, *, finished: bool) -> None:
        """The stream's next bytes arrived. They wait for `advance`."""
        if self._conversation is None or self._conversation.fault:
            return
        self._peer_finished = self._peer_finished or finished
        if data:
            self._held.append(data)
            unread = self._transport.unread
            unread[self.stream_id] = unread.get(self.stream_id, 0) + len(data)

    def advance(self, now: float, unix_ns: int, *, reading: bool) -> CloseCode | None:
        """Feeds the conversation and sends what it answers. Returns the code that must close the connection, if any."""
        conversation = self._conversation
        if conversation is None:
            return None
        while reading and self._held and self._transport.unsent(self.stream_id) <= REPLY_BYTES_MAX:
            self._feed(conversation, now, unix_ns)
            if conversation.fault == CloseCode.FRAME_TOO_LARGE:
                self._stop_reading(CloseCode.FRAME_TOO_LARGE)
            elif conversation.fault:
                return CloseCode(conversation.fault)
        if self._peer_finished and not self._held and not self._finish_told:
            self._finish_told = True
            self._frame_due = None
            conversation.finish()
        if self._transport.unsent(self.stream_id) == 0:
            self._send(conversation.replies())
        if conversation.done:
            self._transport.send_stream_data(self.stream_id, b"", end_stream=True)
            self._let_go()
        return None

    def transmitted(self, now: float) -> None:
        """Datagrams were just made: whatever of the replies is left waits for the peer, and not for ever."""
        unsent = self._transport.unsent(self.stream_id)
        if unsent == 0:
            self._replies_due = None
        elif self._replies_due is None or self._transport.written(self.stream_id) - unsent >= self._replies_end:
            # The first to wait, or those that waited were sent and others wait now. A trickle does not reset it.
            self._replies_due = now + self._deadlines.replies
            self._replies_end = self._transport.written(self.stream_id)

    def expired(self, now: float) -> CloseCode | None:
        """Ends the stream when its frame took too long; returns what the connection must be closed with, if it must."""
        if self._replies_due is not None and self._replies_due <= now:
            return CloseCode.TIMED_OUT
        if self._frame_due is not None and self._frame_due <= now:
            self.end(CloseCode.TIMED_OUT)
        return None

    def end(self, code: CloseCode) -> None:
        """Ends the stream both ways at once; replies that were not sent are lost."""
        if self._conversation is None:
            return
        self._transport.reset_stream(self.stream_id, code)
        self._transport.refuse_stream(self.stream_id, code)
        self.failed = code
        self._conversation.finish()
        self._let_go()

    def _feed(self, conversation: Conversation, now: float, unix_ns: int) -> None:
        data = self._next_bytes()
        frames = conversation.frames
        self._send(conversation.receive(data, unix_ns))
        completed = conversation.frames - frames
        self.frames += completed
        self._events.stream_received(len(data), completed)
        if not conversation.mid_frame:
            self._frame_due = None
        elif completed or self._frame_due is None:
            self._frame_due = now + self._deadlines.frame

    def _next_bytes(self) -> bytes:
        chunks = [self._held.popleft()]
        size = len(chunks[0])
        while self._held and size + len(self._held[0]) <= FEED_BYTES_MAX:
            chunks.append(self._held.popleft())
            size += len(chunks[-1])
        self._transport.unread[self.stream_id] -= size
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _send(self, replies: bytes) -> None:
        if replies:
            self._transport.send_stream_data(self.stream_id, replies)

    def _stop_reading(self, code: CloseCode) -> None:
        self.failed = code
        self._held.clear()
        self._frame_due = None
        self._transport.refuse_stream(self.stream_id, code)

    def _let_go(self) -> None:
        # What the conversation holds, its definitions above all, must not live as long as a peer keeps the stream.
        self._conversation = None
        self._held.clear()
        self._transport.unread.pop(self.stream_id, None)
        self._frame_due = None
