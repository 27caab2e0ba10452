"""The listener on aioquic on real sockets: its tables, its errors, and replies that are held back."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from tests.support.certificates import Authority
from tests.support.consumer import FakeConsumer, FakeConversation, frame, reply
from tests.support.fake_site import Site, Sites
from tests.support.quic_listener import strange_datagrams
from tests.support.quic_pair import NODE_URI
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.quic_aioquic import Deadlines, QuicListenerSettings
from telemetry_collector.listeners.quic_aioquic.datagrams import DatagramSocket
from telemetry_collector.listeners.reset import ResetTokens
from telemetry_collector.model import CloseCode
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

TLS = 0x100
INTERNAL_ERROR = 1


async def test_batches_go_in_and_replies_come_back(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        node.say(0, frame(b"one") + frame(b"two"), end=True)
        node.say(4, frame(b"other"))
        await node.reply(0, reply(1) + reply(2))
        await node.reply(4, reply(1))
        assert [c.identity for c in site.consumer.conversations] == [NODE_URI] * 2
        assert site.listener.connections == 1
    await until(lambda: site.listener.connections == 0)
    assert site.count("connections_closed_total", code="normal", side="agent") == 1


async def test_megabytes_arrive_whole(sites: Sites) -> None:
    site = await sites(consumer=FakeConsumer(credit=1_000))
    body = os.urandom(500_000)
    async with site.agent() as node:
        for _ in range(20):
            node.say(0, frame(body))
        await node.reply(0, b"".join(reply(number) for number in range(1, 21)))
    assert site.consumer.conversations[0].bodies == [body] * 20


async def test_garbage_harms_nobody(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        node.say(0, frame(b"before"))
        await node.reply(0, reply(1))
        strange_datagrams(site.listener.address.port)
        await until(lambda: site.count("datagrams_received_total") >= 70)
        # Not even those that look like a first packet take up a place.
        assert len(site.listener._connections) == 1
        node.say(0, frame(b"after"))
        await node.reply(0, reply(1) + reply(2))
    assert site.count("connection_errors_total") == 0
    assert site.count("datagrams_dropped_total", reason="garbage") > 0
    assert site.count("datagrams_dropped_total", reason="unknown_connection") > 0


async def test_an_unknown_version_is_told_the_known_one(sites: Sites) -> None:
    site = await sites()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        stranger.connect(("127.0.0.1", site.listener.address.port))
        hello = b"\xc0\xfa\xce\xb0\x0c" + b"\x08" + b"d" * 8 + b"\x04" + b"s" * 4
        stranger.send(hello.ljust(1_200, b"\x00"))
        async with asyncio.timeout(PATIENCE_SECS):
            answer = await loop.sock_recv(stranger, 2_000)
        # Too small to be a first datagram: answering would help to flood whoever it claims to be from.
        stranger.send(hello)
        await until(lambda: site.count("datagrams_dropped_total", reason="garbage") == 1)
    assert answer[1:5] == b"\x00\x00\x00\x00"
    assert answer[6:10] == b"ssss"
    assert answer.endswith(b"\x00\x00\x00\x01")


async def test_a_thousand_streams_one_after_another_leave_nothing_behind(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        for number in range(1_000):
            node.say(4 * number, frame(b"batch"), end=True)
            if number % 4 == 3:
                await node.reply(4 * number, reply(1))
        (connection,) = site.listener._connections
        await until(lambda: not connection._transport._streams)
        assert len(connection._streams) <= 8
    assert site.count("streams_opened_total") == 1_000


async def test_an_error_in_one_connection_is_its_own(sites: Sites, authority: Authority) -> None:
    class Faulty(FakeConsumer):
        def conversation(self, identity: str, node: str, *, relay: bool, ready: Callable[[], None]) -> FakeConversation:
            if node == "cursed":
                raise RuntimeError("a fault of the consumer")
            return super().conversation(identity, node, relay=relay, ready=ready)

    site = await sites(consumer=Faulty())
    async with site.agent() as good, site.agent(authority.issue(uri="spiffe://fleet/cursed")) as cursed:
        good.say(0, frame(b"batch"))
        cursed.say(0, frame(b"batch"))
        assert await cursed.closed() == (INTERNAL_ERROR, False)
        good.say(0, frame(b"batch"))
        await good.reply(0, reply(1) + reply(2))
    assert site.count("connection_errors_total") == 1
    await until(lambda: site.listener.connections == 0)


async def test_an_error_in_the_middle_of_a_stream_closes_the_connection_once(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await node.reply(0, reply(1))
        site.consumer.error = RuntimeError("a fault of the consumer")
        node.say(0, frame(b"batch"))
        assert await node.closed() == (INTERNAL_ERROR, False)
    assert site.count("connection_errors_total") == 1
    await until(lambda: site.listener.connections == 0 and not site.listener._routes)


async def test_who_cannot_be_verified_is_not_trusted(sites: Sites, authority: Authority) -> None:
    """The verifier itself fails: in a handshake, and for a connection that is open."""

    class Faulty(ClientVerifier):
        def verify(self, certificate: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> None:
            super().verify(certificate, intermediates)
            raise RuntimeError("a fault of the verifier")

    site = await sites()
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await node.reply(0, reply(1))
        await site.listener.update_trust(Faulty([authority.certificate]), AllowList())
        assert await node.closed() == (INTERNAL_ERROR, False)
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        assert await node.closed() == (INTERNAL_ERROR, False)
    assert len(site.consumer.conversations) == 1
    assert site.count("connection_errors_total") == 2
    await site.listener.update_trust(ClientVerifier([authority.certificate]), AllowList())
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await node.reply(0, reply(1))


async def test_a_configuration_whose_key_goes_while_it_is_read_changes_nothing(
    sites: Sites, server: tuple[Path, Path], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check of the certificate and the reading of what resets are made from."""
    site = await sites(connections_max=1)
    before = site.listener._configuration
    settings = QuicListenerSettings(site.listener.address, *server, connections_max=2)
    with monkeypatch.context() as patch:
        patch.setattr(ResetTokens, "of_key_file", lambda path: path.with_name("gone").read_bytes())
        with pytest.raises(CertificateError, match="gone"):
            await site.listener.reconfigure(settings, ClientVerifier([authority.certificate]), AllowList())
    assert (site.listener._configuration, site.count("connections_max")) == (before, 1)


