"""A QUIC connection with the contract's bounds: four streams at a time, windows that follow what was consumed.

aioquic doubles its flow-control windows whenever half of one was *received*, so a peer could make it buffer without
end. Here a window reaches a fixed distance beyond what the consumer has taken: what a stream holds unread, or received
with gaps, is bounded by STREAM_WINDOW_BYTES, and what a connection holds by CONNECTION_WINDOW_BYTES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from aioquic.quic import connection as quic_connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.congestion.base import K_GRANULARITY
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    Limit,
    NetworkAddress,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.crypto import CryptoError  # type: ignore[attr-defined]  # from C, without types
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, get_spin_bit
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

from telemetry_collector.model import CloseCode
from telemetry_collector.security.mtls import MtlsConnection, Verify

STREAMS_MAX = 4
"""Bidirectional streams that a peer may have open at a time; unidirectional ones it may have none."""

STREAM_WINDOW_BYTES = 1024 * 1024
"""What a stream may send beyond what was consumed of it."""

CONNECTION_WINDOW_BYTES = 2 * STREAM_WINDOW_BYTES
"""What a connection may send, over its streams, beyond what was consumed of it."""

WINDOW_STEP = 4
"""A window is moved when that part of it is free again: fewer frames, and a sender in full flow never meets its end."""

REPLY_WAIT_SECS = 0.02
"""How long an acknowledgement may wait for replies to leave with: less than the 25 ms that peers are told. While more
of a frame is to come there are no replies to wait for, and aioquic's own millisecond holds."""

ACK_DATAGRAMS_MAX = 8
"""Datagrams that may wait for their acknowledgement: fewer than a sender may have on its way when it begins."""

GAPS_MAX = 1_024
"""Separate ranges that a stream may have received beyond a gap. Loss makes a few hundred at most; more is an attack on
the time that keeping them takes."""

HANDSHAKE_GAPS_MAX = 32
"""The same of the handshake's own data."""


# Each connection makes thirty of these sets, always the same few: a fifteenth of what its handshake costs.
quic_connection.EPOCHS = cache(quic_connection.EPOCHS)

_SHORT_HEADER_MASK, _SHORT_HEADER, _RESERVED_BITS = 0xC0, 0x40, 0x18


