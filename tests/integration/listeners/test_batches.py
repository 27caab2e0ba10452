"""Agents on real sockets, the listener, and the real core behind it: what the contract says of a batch, end to end."""

import gc

import pytest
from aioquic.quic import events as quic
from tests.integration.listeners.conftest import FRAME_BYTES_MAX
from tests.support.consumer import frame as framed
from tests.support.quic_listener import POINTS, Site, Sites, acks, batch
from tests.support.quic_pair import NODE_URI
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.model import CloseCode, Outcome, Reason
from telemetry_collector.pipeline.ingest import Conversation
from telemetry_collector.security.allowlist import AllowList

RELAY = "spiffe://fleet/relay"


@pytest.fixture
async def site(sites: Sites) -> Site:
    return await sites(allowlist=AllowList(relays=[RELAY]))


async def test_batches_are_stored_and_named(site: Site) -> None:
    async with site.agent() as node:
        encoder = _core.FrameEncoder()
        for sequence in range(1, 9):
            node.say(0, encoder.frame(batch(), sequence=sequence, epoch=7))
        replies = await acks(node, 0, 8)
        assert [(ack.sequence, ack.outcome, ack.accepted_points) for ack in replies] == [
            (sequence, Outcome.STORED, POINTS) for sequence in range(1, 9)
        ]
        node.say(4, _core.FrameEncoder().frame(batch(), sequence=3, epoch=7), end=True)
        (again,) = await acks(node, 4, 1)
        assert (again.sequence, again.outcome, again.accepted_points) == (3, Outcome.DUPLICATE, 0)
    assert site.core.stats()["points_committed"] == 8 * POINTS


async def test_the_certificate_binds_the_node_and_frees_a_relay(site: Site) -> None:
    for uri, outcome in ((NODE_URI, Outcome.REJECTED), (RELAY, Outcome.STORED)):
        async with site.agent(uri) as node:
            node.say(0, _core.FrameEncoder().frame(batch("another"), sequence=1, epoch=1))
            (ack,) = await acks(node, 0, 1)
            assert ack.outcome == outcome
            reasons = [reason for reason, _, _ in ack.rejections]
            assert reasons == ([Reason.IDENTITY_MISMATCH] if outcome is Outcome.REJECTED else [])


async def test_a_frame_that_is_no_batch_is_answered_and_the_stream_goes_on(site: Site) -> None:
    async with site.agent() as node:
        node.say(0, framed(b"\xff\xff\xff\xff") + _core.FrameEncoder().frame(batch(), sequence=1, epoch=1))
        malformed, stored = await acks(node, 0, 2)
        assert (malformed.outcome, [reason for reason, _, _ in malformed.rejections]) == (
            Outcome.REJECTED,
            [Reason.MALFORMED],
        )
        assert stored.outcome == Outcome.STORED


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1, 0xFFFFFFFF])
async def test_a_frame_of_a_wrong_size_ends_its_stream_after_the_replies_due(site: Site, size: int) -> None:
    async with site.agent() as node:
        good = _core.FrameEncoder().frame(batch(), sequence=1, epoch=1)
        node.say(0, good + size.to_bytes(4, "big") + b"x" * 100)
        (ack,) = await acks(node, 0, 1)
        assert ack.outcome == Outcome.STORED
        await node.until(
            lambda: any(isinstance(event, quic.StreamDataReceived) and event.end_stream for event in node.heard)
        )
        stopped = [event.error_code for event in node.heard if isinstance(event, quic.StopSendingReceived)]
        assert stopped == [CloseCode.FRAME_TOO_LARGE]
        node.say(4, _core.FrameEncoder().frame(batch(), sequence=2, epoch=1))
        (ack,) = await acks(node, 4, 1)
        assert ack.outcome == Outcome.STORED


async def test_an_agent_that_ignores_its_window_is_disconnected(site: Site) -> None:
    async with site.agent(room=4) as rude, site.agent("spiffe://fleet/node-2") as polite:
        rude.take_no_more()
        encoder = _core.FrameEncoder()
        for sequence in range(1, 2_000):
            rude.say(0, encoder.frame(batch(), sequence=sequence, epoch=1))
        assert await rude.closed() == (CloseCode.CREDIT_EXCEEDED, True)
        polite.say(0, _core.FrameEncoder().frame(batch("node-2"), sequence=1, epoch=1))
        (ack,) = await acks(polite, 0, 1)
        assert ack.outcome == Outcome.STORED


