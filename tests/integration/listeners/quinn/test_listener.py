"""The listener on quinn, on real sockets with real certificates; behind it the real core and its journal."""

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aioquic.quic import events as quic
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.certificates import Authority
from tests.support.quic_listener import Sites, acks, bare_frame, stored
from tests.support.quic_pair import NODE_URI
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.quic_quinn.material import trust_of
from telemetry_collector.listeners.reset import ResetTokens
from telemetry_collector.listeners.settings import Deadlines
from telemetry_collector.model import CloseCode
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import ClientVerifier

TLS = 0x100


async def test_batches_go_in_and_replies_come_back(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        node.say(0, bare_frame(sequence=1) + bare_frame(sequence=2), end=True)
        node.say(4, bare_frame(100, sequence=3))
        await stored(node, 0, 2)
        await stored(node, 4)
        assert site.listener.connections == 1
    await until(lambda: site.listener.connections == 0)
    await site.counted("connections_closed_total", 1, code="normal", side="agent")
    await site.counted("frames_received_total", 3)
    assert site.count("streams_opened_total") == 2
    assert site.core.stats()["points_committed"] == 102
    await until(lambda: site.count("datagrams_received_total") > 0)
    assert site.count("connections") == 0


async def test_a_failure_to_count_does_not_end_the_counting(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    site = await sites()
    counts: list[bool] = []

    def fail_once() -> None:
        counts.append(True)
        if len(counts) == 1:
            raise ValueError("Counters can only be incremented by non-negative amounts.")

    monkeypatch.setattr(site.listener, "_count", fail_once)
    await until(lambda: len(counts) >= 3)


async def test_another_protocol_is_refused(sites: Sites) -> None:
    site = await sites()
    async with site.agent(alpn="h3") as node:
        assert await node.closed() == (TLS + 120, False)
    await site.counted("handshakes_failed_total", 1, alert="no_application_protocol")


async def test_connections_are_bounded_and_a_place_that_is_free_is_given_again(sites: Sites) -> None:
    site = await sites(connections_max=1)
    async with site.agent() as first:
        first.say(0, bare_frame())
        await stored(first)
        async with site.agent() as second:
            assert await second.closed() == (CloseCode.TOO_MANY_CONNECTIONS, True)
    await until(lambda: site.listener.connections == 0)
    async with site.agent() as third:
        third.say(0, bare_frame(sequence=2))
        await stored(third)
    await site.counted("connections_refused_total", 1, reason="too_many_connections")


async def test_who_is_not_on_the_list_is_not_let_in(sites: Sites, authority: Authority) -> None:
    site = await sites(allowlist=AllowList(["spiffe://fleet/*"]))
    for credentials in (authority.issue(dns="stranger"), authority.issue(), authority.issue(uri="spiffe://fleet/%FF")):
        async with site.agent(credentials) as node:
            node.say(0, bare_frame())
            assert await node.closed() == (CloseCode.NOT_ALLOWED, True)
    await site.counted("connections_refused_total", 3, reason="not_allowed")
    assert site.core.stats()["batches_received"] == 0


async def test_slow_peers_are_told_why_they_are_closed(sites: Sites) -> None:
    site = await sites(deadlines=Deadlines(idle=0.6, replies=0.3, frame=0.2))
    async with site.agent(room=4) as deaf, site.agent() as silent, site.agent() as unfinished:
        deaf.take_no_more()
        deaf.say(0, bare_frame())
        unfinished.say(0, bare_frame() + b"\x00\x00\x10\x00begun")
        assert await deaf.closed() == (CloseCode.TIMED_OUT, True)
        await unfinished.until(
            lambda: any(
                isinstance(event, quic.StreamReset) and event.error_code == CloseCode.TIMED_OUT
                for event in unfinished.heard
            )
        )
        assert await silent.closed() == (CloseCode.TIMED_OUT, True)
        assert await unfinished.closed() == (CloseCode.TIMED_OUT, True)
    await site.counted("connections_closed_total", 3, code="timed_out", side="collector")
    await site.counted("streams_failed_total", 1, code="timed_out")


async def test_a_handshake_takes_no_longer_than_it_may(sites: Sites) -> None:
    site = await sites(deadlines=Deadlines(handshake=0.1))
    async with site.agent() as node:
        # Its second flight never comes.
        node._quic.datagrams_to_send = lambda **_: []  # type: ignore[method-assign]
        await site.counted("handshakes_failed_total", 1, alert="timed_out")
        node._quic._close_at = 0.0


async def test_an_agent_that_wants_no_replies_ends_its_stream(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        node.say(0, bare_frame())
        await stored(node)
        node._quic.stop_stream(0, CloseCode.NORMAL)
        node.transmit()
        await site.counted("streams_failed_total", 1, code="normal")
        node.say(4, bare_frame(sequence=2))
        await stored(node, 4)


async def test_a_stalled_agent_does_not_hold_up_another(sites: Sites) -> None:
    site = await sites()
    async with site.agent(room=4) as deaf, site.agent() as good:
        deaf.take_no_more()
        deaf.say(0, b"".join(bare_frame(sequence=number) for number in range(1, 9)))
        for number in range(1, 21):
            good.say(0, bare_frame(sequence=100 + number))
            await stored(good, 0, number)
        assert site.listener.connections == 2
        assert len(deaf.received(0)) <= 4


async def test_a_thousand_streams_one_after_another(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node:
        for number in range(1_000):
            node.say(4 * number, b"\x00\x00\x00\x02\x08\x00", end=True)
            if number % 4 == 3:
                await acks(node, 4 * number, 1)
    await site.counted("streams_opened_total", 1_000)


async def test_new_trust_closes_the_revoked_and_keeps_the_rest(sites: Sites, authority: Authority) -> None:
    site = await sites()
    bad = authority.issue(uri="spiffe://fleet/bad")
    async with site.agent() as good, site.agent(bad) as revoked, site.agent(authority.issue(dns="stranger")) as removed:
        for number, node in enumerate((good, revoked, removed)):
            node.say(0, bare_frame(epoch=number + 1))
            await stored(node)
        lists = RevocationLists([authority.revocations(bad.certificate)])
        await site.listener.update_trust(
            ClientVerifier([authority.certificate], lists), AllowList(["spiffe://fleet/*"])
        )
        assert await revoked.closed() == (CloseCode.REVOKED, True)
        assert await removed.closed() == (CloseCode.REVOKED, True)
        await until(lambda: site.listener.connections == 1)
        good.say(0, bare_frame(sequence=2))
        await stored(good, 0, 2)
    async with site.agent(bad) as again:
        assert await again.closed() == (TLS + 44, False)


async def test_an_authority_that_ran_out_is_not_trusted(sites: Sites, authority: Authority) -> None:
    site = await sites()
    old = Authority("Old CA", now=authority.now - timedelta(days=365, seconds=1))
    await site.listener.update_trust(ClientVerifier([old.certificate, authority.certificate]), AllowList())
    late = old.issue(uri=NODE_URI, not_after=authority.now + timedelta(days=1))
    async with site.agent(late) as refused, site.agent() as good:
        assert await refused.closed() == (TLS + 48, False)
        good.say(0, bare_frame())
        await stored(good)


async def test_a_relay_that_is_none_any_more_is_closed(sites: Sites, authority: Authority) -> None:
    site = await sites(allowlist=AllowList(relays=["spiffe://fleet/node-1"]))
    async with site.agent() as relay:
        relay.say(0, bare_frame())
        await stored(relay)
        await site.listener.update_trust(ClientVerifier([authority.certificate]), AllowList())
        assert await relay.closed() == (CloseCode.REVOKED, True)


async def test_a_certificate_that_runs_out_closes_its_connection(sites: Sites, authority: Authority) -> None:
    site = await sites(deadlines=Deadlines(expiry=0.05))
    short = authority.issue(uri=NODE_URI, not_after=datetime.now(UTC) + timedelta(seconds=2))
    async with site.agent(short) as ending, site.agent() as lasting:
        for number, node in enumerate((ending, lasting)):
            node.say(0, bare_frame(epoch=number + 1))
            await stored(node)
        assert await ending.closed() == (CloseCode.REVOKED, True)
        assert site.listener.connections == 1


async def test_a_restarted_listener_resets_connections_of_before(
    sites: Sites, authority: Authority, tmp_path: Path
) -> None:
    site = await sites()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        stranger.connect(("127.0.0.1", site.listener.address.port))
        answers = []
        for _ in range(2):
            # Of a connection that it does not know: the token is the same however often it is asked.
            stranger.send(b"\x40" + b"old-conn" + os.urandom(60))
            async with asyncio.timeout(PATIENCE_SECS):
                answers.append(await asyncio.get_running_loop().sock_recv(stranger, 2_000))
            await asyncio.sleep(0.05)  # it answers so many a second, and no more
    token = ResetTokens.of_key_file(site.settings.tls_key_path).token(b"old-conn")
    assert [answer[-16:] for answer in answers] == [token] * 2


async def test_stopping_answers_what_was_received_and_says_so(sites: Sites) -> None:
    site = await sites()
    async with site.agent() as node, site.agent() as idle:
        for sequence in range(1, 9):
            node.say(0, bare_frame(100, sequence=sequence))
        await until(lambda: site.count("frames_received_total") >= 1)
        await until(lambda: site.listener.connections == 2)
        await site.listener.stop(PATIENCE_SECS)
        assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)
        assert await idle.closed() == (CloseCode.SHUTTING_DOWN, True)
        assert len(await acks(node, 0, 8)) == site.count("frames_received_total")
    assert site.count("connections_closed_total", code="shutting_down", side="collector") == 2
    assert site.count("connections") == 0
    await site.listener.stop()
    with pytest.raises(RuntimeError, match="not started"):
        _ = site.listener.address


async def test_stopping_that_is_cancelled_still_closes_everything(sites: Sites) -> None:
    site = await sites()
    async with site.agent(room=4) as deaf:
        deaf.take_no_more()
        deaf.say(0, bare_frame())
        await until(lambda: site.count("frames_received_total") == 1)
        task = asyncio.create_task(site.listener.stop(PATIENCE_SECS))
        await asyncio.sleep(0)
        task.cancel()
        assert await deaf.closed() == (CloseCode.SHUTTING_DOWN, True)
        await asyncio.wait([task])
        assert task.cancelled()


def test_an_authority_that_the_core_cannot_check_is_told_at_the_start() -> None:
    authority = Authority("Exotic CA", key=ec.generate_private_key(ec.SECP521R1()))
    with pytest.raises(CertificateError, match=r"P-521, which the authority CN=Exotic CA makes; expected RSA"):
        trust_of(ClientVerifier([authority.certificate]), AllowList())


def test_two_lists_of_one_authority_are_told_at_the_start(authority: Authority) -> None:
    """Only one of them would be looked at."""
    revoked = authority.issue(uri=NODE_URI).certificate
    lists = [authority.revocations(), Authority("Another CA").revocations(), authority.revocations(revoked)]
    with pytest.raises(CertificateError, match=r"there are 2 revocation lists of CN=Test CA; expected one"):
        trust_of(ClientVerifier([authority.certificate], RevocationLists(lists)), AllowList())
