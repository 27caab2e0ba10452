"""Newcomers at the listener on quinn: who proves an address, who is shed, and who is no flood."""

import asyncio
import os
import socket

import pytest
from tests.support.certificates import Authority
from tests.support.quic_listener import Sites, bare_frame, stored
from tests.support.quic_pair import NODE_URI
from tests.support.waiting import until

from telemetry_collector.listeners.quic_quinn import listener as quinn_listener
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier


async def test_newcomers_over_the_rate_prove_their_address_and_are_refused(sites: Sites, authority: Authority) -> None:
    site = await sites(connections_per_address_per_sec=1)
    credentials = authority.issue(uri=NODE_URI)
    async with site.agent(credentials) as first:
        first.say(0, bare_frame())
        await stored(first)
        async with site.agent(credentials) as second:
            second.say(0, bare_frame(sequence=2))
            await stored(second)
    # The second was of the half that is kept for those who have proven that they are there.
    await site.counted("retry_packets_sent_total", 1)
    async with site.agent(credentials) as third:
        await until(lambda: site.count("connections_refused_total", reason="too_many_connections_of_address") >= 1)
        third._quic._close_at = 0.0


async def test_a_flood_of_newcomers_is_shed_until_it_is_over(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    # So few that this test can be a flood on any machine.
    monkeypatch.setattr(quinn_listener, "TURNED_AWAY_PER_SEC", 200)
    site = await sites(handshakes_max=2)
    async with site.agent() as node:
        node.say(0, bare_frame())
        await stored(node)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            while site.count("newcomers_passing_ratio") in (0.0, 1.0):
                for _ in range(50):
                    data = b"\xc0\x00\x00\x00\x01\x08" + os.urandom(8) + b"\x08ssssssss\x00\x44\x96"
                    stranger.sendto(data.ljust(1_200, b"x"), ("127.0.0.1", site.listener.address.port))
                await asyncio.sleep(0.01)
        node.say(0, bare_frame(sequence=2))
        await stored(node)
        await until(lambda: site.count("newcomers_passing_ratio") == 1.0)
    async with site.agent() as late:
        late.say(0, bare_frame(sequence=3))
        await stored(late)


async def test_a_fleet_that_comes_back_is_no_flood(
    sites: Sites, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quinn_listener, "TURNED_AWAY_PER_SEC", 10)
    site = await sites(connections_per_address_per_sec=1_000, handshakes_per_address=100)
    credentials = authority.issue(uri=NODE_URI)

    async def come_back(sequence: int) -> None:
        async with site.agent(credentials) as node:
            node.say(0, bare_frame(sequence=sequence))
            await stored(node)

    await asyncio.gather(*(come_back(sequence) for sequence in range(1, 21)))
    # Counted by the same look as those that are turned away.
    await site.counted("streams_opened_total", 20)
    assert site.count("newcomers_passing_ratio") in (0.0, 1.0)
    assert isinstance(site.listener, quinn_listener.QuinnListener)
    assert site.listener._shedding.share == 1.0


async def test_a_proof_of_an_address_outlives_a_reload(sites: Sites, authority: Authority) -> None:
    site = await sites(connections_per_address_per_sec=1)
    async with site.agent() as first:
        first.say(0, bare_frame())
        await stored(first)
        async with site.agent() as second:
            # Sent away for a token, it comes back when the reload is through.
            coming, second.transmit = second.transmit, lambda: None  # type: ignore[method-assign]
            await until(lambda: second._quic._retry_source_connection_id is not None)
            await site.listener.reconfigure(site.settings, ClientVerifier([authority.certificate]), AllowList())
            second.transmit = coming  # type: ignore[method-assign]
            second.say(0, bare_frame(sequence=2))
            await stored(second)
    await site.counted("retry_packets_sent_total", 1)
