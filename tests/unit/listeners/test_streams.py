"""Frames, replies, windows and deadlines of streams. Both ends in memory, in virtual time."""

import pytest
from aioquic import tls
from aioquic.quic import events as quic
from aioquic.quic.connection import stream_is_unidirectional
from tests.support.certificates import Authority
from tests.support.consumer import FakeConsumer, frame, reply
from tests.support.quic_pair import AGENT, NODE_URI, Pair, agent_configuration

from telemetry_collector.listeners.quic_aioquic.stream import REPLY_BYTES_MAX
from telemetry_collector.listeners.quic_aioquic.transport import (
    CONNECTION_WINDOW_BYTES,
    GAPS_MAX,
    HANDSHAKE_GAPS_MAX,
    STREAM_WINDOW_BYTES,
    STREAMS_MAX,
)
from telemetry_collector.listeners.settings import Deadlines
from telemetry_collector.model import CloseCode
from telemetry_collector.security.mtls import MESSAGE_BYTES_MAX


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_frames_are_handed_over_whole_however_they_were_cut(authority: Authority) -> None:
    pair = Pair(authority).connect()
    data = frame(b"first") + frame(b"x" * 5_000) + frame(b"third")
    for start in range(0, len(data), 997):
        pair.send(0, data[start : start + 997])
    assert pair.consumer.conversations[0].bodies == [b"first", b"x" * 5_000, b"third"]
    assert pair.received(0) == reply(1) + reply(2) + reply(3)
    assert pair.count("frames_received_total") == 3
    assert pair.count("stream_bytes_received_total") == len(data)


def test_what_one_wake_up_brought_crosses_in_one_call(authority: Authority) -> None:
    pair = Pair(authority).connect()
    pair.send(0, frame(b"x" * 100_000))
    calls: list[int] = []
    conversation = pair.consumer.conversations[0]
    receive = conversation.receive

    def counted(data: bytes, now_unix_ns: int) -> bytes:
        calls.append(len(data))
        return receive(data, now_unix_ns)

    conversation.receive = counted  # type: ignore[method-assign]
    pair.agent.send_stream_data(0, frame(b"y" * 8_000))
    for data, _ in pair.agent.datagrams_to_send(pair.now):
        pair.collector.receive(data, AGENT, pair.now)
    pair.collector.process(pair.now)
    assert calls == [8_004]


