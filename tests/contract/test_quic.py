"""The whole collector over real QUIC: what the contract says of connections and streams.

What needs the collector's clock or its insides is tested beside the listener; here is what any client can see.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aioquic.quic import events as quic
from aioquic.tls import SessionTicket
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.contract.client import ALPN, Client, Site
from tests.contract.door import (
    as_frame,
    batch,
    columns,
    definition,
    expect,
    expect_malformed,
    expect_refused,
    expect_stored,
    metric,
)
from tests.support.quic_listener import forged_ticket

from telemetry_collector.model import CloseCode, Outcome, Reason

NO_APPLICATION_PROTOCOL = 0x100 + 120
DECODE_ERROR = 0x100 + 50
STREAM_LIMIT_ERROR = 4
CERTIFICATE_REVOKED = 0x100 + 44
REVOKED_SECS_MAX = 5.0
STREAMS = (0, 4, 8, 12)


@pytest.fixture
def site(tmp_path: Path, transport: str) -> Site:
    return Site(tmp_path, transport)


def named(sequence: int, epoch: int = 1, **tags: str) -> Any:
    return batch(metric(f"m{sequence}"), sequence=sequence, epoch=epoch, common_tags=tags)


async def test_the_identity_and_node_of_every_kind_of_certificate(site: Site) -> None:
    issue = site.authority.issue
    cases = {
        "a URI": (issue(uri="spiffe://fleet/zone/node-1"), "spiffe://fleet/zone/node-1", "node-1"),
        "before a DNS name": (issue(uri="spiffe://fleet/n2", dns="d", names=["c"]), "spiffe://fleet/n2", "n2"),
        "empty segments": (issue(uri="spiffe://fleet/node-3//"), "spiffe://fleet/node-3//", "node-3"),
        "percent-encoded": (issue(uri="spiffe://fleet/a%20%C3%A9"), "spiffe://fleet/a%20%C3%A9", "a é"),
        "an encoded slash": (issue(uri="spiffe://fleet/a%2Fb"), "spiffe://fleet/a%2Fb", "a/b"),
        "no path": (issue(uri="spiffe://host-4"), "spiffe://host-4", "host-4"),
        "a path of nothing": (issue(uri="spiffe://host-5/"), "spiffe://host-5/", "host-5"),
        "a DNS name": (issue(dns="node-6.example.org", names=["c"]), "node-6.example.org", "node-6.example.org"),
        "a CN": (issue(names=["node-7"]), "node-7", "node-7"),
        "the last CN": (issue(names=["first", "node-8"]), "node-8", "node-8"),
    }
    async with site.running():
        for place, (credentials, _, node) in enumerate(cases.values(), 1):
            async with site.client(credentials) as client:
                expect_stored(await client.ask(0, named(place)))
                expect_stored(await client.ask(0, named(100 + place, node_id=node)))
                refused = await client.ask(0, named(200 + place, node_id=f"{node}x"))
                expect_refused(refused, Reason.IDENTITY_MISMATCH)
    found = {(row["identity"], row["node_id"], row["sequence"] % 100) for row in site.rows()}
    assert found == {(identity, node, place) for place, (_, identity, node) in enumerate(cases.values(), 1)}
    assert len(site.rows()) == 2 * len(cases)


async def test_who_is_not_on_the_list_gets_no_reply(site: Site) -> None:
    async with site.running(security={"allowed_identities": ["spiffe://fleet/*"]}):
        for who in (
            "spiffe://other/node-1",
            site.authority.issue(names=["spiffe"]),
            site.authority.issue(),
            site.authority.issue(uri="spiffe://fleet/%FF"),
        ):
            async with site.client(who) as client:
                # Said with the first flight, before the collector has seen the certificate.
                client.say(0, named(1))
                assert await client.end() == (CloseCode.NOT_ALLOWED, True)
                assert client.acks == {}
        async with site.client("spiffe://fleet/node-1") as client:
            expect_stored(await client.ask(0, named(1)))
    assert {row["identity"] for row in site.rows()} == {"spiffe://fleet/node-1"}


@pytest.mark.parametrize("offered", [None, ["telemetry/2"], ["h3", "Telemetry/1"], [""]])
async def test_another_protocol_or_none_fails_the_handshake(site: Site, offered: list[str] | None) -> None:
    async with site.running():
        async with site.client(alpn_protocols=offered) as client:
            client.say(0, named(1))
            # A name without a letter is no offer to one TLS, and no message to another.
            assert await client.end() in {
                (NO_APPLICATION_PROTOCOL, False),
                (DECODE_ERROR if offered == [""] else 0, False),
            }
        async with site.client(alpn_protocols=["h3", ALPN, "x"]) as client:
            expect_stored(await client.ask(0, named(1)))
            chosen = [event.alpn_protocol for event in client.events if isinstance(event, quic.HandshakeCompleted)]
            assert chosen == [ALPN]


async def test_no_ticket_no_resumption_no_early_data(site: Site) -> None:
    """Every connection proves its certificate, even one that claims to have been here before."""
    tickets: list[SessionTicket] = []
    forged = forged_ticket(site.authority.now)
    async with site.running():
        for ticket in (None, forged):
            async with site.client(session_ticket=ticket) as client:
                client.quic._session_ticket_handler = tickets.append
                client.quic.tls.new_session_ticket_cb = tickets.append
                ack = await client.ask(0, named(1 if ticket is None else 2))
                expect_stored(ack)
                (completed,) = [event for event in client.events if isinstance(event, quic.HandshakeCompleted)]
                assert not completed.session_resumed
                assert not completed.early_data_accepted
    assert tickets == []


async def test_who_is_revoked_while_connected_is_closed_in_time_and_does_not_come_back(
    site: Site, tmp_path: Path
) -> None:
    path, bad = tmp_path / "ca.crl", site.authority.issue(uri="spiffe://fleet/node-2")

    def write(*revoked: x509.Certificate) -> None:
        aside = path.with_suffix(".new")
        aside.write_bytes(site.authority.revocations(*revoked).public_bytes(Encoding.PEM))
        aside.replace(path)

    write()
    async with site.running(security={"tls_crl_path": str(path)}), site.client() as good, site.client(bad) as revoked:
        for client in (good, revoked):
            expect_stored(await client.ask(0, named(1)))
        async with asyncio.timeout(REVOKED_SECS_MAX):
            write(bad.certificate)
            assert await revoked.end() == (CloseCode.REVOKED, True)
        async with site.client(bad) as again:
            again.say(0, named(2))
            assert await again.end() == (CERTIFICATE_REVOKED, False)
        expect_stored(await good.ask(0, named(2)))
    assert len(site.rows()) == 3


async def test_relays_are_those_of_the_configuration(site: Site) -> None:
    async with (
        site.running(security={"relays": ["spiffe://fleet/gateway/*"]}),
        site.client("spiffe://fleet/gateway/g-1") as relay,
        site.client("spiffe://fleet/node-1") as node,
    ):
        expect_stored(await relay.ask(0, named(1, node_id="far-away")))
        expect_stored(await relay.ask(0, batch(sequence=2, heartbeat={"worker_id": "far-away"})), 0)
        expect_stored(await relay.ask(0, named(3)))
        expect_refused(await node.ask(0, named(1, node_id="far-away")), Reason.IDENTITY_MISMATCH)
    assert sorted(row["node_id"] for row in site.rows()) == ["far-away", "g-1"]


async def test_one_connection_too_many(site: Site) -> None:
    async with site.running(server={"max_connections": 1}), site.client() as first:
        expect_stored(await first.ask(0, named(1)))
        async with site.client("spiffe://fleet/node-2") as second:
            second.say(0, named(1))
            assert await second.end() == (CloseCode.TOO_MANY_CONNECTIONS, True)
            assert second.acks == {}
        expect_stored(await first.ask(0, named(2)))
    assert len(site.rows()) == 2


async def test_four_streams_are_granted_and_each_is_a_conversation_of_its_own(site: Site) -> None:
    async with site.running(), site.client() as client:
        await client.opened()
        granted = (client.quic._remote_max_streams_bidi, client.quic._remote_max_streams_uni)
        assert granted == (4, 0)
        for place, stream in enumerate(STREAMS):
            message = batch(series=[definition(1, f"m{place}")], points=[columns(1)], sequence=place + 1, epoch=1)
            client.say(stream, message)
        for place, stream in enumerate(STREAMS):
            (ack,) = await client.answers(stream, 1)
            expect_stored(ack)
            assert ack.sequence == place + 1
        # One that ends makes room for another, which knows none of its definitions.
        client.write(0, b"", end=True)
        await client.until(lambda: 0 in client.ended)
        again = batch(points=[columns(1)], sequence=9, epoch=1)
        expect_refused(await client.ask(16, again), Reason.UNKNOWN_SERIES)
        expect_stored(await client.ask(4, again))
        expect_malformed(await client.ask(4, batch(series=[definition(1, "other")])))
        expect_stored(await client.ask(16, batch(series=[definition(1, "other")])), 0)


@pytest.mark.parametrize("stream", [16, 400, 2, 6])
async def test_a_fifth_stream_and_any_unidirectional_one_close_the_connection(site: Site, stream: int) -> None:
    async with site.running(), site.client() as client:
        await client.opened()
        quic_ = client.quic
        # A transport that takes more than it was granted.
        quic_._remote_max_streams_bidi = quic_._remote_max_streams_uni = 1_000
        quic_._remote_max_stream_data_uni = 1_000
        quic_._local_next_stream_id_bidi = stream - stream % 4
        quic_._local_next_stream_id_uni = stream
        client.say(stream, named(1))
        # quinn lets none through.
        transports = {"aioquic": (CloseCode.TOO_MANY_STREAMS, True), "quinn": (STREAM_LIMIT_ERROR, False)}
        assert await client.end() == transports[site.transport]
        assert client.acks == {}
    assert site.rows() == []


async def test_names_hold_across_streams_connections_and_restarts(site: Site) -> None:
    async with (
        site.running(),
        site.client() as one,
        site.client() as two,
        site.client("spiffe://fleet/other/node-1") as other,
    ):
        expect_stored(await one.ask(0, named(1)))
        for client, stream in ((one, 4), (two, 0)):
            expect(await client.ask(stream, named(1)), Outcome.DUPLICATE)
        # The same node under another identity is another agent.
        expect_stored(await other.ask(0, named(1)))
        expect_stored(await two.ask(0, batch(sequence=2, epoch=1)), 0)
        expect(await one.ask(0, named(2)), Outcome.DUPLICATE)
    for _ in range(2):
        async with site.running(), site.client() as client:
            expect(await client.ask(0, named(1)), Outcome.DUPLICATE)
    async with site.running(), site.client() as client:
        expect_stored(await client.ask(0, named(2)))
    assert sorted(row["sequence"] for row in site.rows()) == [1, 1, 2]


async def test_a_collector_that_stops_says_so_after_the_replies_due(site: Site) -> None:
    async with site.running() as collector, site.client() as client:
        client.say(0, *[named(number) for number in range(1, 9)])
        await client.answers(0, 1)
        await asyncio.gather(collector.stop(), client.end())
        assert client.closed == (CloseCode.SHUTTING_DOWN, True)
        answered = [ack.sequence for ack in client.acks[0]]
        assert answered == list(range(1, len(answered) + 1))
    stored = {row["sequence"] for row in site.rows()}
    assert set(answered) <= stored
    # What was not acknowledged may have been stored or not: it is sent again under its name.
    async with site.running(), site.client() as client:
        client.say(0, *[named(number) for number in range(1, 9)])
        for ack in await client.answers(0, 8):
            expected = Outcome.DUPLICATE if ack.sequence in stored else Outcome.STORED
            assert ack.outcome == expected
    assert sorted(row["sequence"] for row in site.rows()) == list(range(1, 9))


async def test_full_windows_on_four_streams_are_stored_exactly_once(site: Site) -> None:
    """The sequences of one epoch, spread over streams, every fifth sent twice."""
    per_stream, window = 100, 8
    outcomes: list[int] = []

    async def conversation(client: Client, stream: int, place: int) -> None:
        sequences = [4 * number + place + 1 for number in range(per_stream)]
        sequences += sequences[::5]
        for sent, sequence in enumerate(sequences):
            await client.answers(stream, sent - window + 1)
            client.say(stream, named(sequence))
        answers = await client.answers(stream, len(sequences))
        assert [ack.sequence for ack in answers] == sequences
        outcomes.extend(ack.outcome for ack in answers)

    async with site.running(), site.client() as client:
        await client.opened()
        async with asyncio.TaskGroup() as group:
            for place, stream in enumerate(STREAMS):
                group.create_task(conversation(client, stream, place))
        assert client.closed is None
    assert outcomes.count(Outcome.STORED) == 4 * per_stream
    assert outcomes.count(Outcome.DUPLICATE) == 4 * per_stream // 5
    assert sorted(row["sequence"] for row in site.rows()) == list(range(1, 4 * per_stream + 1))


async def test_one_batch_more_than_the_window_closes_the_connection(site: Site) -> None:
    """The replies that were due may or may not have left; what was stored is stored."""
    async with site.running(), site.client() as rude, site.client("spiffe://fleet/node-2") as polite:
        await rude.opened()
        rude.say(0, *[batch(metric(), sequence=number) for number in range(1, 10)])
        # Nine in one datagram: no reply can have been sent before the ninth was read.
        assert await rude.end() == (CloseCode.CREDIT_EXCEEDED, True)
        expect_stored(await polite.ask(0, named(1)))


async def test_limits_of_the_configuration_hold(site: Site) -> None:
    limits = {"max_batch_size": 2, "frame_bytes_max": 1_024, "timestamp_past_secs": 10, "timestamp_future_secs": 10}
    async with site.running(limits=limits), site.client() as client:
        expect_refused(await client.ask(0, batch(*[metric()] * 3)), Reason.BATCH_TOO_LARGE, 3)
        now = time.time_ns()
        for seconds in (-60, 60):
            late = batch(metric(timestamp_unix_ns=now + seconds * 10**9))
            expect_refused(await client.ask(0, late), Reason.INVALID_TIMESTAMP)
        expect_stored(await client.ask(0, batch(metric(timestamp_unix_ns=now))))
        client.write(0, (1_025).to_bytes(4, "big"))
        await client.until(lambda: 0 in client.ended)
        stopped = [event.error_code for event in client.events if isinstance(event, quic.StopSendingReceived)]
        assert stopped == [CloseCode.FRAME_TOO_LARGE]
        expect_stored(await client.ask(4, named(1)))


async def test_a_connection_without_a_frame_is_closed_and_keep_alives_do_not_count(site: Site) -> None:
    async with site.running(server={"connection_timeout_secs": 1}), site.client() as client:
        expect_stored(await client.ask(0, named(1)))
        begun = time.monotonic()

        async def keep_alive() -> None:
            while client.closed is None:
                await client.ping()
                # Bytes that make no frame do not count either.
                client.write(4, b"\x00")
                await client.until(lambda: True)
                await asyncio.sleep(0.05)

        pings = asyncio.create_task(keep_alive())
        assert await client.end() == (CloseCode.TIMED_OUT, True)
        assert time.monotonic() - begun > 0.9
        pings.cancel()
        await asyncio.gather(pings, return_exceptions=True)


@pytest.mark.parametrize("way", ["finished", "finished empty", "reset", "too large", "replies refused"])
async def test_a_stream_that_ended_in_any_way_makes_room_for_another(site: Site, way: str) -> None:
    """Sixteen one after the other, where four at a time are granted."""
    async with site.running(), site.client() as client:
        await client.opened()
        for place in range(16):
            stream = 4 * place
            if way == "finished empty":
                client.write(stream, b"", end=True)
                await client.until(lambda: stream in client.ended)  # noqa: B023  # awaited here
                continue
            expect_stored(await client.ask(stream, named(place + 1)))
            match way:
                case "finished":
                    client.write(stream, b"", end=True)
                case "reset":
                    client.quic.reset_stream(stream, CloseCode.NORMAL)
                case "too large":
                    client.write(stream, bytes(4))
                case "replies refused":
                    client.quic.stop_stream(stream, CloseCode.NORMAL)
            client.transmit()
        expect_stored(await client.ask(64, batch(metric())))
        assert client.closed is None


async def test_one_stream_that_breaks_off_harms_no_other(site: Site) -> None:
    async with site.running(), site.client() as client:
        expect_stored(await client.ask(0, named(1)))
        client.write(4, as_frame(named(2)) + as_frame(named(3))[:-1])
        (ack,) = await client.answers(4, 1)
        expect_stored(ack)
        client.quic.reset_stream(4, CloseCode.NORMAL)
        client.transmit()
        expect_stored(await client.ask(0, named(4)))
        # The part is thrown away, and its name is free.
        expect_stored(await client.ask(8, named(3)))
    assert sorted(row["sequence"] for row in site.rows()) == [1, 2, 3, 4]


async def test_an_agent_that_vanishes_leaves_its_batches_and_its_names(site: Site) -> None:
    async with site.running():
        async with site.client() as client:
            client.say(0, *[named(number) for number in range(1, 9)])
            await client.answers(0, 1)
        async with site.client() as again:
            again.say(0, *[named(number) for number in range(1, 9)])
            outcomes = [ack.outcome for ack in await again.answers(0, 8)]
            assert set(outcomes) <= {Outcome.STORED, Outcome.DUPLICATE}
            assert outcomes[0] == Outcome.DUPLICATE
    assert sorted(row["sequence"] for row in site.rows()) == list(range(1, 9))


async def test_a_name_that_was_taken_back_is_not_stored_from_an_old_connection(site: Site) -> None:
    """What the client has given up may be read at any time: here its last byte comes when all is told."""
    question = batch(points=[columns(2**32 - 1)], sequence=1, epoch=1, withdraw=True)
    whole = as_frame(named(1))
    async with site.running(), site.client() as old, site.client() as new:
        old.write(0, whole[:-1])
        expect_stored(await old.ask(4, named(9)))
        for _ in range(2):
            expect_refused(await new.ask(0, question), Reason.WITHDRAWN)
        expect_stored(await new.ask(0, named(2)))
        expect_stored(await new.ask(0, named(3)))
        old.write(0, whole[-1:])
        (late,) = await old.answers(0, 1)
        expect_refused(late, Reason.WITHDRAWN)
        expect_refused(await new.ask(4, named(1)), Reason.WITHDRAWN)
        # What is stored cannot be taken back, and what was settled is neither.
        stored = batch(points=[columns(2**32 - 1)], sequence=2, epoch=1, withdraw=True)
        expect(await new.ask(0, stored), Outcome.DUPLICATE)
    assert sorted(row["sequence"] for row in site.rows()) == [2, 3, 9]
    async with site.running(), site.client() as client:
        expect_stored(await client.ask(0, named(1)))
