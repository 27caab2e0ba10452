"""When an acknowledgement leaves: with the replies where some follow, and soon where none do."""

import pytest
from tests.support.certificates import Authority
from tests.support.consumer import FakeConsumer, frame, reply
from tests.support.quic_pair import Pair

from telemetry_collector.listeners.quic_aioquic.transport import ACK_DATAGRAMS_MAX, REPLY_WAIT_SECS

SLACK_SECS = 0.006
"""Virtual time goes on so far by itself."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def pair(authority: Authority) -> Pair:
    """Connected and quiet; replies wait for a commit."""
    made = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    made.advance(1.0)
    made.answers = 0
    return made


def unacknowledged(pair: Pair) -> int:
    """Packets of the agent that it still waits to hear about."""
    return pair.agent._loss.spaces[-1].ack_eliciting_in_flight


def test_it_leaves_with_the_reply(pair: Pair) -> None:
    pair.send(0, frame(b"batch"))
    assert (pair.answers, unacknowledged(pair)) == (0, 1)
    pair.commit()
    assert (pair.answers, unacknowledged(pair)) == (1, 0)
    assert pair.received(0) == reply(1)


def test_it_waits_for_a_reply_no_longer_than_the_peer_expects(pair: Pair) -> None:
    pair.send(0, frame(b"batch"))
    pair.advance(REPLY_WAIT_SECS - SLACK_SECS)
    assert pair.answers == 0
    pair.advance(2 * SLACK_SECS)
    assert (pair.answers, unacknowledged(pair)) == (1, 0)


def test_while_more_of_a_frame_is_to_come_it_does_not_wait(pair: Pair) -> None:
    pair.send(0, frame(b"batch")[:-1])
    pair.advance(SLACK_SECS)
    assert (pair.answers, unacknowledged(pair)) == (1, 0)


def test_what_waits_for_a_reply_waits_no_more_when_a_frame_begins(pair: Pair) -> None:
    pair.send(0, frame(b"batch"))
    assert pair.answers == 0
    pair.send(4, frame(b"next")[:-1])
    assert (pair.answers, unacknowledged(pair)) == (1, 0)


def test_many_datagrams_are_acknowledged_at_once(pair: Pair) -> None:
    for number in range(1, ACK_DATAGRAMS_MAX):
        pair.send(0, frame(b"batch"))
        pair.advance(0.001)
        assert (pair.answers, unacknowledged(pair)) == (0, number)
    pair.send(0, frame(b"batch"))
    assert (pair.answers, unacknowledged(pair)) == (1, 0)


def test_a_gap_is_told_at_once(pair: Pair) -> None:
    pair.agent.send_stream_data(0, frame(b"lost"))
    pair.agent.datagrams_to_send(pair.now)
    pair.agent.send_stream_data(4, frame(b"batch"))
    pair.exchange()
    assert (pair.answers, unacknowledged(pair)) == (1, 1)


def test_what_was_lost_of_the_replies_is_sent_again_without_another_batch(pair: Pair) -> None:
    pair.send(0, frame(b"batch"))
    pair.wire = lambda _: False
    pair.commit()
    pair.wire = lambda _: True
    pair.advance(1.0)
    assert pair.received(0) == reply(1)
