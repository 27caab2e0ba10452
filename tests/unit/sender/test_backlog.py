"""What has piled up leaves room for what is new, in virtual time and against a collector of finite speed."""

from dataclasses import dataclass, field
from typing import Any

from tests.support.collector import points_in, rejected
from tests.support.wire_link import WireLink

from telemetry_collector.model import MetricType, Outcome, Reason
from telemetry_collector.sender import Batch, DeliverySettings, Point, batch_of
from telemetry_collector.sender.events import Answered

TICK_SECS = 0.001


def batch(points: int = 1) -> Batch:
    readings = [Point(f"m{place}", 1.0, MetricType.GAUGE, "1") for place in range(points)]
    return batch_of(readings, common_tags=(), timestamp_unix_ns=1)


@dataclass
class Link(WireLink):
    """A collector that answers one batch a millisecond, in the order in which they came."""

    share: float = 0.25
    put_at: dict[int, float] = field(default_factory=dict)
    took: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        WireLink.__init__(self, DeliverySettings(compression="none", backlog_share=self.share))
        self._told = 0

    def put(self, points: int = 1) -> int:
        sequence = self.delivery.put(batch(points))
        self.put_at[sequence] = self.now
        return sequence

    def tick(self) -> None:
        self.send()
        waiting = [
            (self._place(stream.pending[0]), number) for number, stream in self.streams.items() if stream.pending
        ]
        if waiting:
            number = min(waiting)[1]
            self.session.receive(number, self.streams[number].reply(), self.now)
        self.now += TICK_SECS
        for event in self.events[self._told :]:
            if isinstance(event, Answered):
                self.took[event.sequence] = self.now - self.put_at.get(event.sequence, 0.0)
        self._told = len(self.events)

    def _place(self, message: Any) -> int:
        return next(place for place, seen in enumerate(self.books.seen) if seen is message)


def outage(link: Link, batches: int, points: int = 1) -> list[int]:
    """Batches pile up without a connection; then there is one."""
    link.disconnect()
    piled = [link.put(points) for _ in range(batches)]
    link.handshake()
    link.delivery.connected()
    return piled


def live_latencies(link: Link) -> list[float]:
    live = []
    for round_ in range(300):
        if round_ % 20 == 0:
            live.append(link.put())
        link.tick()
    return [link.took[sequence] for sequence in live if sequence in link.took]


def test_live_batches_are_answered_as_fast_as_ever_while_the_backlog_drains() -> None:
    kept, greedy = Link(), Link(share=1.0)
    for link in (kept, greedy):
        outage(link, 2_000)
    calm, crowded = live_latencies(kept), live_latencies(greedy)
    assert len(calm) >= 14
    assert max(calm) <= 0.012, "at most the backlog's quarter of 32 frames goes before it"
    assert max(crowded) >= 0.025, "with the whole window the backlog is in the way"
    assert len(kept.took) >= 285, "the collector is kept busy all the same"


def test_the_backlog_is_sent_oldest_first_and_wholly() -> None:
    link = Link()
    old = outage(link, 50)
    live = link.put()
    while len(link.took) < 51:
        link.tick()
    order = [message.sequence for message in link.books.seen if message.epoch]
    assert order[0] == live, "what is new goes first"
    assert [sequence for sequence in order if sequence != live] == old


def test_live_batches_that_would_fill_the_window_leave_the_backlog_its_share() -> None:
    link = Link()
    old = outage(link, 20)
    for _ in range(200):
        link.put()
    for _ in range(100):
        link.tick()
    assert 15 <= len(set(old) & set(link.took)) <= 20


def test_halves_of_the_backlog_are_backlog_and_a_size_that_was_refused_is_not_tried_again() -> None:
    link = Link()
    link.books.answer = lambda message: rejected(message, Reason.BATCH_TOO_LARGE) if points_in(message) > 4 else None
    outage(link, 40, points=8)
    for _ in range(20):
        link.tick()
    live = link.put()
    for _ in range(12):
        link.tick()
    assert live in link.took, "the halves of what is old do not go before what is new"
    for _ in range(300):
        link.tick()
    assert link.stats.points_acknowledged == 40 * 8 + 1
    refused = sum(1 for message in link.books.seen if message.epoch and points_in(message) > 4)
    assert refused <= 9, "those that were on their way, and no other"
    assert all(event.outcome is Outcome.STORED for event in link.events if isinstance(event, Answered))
