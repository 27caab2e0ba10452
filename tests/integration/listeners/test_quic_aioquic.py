"""The listener on real sockets over loopback, with real certificates; its consumer is a fake."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry
from tests.support.certificates import SERVER, Authority, Credentials
from tests.support.consumer import FakeConsumer, FakeConversation, frame, reply
from tests.support.quic_agent import agent
from tests.support.quic_pair import NODE_URI, agent_configuration
from tests.support.quic_site import Site, Sites
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.clock import ManualClock
from telemetry_collector.config.section import Address
from telemetry_collector.errors import AddressError, CertificateError
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import Deadlines, QuicListener, QuicListenerSettings
from telemetry_collector.listeners.quic_aioquic.datagrams import DatagramSocket
from telemetry_collector.listeners.reset import ResetTokens
from telemetry_collector.model import CloseCode
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
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


def certificate(case: str, authority: Authority) -> Credentials | None:
    match case:
        case "none":
            return None
        case "other authority":
            return Authority("Test CA").issue(uri=NODE_URI)
        case "expired":
            return authority.issue(uri=NODE_URI, not_after=authority.now - timedelta(seconds=1))
        case "server usage only":
            return authority.issue(uri=NODE_URI, usages=SERVER)
        case _:
            return authority.issue(uri=NODE_URI)


@pytest.mark.parametrize(
    ("case", "alert", "name"),
    [
        ("good", None, ""),
        ("none", 116, "certificate_required"),
        ("other authority", 48, "unknown_ca"),
        ("expired", 45, "certificate_expired"),
        ("revoked", 44, "certificate_revoked"),
        ("server usage only", 42, "bad_certificate"),
    ],
)
async def test_the_table_of_certificates(
    sites: Sites, authority: Authority, case: str, alert: int | None, name: str
) -> None:
    credentials = certificate(case, authority)
    revoked = [credentials.certificate] if case == "revoked" and credentials else []
    site = await sites(revocations=RevocationLists([authority.revocations(*revoked)]))
    async with agent(site.listener.address, agent_configuration(authority, credentials)) as node:
        # Said before the handshake is through: it leaves with the agent's last flight.
        node.say(0, frame(b"batch"))
        if alert is None:
            await node.reply(0, reply(1))
            return
        assert await node.closed() == (TLS + alert, False)
    assert site.consumer.conversations == []
    assert site.count("stream_bytes_received_total") == 0
    assert site.count("handshakes_failed_total", alert=name) == 1
    assert site.count("connections_opened_total") == 0


async def test_another_protocol_is_refused(sites: Sites) -> None:
    site = await sites()
    async with site.agent(alpn="h3") as node:
        assert await node.closed() == (TLS + 120, False)
    assert site.count("handshakes_failed_total", alert="no_application_protocol") == 1


async def test_one_address_takes_both_kinds_of_internet(sites: Sites) -> None:
    site = await sites(address=Address("::", 0))
    for host in ("127.0.0.1", "::1"):
        async with site.agent(host=host) as node:
            node.say(0, frame(b"batch"))
            await node.reply(0, reply(1))


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
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.connect(("127.0.0.1", site.listener.address.port))
            for size in (0, 1, 2, 8, 9, 20, 1_199, 1_200, 9_000, 65_000):
                for first in (0x00, 0x40, 0x80, 0xC0, 0xD0, 0xE0, 0xF0, 0xFF):
                    stranger.send((bytes([first]) + b"\x00\x00\x00\x01" + os.urandom(max(size, 5)))[:size])
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


async def test_connections_are_bounded_and_a_place_that_is_free_is_given_again(sites: Sites) -> None:
    site = await sites(connections_max=2)
    async with site.agent() as first:
        first.say(0, frame(b"batch"))
        await first.reply(0, reply(1))
        async with site.agent() as second, site.agent() as third:
            second.say(0, frame(b"batch"))
            await second.until(lambda: bool(second.received(0)) or second.closing is not None)
            third.say(0, frame(b"batch"))
            await third.until(lambda: bool(third.received(0)) or third.closing is not None)
            codes = [node.closing.error_code for node in (second, third) if node.closing is not None]
            assert codes == [CloseCode.TOO_MANY_CONNECTIONS]
        await until(lambda: site.listener.connections == 1)
        async with site.agent() as fourth:
            fourth.say(0, frame(b"batch"))
            await fourth.reply(0, reply(1))
    assert site.count("connections_refused_total", reason="too_many_connections") == 1


async def test_a_stalled_agent_does_not_hold_up_another(sites: Sites) -> None:
    site = await sites()
    async with site.agent(max_stream_data=4) as deaf, site.agent() as unfinished, site.agent() as good:
        deaf.take_no_more()
        deaf.say(0, frame(b"batch") * 8)
        unfinished.say(0, (1_000_000).to_bytes(4, "big") + b"x" * 500_000)
        for number in range(1, 51):
            good.say(0, frame(b"batch"))
            await good.reply(0, b"".join(reply(done) for done in range(1, number + 1)))
        assert site.listener.connections == 3
        assert len(deaf.received(0)) <= 4


async def test_slow_peers_are_told_why_they_are_closed(sites: Sites) -> None:
    site = await sites(deadlines=Deadlines(idle=0.4, replies=0.2, frame=0.2))
    async with site.agent(max_stream_data=4) as deaf, site.agent() as silent:
        deaf.take_no_more()
        deaf.say(0, frame(b"batch"))
        assert await deaf.closed() == (CloseCode.TIMED_OUT, True)
        assert await silent.closed() == (CloseCode.TIMED_OUT, True)
    assert site.count("connections_closed_total", code="timed_out", side="collector") == 2


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


async def test_new_trust_closes_the_revoked_and_keeps_the_rest(sites: Sites, authority: Authority) -> None:
    site = await sites()
    bad = authority.issue(uri="spiffe://fleet/bad")
    async with site.agent() as good, site.agent(bad) as revoked, site.agent(authority.issue(dns="stranger")) as removed:
        for node in (good, revoked, removed):
            node.say(0, frame(b"batch"))
            await node.reply(0, reply(1))
        lists = RevocationLists([authority.revocations(bad.certificate)])
        await site.listener.update_trust(
            ClientVerifier([authority.certificate], lists), AllowList(["spiffe://fleet/*"])
        )
        assert site.listener.connections == 1
        assert await revoked.closed() == (CloseCode.REVOKED, True)
        assert await removed.closed() == (CloseCode.REVOKED, True)
        good.say(0, frame(b"batch"))
        await good.reply(0, reply(1) + reply(2))
    async with site.agent(bad) as again:
        assert await again.closed() == (TLS + 44, False)


async def test_another_configuration_holds_for_open_connections_and_for_new_ones(
    sites: Sites, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await sites()
    renewed = authority.issue(dns="collector", usages=SERVER)
    settings = QuicListenerSettings(site.listener.address, *renewed.write(tmp_path, "renewed"), connections_max=1)
    trust = ClientVerifier([authority.certificate]), AllowList()
    async with site.agent() as node:
        node.say(0, frame(b"one"))
        await node.reply(0, reply(1))
        await site.listener.reconfigure(settings, *trust)
        async with site.agent() as other:
            assert await other.closed() == (CloseCode.TOO_MANY_CONNECTIONS, True)
            assert other._quic.tls._peer_certificate == renewed.certificate
        node.say(0, frame(b"two"))
        await node.reply(0, reply(1) + reply(2))
        missing = replace(settings, tls_cert_path=tmp_path / "missing", connections_max=2)
        with pytest.raises(CertificateError, match="missing"):
            await site.listener.reconfigure(missing, *trust)
        assert site.count("connections_max") == 1, "nothing has changed"
        # The key goes between the check of the certificate and the reading of what resets are made from.
        before = site.listener._configuration
        with monkeypatch.context() as patch:
            patch.setattr(ResetTokens, "of_key_file", lambda path: path.with_name("gone").read_bytes())
            with pytest.raises(CertificateError, match="gone"):
                await site.listener.reconfigure(replace(settings, connections_max=2), *trust)
        assert (site.listener._configuration, site.count("connections_max")) == (before, 1), "nothing has changed"
        await site.listener.reconfigure(replace(settings, deadlines=Deadlines(idle=0.1)), *trust)
        assert await node.closed() == (CloseCode.TIMED_OUT, True)


async def test_a_certificate_whose_key_is_another_is_not_used(
    sites: Sites, authority: Authority, tmp_path: Path
) -> None:
    site = await sites()
    (certificate, _), (_, key) = (
        authority.issue(dns="localhost", usages=SERVER).write(tmp_path, name) for name in ("one", "two")
    )
    with pytest.raises(CertificateError, match=f"{key} is not the key of {certificate}"):
        await site.listener.reconfigure(
            QuicListenerSettings(site.listener.address, certificate, key),
            ClientVerifier([authority.certificate]),
            AllowList(),
        )


async def test_a_certificate_that_runs_out_closes_its_connection(sites: Sites, authority: Authority) -> None:
    clock = ManualClock(authority.now.timestamp())
    site = await sites(clock=clock, deadlines=Deadlines(expiry=0.01))
    short = authority.issue(uri=NODE_URI, not_after=authority.now + timedelta(seconds=100))
    async with site.agent(short) as ending, site.agent() as lasting:
        for node in (ending, lasting):
            node.say(0, frame(b"batch"))
            await node.reply(0, reply(1))
        clock.advance(101)
        assert await ending.closed() == (CloseCode.REVOKED, True)
        assert site.listener.connections == 1


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


async def test_an_agent_whose_port_changes_keeps_its_connection(sites: Sites) -> None:
    """As behind an address translator that forgot it."""
    site = await sites()
    async with site.agent() as node:
        node.say(0, frame(b"before"))
        await node.reply(0, reply(1))
        loop = asyncio.get_running_loop()
        old = node._transport
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0, 0, 0))
        transport, _ = await loop.create_datagram_endpoint(lambda: node, sock=sock)
        assert old is not None
        old.close()
        node.say(0, frame(b"after"))
        await node.reply(0, reply(1) + reply(2))
        assert site.listener.connections == 1
        assert site.count("connections_opened_total") == 1
        node.close()
        await node.wait_closed()
        transport.close()


@asynccontextmanager
async def stopping(site: Site) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(site.listener.stop(PATIENCE_SECS))
    await until(lambda: not site.listener._accepting)
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
        await until(lambda: not site.listener._accepting)
        task.cancel()
        assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)
        await asyncio.wait([task])
        assert task.cancelled()
    with pytest.raises(RuntimeError, match="not started"):
        _ = site.listener.address


async def test_stopping_is_safe_before_starting(authority: Authority, server: tuple[Path, Path]) -> None:
    listener = QuicListener(
        QuicListenerSettings(Address("127.0.0.1", 0), *server),
        FakeConsumer(),
        ClientVerifier([authority.certificate]),
        AllowList(),
        ListenerEvents(CollectorRegistry()),
    )
    await listener.stop()
    await listener.start()
    await listener.stop()
    await listener.stop()


async def test_an_address_that_is_taken_is_named(sites: Sites) -> None:
    site = await sites()
    words = f"cannot listen on {site.listener.address}: address already in use; expected .* in server.listen_addr"
    with pytest.raises(AddressError, match=words):
        await sites(address=site.listener.address)
    with pytest.raises(AddressError, match=r"no-such-host\.invalid"):
        await sites(address=Address("no-such-host.invalid", 5_001))


async def test_certificates_that_cannot_be_used_are_named(
    authority: Authority, server: tuple[Path, Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for cert, key, named in [
        (tmp_path / "missing.pem", server[1], "missing.pem"),
        (server[0], tmp_path / "missing.key", "missing.key"),
        (empty, server[1], "empty.pem"),
        (server[0], empty, "empty.pem"),
    ]:
        listener = QuicListener(
            QuicListenerSettings(Address("127.0.0.1", 0), cert, key),
            FakeConsumer(),
            ClientVerifier([authority.certificate]),
            AllowList(),
            ListenerEvents(CollectorRegistry()),
        )
        with pytest.raises(CertificateError, match=named):
            await listener.start()
