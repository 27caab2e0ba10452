"""Agents on real sockets, the listener, and the real core behind it: what the contract says of a batch, end to end."""

import gc
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aioquic.quic import events as quic
from prometheus_client import CollectorRegistry
from tests.support.certificates import SERVER, Authority
from tests.support.consumer import frame
from tests.support.quic_agent import QuicAgent, agent
from tests.support.quic_pair import NODE_URI, agent_configuration
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.clock import ManualClock
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import QuicListener, QuicListenerSettings
from telemetry_collector.model import CloseCode, Outcome, Reason
from telemetry_collector.pipeline.ingest import Conversation, Ingest
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

POINTS = 100
FRAME_BYTES_MAX = 64 * 1024


@dataclass
class Site:
    authority: Authority
    listener: QuicListener
    core: _core.Ingest
    registry: CollectorRegistry

    def agent(self, uri: str = NODE_URI, room: int = 1024 * 1024) -> AbstractAsyncContextManager[QuicAgent]:
        """An agent that begins with so many bytes of room for the replies of a stream."""
        configuration = agent_configuration(self.authority, self.authority.issue(uri=uri), max_stream_data=room)
        return agent(self.listener.address, configuration)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    authority = Authority()
    core = _core.Ingest(_core.IngestSettings(journal_dir=str(tmp_path / "journal"), frame_bytes_max=FRAME_BYTES_MAX))
    ingest = Ingest(core, committed=lambda: None)
    registry = CollectorRegistry()
    server = authority.issue(dns="collector", usages=SERVER).write(tmp_path, "server")
    listener = QuicListener(
        QuicListenerSettings(Address("127.0.0.1", 0), *server),
        ingest,
        ClientVerifier([authority.certificate]),
        AllowList(relays=["spiffe://fleet/relay"]),
        ListenerEvents(registry),
        # For quotas time stands still, so that it does not matter how quick the machine is.
        ManualClock(time.time()),
    )
    ingest.start()
    await listener.start()
    yield Site(authority, listener, core, registry)
    await listener.stop(1.0)
    ingest.stop()
    core.close()


def batch(node: str = "node-1") -> _core.Batch:
    return _core.Batch(
        common_tags=[("node_id", node)],
        series=[(f"test.metric.{number}", [("core", str(number))], 2, "1", False) for number in range(POINTS)],
        series_index=array("I", range(POINTS)),
        timestamps_unix_ns=array("q", [time.time_ns()] * POINTS),
        values=array("d", [float(number) for number in range(POINTS)]),
    )


async def acks(node: QuicAgent, stream_id: int, count: int) -> list[_core.Ack]:
    """The first replies of a stream, as many as asked for."""

    def read() -> list[_core.Ack]:
        return _core.AckReader().feed(node.received(stream_id))

    await node.until(lambda: len(read()) >= count or node.closing is not None)
    return read()


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
    for uri, outcome in ((NODE_URI, Outcome.REJECTED), ("spiffe://fleet/relay", Outcome.STORED)):
        async with site.agent(uri) as node:
            node.say(0, _core.FrameEncoder().frame(batch("another"), sequence=1, epoch=1))
            (ack,) = await acks(node, 0, 1)
            assert ack.outcome == outcome
            reasons = [reason for reason, _, _ in ack.rejections]
            assert reasons == ([Reason.IDENTITY_MISMATCH] if outcome is Outcome.REJECTED else [])


async def test_a_frame_that_is_no_batch_is_answered_and_the_stream_goes_on(site: Site) -> None:
    async with site.agent() as node:
        node.say(0, frame(b"\xff\xff\xff\xff") + _core.FrameEncoder().frame(batch(), sequence=1, epoch=1))
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
    # What comes at once is four seconds' worth; 40,000 points may be sent in vain.
    site.core.set_quotas(_core.Quotas(default=_core.Quota(points_per_sec=POINTS // 4)))
    async with site.agent() as rude, site.agent("spiffe://fleet/node-2") as polite:
        encoder = _core.FrameEncoder()
        rude.say(0, encoder.frame(batch(), sequence=1, epoch=1) + encoder.frame(batch(), sequence=2, epoch=1))
        stored, later = await acks(rude, 0, 2)
        assert (stored.outcome, later.outcome, later.accepted_points) == (Outcome.STORED, Outcome.RETRY_LATER, 0)
        assert 0 < later.retry_after_ms < 1_000
        replies = 2
        while rude.closing is None and replies < 500:
            for _ in range(8):
                rude.say(0, encoder.frame(batch(), sequence=2, epoch=1))
            replies += 8
            await acks(rude, 0, replies)
        assert await rude.closed() == (CloseCode.QUOTA_EXCEEDED, True)
        polite.say(0, _core.FrameEncoder().frame(batch("node-2"), sequence=1, epoch=1))
        (ack,) = await acks(polite, 0, 1)
        assert ack.outcome == Outcome.STORED
    closed = {"code": "quota_exceeded", "side": "collector"}
    assert site.registry.get_sample_value("telemetry_collector_connections_closed_total", closed) == 1
    assert site.core.quota_offenders()[0][:2] == (NODE_URI, "quota_points")


async def test_quotas_by_pattern_replace_others_while_agents_are_connected(site: Site) -> None:
    one = _core.Quota(series=1)
    site.core.set_quotas(_core.Quotas(default=one, overrides=[(["*/relay"], _core.Quota())]))
    async with site.agent() as node, site.agent("spiffe://fleet/relay") as relay:
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
        await until(lambda: (site.registry.get_sample_value("telemetry_collector_frames_received_total") or 0) >= 1)
        received = site.registry.get_sample_value("telemetry_collector_frames_received_total")
        await site.listener.stop(5.0)
        assert await node.closed() == (CloseCode.SHUTTING_DOWN, True)
        assert received is not None
        assert len(await acks(node, 0, 8)) >= received


async def test_conversations_end_with_their_connection(site: Site) -> None:
    async with site.agent() as node:
        node.say(0, _core.FrameEncoder().frame(batch(), sequence=1, epoch=1))
        await acks(node, 0, 1)
    await until(lambda: site.listener.connections == 0)
    gc.collect()
    assert [thing for thing in gc.get_objects() if isinstance(thing, Conversation)] == []
