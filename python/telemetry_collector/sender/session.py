"""The client's half of one connection: streams, credit, frames and replies. Without I/O and clock.

    poll(now)      ─► what to put on which stream            (call after everything below, and at `deadline()`)
    receive(...)   ◄─ what a stream brought
    ended(...)     ◄─ a stream that brings nothing more

Streams are numbered 0, 1, 2, … in the order of their opening. Invariants: at most `streams_max` streams are open; no
stream has more frames unanswered than its last credit; replies match the frames of their stream in order; whatever is
unanswered when a stream or the connection ends goes back to the delivery.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

from telemetry_collector._core import Ack, AckReader, Batch, CoreError, EncodeError, FrameEncoder, Heartbeat
from telemetry_collector.model import CloseCode, Outcome
from telemetry_collector.sender import wire
from telemetry_collector.sender.delivery import Delivery
from telemetry_collector.sender.settings import DeliverySettings, Form


class ProtocolViolation(Exception):
    """The collector broke the contract; the connection is of no use any more."""


class Transmission(NamedTuple):
    """Bytes to put on a stream."""

    stream: int
    data: bytes
    finish: bool
    """This is the stream's last."""


class _Name(TypedDict):
    sequence: int
    epoch: int
    oldest_unacknowledged: int


@dataclass(slots=True)
class _Sent:
    """A frame without its reply."""

    sequence: int
    frame_bytes: int
    named: bool
    """A batch of the outbox, rather than a heartbeat or a probe."""
    heartbeat: bool = False
    dense: bool = False
    """A collector that does not know the dense form finds it malformed."""
    asks: bool = False
    """Not the batch, but the question whether it is stored."""
    opens: bool = False
    """The first of its stream, which needs nothing that came before it."""


@dataclass(slots=True)
class _Stream:
    number: int
    encoder: FrameEncoder
    form: Form
    reader: AckReader = field(default_factory=AckReader)
    credit: int = wire.CREDIT_INITIAL
    unanswered: deque[_Sent] = field(default_factory=deque)
    used: bool = False
    """A frame was sent."""
    encoded: bool = False
    """A batch was sent."""
    retiring: bool = False
    """Takes no new frames; finished once everything is answered."""
    finished: bool = False
    """Our side is finished."""
    refused_frame: bool = False
    """The collector reads no further because a frame was too large."""

    @property
    def has_room(self) -> bool:
        return not self.retiring and len(self.unanswered) < self.credit