def test_replies_go_out_when_the_commit_made_them_ready(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    pair.send(0, frame(b"batch"))
    assert pair.received(0) == b""
    pair.consumer.commit()
    assert pair.woken
    pair.run()
    assert pair.received(0) == reply(1)


def test_an_agent_that_finishes_gets_every_reply_due_and_then_the_end(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    pair.send(0, frame(b"one") + frame(b"two") + b"\x00\x00\x00\x09part", end=True)
    assert pair.consumer.conversations[0].finished
    assert not pair.ended(0)
    pair.commit()
    assert pair.received(0) == reply(1) + reply(2)
    assert pair.ended(0)
    assert pair.open


def test_a_stream_that_the_agent_resets_still_gets_its_replies(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    pair.send(0, frame(b"one") + b"\x00\x00")
    pair.agent.reset_stream(0, CloseCode.NORMAL)
    pair.run()
    pair.commit()
    assert pair.received(0) == reply(1)
    assert pair.ended(0)


def test_an_oversized_frame_ends_the_stream_and_only_that(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False, frame_bytes_max=1_000)).connect()
    pair.send(0, frame(b"other"))
    pair.send(4, frame(b"good") + (1_001).to_bytes(4, "big") + b"x" * 500)
    stopped = [event for event in pair.heard if isinstance(event, quic.StopSendingReceived)]
    assert [(event.stream_id, event.error_code) for event in stopped] == [(4, CloseCode.FRAME_TOO_LARGE)]
    assert not pair.ended(4)
    pair.commit()
    assert pair.received(4) == reply(1)
    assert pair.ended(4)
    pair.send(0, frame(b"still"))
    pair.commit()
    assert pair.received(0) == reply(1) + reply(2)
    assert pair.count("streams_failed_total", code="frame_too_large") == 1


def test_a_peer_that_sends_on_after_being_stopped_is_not_read_and_gets_no_more_window(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(frame_bytes_max=1_000)).connect()

    def keep_on(error_code: int) -> None:
        """It ignores STOP_SENDING instead of resetting its side."""

    pair.agent._get_or_create_stream_for_send(0).sender.reset = keep_on  # type: ignore[method-assign]
    pair.send(0, b"\xff\xff\xff\xff" + b"x" * 1_000)
    for _ in range(40):
        pair.send(0, b"x" * 100_000)
    assert pair.consumer.conversations[0].bytes <= 1_004
    assert pair.transport._streams[0].receiver.highest_offset <= STREAM_WINDOW_BYTES
    assert pair.open
    pair.send(4, frame(b"z" * 900))
    assert pair.received(4) == reply(1)


def test_more_in_flight_than_the_window_ends_the_connection(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    pair.send(0, b"".join(frame(b"batch") for _ in range(8)))
    assert pair.open
    pair.send(0, frame(b"one too many"))
    assert pair.closed == (CloseCode.CREDIT_EXCEEDED, True)
    assert pair.count("connections_closed_total", code="credit_exceeded", side="collector") == 1


def deaf(authority: Authority, consumer: FakeConsumer, room: int = 4) -> Pair:
    """An agent that gives the collector room for so many bytes on a stream and never for more."""
    configuration = agent_configuration(authority, authority.issue(uri=NODE_URI), max_stream_data=room)
    pair = Pair(authority, consumer=consumer, configuration=configuration)
    pair.agent._write_stream_limits = lambda **_: None  # type: ignore[method-assign]
    return pair.connect()


def give_room(pair: Pair, room: int) -> None:
    """The deaf agent lets so many bytes of the first stream through after all, counted from its beginning."""
    pair.agent._streams[0].max_stream_data_local = room
    pair.transport._streams[0].max_stream_data_remote = room
    pair.agent.send_ping(1)
    pair.run()


def test_replies_that_the_agent_does_not_take_count_as_in_flight(authority: Authority) -> None:
    """One commit's replies are on their way; those of the next are not taken, and fill the window."""
    pair = deaf(authority, FakeConsumer(immediate=False))
    for _ in range(9):
        assert pair.open
        pair.send(0, frame(b"batch"))
        pair.commit()
    assert pair.consumer.conversations[0].pending == 8
    pair.send(0, frame(b"batch"))
    assert pair.closed == (CloseCode.CREDIT_EXCEEDED, True)


def test_replies_that_the_agent_does_not_take_end_the_connection_in_time(authority: Authority) -> None:
    pair = deaf(authority, FakeConsumer())
    pair.send(0, frame(b"batch"))
    pair.advance(29)
    assert pair.open
    pair.advance(2)
    assert pair.closed == (CloseCode.TIMED_OUT, True)


def test_replies_taken_in_a_trickle_do_not_keep_the_connection(authority: Authority) -> None:
    pair = deaf(authority, FakeConsumer())
    pair.send(0, frame(b"batch"))
    for room in range(5, 11):
        assert pair.open
        give_room(pair, room)
        pair.advance(5.1)
    assert pair.received(0) == reply(1)[:10]
    assert pair.closed == (CloseCode.TIMED_OUT, True)


def test_replies_that_leave_in_time_set_no_clock_for_those_after_them(authority: Authority) -> None:
    """A slow agent that takes each reply within the time is kept, although some reply is always waiting."""
    pair = deaf(authority, FakeConsumer())
    for number in range(1, 5):
        pair.send(0, frame(b"batch"))
        pair.advance(20)
        assert pair.open
        give_room(pair, 12 * number)
    assert pair.received(0) == b"".join(reply(number) for number in range(1, 5))


def test_replies_made_while_others_wait_stay_within_their_bound(authority: Authority) -> None:
    consumer = FakeConsumer(credit=1_000_000, reply_bytes=1_000)
    pair = deaf(authority, consumer)
    for _ in range(200):
        pair.send(0, frame(b"tiny") * 20)
    assert consumer.conversations[0].frames * 1_004 <= REPLY_BYTES_MAX + 21 * 1_004
    assert pair.transport.unread[0] > 0
    assert pair.open


def test_a_frame_that_never_ends_resets_its_stream_and_only_that(authority: Authority) -> None:
    pair = Pair(authority).connect()
    pair.send(0, frame(b"good") + b"\x00\x00\x01\x00begin")
    for _ in range(6):
        # It goes on, byte by byte: what counts is when the frame began.
        pair.advance(4.9)
        pair.send(0, b"x")
        pair.send(4, frame(b"other"))
    assert pair.count("streams_failed_total", code="timed_out") == 0
    pair.advance(1)
    stopped = [event for event in pair.heard if isinstance(event, quic.StopSendingReceived)]
    reset = [event for event in pair.heard if isinstance(event, quic.StreamReset)]
    assert [(event.stream_id, event.error_code) for event in stopped] == [(0, CloseCode.TIMED_OUT)]
    assert [(event.stream_id, event.error_code) for event in reset] == [(0, CloseCode.TIMED_OUT)]
    assert pair.count("streams_failed_total", code="timed_out") == 1
    pair.send(4, frame(b"other"))
    assert pair.received(4) == b"".join(reply(number) for number in range(1, 8))


def test_each_frame_has_its_own_time(authority: Authority) -> None:
    pair = Pair(authority).connect()
    pair.send(0, b"\x00\x00\x00\x02a")
    for _ in range(3):
        pair.advance(20)
        pair.send(0, b"b" + b"\x00\x00\x00\x02a")
    assert pair.open
    assert pair.count("streams_failed_total", code="timed_out") == 0
    assert pair.consumer.conversations[0].frames == 3


def test_keep_alives_do_not_keep_a_connection_without_frames(authority: Authority) -> None:
    pair = Pair(authority, deadlines=Deadlines(idle=60)).connect()
    pair.advance(50)
    pair.send(0, frame(b"batch"))
    for _ in range(5):
        pair.advance(11)
        pair.agent.send_ping(1)
    assert pair.open
    pair.advance(6)
    assert pair.closed == (CloseCode.TIMED_OUT, True)
    assert pair.slots.taken == 0


def test_four_streams_at_a_time_are_granted(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    assert (pair.agent._remote_max_streams_bidi, pair.agent._remote_max_streams_uni) == (STREAMS_MAX, 0)
    for number in range(STREAMS_MAX + 1):
        pair.send(4 * number, frame(b"batch"), end=True)
    assert len(pair.consumer.conversations) == STREAMS_MAX
    pair.commit()
    pair.advance(1)
    assert len(pair.consumer.conversations) == STREAMS_MAX + 1
    assert pair.open


@pytest.mark.parametrize("stream_id", [4 * STREAMS_MAX, 2])
def test_a_stream_too_many_ends_the_connection(authority: Authority, stream_id: int) -> None:
    pair = Pair(authority).connect()
    # An agent that takes more than it was granted.
    pair.agent._remote_max_streams_bidi = pair.agent._remote_max_streams_uni = 1_000
    pair.agent._remote_max_stream_data_uni = 1_000
    if stream_is_unidirectional(stream_id):
        pair.agent._local_next_stream_id_uni = stream_id
    else:
        pair.agent._local_next_stream_id_bidi = stream_id
    pair.send(stream_id, frame(b"batch"))
    assert pair.closed == (CloseCode.TOO_MANY_STREAMS, True)
    assert pair.consumer.conversations == []


def test_streams_one_after_another_leave_nothing_behind(authority: Authority) -> None:
    pair = Pair(authority).connect()
    for number in range(1_000):
        pair.send(4 * number, frame(b"batch"), end=True)
        pair.consumer.conversations.clear()
        pair.heard.clear()
    pair.advance(1)
    assert pair.count("streams_opened_total") == 1_000
    assert len(pair.transport._streams) == 0
    assert len(pair.transport._streams_queue) == 0
    assert len(pair.transport.unread) == 0
    assert len(pair.collector._streams) <= STREAMS_MAX + 1


def test_late_data_of_a_finished_stream_does_not_open_it_again(authority: Authority) -> None:
    pair = Pair(authority).connect()
    pair.agent.send_stream_data(0, frame(b"batch"), end_stream=True)
    sent = [data for data, _ in pair.agent.datagrams_to_send(pair.now)]
    for data in sent:
        pair.collector.receive(data, AGENT, pair.now)
    pair.run()
    pair.advance(1)
    pair.agent._streams_queue.clear()
    for data in sent:
        pair.collector.receive(data, AGENT, pair.now)
    pair.run()
    assert len(pair.consumer.conversations) == 1


def test_windows_follow_what_was_consumed_and_nothing_else(authority: Authority) -> None:
    pair = Pair(authority).connect()
    total = 0
    for _ in range(100):
        pair.send(0, frame(b"x" * 99_996))
        total += 100_000
        stream = pair.agent._streams[0]
        assert stream.max_stream_data_remote <= total + STREAM_WINDOW_BYTES
        assert pair.agent._remote_max_data <= total + CONNECTION_WINDOW_BYTES
    assert pair.consumer.conversations[0].frames == 100


def test_what_arrives_beyond_a_gap_is_bounded_by_the_window(authority: Authority) -> None:
    pair = Pair(authority).connect()
    # An agent that cares for no congestion; what it sends first never arrives.
    pair.agent._loss._cc.congestion_window = 1 << 40
    pair.agent.send_stream_data(0, frame(b"x" * 3_000_000))
    lost = False
    for _ in range(3_000):
        for data, _ in pair.agent.datagrams_to_send(pair.now):
            if lost:
                pair.collector.receive(data, AGENT, pair.now)
            lost = True
        pair.clock.advance(0.0001)
    pair.collector.process(pair.now)
    pair.collector.transmit(pair.now)
    stream = pair.transport._streams[0]
    assert STREAM_WINDOW_BYTES - 2_000 <= stream.receiver.highest_offset <= STREAM_WINDOW_BYTES
    assert stream.max_stream_data_local == STREAM_WINDOW_BYTES
    assert pair.consumer.conversations == []


def test_data_in_thousands_of_pieces_ends_the_connection(authority: Authority) -> None:
    pair = Pair(authority).connect()
    pair.send(0, b"\x00")
    stream = pair.transport._streams[0]
    for place in range(GAPS_MAX + 1):
        stream.receiver._ranges.add(10 + 2 * place, 11 + 2 * place)
    stream.receiver._buffer += bytes(2 * GAPS_MAX)
    pair.agent.send_ping(1)
    pair.run()
    assert pair.closed == (0x0A, False)


def test_handshake_data_in_many_pieces_ends_the_connection_after_the_handshake_too(authority: Authority) -> None:
    pair = Pair(authority).connect()
    receiver = pair.transport._crypto_streams[tls.Epoch.ONE_RTT].receiver
    for place in range(HANDSHAKE_GAPS_MAX + 1):
        receiver._ranges.add(10 + 2 * place, 11 + 2 * place)
    receiver._buffer += bytes(2 * HANDSHAKE_GAPS_MAX)
    pair.agent.send_ping(1)
    pair.run()
    assert pair.closed == (0x0A, False)


@pytest.mark.parametrize("epoch", [tls.Epoch.INITIAL, tls.Epoch.ONE_RTT])
def test_a_handshake_message_without_end_is_not_gathered(authority: Authority, epoch: tls.Epoch) -> None:
    """TLS lets a message be announced with 16 MB."""
    pair = Pair(authority)
    if epoch is tls.Epoch.ONE_RTT:
        pair.connect()
    else:
        pair.agent._crypto_streams[epoch].sender._buffer.clear()
        pair.agent._crypto_streams[epoch].sender._buffer_stop = 0
        pair.agent._crypto_streams[epoch].sender._pending.subtract(0, 1 << 20)
    pair.agent._crypto_streams[epoch].sender.write(b"\x01\xff\xff\xff" + bytes(200_000))
    pair.run()
    assert pair.closed == (0x100 + 50, False)
    assert len(pair.transport.tls._receive_buffer) <= MESSAGE_BYTES_MAX


def test_an_agent_that_wants_no_replies_loses_the_stream_and_only_that(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    pair.send(0, frame(b"batch"))
    pair.agent.stop_stream(0, CloseCode.NORMAL)
    pair.run()
    pair.commit()
    assert pair.received(0) == b""
    pair.send(4, frame(b"batch"))
    pair.commit()
    assert pair.received(4) == reply(1)


def test_a_stream_without_replies_from_the_start_is_not_begun(authority: Authority) -> None:
    pair = Pair(authority).connect()
    pair.agent._get_or_create_stream_for_send(0)
    pair.agent.stop_stream(0, CloseCode.NORMAL)
    pair.run()
    pair.send(0, frame(b"batch"))
    assert pair.consumer.conversations == []
    assert [event.stream_id for event in pair.heard if isinstance(event, quic.StopSendingReceived)] == [0]
    pair.send(4, frame(b"batch"))
    assert pair.received(4) == reply(1)


def test_a_conversation_is_let_go_with_its_stream(authority: Authority) -> None:
    import gc
    import weakref

    pair = Pair(authority).connect()
    pair.send(0, frame(b"batch"))
    conversation = weakref.ref(pair.consumer.conversations.pop())
    pair.send(0, b"", end=True)
    gc.collect()
    assert conversation() is None


def test_stopping_reads_no_more_but_sends_what_is_due(authority: Authority) -> None:
    pair = Pair(authority, consumer=FakeConsumer(immediate=False)).connect()
    pair.send(0, frame(b"before"))
    pair.collector.stop_reading()
    pair.send(0, frame(b"after"))
    assert pair.consumer.conversations[0].frames == 1
    settled = [pair.collector.settled]
    pair.commit()
    settled.append(pair.collector.settled)
    assert settled == [False, True]
    assert pair.received(0) == reply(1)
    pair.collector.close(CloseCode.SHUTTING_DOWN)
    pair.run()
    assert pair.closed == (CloseCode.SHUTTING_DOWN, True)


def test_connection_ids_and_paths_without_end_leave_nothing_behind(authority: Authority) -> None:
    """A peer that takes a new id, and comes from a new address, with every packet."""
    pair = Pair(authority).connect()
    for number in range(200):
        pair.agent.change_connection_id()
        pair.agent.send_ping(number)
        for data, _ in pair.agent.datagrams_to_send(pair.now):
            pair.collector.receive(data, (f"10.1.0.{number}", 40_000), pair.now)
        pair.collector.process(pair.now)
        pair.run()
    assert pair.open
    assert len(pair.routes) <= 9
    assert len(pair.transport._network_paths) <= 8
    pair.send(0, frame(b"batch"))
    assert pair.received(0) == reply(1)