class Transport(MtlsConnection):
    """The server's end of one connection, without I/O: aioquic's state machine within bounds, its buffers shown."""

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        verify: Verify,
        reset_token: Callable[[bytes], bytes],
        original_destination_connection_id: bytes,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        """`reset_token` makes the token of a stateless reset for a connection id."""
        super().__init__(
            configuration=configuration,
            verify=verify,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self.first_ids = {original_destination_connection_id, retry_source_connection_id or b""} - {b""}
        """What the peer calls this connection until it has heard of an id of its own: the one it chose itself, and the
        one that it was given when it was sent away for a token. Its first flight may take several datagrams, and come
        again."""
        self._reset_token = reset_token
        self._name_resets()
        self._unacknowledged = 0
        """Datagrams received since an acknowledgement was sent."""
        self._unacknowledged_since = 0.0
        self.unread: dict[int, int] = {}
        """Bytes by stream that were taken out as events and that the consumer has not had yet."""
        self.closed_here = False
        """Whether this side ended the connection, by its own rules or the transport's."""
        # aioquic raises the limit by one for each stream that is finished on both sides, and forgets that stream.
        self._local_max_streams_bidi = Limit(QuicFrameType.MAX_STREAMS_BIDI, "max_streams_bidi", STREAMS_MAX)
        self._local_max_streams_uni = Limit(QuicFrameType.MAX_STREAMS_UNI, "max_streams_uni", 0)

    @property
    def closing(self) -> ConnectionTerminated | None:
        """How the connection is about to end, or ended; None while it goes on."""
        return self._close_event

    @property
    def unborn(self) -> bool:
        """Whether no packet of the peer could be read yet."""
        return self._state is QuicConnectionState.FIRSTFLIGHT

    @property
    def lost(self) -> bool:
        """Whether it ended without either side closing it: the path went silent."""
        return self._close_event is not None and not self.closed_here and self._state is QuicConnectionState.TERMINATED

    def can_wait(self, now: float, *, replies_follow: bool) -> bool:
        """Whether all there is to send is an acknowledgement that is not due yet, and what may leave along with it.

        Replies follow within a commit's time, mostly, and one datagram costs half of two.
        """
        space = self._spaces[Epoch.ONE_RTT]
        if space.ack_at is None or self._handshake_done_pending:
            # Without an acknowledgement to come no timer would send what else there may be.
            return False
        space.ack_at = self._unacknowledged_since + (REPLY_WAIT_SECS if replies_follow else K_GRANULARITY)
        return (
            space.ack_at > now
            and self._unacknowledged < ACK_DATAGRAMS_MAX
            # A gap is told at once, so that what was lost comes again soon.
            and len(space.ack_queue) <= 1
            and not any(_has_something_to_say(stream) for stream in self._streams.values())
        )

    def abort(self) -> None:
        """Closes with the transport's internal error: the fault is on this side."""
        self.close(error_code=QuicErrorCode.INTERNAL_ERROR, frame_type=QuicFrameType.PADDING)

    def is_live(self, stream_id: int) -> bool:
        """Whether a stream is unfinished on either side."""
        return stream_id in self._streams

    def is_unwanted(self, stream_id: int) -> bool:
        """Whether the peer asked for no more to be sent on a stream, or it was reset: nothing can be written to it."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.sender._reset_error_code is not None

    def written(self, stream_id: int) -> int:
        """Bytes ever written to a stream."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_stop

    def unsent(self, stream_id: int) -> int:
        """Bytes written to a stream that wait to be sent: for flow control, congestion, or the next transmission."""
        stream = self._streams.get(stream_id)
        if stream is None or self.is_unwanted(stream_id):
            return 0
        return stream.sender._buffer_stop - stream.sender.next_offset

    def refuse_stream(self, stream_id: int, code: CloseCode) -> None:
        """Asks the peer to stop sending; from now on its window stands still and what still comes is thrown away."""
        stream = self._streams.get(stream_id)
        self.unread.pop(stream_id, None)
        if stream is not None and not stream.receiver.is_finished:
            stream.receiver.stop(code)

    # What follows takes the place of aioquic's own methods.

    def close(
        self, error_code: int = QuicErrorCode.NO_ERROR, frame_type: int | None = None, reason_phrase: str = ""
    ) -> None:
        """See QuicConnection."""
        if self._close_event is None:
            self.closed_here = True
        super().close(error_code, frame_type, reason_phrase)

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """See QuicConnection."""
        if not self._unacknowledged:
            self._unacknowledged_since = now
        self._unacknowledged += 1
        if not self._receive_ordinary(data, addr, now):
            super().receive_datagram(data, addr, now)
        # The handshake's streams go on to exist when it is over.
        if _in_pieces(self._streams.values(), GAPS_MAX) or _in_pieces(
            self._crypto_streams.values(), HANDSHAKE_GAPS_MAX
        ):
            self.close(
                error_code=QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type=QuicFrameType.PADDING,
                reason_phrase="data in too many pieces",
            )

    def _receive_ordinary(self, data: bytes, addr: NetworkAddress, now: float) -> bool:
        """What aioquic does with nearly every datagram, without asking what it may be besides: one packet of an open
        connection, on the path and with the connection id in use. False, and nothing is done, for any other."""
        if (
            data[0] & _SHORT_HEADER_MASK != _SHORT_HEADER
            or not self._handshake_confirmed
            or self._state is not QuicConnectionState.CONNECTED
            or self._network_paths[0].addr != addr
            or not self._network_paths[0].is_validated
            or not data.startswith(self.host_cid, 1)
        ):
            return False
        space = self._spaces[Epoch.ONE_RTT]
        try:
            header, payload, number = self._cryptos[Epoch.ONE_RTT].decrypt_packet(
                data, 1 + len(self.host_cid), space.expected_packet_number
            )
        except CryptoError:
            return True
        if number in space.received_packets:
            return True
        if header[0] & _RESERVED_BITS:
            self.close(QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.PADDING, "Reserved bits must be zero")
            return True
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            self._spin_bit = get_spin_bit(header[0])
            self._spin_highest_pn = number
        context = QuicReceiveContext(
            epoch=Epoch.ONE_RTT,
            host_cid=self.host_cid,
            network_path=self._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        try:
            is_ack_eliciting, _ = self._payload_received(context, payload)
        except QuicConnectionError as error:
            self.close(error.error_code, error.frame_type, error.reason_phrase)
        if self._state is not QuicConnectionState.CONNECTED or self._close_pending:
            return True
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay
        return True

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """See QuicConnection. Whatever leaves takes the acknowledgement along."""
        self._unacknowledged = 0
        if self._handshake_confirmed and self._spaces[Epoch.ONE_RTT].ack_at is not None:
            self._spaces[Epoch.ONE_RTT].ack_at = now
        return super().datagrams_to_send(now)

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        self._name_resets()

    def _name_resets(self) -> None:
        """Gives every connection id the token that a restarted collector will know, in place of a random one."""
        for connection_id in self._host_cids:
            connection_id.stateless_reset_token = self._reset_token(connection_id.cid)

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        try:
            return super()._get_or_create_stream(frame_type, stream_id)
        except QuicConnectionError as error:
            if error.error_code != QuicErrorCode.STREAM_LIMIT_ERROR:
                raise
            # The contract's own code tells an agent more; without a frame type it goes out as an application's.
            raise QuicConnectionError(
                error_code=CloseCode.TOO_MANY_STREAMS,
                frame_type=None,  # type: ignore[arg-type]
                reason_phrase=f"more than {STREAMS_MAX} streams",
            ) from error

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        del space
        data = self._local_max_data
        unconsumed = sum(self._unconsumed(stream) for stream in self._streams.values())
        edge = data.used - unconsumed + CONNECTION_WINDOW_BYTES
        if edge - data.value >= CONNECTION_WINDOW_BYTES // WINDOW_STEP:
            data.value = edge
        for limit in (data, self._local_max_streams_bidi):
            if limit.sent != limit.value:
                buffer = builder.start_frame(
                    limit.frame_type,
                    capacity=CONNECTION_LIMIT_FRAME_CAPACITY,
                    handler=self._on_connection_limit_delivery,
                    handler_args=(limit,),
                )
                buffer.push_uint_var(limit.value)
                limit.sent = limit.value

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        del space
        receiver, stream_id = stream.receiver, stream.stream_id
        assert stream_id is not None, "only the handshake's streams have none"
        if receiver.is_finished or receiver._final_size is not None or receiver._stop_error_code is not None:
            return
        edge = receiver.highest_offset - self._unconsumed(stream) + STREAM_WINDOW_BYTES
        if edge - stream.max_stream_data_local >= STREAM_WINDOW_BYTES // WINDOW_STEP:
            stream.max_stream_data_local = edge
        if stream.max_stream_data_local_sent != stream.max_stream_data_local:
            buffer = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            buffer.push_uint_var(stream_id)
            buffer.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _unconsumed(self, stream: QuicStream) -> int:
        receiver = stream.receiver
        gaps = 0 if receiver.is_finished else receiver.highest_offset - receiver.starting_offset()
        return gaps + self.unread.get(stream.stream_id or 0, 0)


def _has_something_to_say(stream: QuicStream) -> bool:
    return not stream.sender.buffer_is_empty or stream.sender.reset_pending or stream.receiver.stop_pending


def _in_pieces(streams: Iterable[QuicStream], gaps_max: int) -> bool:
    # Asked for every datagram, hence the loop; the first look is the cheap one, for without a gap nothing is buffered.
    for stream in streams:  # noqa: SIM110
        if stream.receiver._buffer and len(stream.receiver._ranges) > gaps_max:
            return True
    return False