class Session:
    """One connection to a collector. It sends a probe first, and batches once that is answered and `active` is set."""

    def __init__(self, delivery: Delivery, settings: DeliverySettings, now: float) -> None:
        self._delivery = delivery
        self._settings = settings
        self._streams: dict[int, _Stream] = {}
        self._next_number = 0
        self._form = settings.form
        self._doubted: int | None = None  # the batch for whose sake the form is plain, until its plain copy is answered
        self._nameless = 0  # sequence of the last frame without a name
        self._probe_due = True
        self._heartbeat: Heartbeat | None = None
        self._inflight_bytes = 0
        self._waiting_since: float | None = None  # a reply, or the end of a stream that we finished, is due
        self._sent_at = now
        self._finishing = False
        self._farewells: list[int] = []  # streams that the collector has ended and we have still to finish
        self.active = False
        """Whether batches are sent; probes and heartbeats always are."""
        self.good = False
        """The first reply has arrived."""

    @property
    def unanswered(self) -> int:
        """Frames without a reply."""
        return sum(len(stream.unanswered) for stream in self._streams.values())

    @property
    def finished(self) -> bool:
        """`finish` was called, and every stream has ended."""
        return self._finishing and not self._streams

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Sends the worker's state with the next frame; a newer one takes the place of one not sent yet."""
        self._heartbeat = heartbeat

    def finish(self) -> None:
        """Takes no more from the delivery; streams finish when their replies have arrived."""
        self.active = False
        self._finishing = True
        for stream in self._streams.values():
            stream.retiring = True

    def poll(self, now: float) -> list[Transmission]:
        """Everything that may be sent now."""
        out = [Transmission(number, b"", finish=True) for number in self._farewells]
        self._farewells.clear()
        if not self._finishing:
            self._poll_nameless(out, now)
            if self.active and self.good:
                self._poll_batches(out, now)
        for stream in list(self._streams.values()):
            if stream.retiring and not stream.finished and not stream.unanswered:
                stream.finished = True
                if stream.used:
                    out.append(Transmission(stream.number, b"", finish=True))
                    self._waits(now)
                else:
                    del self._streams[stream.number]  # the collector has never heard of it
        return out

    def deadline(self) -> float | None:
        """When `poll` should be called although nothing happened, or `expired` becomes true."""
        moments = []
        if self._waiting_since is not None:
            moments.append(self._waiting_since + self._settings.reply_timeout_secs)
        elif not self._finishing:
            moments.append(self._sent_at + self._settings.keepalive_secs)
        if self.active and self.good and self._can_send():
            due = self._delivery.next_due(self._window)
            if due is not None:
                moments.append(due)
        return min(moments, default=None)

    def expired(self, now: float) -> bool:
        """Replies or the end of a stream are due and nothing has come for too long: give the connection up."""
        return self._waiting_since is not None and now - self._waiting_since >= self._settings.reply_timeout_secs

    def receive(self, number: int, data: bytes, now: float) -> None:
        """Takes the next bytes of a stream. Raises ProtocolViolation when they are not the replies due."""
        stream = self._streams.get(number)
        if stream is None:
            return
        try:
            acks = stream.reader.feed(data)
        except CoreError as error:
            raise ProtocolViolation(f"the collector sent bytes that are no replies: {error}") from error
        for ack in acks:
            self._reply(stream, ack, now)

    def stopped(self, number: int, code: int, now: float) -> None:
        """The collector reads this stream no further; the replies due still come."""
        stream = self._streams.get(number)
        if stream is not None:
            self._waits(now)
            stream.retiring = stream.finished = True
            stream.refused_frame = code == CloseCode.FRAME_TOO_LARGE

    def ended(self, number: int, now: float) -> None:
        """A stream brings nothing more, by its end or a reset."""
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        if stream.refused_frame and stream.unanswered:
            self._delivery.shrink_frames(stream.unanswered[0].frame_bytes - wire.FRAME_PREFIX_BYTES)
        if not stream.finished:
            self._farewells.append(number)
        self._give_back(stream)
        self._heard(now)

    def close(self) -> int:
        """The connection is over: everything unanswered goes back to the delivery. Returns how many frames."""
        unanswered = self.unanswered
        for stream in self._streams.values():
            self._give_back(stream)
        self._streams.clear()
        self._waiting_since = None
        self.active = False
        self._finishing = True
        return unanswered

    # ---- sending

    def _poll_nameless(self, out: list[Transmission], now: float) -> None:
        idle = self._waiting_since is None and now - self._sent_at >= self._settings.keepalive_secs
        if not (self._probe_due or self._heartbeat is not None or idle):
            return
        if not self.good and self.unanswered:
            return  # one probe is enough
        stream = self._stream_with_room()
        if stream is None:
            return  # every frame sent is a sign of life by itself; the heartbeat waits for room
        # Epoch 0 gives no name, so nothing is kept of it; a sequence makes the frame of a bare probe not empty.
        self._nameless += 1
        heartbeat, self._heartbeat, self._probe_due = self._heartbeat, None, False
        frame = stream.encoder.frame(None, sequence=self._nameless, epoch=0, heartbeat=heartbeat)
        self._delivery.tally.heartbeats_sent += heartbeat is not None
        self._transmit(
            out, stream, frame, _Sent(self._nameless, len(frame), named=False, heartbeat=heartbeat is not None), now
        )

    def _poll_batches(self, out: list[Transmission], now: float) -> None:
        while self._can_send():
            taken = self._delivery.next(now, self._window)
            if taken is None:
                return
            sequence, batch = taken
            stream = self._stream_with_room()
            assert stream is not None, "_can_send has just found it"
            if batch is None or not self._send(out, stream, sequence, batch, now):
                self._ask(out, stream, sequence, now)

    def _send(self, out: list[Transmission], stream: _Stream, sequence: int, batch: Batch, now: float) -> bool:
        """Sends a batch, or gives it back, whole or in halves. False when it can be neither sent nor split."""
        try:
            frame = stream.encoder.frame(batch, **self._name(sequence))
        except EncodeError:
            # The stream's definitions are used up: on a new stream it fits. If not even there, it is too large.
            if stream.used:
                stream.retiring = True
                self._delivery.again(sequence)
                return True
        else:
            if self._delivery.fits(len(frame) - wire.FRAME_PREFIX_BYTES, batch.points):
                self._delivery.sent(sequence, batch.points, now)
                sent = _Sent(sequence, len(frame), named=True, dense=stream.form == "dense", opens=not stream.encoded)
                stream.encoded = True
                self._transmit(out, stream, frame, sent, now)
                return True
            # The encoder now counts definitions as known to the collector that were not sent.
            if stream.used:
                stream.retiring = True
            else:
                stream.encoder, stream.form = self._new_encoder(), self._form
        return not self._delivery.too_large(sequence, now)

    def _ask(self, out: list[Transmission], stream: _Stream, sequence: int, now: float) -> None:
        """Asks whether a batch is stored that must not be sent as it is, and must not be split if it is."""
        frame = FrameEncoder.question(**self._name(sequence))
        self._transmit(out, stream, frame, _Sent(sequence, len(frame), named=True, asks=True), now)

    def _name(self, sequence: int) -> _Name:
        outbox = self._delivery.outbox
        return {"sequence": sequence, "epoch": outbox.epoch, "oldest_unacknowledged": outbox.oldest or 0}

    def _transmit(self, out: list[Transmission], stream: _Stream, frame: bytes, sent: _Sent, now: float) -> None:
        stream.used = True
        stream.unanswered.append(sent)
        self._inflight_bytes += len(frame)
        self._sent_at = now
        self._waits(now)
        self._delivery.tally.frame_bytes_sent += len(frame)
        out.append(Transmission(stream.number, frame, finish=False))

    @property
    def _window(self) -> int:
        """Frames that may be unanswered, as the collector has granted or will grant to a new stream."""
        granted = (0 if stream.retiring else stream.credit for stream in self._streams.values())
        return sum(granted) + (self._settings.streams_max - len(self._streams)) * wire.CREDIT_INITIAL

    def _can_send(self) -> bool:
        if self._inflight_bytes >= self._settings.inflight_bytes_max:
            return False
        return len(self._streams) < self._settings.streams_max or any(s.has_room for s in self._streams.values())

    def _stream_with_room(self) -> _Stream | None:
        """The first stream with room, so that series are defined on as few streams as the credit allows."""
        for stream in self._streams.values():
            if stream.has_room:
                return stream
        if len(self._streams) >= self._settings.streams_max:
            return None
        stream = _Stream(self._next_number, self._new_encoder(), self._form)
        self._next_number += 1
        self._streams[stream.number] = stream
        return stream

    def _new_encoder(self) -> FrameEncoder:
        # Each frame is sent once, in the order of its stream, which is what references ask for.
        references = self._form == "dense"
        return FrameEncoder(form=self._form, references=references, compression=self._settings.compression)

    # ---- replies

    def _reply(self, stream: _Stream, ack: Ack, now: float) -> None:
        if not stream.unanswered:
            raise ProtocolViolation(f"a reply to sequence {ack.sequence} although every batch is answered")
        sent = stream.unanswered[0]
        if ack.sequence != sent.sequence and not (ack.sequence == 0 and ack.outcome == Outcome.REJECTED):
            raise ProtocolViolation(f"a reply to sequence {ack.sequence} where {sent.sequence} was due")
        stream.unanswered.popleft()
        self._inflight_bytes -= sent.frame_bytes
        stream.credit = min(max(ack.credit, 1), self._settings.credit_max)
        self.good = True
        self._heard(now)
        if not sent.named:
            self._nameless_reply(sent, ack)
        elif sent.asks:
            self._told(sent.sequence, ack, now)
        elif sent.dense and wire.is_malformed(ack):
            # A collector of before the dense form. What the batch defined is not defined then.
            self._form, self._doubted = "columnar", sent.sequence
            self._delivery.again(sent.sequence)
            self._retire_streams()
        else:
            if sent.sequence == self._doubted and ack.outcome != Outcome.RETRY_LATER:
                self._doubted = None
                if wire.is_malformed(ack):
                    # The batch was at fault, and not its form.
                    self._form = self._settings.form
                    self._retire_streams()
            if self._delivery.answered(sent.sequence, ack, now, opens=sent.opens):
                # The two sides disagree about what is defined: everything is defined anew on new streams.
                self._retire_streams()

    def _told(self, sequence: int, ack: Ack, now: float) -> None:
        """Takes the answer to a question."""
        outcome = wire.outcome_of(ack.outcome)
        if outcome in (Outcome.DUPLICATE, Outcome.RETRY_LATER):
            self._delivery.answered(sequence, ack, now, opens=False)
        elif outcome == Outcome.REJECTED and not wire.is_malformed(ack):
            self._delivery.not_stored(sequence, now)
        else:
            raise ProtocolViolation(f"{outcome.label} is no answer to the question whether {sequence} is stored")

    def _retire_streams(self) -> None:
        for stream in self._streams.values():
            if stream.used:
                stream.retiring = True
            else:
                stream.encoder, stream.form = self._new_encoder(), self._form

    def _nameless_reply(self, sent: _Sent, ack: Ack) -> None:
        outcome = wire.outcome_of(ack.outcome)
        if sent.heartbeat and outcome not in (Outcome.STORED, Outcome.DUPLICATE, Outcome.RETRY_LATER):
            self._delivery.heartbeat_refused(outcome.label, _example(ack.rejections))

    def _waits(self, now: float) -> None:
        if self._waiting_since is None:
            self._waiting_since = now

    def _heard(self, now: float) -> None:
        """Something came: whatever else is due has its full time from now on."""
        due = any(stream.unanswered or stream.finished for stream in self._streams.values())
        self._waiting_since = now if due else None

    def _give_back(self, stream: _Stream) -> None:
        for sent in stream.unanswered:
            self._inflight_bytes -= sent.frame_bytes
            if sent.asks:
                self._delivery.again(sent.sequence)
            elif sent.named:
                self._delivery.lost(sent.sequence)
        stream.unanswered.clear()


def _example(rejections: Sequence[tuple[int, int, str]]) -> str:
    return "; ".join(f"{wire.reason_label(reason)}: {example}" for reason, _, example in rejections)
