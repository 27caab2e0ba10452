"""Batches that are too large: when they are split, and what is asked before, against a scripted collector."""

from typing import Any

import pytest
from tests.support.collector import points_in, rejected, retry_later
from tests.support.protobuf import framed, pb
from tests.support.wire_link import WireLink, batch, names

from telemetry_collector.model import CloseCode, Outcome, Reason
from telemetry_collector.sender import DeliverySettings
from telemetry_collector.sender.events import Dropped
from telemetry_collector.sender.session import ProtocolViolation


def test_a_batch_that_is_too_large_is_split_under_new_sequences_until_it_fits() -> None:
    link = WireLink()
    link.books.answer = lambda message: rejected(message, Reason.BATCH_TOO_LARGE) if points_in(message) > 3 else None
    link.delivery.put(batch(10))
    link.step()
    assert len(link.books.points) == 10
    assert 1 not in names(link.books)
    assert {len(points) for points in link.books.stored.values()} <= {2, 3}
    assert link.stats.points_acknowledged == 10
    assert link.stats.batches_split == 3
    assert link.stats.points_sent == 10, "a point counts once, however often it was sent"


def test_a_single_point_that_is_too_large_is_dropped_and_counted() -> None:
    link = WireLink()
    link.books.answer = lambda message: rejected(message, Reason.BATCH_TOO_LARGE) if message.epoch else None
    link.delivery.put(batch(2))
    link.step()
    assert link.stats.dropped_by_reason == {"too_large": 2}
    assert link.stats.points_pending == 0
    assert Dropped("too_large", 1, link.outbox.epoch, 2) in link.events


def test_a_frame_over_the_limit_is_never_sent() -> None:
    link = WireLink(DeliverySettings(compression="none", frame_bytes_max=2_000))
    link.delivery.put(batch(3))
    link.step()
    link.delivery.put(batch(200, tag="x" * 50))
    link.step()
    assert max(len(message.SerializeToString()) for message in link.books.seen) <= 2_000
    assert len(link.books.points) == 203
    assert link.stats.points_acknowledged == 203


def test_a_point_whose_frame_is_over_the_limit_alone_is_dropped() -> None:
    link = WireLink(DeliverySettings(compression="none", frame_bytes_max=500))
    link.delivery.put(batch(2, tag="x" * 1_000))
    link.delivery.put(batch(2))
    link.step()
    assert link.stats.dropped_by_reason == {"too_large": 2}
    assert link.stats.points_acknowledged == 2


def test_a_frame_that_the_collector_finds_too_large_makes_frames_smaller() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    link.delivery.put(batch(100))
    link.send()
    link.session.stopped(0, CloseCode.FRAME_TOO_LARGE, link.now)
    link.session.ended(0, link.now)
    link.streams.clear()
    size = len(link.books.seen.pop().SerializeToString())
    link.step()
    assert len(link.books.points) == 100
    assert max(len(message.SerializeToString()) for message in link.books.seen) <= size // 2


def cut_off(link: WireLink, *points: int) -> None:
    """Batches of so many points are sent, and the connection ends before the collector reads them."""
    for each in points:
        link.delivery.put(batch(each))
    link.send()
    link.disconnect()


def lost_replies(link: WireLink) -> None:
    """The collector judges what was sent, and the connection ends before a word of that arrives."""
    for stream in link.streams.values():
        stream.replies()
    link.disconnect()


def test_a_batch_that_may_be_stored_is_not_split() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    link.delivery.put(batch(100))
    link.send()
    lost_replies(link)
    link.delivery.shrink_frames(1_500)
    link.connect()
    assert names(link.books) == [1], "the collector was asked, and knew it"
    assert len(link.books.points) == 100
    assert (link.stats.points_acknowledged, link.stats.batches_split, link.stats.points_pending) == (100, 0, 0)
    assert max(len(message.SerializeToString()) for message in link.books.seen[-1:]) < 60, "the question is short"


def test_a_batch_that_was_sent_and_is_not_stored_is_split_once_the_collector_has_said_so() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    cut_off(link, 100, 100, 100)
    link.delivery.shrink_frames(1_500)
    link.connect()
    assert min(names(link.books)) > 3, "parts alone"
    assert len(link.books.points) == 300
    assert link.stats.points_acknowledged == link.stats.points_sent == 300


