"""Credit, streams, silence, lost connections: the session and the delivery against a scripted collector."""

import pytest
from tests.support.collector import FakeStream, points_in, rejected, retry_later, usual
from tests.support.protobuf import framed, pb
from tests.support.wire_link import WireLink, batch, names

from telemetry_collector.model import MetricType, Outcome, Reason
from telemetry_collector.sender import DeliverySettings, Heartbeat
from telemetry_collector.sender.events import HeartbeatRefused
from telemetry_collector.sender.session import ProtocolViolation


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
