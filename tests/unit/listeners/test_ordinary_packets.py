"""The short way of nearly every packet leads where aioquic's own leads: the same script twice, with it and without."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from aioquic.tls import Epoch
from tests.support.certificates import Authority
from tests.support.consumer import FakeConsumer, frame
from tests.support.quic_pair import AGENT, NODE_URI, Pair

OTHER_PORT = (AGENT[0], AGENT[1] + 1)
STEPS = 60


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Script:
    """What an agent and a bad network do, decided by a seed."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair = pair
        self.chance = random.Random(seed)
        self.address = AGENT
        self.late: list[bytes] = []
        self.states: list[Any] = []

    def play(self) -> list[Any]:
        doings: list[Callable[[], None]] = [self.renew_key, self.change_id, self.move, self.set_reserved_bits]
        for step in range(STEPS):
            if self.chance.random() < 0.1:
                # The last of them ends the connection.
                doings[min(self.chance.randrange(12), 3) if step > STEPS // 2 else self.chance.randrange(3)]()
            self.say()
            self.pair.clock.advance(self.chance.choice((0.0, 0.001, 0.03)))
            if self.chance.random() < 0.3:
                self.pair.consumer.commit()
            self.states.append(self.state())
        return self.states

    def say(self) -> None:
        agent, chance = self.pair.agent, self.chance
        if agent._close_event is None:
            # One stream: aioquic takes turns of several as their addresses in memory have it.
            agent.send_stream_data(0, frame(bytes(chance.randrange(3_000))))
        datagrams = self.late + [data for data, _ in agent.datagrams_to_send(self.pair.now)]
        self.late = []
        for data in datagrams:
            match chance.randrange(12):
                case 0:
                    continue
                case 1:
                    self.late.append(data)
                    continue
                case 2:
                    self.receive(data)
                case 3:
                    place = chance.randrange(9, len(data))
                    self.receive(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
                case 4:
                    self.receive(data[: chance.randrange(1, len(data))])
            self.receive(data)
        self.pair.collector.process(self.pair.now)
        for data, _ in self.pair.collector.transmit(self.pair.now):
            agent.receive_datagram(data, ("10.0.0.2", 5_001), self.pair.now)
        while agent.next_event() is not None:
            pass

    def receive(self, data: bytes) -> None:
        self.pair.collector.receive(data, self.address, self.pair.now)

    def renew_key(self) -> None:
        self.pair.agent.request_key_update()

    def change_id(self) -> None:
        self.pair.agent.change_connection_id()

    def move(self) -> None:
        self.address = OTHER_PORT if self.address == AGENT else AGENT

    def set_reserved_bits(self) -> None:
        keys: Any = self.pair.agent._cryptos[Epoch.ONE_RTT]
        encrypt = keys.encrypt_packet
        keys.encrypt_packet = lambda header, payload, number: encrypt(
            bytes([header[0] | 0x18]) + header[1:], payload, number
        )

    def state(self) -> Any:
        """Everything that receiving changes."""
        transport = self.pair.transport
        space = transport._spaces[Epoch.ONE_RTT]
        known = [each.sequence_number for each in transport._host_cids if each.cid == transport.host_cid]
        return (
            list(space.ack_queue),
            sorted(space.received_packets._received),
            (space.ack_at, space.expected_packet_number, space.largest_received_packet, space.largest_received_time),
            (transport._spin_bit, transport._spin_highest_pn, transport._cryptos[Epoch.ONE_RTT].key_phase, known),
            [(path.addr, path.is_validated, path.bytes_received) for path in transport._network_paths],
            (transport._close_at, transport._ack_eliciting_sent_since_receipt, transport._local_max_data.used),
            str(transport.closing),
            [conversation.bodies for conversation in self.pair.consumer.conversations],
        )


@pytest.mark.parametrize("seed", range(15))
def test_both_ways_lead_to_the_same(authority: Authority, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    played = []
    for with_it in (True, False):
        pair = Pair(authority, authority.issue(uri=NODE_URI), consumer=FakeConsumer(credit=1_000)).connect()
        if not with_it:
            monkeypatch.setattr(pair.transport, "_receive_ordinary", lambda *_: False)
        # It would differ by a byte or two, as the signatures of the handshake do.
        pair.agent._loss._cc.congestion_window = 1 << 20
        played.append(Script(pair, seed).play())
    for ours, theirs in zip(*played, strict=True):
        assert ours == theirs
    assert any(before != after for before, after in pairwise(played[0]))
