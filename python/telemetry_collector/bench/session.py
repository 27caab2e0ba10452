"""What one connection of a load sends, and when: without I/O and clock, as an agent's session is."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

from telemetry_collector._core import Ack, AckReader, CoreError, FrameEncoder
from telemetry_collector.bench.frames import Lane
from telemetry_collector.bench.load import Counters, LaneAnswers
from telemetry_collector.bench.plan import Plan
from telemetry_collector.model import Outcome
from telemetry_collector.sender import wire
from telemetry_collector.sender.session import ProtocolViolation, Transmission

REPLY_SECS_MAX: Final = 60.0
"""A connection without a reply for so long is given up: longer than an agent waits, since a flood takes its time."""
KEEPALIVE_SECS: Final = 15.0
"""After so long without a batch a frame without points is sent, as agents do, so that neither side gives up."""
_ROUNDING_SECS: Final = 1e-6
_GREETING: Final = (1 << 63) - 1
"""A sequence that no batch comes to."""


class Schedule:
    """When the batches of one connection are due: at even intervals, or whenever there is room for one."""

    def __init__(self, interval_secs: float | None, offset_secs: float) -> None:
        """None for as many as there is room for; `offset_secs` is this connection's own place in the interval."""
        self._interval_secs = interval_secs
        self._offset_secs = offset_secs
        self._began = 0.0
        self._taken = 0
        self._next_at: float | None = None
        self._until = 0.0

    def start(self, now: float, seconds: float) -> None:
        """From now on, for so long."""
        self._began = self._next_at = now + self._offset_secs
        # What adding up makes of the last moment must not decide whether it is the first one after the end.
        self._until = now + seconds - _ROUNDING_SECS

    @property
    def next_at(self) -> float | None:
        """When the next one is due; None when there is none, or no moment to wait for."""
        if self._interval_secs is None or self._next_at is None or self._next_at >= self._until:
            return None
        return self._next_at

    @property
    def paced(self) -> bool:
        """Whether there are moments at which batches are due."""
        return self._interval_secs is not None

    def over(self, now: float) -> bool:
        """Whether no batch will be due any more. At a rate those that were due in time still are, however late."""
        if self._next_at is None:
            return True
        return now >= self._until if self._interval_secs is None else self._next_at >= self._until

    def take(self, now: float) -> float | None:
        """When the next batch was due, if it is."""
        due = self._next_at
        if due is None or now < due or self.over(now):
            return None
        if self._interval_secs is None:
            return now
        self._taken += 1
        self._next_at = self._began + self._taken * self._interval_secs
        return due


class _Stream:
    """A lane at work."""

    def __init__(self, lane: Lane, window: int) -> None:
        self.lane = lane
        self.reader = AckReader()
        self.window = min(wire.CREDIT_INITIAL, window)
        self.unanswered: deque[int] = deque()
        self.due: dict[int, float] = {}
        """Of every sequence that has no final answer."""
        self.again: deque[tuple[float, int]] = deque()
        """When a batch that was put off is to be sent again."""
        self.sent = 0
        self.exceptions: dict[int, int] = {}

    @property
    def has_room(self) -> bool:
        return len(self.unanswered) < self.window

    @property
    def oldest(self) -> int:
        return next(iter(self.due), self.sent + 1)


