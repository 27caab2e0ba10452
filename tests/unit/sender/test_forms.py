"""In which form batches are sent and what a stream has been told of series, against a scripted collector."""

from tests.support.collector import Books, malformed, rejected, usual
from tests.support.wire_link import WireLink, batch, names

from telemetry_collector.model import Reason
from telemetry_collector.sender import DeliverySettings


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
