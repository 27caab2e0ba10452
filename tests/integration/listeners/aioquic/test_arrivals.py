"""Strangers that flood the door: bounded for each address, made to prove it when crowded, and agents still get in."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from tests.support.certificates import Authority
from tests.support.consumer import frame, reply
from tests.support.fake_site import Site, Sites
from tests.support.quic_pair import agent_configuration
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.listeners.quic_aioquic import datagrams
from telemetry_collector.listeners.quic_aioquic.datagrams import Path
from telemetry_collector.listeners.quic_aioquic.material import CONNECTION_ID_BYTES
from telemetry_collector.listeners.quic_aioquic.retry import RetryTokens
from telemetry_collector.listeners.settings import Deadlines
from telemetry_collector.listeners.shedding import Shedding

FLOOD_SOURCES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


class Stranger:
    """Sends first datagrams from an address of its choice, and may come back with a token."""

    def __init__(self, site: Site, host: str, *, hears: bool = False) -> None:
        self.site = site
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))
        self.hears = hears
        self.target = ("127.0.0.1", site.listener.address.port)

    def initial(self) -> QuicConnection:
        """A first datagram; what is returned is the connection that it began."""
        begun = QuicConnection(configuration=agent_configuration(self.site.authority, None))
        begun.connect(self.target, 0.0)
        self.send(begun)
        return begun

    def send(self, connection: QuicConnection) -> None:
        for data, _ in connection.datagrams_to_send(0.0):
            self.socket.sendto(data, self.target)

    async def told_to_retry(self) -> bytes:
        """The Retry packet that comes back."""
        async with asyncio.timeout(PATIENCE_SECS):
            while True:
                data = await asyncio.get_running_loop().sock_recv(self.socket, 2_000)
                if data[0] & 0x80 and pull_quic_header(Buffer(data=data)).packet_type is QuicPacketType.RETRY:
                    return data

    async def come_back(self, connection: QuicConnection, retry: bytes, *, token: bytes | None = None) -> None:
        """Sends the first datagram again with the token, or with another one."""
        connection.receive_datagram(retry, self.target, 0.0)
        if token is not None:
            connection._peer_token = token
        self.send(connection)


@contextmanager
def stranger(site: Site, host: str = "127.0.0.2") -> Iterator[Stranger]:
    made = Stranger(site, host)
    with made.socket:
        yield made


async def test_few_strangers_are_let_begin_and_the_rest_have_to_prove_their_address(sites: Sites) -> None:
    site = await sites(handshakes_max=12, deadlines=Deadlines(handshake=0.5))
    with stranger(site) as one:
        for _ in range(10):
            one.initial()
        await until(lambda: site.count("retry_packets_sent_total") == 7)
        # No state was made for those.
        assert len(site.listener._connections) == 3
        await one.told_to_retry()
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await node.reply(0, reply(1))
        assert node._quic._retry_count == 1
    await until(lambda: site.count("handshakes_failed_total", alert="timed_out") == 3)
    await until(lambda: not site.listener._routes)


async def test_a_token_is_good_for_its_address_and_connection_only(sites: Sites) -> None:
    site = await sites(handshakes_max=4, deadlines=Deadlines(handshake=PATIENCE_SECS))
    with stranger(site) as one, stranger(site, "127.0.0.3") as other:
        one.initial()
        await until(lambda: len(site.listener._connections) == 1)
        begun = one.initial()
        retry = await one.told_to_retry()
        # From another address, forged, cut short: nothing of it makes state.
        stolen = QuicConnection(configuration=begun._configuration)
        stolen.connect(("127.0.0.1", 1), 0.0)
        token = pull_quic_header(Buffer(data=retry)).token
        for bad in (token, os.urandom(len(token)), token[:-1], b"x"):
            another = other.initial()
            await other.come_back(another, await other.told_to_retry(), token=bad)
        await until(lambda: site.count("datagrams_dropped_total", reason="bad_token") == 4)
        assert len(site.listener._connections) == 1
        await one.come_back(begun, retry)
        await until(lambda: len(site.listener._connections) == 2)


async def test_a_first_flight_with_its_token_that_comes_again_begins_one_connection(sites: Sites) -> None:
    """It is called by the id that the Retry gave it, in every datagram until it has heard of another."""
    site = await sites(handshakes_max=4, deadlines=Deadlines(handshake=PATIENCE_SECS))
    with stranger(site) as one:
        one.initial()
        await until(lambda: len(site.listener._connections) == 1)
        begun = one.initial()
        begun.receive_datagram(await one.told_to_retry(), one.target, 0.0)
        first_flight = [data for data, _ in begun.datagrams_to_send(0.0)]
        for _ in range(3):
            for data in first_flight:
                one.socket.sendto(data, one.target)
        await until(lambda: site.count("datagrams_received_total") == 2 + 3 * len(first_flight))
        assert len(site.listener._connections) == 2


async def test_handshakes_and_connections_of_one_address_are_bounded(sites: Sites) -> None:
    site = await sites(handshakes_per_address=2, deadlines=Deadlines(handshake=PATIENCE_SECS))
    with stranger(site) as one, stranger(site, "127.0.0.3") as other:
        for _ in range(3):
            begun = one.initial()
            if site.listener._connections:
                await one.come_back(begun, await one.told_to_retry())
            await until(lambda: site.count("datagrams_received_total") > 0)
            await until(lambda: len(site.listener._connections) >= 1)
        reason = "too_many_handshakes_of_address"
        await until(lambda: site.count("connections_refused_total", reason=reason) == 1)
        assert len(site.listener._connections) == 2
        other.initial()
        await until(lambda: len(site.listener._connections) == 3)


@asynccontextmanager
async def flood(site: Site) -> AsyncIterator[list[int]]:
    """First datagrams from several addresses, again and again, until the end of the block; how many so far."""
    sent = [0]

    async def run() -> None:
        strangers = [Stranger(site, host) for host in FLOOD_SOURCES]
        initials = [datagrams_of_one(one) for one in strangers for _ in range(20)]
        try:
            while True:
                for place, data in enumerate(initials):
                    # Another connection id each time, so that the listener knows none; nobody can read those packets.
                    changed = data[:6] + os.urandom(8) + data[14:]
                    strangers[place % len(strangers)].socket.sendto(
                        data if sent[0] < len(initials) else changed, ("127.0.0.1", site.listener.address.port)
                    )
                    sent[0] += 1
                await asyncio.sleep(0.02)
        finally:
            for one in strangers:
                one.socket.close()

    task = asyncio.create_task(run())
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.wait([task])


def datagrams_of_one(one: Stranger) -> bytes:
    begun = QuicConnection(configuration=agent_configuration(one.site.authority, None))
    begun.connect(("127.0.0.1", 1), 0.0)
    ((data, _),) = begun.datagrams_to_send(0.0)
    return data


async def test_agents_get_in_and_are_answered_during_a_flood(sites: Sites, authority: Authority) -> None:
    site = await sites(handshakes_max=40)
    async with site.agent() as early:
        early.say(0, frame(b"before"))
        await early.reply(0, reply(1))
        async with flood(site) as sent:
            await until(lambda: site.count("retry_packets_sent_total") > 100)
            async with site.agent(host="127.0.0.1") as late:
                late.say(0, frame(b"batch"))
                await late.reply(0, reply(1))
                early.say(0, frame(b"meanwhile"))
                await early.reply(0, reply(1) + reply(2))
            await until(lambda: sent[0] > 1_000)
            # A quarter of the places at most went to those that proved nothing.
            assert len(site.listener._connections) - site.listener.connections <= 40 // 4 + 1
    assert site.count("connection_errors_total") == 0


async def test_initials_that_nobody_can_read_lock_no_agent_of_their_address_out(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They leave no handshake behind, and yet each costs the keys that it is read with: all of them are a flood."""
    turned_away: list[int] = []
    monkeypatch.setattr(Shedding, "arrived", lambda _, count=1: turned_away.append(count))
    site = await sites(connections_per_address_per_sec=1)
    with stranger(site, "127.0.0.1") as one:
        for number in range(100):
            data = b"\xc0\x00\x00\x00\x01\x08%08d\x08ssssssss\x00\x44\x96" % number
            one.socket.sendto(data + os.urandom(1_200 - len(data)), ("127.0.0.1", site.listener.address.port))
        await until(lambda: sum(turned_away) == 100)
    sent_away = site.count("retry_packets_sent_total")
    read = site.count("datagrams_dropped_total", reason="garbage")
    assert (sent_away + read, 1 <= read < 1 + PATIENCE_SECS) == (100, True)
    assert not site.listener._routes
    async with site.agent(host="127.0.0.1") as node:
        node.say(0, frame(b"batch"))
        await node.reply(0, reply(1))
    assert site.count("connections_refused_total", reason="too_many_connections_of_address") == 0