def test_a_question_that_is_put_off_is_asked_again() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    link.delivery.put(batch(100))
    link.send()
    lost_replies(link)
    link.delivery.shrink_frames(1_500)
    link.handshake()
    link.send()
    link.answer()
    link.send()
    (question,) = link.streams[0].pending
    link.streams[0].pending.clear()
    link.session.receive(0, framed(retry_later(question, 50)), link.now)
    link.step()
    assert link.stats.points_pending == 100
    link.advance(0.1)
    assert (link.stats.points_acknowledged, link.stats.batches_split) == (100, 0)


@pytest.mark.parametrize("outcome", [Outcome.STORED, Outcome.PARTIAL])
def test_a_question_cannot_be_stored(outcome: Outcome) -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    cut_off(link, 100)
    link.delivery.shrink_frames(1_500)
    link.handshake()
    link.send()
    link.answer()
    link.send()
    with pytest.raises(ProtocolViolation, match="no answer to the question"):
        link.session.receive(0, framed(pb.BatchAck(sequence=1, outcome=outcome, credit=8)), link.now)


def test_batches_with_more_points_than_were_refused_are_asked_about() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    for _ in range(8):
        link.delivery.put(batch(100))
    link.send()
    lost_replies(link)
    link.books.answer = lambda message: rejected(message, Reason.BATCH_TOO_LARGE) if points_in(message) > 50 else None
    link.handshake()
    link.delivery.connected()
    link.delivery.put(batch(100))
    link.step()
    assert names(link.books) == [*range(1, 9), 10, 11]
    assert len(link.books.points) == link.stats.points_acknowledged == 900
    assert sum(points_in(message) == 100 for message in link.books.seen) < 8 + 8, "not sent again to be refused"


def test_a_lone_point_is_dropped_only_where_its_size_was_refused() -> None:
    link = WireLink(DeliverySettings(compression="none"))
    link.delivery.shrink_frames(4_000)
    link.delivery.put(batch(1, tag="x" * 3_000))
    link.delivery.put(batch(1, tag="x" * 4_000))
    link.step()
    assert len(link.books.points) == 1, "half of what was refused is a guess, and a point has no halves"
    assert link.stats.dropped_by_reason == {"too_large": 1}


def test_a_refusal_that_cannot_be_of_a_size_does_not_stop_everything() -> None:
    link = WireLink(DeliverySettings(compression="none"))
    link.delivery.shrink_frames(3)
    link.delivery.put(batch(1))
    link.step()
    assert link.stats.points_acknowledged == 1


def the_oldest_waits(message: Any) -> Any:
    """So that nothing behind it is settled, which would keep copies out as well."""
    return retry_later(message, 50) if message.sequence == 1 and message.epoch else None


def test_a_copy_that_is_read_late_is_not_stored_beside_its_halves() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    cut_off(link, 1, 100)
    link.books.answer = the_oldest_waits
    link.delivery.shrink_frames(1_500)
    link.connect()
    link.advance(1)
    link.read_late()
    assert 2 not in names(link.books)
    assert len(link.books.points) == link.stats.points_acknowledged == 100


def test_a_batch_that_the_collector_finds_too_large_is_asked_about_while_a_copy_may_be_read() -> None:
    """Limits change: the copy may come to be read when it is not too large any more."""
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    cut_off(link, 1, 100)
    link.books.answer = lambda message: (
        rejected(message, Reason.BATCH_TOO_LARGE) if points_in(message) > 50 else the_oldest_waits(message)
    )
    link.connect()
    link.advance(1)
    link.books.answer = the_oldest_waits
    link.read_late()
    assert names(link.books) == [3, 4]
    assert len(link.books.points) == link.stats.points_acknowledged == 100


def test_a_batch_whose_name_was_taken_back_in_an_earlier_life_is_split() -> None:
    link = WireLink(DeliverySettings(compression="none"))
    link.books.withdrawn.add((link.outbox.epoch, 1))
    link.delivery.put(batch(10))
    link.step()
    assert names(link.books) == [2, 3]
    assert (link.stats.points_acknowledged, link.stats.points_refused) == (10, 0)


def test_a_collector_of_before_withdraw_is_believed() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    link.books.knows_withdraw = False
    cut_off(link, 100)
    link.delivery.shrink_frames(1_500)
    link.connect()
    assert len(link.books.points) == link.stats.points_acknowledged == 100
