"""Which batch goes next, and what its answer means. Without I/O and clock; outlives every connection.

A batch is in one of four states: not sent yet, on its way (a session has it), to be sent again, and answered. The
first three keep it in the outbox under its name; only an answer or a full outbox takes it out. Halves have names of
their own, so a batch is split when it is certain that it is not stored as a whole: it was never sent, or the collector
says so, refusing it or being asked.

    put ─► fresh ─► on its way ─► answered (STORED, PARTIAL, DUPLICATE, REJECTED)
                     ▲      │
                     └──────┴─ lost with its connection, RETRY_LATER, UNKNOWN_SERIES
    too large: never sent, or not stored ─► two halves, fresh
               sent, and never answered ─► asked about ─► answered (DUPLICATE), or not stored

What waits when a connection begins is the backlog, what is put later is live. Live goes first; the backlog has a share
of the window, oldest first, so that new metrics are as fresh after an outage as before.
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

SPLIT_RETRY_SECS = 1.0
"""How long a batch waits that the spool could not split."""

READ_RETRY_SECS = 1.0
"""How long sending pauses when the spool could not read the batch whose turn it is."""


@dataclass(slots=True)
class _Attempt:
    first_sent: float
    unknown_series: int = 0
    lost: bool = False
    """A copy of it got no answer: a collector may still come to read it."""


class _Lane:
    """The sequences above one and below another, lowest first: those to send again, then those not taken yet."""

    def __init__(self, outbox: Outbox, *, above: int, below: int | None = None) -> None:
        self._outbox = outbox
        self._cursor = above  # the highest sequence taken for the first time
        self._below = below
        self._again: list[int] = []  # a heap

    @property
    def waiting(self) -> bool:
        return bool(self._again) or self._fresh() is not None

    def again(self, sequence: int) -> None:
        if sequence <= self._cursor or (self._below is not None and sequence >= self._below):
            heapq.heappush(self._again, sequence)  # another comes by itself when its turn is

    def take(self) -> int | None:
        while self._again:
            sequence = heapq.heappop(self._again)
            if self._outbox.points_of(sequence) is not None:
                return sequence
        fresh = self._fresh()
        if fresh is not None:
            self._cursor = fresh
        return fresh

    def _fresh(self) -> int | None:
        fresh = self._outbox.next_after(self._cursor)
        return None if fresh is None or (self._below is not None and fresh >= self._below) else fresh


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
        self._frame_bytes_max = self._point_bytes_max = settings.frame_bytes_max
        self._points_max: int | None = None  # of a batch, as far as this collector has said
        self._boundary = 0  # lower sequences are the backlog
        self._backlog = _Lane(outbox, above=0, below=0)
        self._live = _Lane(outbox, above=0)
        self._live_run = 0  # live batches taken since the backlog last had its turn
        self._backlog_inflight: set[int] = set()
        self._aged: set[int] = set()  # halves of the backlog's batches: as old as those, whatever their sequences say
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

    def fits(self, frame_bytes: int, points: int) -> bool:
        """Whether a frame of so many bytes, without its prefix, is sent. One with a single point is, unless refused."""
        return frame_bytes <= (self._frame_bytes_max if points > 1 else self._point_bytes_max)

    def put(self, batch: Batch) -> int:
        """Takes a batch to deliver; returns its sequence."""
        self._tally.points_offered += batch.points
        return self._outbox.put(batch)

    def dropped(self, sequence: int, points: int, reason: str) -> None:
        """The outbox has given a batch up."""
        sent = self._may_be_sent(sequence)
        self._forget(sequence)
        self._drop(reason, points, sequence, sent=sent)

    def connected(self) -> None:
        """A connection begins, with nothing on its way: all that waits is the backlog now."""
        self._boundary = self._outbox.next_sequence
        self._backlog = _Lane(self._outbox, above=0, below=self._boundary)
        self._live = _Lane(self._outbox, above=self._boundary - 1)
        self._backlog_inflight.clear()
        self._aged.clear()
        self._delayed.clear()
        self._points_max = None

    def next(self, now: float, window: int) -> tuple[int, Batch | None] | None:
        """The batch to send now, with its sequence; it then is on its way. `window` is how many may be so in all.

        Instead of a batch None: the collector is to be asked whether it has it.
        """
        if now < self._paused_until:
            return None
        while self._delayed and self._delayed[0][0] <= now:
            _, sequence = heapq.heappop(self._delayed)
            self._lane(sequence).again(sequence)
        while (taken := self._take(window)) is not None:
            sequence, lane = taken
            if lane is not self._lane(sequence):
                self._lane(sequence).again(sequence)
                continue
            points = self._outbox.points_of(sequence)
            asks = False
            if points is not None and self._points_max is not None and points > self._points_max:
                asks = self.too_large(sequence, now)
                if not asks:
                    continue
            batch = None if asks else self._outbox.batch(sequence)
            if asks or batch is not None:
                if lane is self._backlog:
                    self._backlog_inflight.add(sequence)
                return sequence, batch
            if self._outbox.points_of(sequence) is not None:
                # The disk fails to read it now, and would fail for the next one: asking for each would give all up.
                lane.again(sequence)
                self._paused_until = max(self._paused_until, now + READ_RETRY_SECS)
                return None
        return None

    def next_due(self, window: int) -> float | None:
        """When `next` may have something again that it has not now; None: not before the next `put` or answer."""
        if self._live.waiting or self._backlog_may_go(window):
            return self._paused_until
        return max(self._delayed[0][0], self._paused_until) if self._delayed else None

    def _backlog_may_go(self, window: int) -> bool:
        room = max(1, int(window * self._settings.backlog_share))
        return len(self._backlog_inflight) < room and self._backlog.waiting

    def _take(self, window: int) -> tuple[int, _Lane] | None:
        lane = self._live
        if self._backlog_may_go(window):
            # Live batches that would fill the window alone leave the backlog its share all the same.
            if self._live.waiting and self._live_run < max(1.0, 1 / self._settings.backlog_share - 1):
                self._live_run += 1
            else:
                self._live_run = 0
                lane = self._backlog
        sequence = lane.take()
        return None if sequence is None else (sequence, lane)

    def _lane(self, sequence: int) -> _Lane:
        return self._backlog if sequence < self._boundary or sequence in self._aged else self._live

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
        """The batch has to be sent again under its name: it was not taken, or could not be sent."""
        self._backlog_inflight.discard(sequence)
        if self._outbox.points_of(sequence) is not None:
            self._lane(sequence).again(sequence)

    def lost(self, sequence: int) -> None:
        """The batch is without an answer, and its stream or connection gone."""
        attempt = self._attempts.get(sequence)
        if attempt is not None:
            attempt.lost = True
        self.again(sequence)

    def too_large(self, sequence: int, now: float) -> bool:
        """The batch must not be sent as it is. True: it may be stored, or come to be, so ask first. Else it is split.

        Sending it all the same would not tell: of a frame that is too large a collector reads not even the name.
        """
        if self._may_be_sent(sequence):
            return True
        self.not_stored(sequence, now)
        return False

    def not_stored(self, sequence: int, now: float) -> None:
        """The batch is too large, and certainly not stored: two halves take its place. A single point is dropped."""
        self._backlog_inflight.discard(sequence)
        points = self._outbox.points_of(sequence)
        if points is None:
            return
        if points < 2:
            self._outbox.abandon(sequence)
            self._on_shrink()
            return
        parts = self._outbox.split(sequence)
        if parts is None:  # the spool cannot write now
            heapq.heappush(self._delayed, (now + SPLIT_RETRY_SECS, sequence))
            return
        counted = sequence in self._counted or sequence in self._attempts
        if self._lane(sequence) is self._backlog:
            self._aged.update(parts)
        self._forget(sequence)
        if counted:
            self._counted.update(parts)
        self._tally.batches_split += 1

    def shrink_frames(self, frame_bytes: int) -> None:
        """The collector did not take a frame of this size: smaller ones from now on."""
        self._frame_bytes_max = min(self._frame_bytes_max, max(frame_bytes // 2, wire.FRAME_BYTES_MIN))
        self._point_bytes_max = min(self._point_bytes_max, max(frame_bytes - 1, wire.FRAME_BYTES_MIN))

    def answered(self, sequence: int, ack: Ack, now: float, *, opens: bool) -> bool:
        """Takes the answer to a batch that `opens` its stream, or to a later one. True when its streams must
        be forgotten: its series were unknown."""
        self._backlog_inflight.discard(sequence)
        points = self._outbox.points_of(sequence)
        if points is None:
            return False  # dropped meanwhile, and counted then
        self._tally.answers += 1
        # Never 0 from a collector of ours; a window of one says that it is behind.
        self._tally.answers_narrow += ack.credit <= 1 and ack.outcome != Outcome.RETRY_LATER
        match outcome := wire.outcome_of(ack.outcome):
            case Outcome.STORED:
                self._close(sequence, outcome, points, now)
                self._acknowledge(points)
            case Outcome.DUPLICATE:
                self._close(sequence, outcome, points, now)
                self._acknowledge(points)
                self._tally.batches_duplicate += 1
            case Outcome.PARTIAL:
                accepted = min(ack.accepted_points, points)
                self._close(sequence, outcome, accepted, now)
                self._acknowledge(accepted)
                self._refuse(ack, points - accepted)
            case Outcome.REJECTED:
                return self._rejected(sequence, points, ack, now, opens)
            case _:
                self._retry_later(sequence, ack, now)
        return False

    def _rejected(self, sequence: int, points: int, ack: Ack, now: float, opens: bool) -> bool:
        reasons = {reason for reason, _, _ in ack.rejections}
        if Reason.BATCH_TOO_LARGE in reasons:
            self._points_max = min(self._points_max or points, (points + 1) // 2)  # the larger half
            if points > 1 and self._may_come_late(sequence):
                self.again(sequence)  # now that it is too large, it is asked about when its turn comes
                return False
            self.not_stored(sequence, now)
            return False
        if Reason.WITHDRAWN in reasons:
            # It was asked about, and the halves that were to take its place did not come to be: a crash, a full disk.
            self.not_stored(sequence, now)
            return False
        if Reason.UNKNOWN_SERIES in reasons:
            attempt = self._attempts.setdefault(sequence, _Attempt(first_sent=now))
            # What came before it on its stream may have been lost with what it defined; one that opens it needs none.
            attempt.unknown_series += opens
            if attempt.unknown_series < self._settings.unknown_series_max:
                self.again(sequence)
                return True
        self._close(sequence, Outcome.REJECTED, 0, now)
        self._refuse(ack, points)
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
        attempt = self._attempts.get(sequence)
        self._forget(sequence)
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

    def _forget(self, sequence: int) -> None:
        self._attempts.pop(sequence, None)
        self._counted.discard(sequence)
        self._backlog_inflight.discard(sequence)
        self._aged.discard(sequence)

    def _may_be_sent(self, sequence: int) -> bool:
        """In this life, or in one before."""
        return sequence in self._attempts or sequence < self._outbox.inherited_below

    def _may_come_late(self, sequence: int) -> bool:
        """Whether the collector may still read a copy of a batch that is not on its way."""
        attempt = self._attempts.get(sequence)
        return (attempt is not None and attempt.lost) or sequence < self._outbox.inherited_below

    def _drop(self, reason: str, points: int, sequence: int = 0, batches: int = 1, *, sent: bool = False) -> None:
        self._tally.dropped[reason] += points
        self._tally.batches_dropped += batches
        self._on_event(events.Dropped(reason, points, self._outbox.epoch, sequence, sent))

    def heartbeat_refused(self, outcome: str, example: str) -> None:
        """The collector did not take a heartbeat; a newer one follows anyway."""
        self._tally.heartbeats_refused += 1
        self._on_event(events.HeartbeatRefused(outcome, example))

    def abandon(self) -> int:
        """Gives up everything without an answer; returns its points. For an outbox that ends with the process."""
        points, batches = 0, self._outbox.batches
        while (sequence := self._outbox.oldest) is not None:
            points += self._outbox.points_of(sequence) or 0
            self._outbox.acknowledge(sequence)
            self._attempts.pop(sequence, None)
        self._counted.clear()
        if points:
            self._drop("stopped", points, batches=batches)
            self._on_shrink()
        return points