async def test_an_agent_over_its_quota_is_put_off_and_at_last_disconnected_and_others_are_not(site: Site) -> None:
    # What comes at once is four seconds' worth, half of a batch; some 40,000 points may be sent in vain, and 10,000
    # more every second.
    large = batch(points=1_000)
    site.core.set_quotas(_core.Quotas(default=_core.Quota(points_per_sec=large.points // 8)))
    async with site.agent() as rude, site.agent("spiffe://fleet/node-2") as polite:
        encoder = _core.FrameEncoder()
        rude.say(0, encoder.frame(large, sequence=1, epoch=1) + encoder.frame(large, sequence=2, epoch=1))
        stored, later = await acks(rude, 0, 2)
        assert (stored.outcome, later.outcome, later.accepted_points) == (Outcome.STORED, Outcome.RETRY_LATER, 0)
        assert later.retry_after_ms > 0
        replies = 2
        while rude.closing is None and replies < 1_000:
            for _ in range(8):
                # Each under a name of its own: one that was stored meanwhile would be a duplicate, which costs nothing.
                replies += 1
                rude.say(0, encoder.frame(large, sequence=replies, epoch=1))
            await acks(rude, 0, replies)
        assert await rude.closed() == (CloseCode.QUOTA_EXCEEDED, True)
        polite.say(0, _core.FrameEncoder().frame(batch("node-2"), sequence=1, epoch=1))
        (ack,) = await acks(polite, 0, 1)
        assert ack.outcome == Outcome.STORED
    await site.counted("connections_closed_total", code="quota_exceeded", side="collector")
    assert site.core.quota_offenders()[0][:2] == (NODE_URI, "quota_points")


async def test_quotas_by_pattern_replace_others_while_agents_are_connected(site: Site) -> None:
    one = _core.Quota(series=1)
    site.core.set_quotas(_core.Quotas(default=one, overrides=[(["*/relay"], _core.Quota())]))
    async with site.agent() as node, site.agent(RELAY) as relay:
        node.say(0, _core.FrameEncoder().frame(batch(), sequence=1, epoch=1))
        (ack,) = await acks(node, 0, 1)
        assert (ack.outcome, ack.accepted_points, ack.rejected_points) == (Outcome.PARTIAL, 1, POINTS - 1)
        ((reason, points, example),) = ack.rejections
        assert (reason, points) == (Reason.CARDINALITY_LIMIT, POINTS - 1)
        assert "Cardinality limit exceeded: this identity has brought the 1 series of its quota" in example
        relay.say(0, _core.FrameEncoder().frame(batch("another"), sequence=1, epoch=1))
        (ack,) = await acks(relay, 0, 1)
        assert ack.outcome == Outcome.STORED
        site.core.set_quotas(_core.Quotas(default=_core.Quota()))
        node.say(4, _core.FrameEncoder().frame(batch(), sequence=2, epoch=1))
        (ack,) = await acks(node, 4, 1)
        assert ack.outcome == Outcome.STORED
    assert site.core.stats()["quota_series_refused"] == POINTS - 1


async def test_an_agent_that_finishes_gets_all_its_replies(site: Site) -> None:
    async with site.agent() as node:
        encoder = _core.FrameEncoder()
        frames = b"".join(encoder.frame(batch(), sequence=sequence, epoch=1) for sequence in range(1, 9))
        node.say(0, frames + b"\x00\x00\x10\x00unfinished", end=True)
        assert [ack.outcome for ack in await acks(node, 0, 8)] == [Outcome.STORED] * 8


async def test_stopping_answers_what_was_received(site: Site) -> None:
    async with site.agent() as node:
        encoder = _core.FrameEncoder()
        for sequence in range(1, 9):
            node.say(0, encoder.frame(batch(), sequence=sequence, epoch=1))
        await until(lambda: site.count("frames_received_total") >= 1)
        received = site.count("frames_received_total")
        await site.listener.stop(5.0)
        assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)
        assert len(await acks(node, 0, 8)) >= received


@pytest.mark.parametrize("transport", ["aioquic"])  # the other has no objects of Python
async def test_conversations_end_with_their_connection(site: Site) -> None:
    async with site.agent() as node:
        node.say(0, _core.FrameEncoder().frame(batch(), sequence=1, epoch=1))
        await acks(node, 0, 1)
    await until(lambda: site.listener.connections == 0)
    gc.collect()
    # By its type alone: what is lazy would be made by being asked for its class.
    assert [thing for thing in gc.get_objects() if type(thing) is Conversation] == []
