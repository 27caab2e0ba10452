"""Who is let in and who stays: the same table for every listener, with real certificates over loopback."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aioquic.quic import events as quic
from aioquic.tls import SessionTicket
from tests.support.certificate_table import ROWS, Row
from tests.support.certificates import Authority
from tests.support.quic_agent import QuicAgent
from tests.support.quic_listener import Sites, forged_ticket, frame, served
from tests.support.quic_pair import NODE_URI

from telemetry_collector.listeners.settings import Deadlines
from telemetry_collector.model import CloseCode
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import ClientVerifier

TLS = 0x100
REVOKED_SECS_MAX = 5.0


async def test_a_good_certificate_is_let_in(sites: Sites, authority: Authority) -> None:
    site = await sites(revocations=RevocationLists([authority.revocations()]))
    async with site.agent() as node:
        await served(node)


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_the_table_of_certificates(sites: Sites, authority: Authority, row: Row) -> None:
    credentials = row.shows(authority)
    site = await sites(revocations=row.revocations(authority, credentials))
    async with site.agent(credentials) as node:
        # Said before the handshake is through: it leaves with the agent's last flight.
        node.say(0, frame())
        assert await node.closed() == (TLS + row.alert, False)
    await site.counted("handshakes_failed_total", alert=row.name)
    assert site.core.stats()["batches_received"] == 0
    assert site.count("stream_bytes_received_total") == 0
    assert site.count("connections_opened_total") == 0


async def test_connected_then_revoked_resumes_is_refused(sites: Sites, authority: Authority) -> None:
    """There is nothing to resume with: no ticket was ever given, and one that was made up is not looked at."""
    site = await sites()
    bad = authority.issue(uri="spiffe://fleet/bad")
    async with site.agent() as good, site.agent(bad) as revoked:
        with tickets_of(revoked) as tickets:
            await served(good)
            await served(revoked, name="bad")
            lists = RevocationLists([authority.revocations(bad.certificate)])
            async with asyncio.timeout(REVOKED_SECS_MAX):
                await site.listener.update_trust(ClientVerifier([authority.certificate], lists), AllowList())
                assert await revoked.closed() == (CloseCode.REVOKED, True)
            assert tickets == []
        await served(good, 2)
        for ticket in (None, forged_ticket(authority.now)):
            async with site.agent(bad, session_ticket=ticket) as again:
                again.say(0, frame(2, "bad"))
                assert await again.closed() == (TLS + 44, False)
                assert not any(
                    isinstance(event, quic.HandshakeCompleted) and event.session_resumed for event in again.heard
                )
    assert site.core.stats()["batches_received"] == 3


async def test_expires_while_connected_is_closed_as_revoked(sites: Sites, authority: Authority) -> None:
    site = await sites(deadlines=Deadlines(expiry=0.05))
    short = authority.issue(uri=NODE_URI, not_after=datetime.now(UTC) + timedelta(seconds=2))
    async with site.agent(short) as ending, site.agent("spiffe://fleet/node-2") as lasting:
        await served(ending)
        await served(lasting, name="node-2")
        assert await ending.closed() == (CloseCode.REVOKED, True)
        await served(lasting, 2, "node-2")
    await site.counted("connections_closed_total", code="revoked", side="collector")


async def test_no_ticket_arrives_and_nothing_can_be_said_early(sites: Sites, authority: Authority) -> None:
    site = await sites()
    for sequence, ticket in enumerate((None, forged_ticket(authority.now)), 1):
        async with site.agent(session_ticket=ticket) as node:
            with tickets_of(node) as tickets:
                await served(node, sequence)
                (completed,) = [event for event in node.heard if isinstance(event, quic.HandshakeCompleted)]
                assert (completed.session_resumed, completed.early_data_accepted, tickets) == (False, False, [])


async def test_a_certificate_that_is_no_longer_allowed_is_closed(sites: Sites, authority: Authority) -> None:
    site = await sites(allowlist=AllowList(relays=["spiffe://fleet/relay"]))
    who = ("spiffe://fleet/node-1", "spiffe://other/node-2", "spiffe://fleet/relay")
    async with site.agent(who[0]) as good, site.agent(who[1]) as removed, site.agent(who[2]) as relay:
        for node, name in ((good, "node-1"), (removed, "node-2"), (relay, "far-away")):
            await served(node, name=name)
        await site.listener.update_trust(ClientVerifier([authority.certificate]), AllowList(["spiffe://fleet/*"]))
        # A relay that is none any more has conversations that were begun with a right that it has lost.
        for node in (removed, relay):
            assert await node.closed() == (CloseCode.REVOKED, True)
        await served(good, 2)
        assert site.listener.connections == 1


async def test_another_protocol_is_refused(sites: Sites) -> None:
    site = await sites()
    async with site.agent(alpn="h3") as node:
        assert await node.closed() == (TLS + 120, False)
    await site.counted("handshakes_failed_total", alert="no_application_protocol")


@contextmanager
def tickets_of(node: QuicAgent) -> Iterator[list[SessionTicket]]:
    """The session tickets that come, from now on: asked for before the handshake, which has no answer yet."""
    tickets: list[SessionTicket] = []
    node._quic._session_ticket_handler = tickets.append
    node._quic.tls.new_session_ticket_cb = tickets.append
    yield tickets
