"""A session and a scripted collector, connected without a network and in virtual time."""

from random import Random

from tests.support.collector import Books, FakeStream

from telemetry_collector.model import MetricType
from telemetry_collector.sender import Batch, Point, batch_of
from telemetry_collector.sender.delivery import Delivery
from telemetry_collector.sender.events import SenderEvent
from telemetry_collector.sender.outbox import MemoryOutbox
from telemetry_collector.sender.session import Session
from telemetry_collector.sender.settings import DeliverySettings
from telemetry_collector.sender.stats import SenderStats, Tally

PLAIN = DeliverySettings(compression="none")


def batch(points: int = 3, name: str = "system.load", tag: str = "") -> Batch:
    tags = (("tag", tag),) if tag else ()
    readings = [Point(f"{name}.{place}", float(place), MetricType.GAUGE, "1", tags) for place in range(points)]
    return batch_of(readings, common_tags=(("node_id", "node-1"),), timestamp_unix_ns=1_000)


def names(books: Books) -> list[int]:
    """The sequences of what is stored."""
    return sorted(sequence for _, sequence in books.stored)


class WireLink:
    """`step` carries what is due in both directions; `reply=False` holds the collector's answers back."""

    def __init__(
        self, settings: DeliverySettings = PLAIN, *, points_max: int = 1_000_000, books: Books | None = None
    ) -> None:
        self.now = 0.0
        self.settings = settings
        self.books = books or Books()
        self.events: list[SenderEvent] = []
        self.tally = Tally()
        self.outbox = MemoryOutbox(points_max=points_max, bytes_max=1 << 30, on_drop=self._dropped)
        self.delivery = Delivery(self.outbox, settings, random=Random(1), tally=self.tally, on_event=self.events.append)
        self.unread: list[FakeStream] = []
        """Streams of connections that are gone, with frames that the collector has not come to read."""
        self.streams: dict[int, FakeStream] = {}
        self.connect()

    def _dropped(self, sequence: int, points: int, reason: str) -> None:
        self.delivery.dropped(sequence, points, reason)

    def connect(self) -> None:
        """A new connection, with the probe answered."""
        self.handshake()
        self.step()

    def handshake(self) -> None:
        """A new connection, without a word yet."""
        self.unread += [stream for stream in self.streams.values() if stream.pending]
        self.streams = {}
        self.session = Session(self.delivery, self.settings, self.now)
        self.session.active = True

    def read_late(self) -> None:
        """The collector reads what it still has of connections that are gone; nobody hears its answers."""
        for stream in self.unread:
            stream.replies()
        self.unread.clear()

    def disconnect(self) -> int:
        return self.session.close()

    @property
    def stats(self) -> SenderStats:
        return self.tally.snapshot(
            points_pending=self.outbox.points, batches_pending=self.outbox.batches, connected_to=None
        )

    @property
    def streams_due(self) -> bool:
        """The collector has something to say."""
        return any(stream.pending or stream.finished for stream in self.streams.values())

    def send(self) -> int:
        """Carries frames to the collector; returns how many transmissions there were."""
        transmissions = self.session.poll(self.now)
        for stream, data, finish in transmissions:
            self.streams.setdefault(stream, FakeStream(self.books)).receive(data, finished=finish)
        assert sum(not stream.finished for stream in self.streams.values()) <= self.settings.streams_max
        return len(transmissions)

    def answer(self) -> None:
        """Carries every reply due, and the ends of streams that the agent has finished."""
        for number, stream in list(self.streams.items()):
            self.session.receive(number, stream.replies(), self.now)
            if stream.finished:
                self.session.ended(number, self.now)
                del self.streams[number]

    def step(self) -> None:
        """Until nothing moves any more at this moment."""
        for _ in range(10_000):
            if not self.send() and not self.streams_due:
                return
            self.answer()
        raise AssertionError("the link does not come to rest")

    def advance(self, secs: float) -> None:
        """Lets time pass, polling whenever the session asked for it."""
        end = self.now + secs
        self.step()
        for _ in range(10_000):
            deadline = self.session.deadline()
            if deadline is None or deadline > end:
                self.now = end
                self.step()
                return
            assert deadline >= self.now - 1e-9, "a deadline in the past would spin"
            self.now = max(self.now, deadline)
            if self.session.expired(self.now):
                self.now = end
                return
            self.step()
        raise AssertionError("the session asks for polls without end")