async def test_a_check_that_fails_is_not_the_last(
    sites: Sites, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(authority.now.timestamp())
    site = await sites(clock=clock, deadlines=Deadlines(expiry=0.01))
    failed = asyncio.Event()

    def count_lost(_: DatagramSocket) -> None:
        failed.set()
        raise RuntimeError("a fault of the counters")

    monkeypatch.setattr(DatagramSocket, "count_lost", count_lost)
    short = authority.issue(uri=NODE_URI, not_after=authority.now + timedelta(seconds=100))
    async with site.agent(short) as ending:
        ending.say(0, frame(b"batch"))
        await ending.reply(0, reply(1))
        await asyncio.wait_for(failed.wait(), PATIENCE_SECS)
        clock.advance(101)
        assert await ending.closed() == (CloseCode.REVOKED, True)


@asynccontextmanager
async def stopping(site: Site) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(site.listener.stop(PATIENCE_SECS))
    await until(lambda: site.listener._newcomers._socket is None)
    yield task
    await task


async def test_stopping_sends_the_replies_due_and_says_so(sites: Sites) -> None:
    site = await sites(consumer=FakeConsumer(immediate=False))
    async with site.agent() as node, site.agent() as late:
        node.say(0, frame(b"batch"))
        await until(lambda: site.count("frames_received_total") == 1)
        async with stopping(site) as task:
            async with site.agent() as newcomer:
                newcomer.say(0, frame(b"too late"))
                await until(lambda: site.count("connections_refused_total", reason="shutting_down") >= 1)
                newcomer._quic._close_at = 0.0
            node.say(0, frame(b"not read any more"))
            assert not task.done()
            site.consumer.commit()
            await node.reply(0, reply(1))
            assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)
            assert await late.closed() == (CloseCode.SHUTTING_DOWN, True)
    assert site.consumer.conversations[0].frames == 1
    assert site.listener.connections == 0
    await site.listener.stop()


async def test_stopping_does_not_wait_for_ever(sites: Sites) -> None:
    site = await sites(consumer=FakeConsumer(immediate=False))
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await until(lambda: site.count("frames_received_total") == 1)
        await site.listener.stop(0.05)
        assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)


async def test_stopping_twice_at_a_time_ends_once_and_together(sites: Sites) -> None:
    site = await sites(consumer=FakeConsumer(immediate=False))
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await until(lambda: site.count("frames_received_total") == 1)
        async with stopping(site) as first:
            second = asyncio.create_task(site.listener.stop())
            await asyncio.sleep(0)
            assert not second.done()
            site.consumer.commit()
            await asyncio.gather(first, second)
        assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)


async def test_stopping_that_is_cancelled_still_closes_everything(sites: Sites) -> None:
    site = await sites(consumer=FakeConsumer(immediate=False))
    async with site.agent() as node:
        node.say(0, frame(b"batch"))
        await until(lambda: site.count("frames_received_total") == 1)
        task = asyncio.create_task(site.listener.stop(PATIENCE_SECS))
        await until(lambda: site.listener._newcomers._socket is None)
        task.cancel()
        assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)
        await asyncio.wait([task])
        assert task.cancelled()
    with pytest.raises(RuntimeError, match="not started"):
        _ = site.listener.address
