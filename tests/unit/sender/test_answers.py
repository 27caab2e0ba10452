"""What becomes of a batch by its answer: stored, put off, refused; against a scripted collector."""

from typing import Any

import pytest
from tests.support.collector import retry_later, usual
from tests.support.protobuf import pb
from tests.support.wire_link import WireLink, batch, names

from telemetry_collector.model import Outcome, Reason
from telemetry_collector.sender.events import Answered, Refused


@pytest.mark.parametrize(
    ("outcome", "accepted"),
    [(Outcome.STORED, 3), (Outcome.PARTIAL, 2), (Outcome.DUPLICATE, 3), (Outcome.REJECTED, 0)],
)
def test_a_final_answer_is_told_once(outcome: Outcome, accepted: int) -> None:
    link = WireLink()
    answers = iter([Outcome.RETRY_LATER, outcome])
    link.books.answer = lambda message: (
        pb.BatchAck(sequence=message.sequence, outcome=next(answers), accepted_points=accepted)
        if message.epoch
        else None
    )
    link.delivery.put(batch(3))
    link.advance(1)
    told = [event for event in link.events if isinstance(event, Answered)]
    assert told == [Answered(link.outbox.epoch, 1, outcome, accepted)]


def test_retry_later_is_sent_again_under_its_name_after_the_wait_and_nothing_new_meanwhile() -> None:
    link = WireLink()
    link.books.answer = lambda message: retry_later(message, after_ms=500) if message.epoch else None
    link.delivery.put(batch())
    link.step()
    link.books.answer = usual
    link.delivery.put(batch())
    link.advance(0.49)
    assert link.books.stored == {}
    link.advance(0.2)
    assert names(link.books) == [1, 2]
    assert link.stats.batches_retried == 1
    assert link.stats.batches_resent == 1


def test_answers_that_put_off_and_those_that_leave_a_window_of_one_are_told_apart() -> None:
    link = WireLink()
    outcomes = iter([(Outcome.RETRY_LATER, 1), (Outcome.STORED, 1), (Outcome.STORED, 8)])

    def answer(message: Any) -> Any:
        if not message.epoch:
            return None
        outcome, credit = next(outcomes)
        return pb.BatchAck(sequence=message.sequence, outcome=outcome, accepted_points=3, credit=credit)

    link.books.answer = answer
    link.delivery.put(batch(3))
    link.advance(1)
    link.delivery.put(batch(3))
    link.advance(1)
    stats = link.stats
    assert (stats.answers, stats.batches_retried, stats.answers_narrow) == (3, 1, 1)


def test_no_wait_given_means_a_tenth_of_a_second() -> None:
    link = WireLink()
    link.books.answer = lambda message: retry_later(message)
    link.delivery.put(batch())
    link.step()
    link.books.answer = usual
    link.advance(0.099)
    assert link.books.stored == {}
    link.advance(0.03)
    assert names(link.books) == [1]


def test_a_wait_of_days_is_cut() -> None:
    link = WireLink()
    link.books.answer = lambda message: retry_later(message, after_ms=2**32 - 1)
    link.delivery.put(batch())
    link.step()
    link.books.answer = usual
    link.advance(76)
    assert names(link.books) == [1]


def test_an_unknown_outcome_is_retry_later() -> None:
    link = WireLink()
    link.books.answer = lambda message: pb.BatchAck(sequence=message.sequence, outcome=77, credit=8)
    link.delivery.put(batch())
    link.step()
    assert link.stats.points_pending == 3
    link.books.answer = usual
    link.advance(0.2)
    assert names(link.books) == [1]


def test_refusals_are_counted_by_reason_and_told_with_their_example() -> None:
    def partial(message: Any) -> Any:
        ack = pb.BatchAck(
            sequence=message.sequence, outcome=Outcome.PARTIAL, accepted_points=7, rejected_points=3, credit=8
        )
        ack.rejections.add(reason=Reason.CARDINALITY_LIMIT, points=2, example="a: Cardinality limit exceeded")
        ack.rejections.add(reason=Reason.INVALID_NAME, points=1, example="")
        return ack

    link = WireLink()
    link.books.answer = partial
    link.delivery.put(batch(10))
    link.step()
    assert link.stats.points_acknowledged == 7
    assert link.stats.refused_by_reason == {"cardinality_limit": 2, "invalid_name": 1}
    assert Refused("cardinality_limit", 2, "a: Cardinality limit exceeded") in link.events


@pytest.mark.parametrize("counts", [0, 5])
def test_a_malformed_batch_counts_all_its_points_as_refused(counts: int) -> None:
    def malformed(message: Any) -> Any:
        ack = pb.BatchAck(sequence=message.sequence, outcome=Outcome.REJECTED, rejected_points=counts, credit=8)
        ack.rejections.add(reason=Reason.MALFORMED, points=counts, example="?")
        return ack

    link = WireLink()
    link.books.answer = malformed
    link.delivery.put(batch(5))
    link.step()
    assert link.stats.refused_by_reason == {"malformed": 5}


def test_reasons_that_do_not_add_up_lose_no_point() -> None:
    link = WireLink()
    link.books.answer = lambda message: pb.BatchAck(
        sequence=message.sequence, outcome=Outcome.PARTIAL, accepted_points=1
    )
    link.delivery.put(batch(5))
    link.step()
    assert link.stats.points_acknowledged == 1
    assert link.stats.refused_by_reason == {"unspecified": 4}