@final
class LoadSession:
    """One connection's part; a connection of the sender carries it as it does an agent's session."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        plan: Plan,
        schedule: Schedule,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is the event loop's, but finer: uvloop tells whole milliseconds."""
        self.good = False
        self.finished = False
        self.schedule = schedule
        self.latencies_secs = array("d")
        self._window_max = max(plan.window // len(lanes), 1)
        self._streams = [_Stream(lane, self._window_max) for lane in lanes]
        self._counters = counters
        self._greeted = False
        self._clock = clock
        self._turn = 0
        self._heard_at: float | None = None
        """While answers are due: when the last one came, or the first of what they answer was sent."""
        self._sent_at = 0.0

    @property
    def outstanding(self) -> int:
        """Batches without a final answer."""
        return sum(len(stream.due) for stream in self._streams)

    def done(self, now: float) -> bool:
        """Nothing is to be sent any more, and everything is answered."""
        return self.schedule.over(now) and not self.outstanding

    def answers(self) -> Iterator[LaneAnswers]:
        """What each lane was told."""
        for stream in self._streams:
            yield LaneAnswers(stream.sent, stream.exceptions, frozenset(stream.due))

    # ---- what a connection asks of its session

    def poll(self, now: float) -> list[Transmission]:
        """Everything that may be sent now."""
        if not self._greeted:
            # Epoch 0 gives no name, and nothing is kept of a batch without points: the answer shows we were let in.
            # aioquic wants streams to be opened in order, so all are.
            self._greeted = True
            self._heard_at = self._sent_at = now
            return [self._greeting(stream) for stream in self._streams]
        if not self.good:
            return []
        out: list[Transmission] = []
        for stream in self._streams:
            while stream.again and stream.again[0][0] <= now and stream.has_room:
                self._send(stream, stream.again.popleft()[1], out)
        while (free := self._next_with_room()) is not None and (due := self.schedule.take(now)) is not None:
            free.sent += 1
            free.due[free.sent] = due if self.schedule.paced else self._clock()
            frame_bytes = self._send(free, free.sent, out)
            self._counters.batches_sent += 1
            self._counters.points_sent += free.lane.prepared(free.sent).content.points
            self._counters.frame_bytes_sent += frame_bytes
        if not out and now - self._sent_at >= KEEPALIVE_SECS and self._heard_at is None:
            out.append(self._greeting(self._streams[0]))
        if out:
            self._sent_at = now
            self._heard_at = now if self._heard_at is None else self._heard_at
        return out

    def deadline(self) -> float:
        """When there is something to send although nothing happened, or the connection is to be given up."""
        moments = [stream.again[0][0] for stream in self._streams if stream.again and stream.has_room]
        if self.good and self.schedule.next_at is not None and any(stream.has_room for stream in self._streams):
            moments.append(self.schedule.next_at)
        if self._heard_at is not None:
            moments.append(self._heard_at + REPLY_SECS_MAX)
        else:
            moments.append(self._sent_at + KEEPALIVE_SECS)
        return min(moments)

    def expired(self, now: float) -> bool:
        """Whether answers are due and none has come for too long."""
        return self._heard_at is not None and now - self._heard_at >= REPLY_SECS_MAX

    def receive(self, number: int, data: bytes, now: float) -> None:
        """Takes the next bytes of a stream."""
        try:
            acks = self._streams[number].reader.feed(data)
        except CoreError as error:
            raise ProtocolViolation(f"the collector sent bytes that are no replies: {error}") from error
        for ack in acks:
            self._reply(self._streams[number], ack, self._clock())
            self.good = True
        waiting = any(stream.unanswered for stream in self._streams)
        self._heard_at = now if waiting else None

    def stopped(self, number: int, code: int, now: float) -> None:
        """The collector wants no more of a stream: not of a load that keeps its limits."""
        del now
        raise ProtocolViolation(f"the collector stopped reading stream {number}: {wire.close_label(code)}")

    def ended(self, number: int, now: float) -> None:
        """The collector has finished a stream: it is stopping, and closes the connection next."""

    # ---- private

    @staticmethod
    def _greeting(stream: _Stream) -> Transmission:
        stream.unanswered.append(_GREETING)
        frame = FrameEncoder().frame(None, sequence=_GREETING, epoch=0)
        return Transmission(stream.lane.stream, frame, finish=False)

    def _next_with_room(self) -> _Stream | None:
        for _ in self._streams:
            stream = self._streams[self._turn % len(self._streams)]
            self._turn += 1
            if stream.has_room:
                return stream
        return None

    def _send(self, stream: _Stream, sequence: int, out: list[Transmission]) -> int:
        frame = stream.lane.frame(sequence, stream.oldest)
        stream.unanswered.append(sequence)
        out.append(Transmission(stream.lane.stream, frame, finish=False))
        return len(frame)

    def _reply(self, stream: _Stream, ack: Ack, now: float) -> None:
        if not stream.unanswered or ack.sequence != stream.unanswered[0]:
            raise ProtocolViolation(f"a reply to sequence {ack.sequence} that was not due")
        sequence = stream.unanswered.popleft()
        stream.window = min(max(ack.credit, 1), self._window_max)
        if sequence == _GREETING:
            return
        counters, points = self._counters, stream.lane.prepared(sequence).content.points
        outcome = wire.outcome_of(ack.outcome)
        if outcome is Outcome.RETRY_LATER:
            counters.batches_retried += 1
            stream.again.append((now + (ack.retry_after_ms / 1e3 or wire.RETRY_AFTER_DEFAULT_SECS), sequence))
            return
        self.latencies_secs.append(now - stream.due.pop(sequence))
        stored = points if outcome is Outcome.DUPLICATE else ack.accepted_points
        counters.points_acknowledged += stored
        counters.batches_acknowledged += stored > 0
        if stored != points:
            stream.exceptions[sequence] = stored
            counters.points_refused += points - stored
            for reason, _, _ in ack.rejections:
                label = wire.reason_label(reason)
                counters.refusals[label] = counters.refusals.get(label, 0) + 1
