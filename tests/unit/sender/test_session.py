"""Credit, retries, splitting, lost connections: the session and the delivery against a scripted collector."""

from typing import Any

import pytest
from tests.support.collector import Books, FakeStream, malformed, points_in, rejected, retry_later, usual
from tests.support.protobuf import framed, pb
from tests.support.wire_link import WireLink

from telemetry_collector.model import MetricType, Outcome, Reason
from telemetry_collector.sender import Batch, DeliverySettings, Heartbeat, Point, batch_of
from telemetry_collector.sender.events import Answered, HeartbeatRefused, Refused
from telemetry_collector.sender.session import ProtocolViolation


def batch(points: int = 3, name: str = "system.load", tag: str = "") -> Batch:
    tags = (("tag", tag),) if tag else ()
    readings = [Point(f"{name}.{place}", float(place), MetricType.GAUGE, "1", tags) for place in range(points)]
    return batch_of(readings, common_tags=(("node_id", "node-1"),), timestamp_unix_ns=1_000)


def names(books: Books) -> list[int]:
    return sorted(sequence for _, sequence in books.stored)


def beat(cpu_usage: float) -> Heartbeat:
    return Heartbeat(worker_id="node-1", cpu_usage=cpu_usage, memory_usage=0.5, gpu_usage=-1.0, timestamp_unix_ns=1_000)


def test_points_arrive_as_they_were_read() -> None:
    link = WireLink()
    link.delivery.put(batch(2))
    link.step()
    first, second = link.books.points
    assert first.name == "system.load.0"
    assert second.value == 1.0
    assert first.tags == (("node_id", "node-1"),)
    assert first.timestamp_unix_ns == 1_000
    assert first.type == MetricType.GAUGE
    assert link.stats.points_acknowledged == 2
    assert link.stats.points_pending == 0


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


def test_sequences_count_from_one_under_one_epoch() -> None:
    link = WireLink()
    for _ in range(20):
        link.delivery.put(batch())
    link.step()
    assert names(link.books) == list(range(1, 21))
    assert {epoch for epoch, _ in link.books.stored} == {link.outbox.epoch}
    assert link.outbox.epoch != 0


def test_nothing_but_a_probe_is_sent_before_the_first_reply() -> None:
    link = WireLink()
    link.disconnect()
    link.books.seen.clear()
    link.delivery.put(batch())
    link.handshake()
    assert link.send() == 1
    assert link.send() == 0
    assert [(message.epoch, points_in(message)) for message in link.books.seen] == [(0, 0)]
    link.answer()
    assert link.session.good
    link.step()
    assert names(link.books) == [1]


def test_a_stream_never_has_more_unanswered_than_its_credit() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    for _ in range(50):
        link.delivery.put(batch())
    link.send()
    assert len(link.streams[0].pending) == 8
    link.books.answer = lambda message: pb.BatchAck(
        sequence=message.sequence, outcome=Outcome.STORED, accepted_points=3, credit=2
    )
    link.answer()
    link.send()
    assert len(link.streams[0].pending) == 2
    link.step()
    assert link.stats.points_acknowledged == 150


def test_a_shrinking_window_is_kept_while_older_batches_are_on_their_way() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    for _ in range(30):
        link.delivery.put(batch())
    link.send()
    link.books.answer = lambda message: pb.BatchAck(
        sequence=message.sequence, outcome=Outcome.STORED, accepted_points=3, credit=1
    )
    link.session.receive(0, link.streams[0].reply(), link.now)
    assert link.send() == 0
    assert len(link.streams[0].pending) == 7


def test_another_stream_is_opened_only_when_credit_is_used_up_and_at_most_four() -> None:
    link = WireLink()
    for _ in range(8):
        link.delivery.put(batch())
    link.send()
    assert len(link.streams) == 1
    for _ in range(100):
        link.delivery.put(batch())
    link.send()
    assert len(link.streams) == 4
    assert sum(len(stream.pending) for stream in link.streams.values()) == 32
    link.step()
    assert len(link.books.stored) == 108


def test_series_are_defined_once_a_stream() -> None:
    link = WireLink()
    link.delivery.put(batch())
    link.delivery.put(batch())
    link.step()
    definitions = [len(message.series) for message in link.books.seen if message.epoch]
    assert definitions == [3, 0]


def test_a_collector_that_skips_the_dense_fields_refuses_the_batch_and_gets_plain_columns() -> None:
    link = WireLink(books=Books(knows_dense=False))
    for place in range(20):
        link.delivery.put(batch(3, tag=str(place)))
    link.step()
    assert names(link.books) == list(range(1, 21))
    assert len(link.books.points) == link.stats.points_acknowledged == 60
    assert link.stats.points_refused == 0
    assert {point.value for point in link.books.points} == {0.0, 1.0, 2.0}
    # What a connection has learnt holds for it; the next collector may be another.
    refused = sum(points.dense_points > 0 for message in link.books.seen for points in message.points)
    link.delivery.put(batch())
    link.step()
    assert refused == sum(points.dense_points > 0 for message in link.books.seen for points in message.points)
    link.disconnect()
    link.books.knows_dense = True
    link.connect()
    link.delivery.put(batch())
    link.step()
    assert link.books.seen[-1].points[0].dense_points == 3


