"""The relay passes datagrams both ways, over the link that it is told; the sink takes lines in each of its moods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import cast

import aiohttp
import pytest
from tests.support.waiting import until

from telemetry_collector.torture.link import CLEAR, Link
from telemetry_collector.torture.relay import Relay
from telemetry_collector.torture.sink import Mood, Sink
from telemetry_collector.torture.values import Seen

PATIENCE_SECS = 10.0


class Endpoint(asyncio.DatagramProtocol):
    """Gathers what arrives; `echo` sends it back."""

    def __init__(self, *, echo: bool = False) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self._echo = echo
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.arrived.put_nowait(data)
        if self._echo:
            self.transport.sendto(data, addr)

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    async def next(self) -> bytes:
        async with asyncio.timeout(PATIENCE_SECS):
            return await self.arrived.get()


@pytest.fixture
async def network() -> AsyncIterator[tuple[Endpoint, Relay, Endpoint]]:
    """A client, the relay and a server that echoes."""
    loop = asyncio.get_running_loop()
    _, server = await loop.create_datagram_endpoint(lambda: Endpoint(echo=True), local_addr=("127.0.0.1", 0))
    relay = Relay(("127.0.0.1", server.port), Random(1))
    await relay.start()
    _, client = await loop.create_datagram_endpoint(Endpoint, remote_addr=("127.0.0.1", relay.port))
    yield client, relay, server
    client.transport.close()
    server.transport.close()
    await relay.stop()


async def test_datagrams_pass_both_ways(network: tuple[Endpoint, Relay, Endpoint]) -> None:
    client, _, server = network
    for data in (b"one", b"two", b"three"):
        client.transport.sendto(data)
        assert await server.next() == data
        assert await client.next() == data


async def test_nothing_passes_a_black_out_and_everything_after_it(network: tuple[Endpoint, Relay, Endpoint]) -> None:
    client, relay, server = network
    client.transport.sendto(b"before")
    assert await client.next() == b"before"
    relay.link = Link(loss=1.0)
    client.transport.sendto(b"lost")
    await until(lambda: relay.taken == 3)
    relay.link = CLEAR
    client.transport.sendto(b"after")
    assert await client.next() == b"after"
    assert server.arrived.get_nowait() == b"before"
    assert server.arrived.get_nowait() == b"after"


async def test_jitter_brings_datagrams_out_of_order(network: tuple[Endpoint, Relay, Endpoint]) -> None:
    client, relay, server = network
    client.transport.sendto(b"first")
    assert await server.next() == b"first"
    relay.link = Link(jitter_secs=0.05)
    sent = [number.to_bytes(2, "big") for number in range(100)]
    for data in sent:
        client.transport.sendto(data)
    arrived = [await server.next() for _ in sent]
    assert sorted(arrived) == sent
    assert arrived != sent


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    made = Sink()
    await made.start()
    yield made
    await made.stop()


async def post(sink: Sink, values: range, timeout_secs: float = PATIENCE_SECS) -> int:
    body = "".join(f"torture.1,node_id=a value={float(value)!r} 1\n" for value in values)
    timeout = aiohttp.ClientTimeout(total=timeout_secs)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{sink.url}/api/v2/write", data=body) as answer,
    ):
        return answer.status


def of(values: range) -> Seen:
    seen = Seen()
    seen.update(values)
    return seen


async def test_a_sink_remembers_what_it_took(sink: Sink) -> None:
    assert await post(sink, range(10)) == 204
    sink.mood = Mood.REFUSES
    assert await post(sink, range(10, 20)) == 500
    sink.mood = Mood.BUSY
    assert await post(sink, range(20, 30)) == 429
    assert sink.seen.missing(of(range(30))) == 20
    sink.mood = Mood.FORGETS
    assert await post(sink, range(10, 30)) == 500
    assert sink.seen.missing(of(range(30))) == 0


async def test_a_sink_that_hangs_gives_no_answer(sink: Sink) -> None:
    sink.mood = Mood.HANGS
    with pytest.raises(TimeoutError):
        await post(sink, range(5), timeout_secs=0.2)
    assert len(sink.seen) == 0
