"""The kernel's share in keeping a flood out, on a real socket."""

import socket
from collections.abc import Iterator

import pytest

from telemetry_collector.listeners.shedding import SHARE_MIN, Shedding

NEWCOMERS_PER_SEC = 4_000
SENT = 120
INITIAL, INITIAL_PROTECTED, HANDSHAKE, SHORT = 0xC0, 0xCF, 0xE3, 0x4A


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((request.param, 0))
        sock.setblocking(False)
        yield sock


def passed(listening: socket.socket, first: int) -> int:
    """Of so many datagrams that begin with this byte."""
    with socket.socket(listening.family, socket.SOCK_DGRAM) as stranger:
        stranger.connect(listening.getsockname()[:2])
        for _ in range(SENT):
            stranger.send(bytes([first]) + b"x" * 50)
    count = 0
    while True:
        try:
            listening.recv(100)
        except BlockingIOError:
            return count
        count += 1


def flood(shedding: Shedding, offered_per_sec: int, secs: float = 0.1) -> None:
    """As many newcomers as the share lets through of so many."""
    for _ in range(int(offered_per_sec * secs * shedding.share)):
        shedding.arrived()
    shedding.adjust(secs)


def test_newcomers_are_shed_and_nothing_else(listening: socket.socket) -> None:
    shedding = Shedding(listening, NEWCOMERS_PER_SEC)
    assert passed(listening, INITIAL) == SENT
    flood(shedding, 10 * NEWCOMERS_PER_SEC)
    assert shedding.share == pytest.approx(0.1)
    # By lot: 12 are expected, and 60 once in many lifetimes.
    assert passed(listening, INITIAL) < SENT / 2
    assert passed(listening, INITIAL_PROTECTED) < SENT / 2
    assert passed(listening, HANDSHAKE) == SENT
    assert passed(listening, SHORT) == SENT


def test_the_share_follows_the_flood_and_everybody_is_let_in_when_it_is_over(listening: socket.socket) -> None:
    shedding = Shedding(listening, NEWCOMERS_PER_SEC)
    flood(shedding, NEWCOMERS_PER_SEC)
    assert shedding.share == 1.0
    for offered in (20_000, 200_000, 200_000):
        flood(shedding, offered)
    assert shedding.share == pytest.approx(NEWCOMERS_PER_SEC / 200_000, rel=0.3)
    flood(shedding, 1_000 * NEWCOMERS_PER_SEC * 1_000)
    assert shedding.share == pytest.approx(SHARE_MIN)
    for _ in range(20):
        flood(shedding, 10)
    assert shedding.share == 1.0
    assert passed(listening, INITIAL) == SENT


def test_a_fleet_that_comes_back_with_tokens_is_no_flood(listening: socket.socket) -> None:
    shedding = Shedding(listening, NEWCOMERS_PER_SEC)
    for _ in range(10 * NEWCOMERS_PER_SEC):
        shedding.arrived()
        shedding.came_back()
    shedding.came_back()
    shedding.adjust(0.1)
    assert shedding.share == 1.0
    flood(shedding, 10 * NEWCOMERS_PER_SEC)
    assert shedding.share == pytest.approx(0.1), "what came back later is not held against the next"


def test_where_the_kernel_takes_no_filter_nothing_is_shed() -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    shedding = Shedding(closed, NEWCOMERS_PER_SEC)
    flood(shedding, 10 * NEWCOMERS_PER_SEC)
    assert shedding.share == 1.0
