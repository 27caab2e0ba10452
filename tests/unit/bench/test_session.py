"""What a load sends on one connection, and when: without network and clock, against the contract's other side."""

from __future__ import annotations

import pytest
from tests.support.collector import Books, FakeStream, retry_later, usual
from tests.support.protobuf import pb

from telemetry_collector.bench.frames import prepare
from telemetry_collector.bench.load import Counters, LaneAnswers
from telemetry_collector.bench.plan import Plan
from telemetry_collector.bench.reference import Fleet
from telemetry_collector.bench.session import KEEPALIVE_SECS, REPLY_SECS_MAX, LoadSession, Schedule
from telemetry_collector.model import Outcome, Reason

POINTS = 4
PLAN = Plan(agents=1, series=2, batch_points=POINTS, form="row", compression="none", window=8)


class Line:
    """A load's session, and a collector behind it that answers when the test says so."""

    def __init__(self, interval_secs: float | None) -> None:
        self.now = 100.0
        self.counters = Counters()
        self.books = Books()
        lanes = prepare(PLAN, Fleet(1, 2, POINTS, 0), ["agent"], lambda *_: None)
        self.schedule = Schedule(interval_secs, 0.0)
        self.session = LoadSession(lanes, PLAN, self.schedule, self.counters, lambda: self.now)
        self.streams = [FakeStream(self.books) for _ in lanes]
        self.poll()
        self.answer()

    def poll(self) -> list[int]:
        """The streams on which something was sent."""
        sent = self.session.poll(self.now)
        for number, data, _ in sent:
            self.streams[number].receive(data)
        return [number for number, _, _ in sent]

    def answer(self) -> None:
        for number, stream in enumerate(self.streams):
            self.session.receive(number, stream.replies(), self.now)


def test_streams_are_opened_in_order_and_nothing_is_sent_before_the_run_begins() -> None:
    line = Line(None)
    assert line.session.good
    assert [(batch.epoch, len(batch.metrics)) for batch in line.books.seen] == [(0, 0)] * 4
    assert line.poll() == []


def test_flat_out_every_stream_has_as_many_unanswered_as_it_may_and_goes_on_with_each_answer() -> None:
    line = Line(None)
    line.schedule.start(line.now, 10)
    assert sorted(line.poll()) == sorted([0, 1, 2, 3] * 2)
    assert line.poll() == []
    line.now += 0.25
    line.answer()
    assert len(line.poll()) == 8
    assert set(line.session.latencies_secs) == {0.25}
    assert line.counters.points_acknowledged == 8 * POINTS


def test_after_its_time_nothing_new_is_sent_and_what_is_due_is_waited_for() -> None:
    line = Line(None)
    line.schedule.start(line.now, 10)
    line.poll()
    line.now += 10
    assert not line.session.done(line.now)
    line.answer()
    assert line.poll() == []
    assert line.session.done(line.now)
    assert list(line.session.answers()) == [LaneAnswers(2, {})] * 4


def test_at_a_rate_a_late_answer_counts_from_when_the_batch_was_due() -> None:
    line = Line(0.125)
    line.schedule.start(line.now, 10)
    line.now += 2.0  # the collector, or the load, stood still: 17 batches are due, and 8 may be sent
    assert len(line.poll()) == 8
    line.now += 0.5
    line.answer()
    assert sorted(line.session.latencies_secs) == pytest.approx([2.5 - 0.125 * place for place in reversed(range(8))])
    assert len(line.poll()) == 8, "what was due meanwhile is sent, too"


def test_at_a_rate_the_next_moment_is_told() -> None:
    line = Line(0.125)
    line.schedule.start(line.now, 0.25)
    assert len(line.poll()) == 1
    line.answer()
    assert line.session.deadline() == 100.125
    line.now = 100.125
    assert len(line.poll()) == 1
    line.answer()
    assert line.session.done(line.now)
    assert line.session.deadline() == line.now + KEEPALIVE_SECS, "nothing more is due"


def test_an_idle_connection_is_kept_alive_as_an_agent_does_it() -> None:
    line = Line(None)
    assert line.session.deadline() == line.now + KEEPALIVE_SECS
    for _ in range(3):
        line.now += KEEPALIVE_SECS
        assert line.poll() == [0]
        assert line.poll() == []
        line.answer()
        assert line.session.deadline() == line.now + KEEPALIVE_SECS
    assert not line.books.stored
    assert not line.session.latencies_secs


def test_a_batch_that_is_put_off_is_sent_again_under_its_name_and_counts_from_its_first_time() -> None:
    line = Line(10.0)
    line.schedule.start(line.now, 5)
    line.books.answer = lambda batch: retry_later(batch, after_ms=500)
    assert len(line.poll()) == 1
    line.answer()
    line.books.answer = usual
    assert line.poll() == []
    assert line.session.deadline() == 100.5
    line.now = 100.5
    assert len(line.poll()) == 1
    line.now = 100.75
    line.answer()
    first, again = line.books.seen[-2:]
    assert (first.sequence, first.epoch) == (again.sequence, again.epoch)
    assert list(line.session.latencies_secs) == [0.75]
    assert (line.counters.batches_retried, line.counters.batches_sent, line.counters.batches_acknowledged) == (1, 1, 1)


def test_what_is_refused_is_an_exception_with_its_reason() -> None:
    line = Line(10.0)
    line.schedule.start(line.now, 5)

    def partly(batch: object) -> object:
        ack = pb.BatchAck(sequence=batch.sequence, outcome=Outcome.PARTIAL, accepted_points=3, rejected_points=1)  # type: ignore[attr-defined]
        ack.rejections.add(reason=Reason.CARDINALITY_LIMIT, points=1)
        return ack

    line.books.answer = partly
    line.poll()
    line.answer()
    assert next(iter(line.session.answers())) == LaneAnswers(1, {1: 3})
    assert (line.counters.points_acknowledged, line.counters.points_refused) == (3, 1)
    assert line.counters.refusals == {"cardinality_limit": 1}


def test_a_collector_that_falls_silent_is_given_up_and_its_batches_stay_unanswered() -> None:
    line = Line(10.0)
    line.schedule.start(line.now, 5)
    line.poll()
    assert not line.session.expired(line.now + REPLY_SECS_MAX - 1)
    assert line.session.expired(line.now + REPLY_SECS_MAX)
    assert next(iter(line.session.answers())) == LaneAnswers(1, {}, frozenset({1}))