def test_a_collector_that_does_not_know_references_refuses_the_batch_and_gets_plain_columns() -> None:
    link = WireLink(books=Books(knows_references=False))
    for _ in range(3):
        link.delivery.put(batch())
    link.step()
    assert names(link.books) == [1, 2, 3]
    assert (link.stats.points_acknowledged, link.stats.points_refused) == (9, 0)
    assert link.books.seen[-1].points[0].dense_points == 0


def test_values_are_told_by_what_the_stream_was_told_before() -> None:
    link = WireLink()
    for _ in range(20):
        link.delivery.put(batch())
    link.step()
    assert [point.value for point in link.books.points] == [0.0, 1.0, 2.0] * 20
    sent = [columns for message in link.books.seen for columns in message.points]
    assert (sent[0].references, sent[1].references) == (0, 1)
    assert len(sent[1].value_heads + sent[1].value_bits) == 3, "a group's head, and a bit a value"


def test_what_a_lost_batch_had_kept_is_told_again_on_a_new_stream() -> None:
    link = WireLink()
    link.delivery.put(batch())
    link.step()
    link.streams[0].forget_references()
    link.delivery.put(batch())
    link.step()
    assert names(link.books) == [1, 2]
    assert 0 not in link.streams
    assert link.stats.points_refused == 0


def test_batches_are_not_given_up_for_what_those_before_them_had_lost() -> None:
    link = WireLink()
    # Whatever counts on an earlier batch comes too late for it, eight at a time: the last one waits for seven others.
    link.books.answer = lambda message: (
        rejected(message, Reason.UNKNOWN_SERIES, "a.b") if message.epoch and not message.series else None
    )
    for _ in range(8):
        link.delivery.put(batch())
    link.step()
    assert names(link.books) == list(range(1, 9))
    assert link.stats.points_refused == 0


def test_plain_columns_that_are_malformed_are_refused_for_good() -> None:
    link = WireLink(books=Books(knows_dense=False))
    link.books.answer = lambda message: malformed(message) if message.epoch else None
    link.delivery.put(batch(3))
    link.step()
    assert link.stats.points_refused == 3
    assert link.stats.points_pending == 0
    assert sum(message.epoch != 0 for message in link.books.seen) == 2


def test_a_batch_that_is_malformed_in_either_form_does_not_cost_the_others_the_dense_one() -> None:
    link = WireLink()
    link.books.answer = lambda message: malformed(message) if message.epoch else None
    link.delivery.put(batch(3))
    link.step()
    assert link.stats.points_refused == 3
    link.books.answer = usual
    link.delivery.put(batch(3))
    link.step()
    assert link.stats.points_acknowledged == 3
    assert [points.dense_points for message in link.books.seen for points in message.points] == [3, 0, 3]


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


def test_a_stream_whose_definitions_are_used_up_is_finished_and_another_takes_over() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=2))
    for place in range(14):
        link.delivery.put(batch(10_000, name=f"series.{place}"))
        link.step()
    assert len(link.books.points) == 140_000
    assert [message.series[0].id for message in link.books.seen if message.epoch][-1] < 131_072
    assert link.stats.points_acknowledged == 140_000
    assert link.stats.points_dropped == 0


def test_unknown_series_are_sent_again_on_a_new_stream_with_their_definitions() -> None:
    link = WireLink()
    link.delivery.put(batch())
    link.step()
    link.streams[0].forget_series()
    link.delivery.put(batch())
    link.step()
    assert names(link.books) == [1, 2]
    assert 0 not in link.streams
    assert len(link.books.seen[-1].series) == 3


def test_series_unknown_again_and_again_are_refused_for_good() -> None:
    link = WireLink()
    link.books.answer = lambda message: rejected(message, Reason.UNKNOWN_SERIES, "a.b") if message.epoch else None
    link.delivery.put(batch())
    link.step()
    assert link.stats.refused_by_reason == {"unknown_series": 3}
    assert link.stats.points_pending == 0


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


def test_after_a_lost_connection_everything_unanswered_is_sent_again_under_the_same_names() -> None:
    link = WireLink()
    for _ in range(20):
        link.delivery.put(batch())
    link.send()
    for stream in link.streams.values():
        stream.reply()  # stored, but the reply is lost
    assert link.disconnect() == 20
    link.connect()
    link.step()
    assert names(link.books) == list(range(1, 21))
    assert link.stats.batches_duplicate == 3
    assert link.stats.points_acknowledged == 60
    assert link.stats.points_sent == 60
    assert link.stats.batches_resent == 20


