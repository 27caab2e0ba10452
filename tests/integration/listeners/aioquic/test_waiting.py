"""Who has proven its address waits for a handshake's place, and gets it without coming again by itself."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.integration.listeners.aioquic.test_arrivals import Stranger, flood, stranger
from tests.support.consumer import frame, reply
from tests.support.fake_site import Site, Sites
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import QuicListener, newcomers
from telemetry_collector.listeners.settings import Deadlines, QuicListenerSettings

PLACES = 4


async def taken(site: Site, one: Stranger) -> None:
    """Every place for a handshake is taken by somebody who never finishes his."""
    one.initial()
    await until(lambda: under_way(site) == 1)
    for number in range(1, PLACES):
        begun = one.initial()
        await one.come_back(begun, await one.told_to_retry())
        await until(lambda: under_way(site) == number + 1)  # noqa: B023  # awaited before the next number


async def waits(site: Site, one: Stranger) -> None:
    """One more comes back with its token, and waits behind nobody."""
    begun = one.initial()
    await one.come_back(begun, await one.told_to_retry())
    await until(lambda: site.count("newcomers_waiting") == 1)


def under_way(site: Site) -> int:
    return len(site.listener._connections) - site.listener.connections


async def test_an_agent_waits_for_a_place_and_then_gets_in(sites: Sites) -> None:
    site = await sites(handshakes_max=PLACES, deadlines=Deadlines(handshake=PATIENCE_SECS))
    with stranger(site) as one:
        await taken(site, one)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(let_in_and_answered(site))
            await until(lambda: site.count("newcomers_waiting") == 1)
            assert under_way(site) == PLACES
            # One of them is over, which nothing tells the listener's socket.
            site.listener._forget(next(iter(site.listener._connections)))
    assert site.count("newcomers_waiting") == 0
    assert site.count("connections_refused_total", reason="too_many_handshakes") == 0


async def let_in_and_answered(site: Site) -> None:
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await node.reply(0, reply(1))


async def test_first_datagrams_without_a_token_take_no_room_among_those_that_wait(sites: Sites) -> None:
    site = await sites(handshakes_max=PLACES, deadlines=Deadlines(handshake=PATIENCE_SECS))
    with stranger(site) as one:
        await taken(site, one)
        before = site.count("retry_packets_sent_total")
        async with flood(site):
            await until(lambda: site.count("retry_packets_sent_total") > before + 200)
            assert (site.count("newcomers_waiting"), under_way(site)) == (0, PLACES)


async def test_what_an_address_has_waiting_counts_as_under_way(sites: Sites) -> None:
    site = await sites(
        handshakes_max=PLACES, handshakes_per_address=PLACES + 1, deadlines=Deadlines(handshake=PATIENCE_SECS)
    )
    with stranger(site) as one:
        await taken(site, one)
        for _ in range(3):
            begun = one.initial()
            await one.come_back(begun, await one.told_to_retry())
        reason = "too_many_handshakes_of_address"
        await until(lambda: site.count("connections_refused_total", reason=reason) == 2)
        assert site.count("newcomers_waiting") == 1


async def test_who_has_waited_too_long_is_turned_away_and_counted(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "WAIT_SHARE", 0.0)
    site = await sites(handshakes_max=PLACES, deadlines=Deadlines(handshake=PATIENCE_SECS))
    with stranger(site) as one:
        await taken(site, one)
        await waits(site, one)
        site.listener._forget(next(iter(site.listener._connections)))
        await until(lambda: site.count("connections_refused_total", reason="waited_too_long") == 1)
        assert (site.count("newcomers_waiting"), under_way(site)) == (0, PLACES - 1)


async def test_who_waits_when_the_listener_stops_is_turned_away(sites: Sites) -> None:
    site = await sites(handshakes_max=PLACES, deadlines=Deadlines(handshake=PATIENCE_SECS))
    with stranger(site) as one:
        await taken(site, one)
        await waits(site, one)
        await site.listener.stop(0.0)
    assert site.count("connections_refused_total", reason="shutting_down") == 1
    assert site.count("newcomers_waiting") == 0


class _AlwaysMore:
    handshakes = 0

    def turn(self) -> Iterator[Any]:
        return iter(())


class _Loop:
    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, call: Any) -> None:
        self.soon.append(call)

    def time(self) -> float:
        return 0.0


NOBODY: Any = None


def test_a_wakeup_of_the_socket_has_no_second_turn_scheduled_beside_the_first(site_settings: Any) -> None:
    """Or there is one more with each wake-up, and datagrams are read less and less often the more of them wait."""
    listener: Any = QuicListener(site_settings, NOBODY, NOBODY, NOBODY, ListenerEvents(CollectorRegistry()))
    listener._loop, listener._backlog = _Loop(), _AlwaysMore()
    for _ in range(5):
        listener._flush()
    assert len(listener._loop.soon) == 1
    listener._loop.soon.pop()()
    assert len(listener._loop.soon) == 1, "there is always more to do"


@pytest.fixture
def site_settings(tmp_path: Any) -> QuicListenerSettings:
    return QuicListenerSettings(Address("127.0.0.1", 0), tmp_path / "cert.pem", tmp_path / "key.pem")