async def test_a_flood_of_newcomers_is_shed_until_it_is_over(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    # So few that this test can be a flood on any machine.
    monkeypatch.setattr(datagrams, "NEWCOMERS_PER_SEC", 200)
    site = await sites()
    async with site.agent() as node:
        node.say(0, frame(b"before"))
        await node.reply(0, reply(1))
        with stranger(site) as one:
            while site.count("newcomers_passing_ratio") == 1.0:
                for _ in range(50):
                    data = b"\xc0\x00\x00\x00\x01\x08" + os.urandom(8) + b"\x08ssssssss\x00\x44\x96"
                    one.socket.sendto(data.ljust(1_200, b"x"), ("127.0.0.1", site.listener.address.port))
                await asyncio.sleep(0.01)
        node.say(0, frame(b"meanwhile"))
        await node.reply(0, reply(1) + reply(2))
        await until(lambda: site.count("newcomers_passing_ratio") == 1.0)
    async with site.agent() as late:
        late.say(0, frame(b"batch"))
        await late.reply(0, reply(1))


@pytest.mark.parametrize("secs", [31.0, 7_300.0])
def test_a_token_runs_out(secs: float) -> None:
    tokens = RetryTokens(CONNECTION_ID_BYTES)
    path = Path(("10.0.0.1", 4_000))
    first = b"\xc0\x00\x00\x00\x01\x08" + b"original" + b"\x04" + b"peer" + b"\x00" + b"\x40\x10" + bytes(16)
    retry = pull_quic_header(Buffer(data=tokens.answer(pull_quic_header(Buffer(data=first)), path, 1_000.0)))
    again = (
        b"\xc0\x00\x00\x00\x01\x08"
        + retry.source_cid
        + b"\x04"
        + b"peer"
        + bytes([0x40, len(retry.token)])
        + retry.token
        + b"\x40\x10"
        + bytes(16)
    )
    header = pull_quic_header(Buffer(data=again))
    assert tokens.original_destination(header, path, 1_020.0) == b"original"
    assert tokens.original_destination(header, path, 1_000.0 + secs) is None
    assert tokens.original_destination(header, Path(("10.0.0.1", 4_001)), 1_020.0) is None
