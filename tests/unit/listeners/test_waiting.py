"""Newcomers that wait for a place: in their order, and within bounds."""

import pytest

from telemetry_collector.listeners.quic_aioquic import waiting
from telemetry_collector.listeners.quic_aioquic.datagrams import Path
from telemetry_collector.listeners.quic_aioquic.waiting import (
    HELLO_DATAGRAMS_MAX,
    REPEATED_DATAGRAMS_MAX,
    Newcomer,
    WaitingRoom,
)

PATH = Path(("10.0.0.1", 4_000))


def newcomer(number: int, data: bytes = b"hello") -> Newcomer:
    return Newcomer(b"original", b"%d" % number, lambda: None, float(number), [(data, PATH)])


def filled(count: int, data: bytes = b"hello") -> WaitingRoom:
    room = WaitingRoom()
    for number in range(count):
        assert not room.full
        room.enter(b"%d" % number, newcomer(number, data))
    return room


def test_who_came_first_leaves_first_with_all_that_came_of_it() -> None:
    room = filled(3)
    assert room.add(b"1", b"more", PATH)
    left = [room.leave() for _ in range(3)]
    assert [one.since for one in left if one is not None] == [0.0, 1.0, 2.0]
    assert left[1] is not None
    assert [data for data, _ in left[1].datagrams] == [b"hello", b"more"]
    assert room.leave() is None
    assert b"1" not in room


def test_no_more_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WAITING_MAX", 5)
    room = filled(5)
    assert room.full
    room.leave()
    assert not room.full


def test_no_more_bytes_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WAITING_BYTES_MAX", 4_000)
    room = filled(3, bytes(1_200))
    assert room.add(b"0", bytes(1_200), PATH)
    assert room.full
    assert room.add(b"1", bytes(1_200), PATH)
    one, two = room.leave(), room.leave()
    assert one is not None
    assert two is not None
    assert (len(one.datagrams), len(two.datagrams)) == (2, 1), "there was no room for the last"
    assert not room.full


def test_a_flight_that_comes_again_is_kept_once_and_no_flood_until_it_comes_too_often() -> None:
    room = filled(1)
    kept = [room.add(b"0", b"again", PATH) for _ in range(HELLO_DATAGRAMS_MAX + REPEATED_DATAGRAMS_MAX)]
    assert kept == [True] * (HELLO_DATAGRAMS_MAX - 1 + REPEATED_DATAGRAMS_MAX) + [False]
    one = room.leave()
    assert one is not None
    assert len(one.datagrams) == HELLO_DATAGRAMS_MAX
