"""Which batch goes next, and what its answer means. Without I/O and clock; outlives every connection.

A batch is in one of four states: not sent yet, on its way (a session has it), to be sent again, and answered. The
first three keep it in the outbox under its name; only an answer or a full outbox takes it out.

    put ─► fresh ─► on its way ─► answered (STORED, PARTIAL, DUPLICATE, REJECTED)
                     ▲      │
                     └──────┴─ lost with its connection, RETRY_LATER, UNKNOWN_SERIES
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from telemetry_collector._core import Ack, Batch
from telemetry_collector.model import Outcome, Reason
from telemetry_collector.sender import events, wire
from telemetry_collector.sender.outbox import Outbox
from telemetry_collector.sender.settings import DeliverySettings
from telemetry_collector.sender.stats import Tally


@dataclass(slots=True)
class _Attempt:
    first_sent: float
    unknown_series: int = 0


class Delivery:
    """The queue of a sender. `now` is seconds on any clock that only goes forward, the same for all calls."""

    def __init__(
        self,
        outbox: Outbox,
        settings: DeliverySettings,
        *,
        random: Random,
        tally: Tally,
        on_event: events.OnEvent = events.ignore,
        on_shrink: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_shrink` is called whenever the outbox has become smaller, but for `dropped`, which it knows of itself."""
        self._outbox = outbox
        self._settings = settings
        self._random = random
        self._tally = tally
        self._on_event = on_event
        self._on_shrink = on_shrink
        self._frame_bytes_max = settings.frame_bytes_max
        self._cursor = 0  # the highest sequence taken for the first time
        self._again: list[int] = []  # a heap of sequences to send again at once
        self._delayed: list[tuple[float, int]] = []  # a heap of (due, sequence)
        self._paused_until = 0.0
        self._attempts: dict[int, _Attempt] = {}  # of batches sent at least once
        self._counted: set[int] = set()  # parts, not sent yet, of batches that were: their points count as sent

    @property
    def outbox(self) -> Outbox:
        return self._outbox

    @property
    def tally(self) -> Tally:
        return self._tally

    @property
    def empty(self) -> bool:
        """Everything is answered or abandoned."""
        return self._outbox.batches == 0

    @property
    def frame_bytes_max(self) -> int:
        """The largest frame to send, without its prefix."""
        return self._frame_bytes_max

    def put(self, batch: Batch) -> int:
        """Takes a batch to deliver; returns its sequence."""
        self._tally.points_offered += batch.points
        return self._outbox.put(batch)

    def dropped(self, sequence: int, points: int) -> None:
        """The outbox has given a batch up to make room."""
        self._attempts.pop(sequence, None)
        self._counted.discard(sequence)
        self._drop("outbox_full", points, sequence)

    def next(self, now: float) -> tuple[int, Batch] | None:
        """The batch to send now, with its sequence; it then is on its way. The lowest sequences go first."""
        if now < self._paused_until:
            return None
        while self._delayed and self._delayed[0][0] <= now:
            heapq.heappush(self._again, heapq.heappop(self._delayed)[1])
        while self._again:
            sequence = heapq.heappop(self._again)
            batch = self._outbox.batch(sequence)
            if batch is not None:
                return sequence, batch
        fresh = self._outbox.next_after(self._cursor)
        if fresh is None:
            return None
        self._cursor = fresh
        batch = self._outbox.batch(fresh)
        assert batch is not None, "the outbox has just named it"
        return fresh, batch

    def next_due(self) -> float | None:
        """When `next` may have something again that it has not now; None: not before the next `put` or answer."""
        waiting = bool(self._again) or self._outbox.next_after(self._cursor) is not None
        if waiting:
            return self._paused_until
        return max(self._delayed[0][0], self._paused_until) if self._delayed else None

    def sent(self, sequence: int, points: int, now: float) -> None:
        """A session has sent the batch."""
        if sequence in self._attempts:
            self._tally.batches_resent += 1
        else:
            self._attempts[sequence] = _Attempt(first_sent=now)
            self._tally.batches_sent += 1
            if sequence in self._counted:
                self._counted.remove(sequence)
            else:
                self._tally.points_sent += points

    def again(self, sequence: int) -> None:
        """The batch has to be sent again under its name: its stream or connection is gone, or it could not be sent."""
        if self._outbox.batch(sequence) is not None:
            heapq.heappush(self._again, sequence)

    def split(self, sequence: int) -> None:
        """The batch is too large: two halves take its place. A single point that is too large is dropped."""
        batch = self._outbox.batch(sequence)
        if batch is None:
            return
        counted = sequence in self._counted or sequence in self._attempts
        self._counted.discard(sequence)
        self._attempts.pop(sequence, None)
        if batch.points < 2:
            self._outbox.acknowledge(sequence)
            self._drop("too_large", batch.points, sequence)
            self._on_shrink()
        else:
            parts = self._outbox.replace(sequence, batch.split())
            if counted:
                self._counted.update(parts)
            self._tally.batches_split += 1

    def shrink_frames(self, frame_bytes: int) -> None:
        """The collector did not take a frame of this size: smaller ones from now on."""
        self._frame_bytes_max = min(self._frame_bytes_max, max(frame_bytes // 2, 1))

    def answered(self, sequence: int, ack: Ack, now: float) -> bool:
        """Takes the collector's answer. True when the batch's streams must be forgotten: its series were unknown."""
        batch = self._outbox.batch(sequence)
        if batch is None:
            return False  # dropped meanwhile, and counted then
        match outcome := wire.outcome_of(ack.outcome):
            case Outcome.STORED:
                self._close(sequence, outcome, batch.points, now)
                self._acknowledge(batch.points)
            case Outcome.DUPLICATE:
                self._close(sequence, outcome, batch.points, now)
                self._acknowledge(batch.points)
                self._tally.batches_duplicate += 1
            case Outcome.PARTIAL:
                accepted = min(ack.accepted_points, batch.points)
                self._close(sequence, outcome, accepted, now)
                self._acknowledge(accepted)
                self._refuse(ack, batch.points - accepted)
            case Outcome.REJECTED:
                return self._rejected(sequence, batch, ack, now)
            case _:
                self._retry_later(sequence, ack, now)
        return False

    def _rejected(self, sequence: int, batch: Batch, ack: Ack, now: float) -> bool:
        reasons = {reason for reason, _, _ in ack.rejections}
        if Reason.BATCH_TOO_LARGE in reasons:
            self.split(sequence)
            return False
        if Reason.UNKNOWN_SERIES in reasons:
            attempt = self._attempts.setdefault(sequence, _Attempt(first_sent=now))
            attempt.unknown_series += 1
            if attempt.unknown_series < self._settings.unknown_series_max:
                self.again(sequence)
                return True
        self._close(sequence, Outcome.REJECTED, 0, now)
        self._refuse(ack, batch.points)
        return Reason.UNKNOWN_SERIES in reasons

    def _retry_later(self, sequence: int, ack: Ack, now: float) -> None:
        asked = ack.retry_after_ms / 1_000 if ack.outcome == Outcome.RETRY_LATER else 0.0
        wait = min(asked or wire.RETRY_AFTER_DEFAULT_SECS, self._settings.retry_after_max_secs)
        # The collector pauses an agent this way, so nothing new is sent meanwhile either.
        self._paused_until = max(self._paused_until, now + wait)
        heapq.heappush(self._delayed, (now + wait * self._random.uniform(1.0, 1.25), sequence))
        self._tally.batches_retried += 1

    def _close(self, sequence: int, outcome: Outcome, accepted_points: int, now: float) -> None:
        self._outbox.acknowledge(sequence)
        attempt = self._attempts.pop(sequence, None)
        if attempt is not None:
            self._tally.ack_latency.record(now - attempt.first_sent)
        self._on_event(events.Answered(self._outbox.epoch, sequence, outcome, accepted_points))
        self._on_shrink()

    def _acknowledge(self, points: int) -> None:
        self._tally.points_acknowledged += points
        self._tally.batches_acknowledged += 1

    def _refuse(self, ack: Ack, points: int) -> None:
        """Counts refused points by reason; a collector whose reasons do not add up leaves the rest unspecified."""
        for number, refused, example in ack.rejections:
            # A malformed batch carries no counts: all its points are meant.
            counted = min(refused, points) if refused or ack.rejected_points else points
            points -= counted
            if counted:
                self._tally.refused[wire.reason_label(number)] += counted
                self._on_event(events.Refused(wire.reason_label(number), counted, example))
        if points:
            self._tally.refused[wire.reason_label(Reason.UNSPECIFIED)] += points
            self._on_event(events.Refused(wire.reason_label(Reason.UNSPECIFIED), points, ""))

    def _drop(self, reason: str, points: int, sequence: int = 0) -> None:
        self._tally.dropped[reason] += points
        self._on_event(events.Dropped(reason, points, self._outbox.epoch, sequence))

    def heartbeat_refused(self, outcome: str, example: str) -> None:
        """The collector did not take a heartbeat; a newer one follows anyway."""
        self._tally.heartbeats_refused += 1
        self._on_event(events.HeartbeatRefused(outcome, example))

    def abandon(self) -> int:
        """Gives up everything without an answer; returns its points. For an outbox that ends with the process."""
        points = 0
        while (sequence := self._outbox.oldest) is not None:
            batch = self._outbox.batch(sequence)
            points += batch.points if batch is not None else 0
            self._outbox.acknowledge(sequence)
            self._attempts.pop(sequence, None)
        self._counted.clear()
        if points:
            self._drop("stopped", points)
            self._on_shrink()
        return points
