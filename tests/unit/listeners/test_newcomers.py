"""What becomes of first datagrams: whose sender begins, waits or is turned away, and what counts as a flood."""

import socket
from collections.abc import Iterator
from pathlib import Path as File
from types import SimpleNamespace
from typing import Any

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import pull_quic_header
from prometheus_client import CollectorRegistry
from tests.support.certificates import Authority
from tests.support.quic_pair import agent_configuration

from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import waiting
from telemetry_collector.listeners.quic_aioquic.datagrams import Path
from telemetry_collector.listeners.quic_aioquic.material import CONNECTION_ID_BYTES
from telemetry_collector.listeners.quic_aioquic.newcomers import HANDSHAKES_AHEAD, WAIT_SHARE, Newcomers
from telemetry_collector.listeners.quic_aioquic.waiting import Newcomer
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.listeners.shedding import Shedding

PLACES = 4
PATH = Path(("10.0.0.1", 4_000))


class Loop:
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        self.timers: list[Any] = []

    def time(self) -> float:
        return 0.0

    def call_later(self, secs: float, call: Any, *args: Any) -> Any:
        del secs, call, args
        timer = SimpleNamespace(cancelled=False)
        timer.cancel = lambda: setattr(timer, "cancelled", True)
        self.timers.append(timer)
        return timer


class Door:
    """Newcomers with a socket that keeps what it sends. All clients have one address."""

    def __init__(self, authority: Authority, kernel: socket.socket, **settings: Any) -> None:
        self.authority = authority
        self.shedding = Shedding(kernel, 4_000)
        self.registry = CollectorRegistry()
        self.backlog = SimpleNamespace(handshakes=0)
        self.loop = Loop()
        self.sent: list[bytes] = []
        made = QuicListenerSettings(
            Address("127.0.0.1", 0), File("cert.pem"), File("key.pem"), handshakes_max=PLACES, **settings
        )
        self.deadline_secs = made.deadlines.handshake
        backlog: Any = self.backlog
        self.newcomers = Newcomers(made, ListenerEvents(self.registry), backlog)
        sock: Any = SimpleNamespace(shedding=lambda: self.shedding, send=lambda data, _path: self.sent.append(data))
        loop: Any = self.loop
        self.newcomers.start(sock, loop)

    def come(self, client: QuicConnection, *, under_way: int) -> Newcomer | None:
        ((data, _),) = client.datagrams_to_send(0.0)
        header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_BYTES)
        return self.newcomers.judge(header, data, PATH, under_way, 0.0)

    def come_with_token(self, *, under_way: int = PLACES) -> Newcomer | None:
        """One that is sent away for a token, and comes back with it; handled when so many are under way."""
        client = QuicConnection(configuration=agent_configuration(self.authority, None))
        client.connect(PATH.peer, 0.0)
        assert self.come(client, under_way=PLACES) is None
        client.receive_datagram(self.sent.pop(), PATH.peer, 0.0)
        return self.come(client, under_way=under_way)

    def refused(self, reason: str) -> float:
        name = "telemetry_collector_connections_refused_total"
        return self.registry.get_sample_value(name, {"reason": reason}) or 0.0

    @property
    def turned_away(self) -> int:
        return self.shedding._arrived


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def kernel() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


def test_who_comes_back_with_its_token_was_not_turned_away(authority: Authority, kernel: socket.socket) -> None:
    door = Door(authority, kernel)
    assert door.come_with_token(under_way=0) is not None
    assert door.turned_away == 0
    assert door.come_with_token() is None
    assert (door.turned_away, door.newcomers.waiting) == (0, 1)


def test_a_token_of_an_address_that_has_enough_hides_no_flood(authority: Authority, kernel: socket.socket) -> None:
    door = Door(authority, kernel, handshakes_per_address=1)
    assert door.come_with_token(under_way=0) is not None
    assert door.come_with_token(under_way=0) is None
    assert door.refused("too_many_handshakes_of_address") == 1
    assert door.turned_away == 2, "for the Retry and for the refusal"


def test_no_more_handshakes_begin_while_there_is_work_of_enough(authority: Authority, kernel: socket.socket) -> None:
    door = Door(authority, kernel)
    door.backlog.handshakes = HANDSHAKES_AHEAD
    assert door.come_with_token(under_way=0) is None
    assert door.newcomers.waiting == 1
    assert door.newcomers.next(0, 0.0) is None
    door.backlog.handshakes -= 1
    assert door.newcomers.next(PLACES, 0.0) is None, "every place is taken"
    assert door.newcomers.next(PLACES - 1, 0.0) is not None


def test_who_finds_no_room_to_wait_is_turned_away(
    authority: Authority, kernel: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WAITING_MAX", 1)
    door = Door(authority, kernel)
    client = QuicConnection(configuration=agent_configuration(authority, None))
    client.connect(PATH.peer, 0.0)
    door.come(client, under_way=PLACES)
    client.receive_datagram(door.sent.pop(), PATH.peer, 0.0)
    door.come_with_token()
    assert door.come(client, under_way=PLACES) is None
    assert (door.newcomers.waiting, door.refused("too_many_handshakes")) == (1, 1)
    assert door.turned_away == 2, "for the Retry and for the refusal"


def test_who_waited_too_long_leaves_its_place_of_the_address(authority: Authority, kernel: socket.socket) -> None:
    door = Door(authority, kernel, handshakes_per_address=1)
    door.come_with_token()
    in_time = door.deadline_secs * WAIT_SHARE
    assert door.newcomers.next(0, in_time + 0.001) is None
    assert door.refused("waited_too_long") == 1
    door.come_with_token()
    assert door.newcomers.next(0, in_time) is not None


def test_nothing_is_adjusted_any_more_once_nobody_begins(authority: Authority, kernel: socket.socket) -> None:
    door = Door(authority, kernel)
    door.newcomers.turned_away()
    door.newcomers.turned_away()
    (timer,) = door.loop.timers
    door.newcomers.stop()
    assert timer.cancelled
    door.newcomers.turned_away()
    assert len(door.loop.timers) == 1
