"""Peers that know the keys and misuse them: frames and TLS messages damaged before they are encrypted.

Whatever they send, the connection goes on or is closed with a code; nothing is raised, and nothing is read too early.
"""

import random

import pytest
from aioquic.tls import Epoch
from tests.support.certificates import Authority
from tests.support.consumer import FakeConsumer, frame
from tests.support.quic_pair import AGENT, NODE_URI, Pair

from telemetry_collector.listeners.quic_aioquic.connection import Phase

QUIC_FRAMES = range(0x32)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.mark.parametrize("seed", range(40))
def test_damaged_frames_are_answered_with_a_code(authority: Authority, seed: int) -> None:
    chance = random.Random(seed)
    pair = Pair(authority, consumer=FakeConsumer(credit=100)).connect()
    keys = pair.agent._cryptos[Epoch.ONE_RTT]
    encrypt = keys.encrypt_packet

    def damaged(plain_header: bytes, plain_payload: bytes, packet_number: int) -> bytes:
        body = bytearray(plain_payload)
        if chance.random() < 0.5:
            for _ in range(chance.randint(1, 4)):
                body[chance.randrange(min(len(body), 12))] = chance.choice([*QUIC_FRAMES, 0x40, 0x80, 0xC0, 0xFF])
        elif chance.random() < 0.5:
            body = bytearray([chance.choice(QUIC_FRAMES)]) + chance.randbytes(30) + body[: chance.randrange(1_000)]
        return encrypt(plain_header, bytes(body[:1_150]), packet_number)

    keys.encrypt_packet = damaged  # type: ignore[method-assign]
    for turn in range(8):
        # Replies are kept from the agent: damaged as it is, it may not be able to read them.
        if pair.agent._streams.get(0) is None or pair.agent._streams[0].sender._reset_error_code is None:
            pair.agent.send_stream_data(0, frame(chance.randbytes(100 * turn + 1)))
        for data, _ in pair.agent.datagrams_to_send(pair.now):
            pair.collector.receive(data, AGENT, pair.now)
        pair.collector.process(pair.now)
        pair.collector.transmit(pair.now)
        pair.clock.advance(0.05)
        deadline = pair.collector.deadline
        if deadline is not None and deadline <= pair.now:
            pair.collector.expire(pair.now)
            pair.collector.transmit(pair.now)
    closing = pair.transport.closing
    assert (pair.collector.phase is Phase.OPEN) == (closing is None)
    assert pair.slots.taken == (1 if closing is None else 0)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_handshake_is_not_believed(authority: Authority, seed: int) -> None:
    chance = random.Random(seed)
    pair = Pair(authority, authority.issue(uri=NODE_URI))
    agent = pair.agent

    def damaged() -> None:
        for epoch, buffer in agent._crypto_buffers.items():
            messages = bytearray(buffer.data)
            if messages:
                # Any bit of its certificate, its signature or its Finished.
                messages[chance.randrange(len(messages))] ^= 1 << chance.randrange(8)
            agent._crypto_streams[epoch].sender.write(bytes(messages))
            buffer.seek(0)

    agent._push_crypto_data = damaged  # type: ignore[method-assign]
    agent.send_stream_data(0, frame(b"batch"))
    pair.run()
    pair.advance(11)
    assert pair.consumer.conversations == []
    assert pair.collector.phase in (Phase.CLOSING, Phase.ENDED)
    assert (
        sum(
            sample.value
            for metric in pair.registry.collect()
            for sample in metric.samples
            if sample.name == "telemetry_collector_handshakes_failed_total"
        )
        == 1
    )