def test_oldest_unacknowledged_is_the_lowest_sequence_without_an_answer() -> None:
    link = WireLink()
    for _ in range(3):
        link.delivery.put(batch())
    link.books.answer = lambda message: retry_later(message) if message.sequence == 1 else None
    link.step()
    link.delivery.put(batch())
    link.books.answer = usual
    link.advance(0.2)
    oldest = [(message.sequence, message.oldest_unacknowledged) for message in link.books.seen if message.epoch]
    assert oldest[:3] == [(1, 1), (2, 1), (3, 1)]
    assert (1, 1) in oldest[3:]
    assert names(link.books) == [1, 2, 3, 4]


def test_a_heartbeat_is_sent_without_a_name_and_the_newest_wins() -> None:
    link = WireLink()
    link.session.heartbeat(beat(0.25))
    link.session.heartbeat(beat(0.75))
    link.step()
    assert [heartbeat.cpu_usage for heartbeat in link.books.heartbeats] == [0.75]
    assert link.books.seen[-1].epoch == 0
    assert link.stats.heartbeats_sent == 1


def test_a_heartbeat_of_another_node_is_told() -> None:
    link = WireLink()
    link.books.answer = lambda message: rejected(message, Reason.IDENTITY_MISMATCH, "worker_id node-1")
    link.session.heartbeat(beat(0.5))
    link.step()
    assert link.stats.heartbeats_refused == 1
    assert link.events == [HeartbeatRefused("rejected", "identity_mismatch: worker_id node-1")]


def test_an_idle_connection_is_probed_and_a_silent_one_given_up() -> None:
    link = WireLink()
    frames = len(link.books.seen)
    link.advance(15.1)
    assert len(link.books.seen) == frames + 1
    assert not link.session.expired(link.now)
    link.delivery.put(batch())
    link.send()
    assert not link.session.expired(link.now + 9.9)
    assert link.session.expired(link.now + 10.0)
    deadline = link.session.deadline()
    assert deadline is not None
    assert deadline <= link.now + 10.0


def test_each_reply_gives_the_others_their_full_time() -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=1))
    link.delivery.put(batch())
    link.delivery.put(batch())
    link.send()
    link.now += 9
    link.session.receive(0, link.streams[0].reply(), link.now)
    assert not link.session.expired(link.now + 9)
    assert link.session.expired(link.now + 10)


def test_what_a_stream_left_unanswered_is_sent_again_on_another() -> None:
    link = WireLink()
    for _ in range(3):
        link.delivery.put(batch())
    link.send()
    link.session.ended(0, link.now)
    del link.streams[0]
    transmissions = link.session.poll(link.now)
    assert (0, b"", True) in transmissions, "our side is finished too, so that the collector gets the stream back"
    for stream, data, finish in transmissions:
        if stream:
            link.streams.setdefault(stream, FakeStream(link.books)).receive(data, finished=finish)
    link.answer()
    assert names(link.books) == [1, 2, 3]


def test_finishing_waits_for_replies_then_finishes_every_stream() -> None:
    link = WireLink()
    for _ in range(20):
        link.delivery.put(batch())
    link.send()
    link.session.finish()
    link.delivery.put(batch())
    assert link.send() == 0
    link.step()
    link.answer()
    link.step()
    assert link.session.finished
    assert names(link.books) == list(range(1, 21))
    assert link.outbox.batches == 1


def test_replies_that_were_not_due_are_a_violation() -> None:
    link = WireLink()
    with pytest.raises(ProtocolViolation, match="although every batch is answered"):
        link.session.receive(0, framed(pb.BatchAck(sequence=9, outcome=Outcome.STORED, credit=8)), 0.0)


def test_replies_to_another_batch_are_a_violation() -> None:
    link = WireLink()
    link.delivery.put(batch())
    link.send()
    with pytest.raises(ProtocolViolation, match="where 1 was due"):
        link.session.receive(0, framed(pb.BatchAck(sequence=9, outcome=Outcome.STORED, credit=8)), 0.0)


def test_bytes_that_are_no_replies_are_a_violation() -> None:
    link = WireLink()
    with pytest.raises(ProtocolViolation, match="no replies"):
        link.session.receive(0, b"\x00\x00\x00\x02\xff\xff", 0.0)


def test_bytes_on_the_way_are_bounded() -> None:
    link = WireLink(DeliverySettings(compression="none", inflight_bytes_max=5_000))
    for _ in range(30):
        link.delivery.put(batch(100))
    link.send()
    pending = sum(len(message.SerializeToString()) for s in link.streams.values() for message in s.pending)
    assert 5_000 <= pending < 10_000
    link.step()
    assert link.stats.points_acknowledged == 3_000


def test_a_batch_dropped_while_on_its_way_counts_once() -> None:
    link = WireLink(points_max=6)
    for _ in range(2):
        link.delivery.put(batch(3))
    link.send()
    link.delivery.put(batch(3))
    link.answer()
    link.step()
    stats = link.stats
    assert stats.dropped_by_reason == {"outbox_full": 3}
    assert stats.points_acknowledged == 6
    assert stats.points_pending == 0
