"""A listener of either kind with the real core behind it, and agents that connect to it."""

from __future__ import annotations

import os
import socket
import time
from array import array
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from aioquic.tls import CipherSuite, SessionTicket
from prometheus_client import CollectorRegistry
from tests.support.certificates import Authority, Credentials
from tests.support.quic_agent import QuicAgent, agent
from tests.support.quic_pair import NODE_URI, agent_configuration
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.app.listening import Listener
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import QuicListener
from telemetry_collector.listeners.quic_quinn import QuinnListener
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.model import ALPN, Outcome
from telemetry_collector.pipeline.ingest import Ingest
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

POINTS = 100
"""Series of a `batch`, and its points unless there are to be more."""


def listener_of(
    transport: str,
    settings: QuicListenerSettings,
    core: _core.Ingest,
    ingest: Ingest,
    verifier: ClientVerifier,
    allowlist: AllowList,
    events: ListenerEvents,
) -> Listener:
    """The listener that `server.transport` names, not started yet. Both have the same surface."""
    if transport == "quinn":
        return QuinnListener(settings, core, verifier, allowlist, events)
    return QuicListener(settings, ingest, verifier, allowlist, events)


@dataclass
class Site:
    """A running listener and all that a test asks it about."""

    authority: Authority
    listener: Listener
    settings: QuicListenerSettings
    core: _core.Ingest
    registry: CollectorRegistry

    def agent(
        self,
        who: str | Credentials | None = NODE_URI,
        *,
        host: str = "127.0.0.1",
        alpn: str = ALPN,
        room: int = 1024 * 1024,
        **options: object,
    ) -> AbstractAsyncContextManager[QuicAgent]:
        """An agent with the identity in a URI, with other credentials or with none; it begins with so many bytes of
        room for the replies of a stream."""
        credentials = self.authority.issue(uri=who) if isinstance(who, str) else who
        configuration = agent_configuration(self.authority, credentials, alpn=alpn, max_stream_data=room, **options)
        return agent(self.listener.address, configuration, host)

    async def counted(self, name: str, count: float = 1, **labels: str) -> None:
        """Waits for a counter: what happens on threads of the core is told a moment later."""
        await until(lambda: self.count(name, **labels) >= count)
        assert self.count(name, **labels) == count

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"telemetry_collector_{name}", labels) or 0.0


Sites = Callable[..., Awaitable[Site]]
"""Starts listeners with these settings; they stop at the end of the test."""


def batch(node: str = "node-1", points: int = POINTS) -> _core.Batch:
    return _core.Batch(
        common_tags=[("node_id", node)],
        series=[(f"test.metric.{number}", [("core", str(number))], 2, "1", False) for number in range(POINTS)],
        series_index=array("I", [number % POINTS for number in range(points)]),
        timestamps_unix_ns=array("q", [time.time_ns()] * points),
        values=array("d", [float(number) for number in range(points)]),
    )


def frame(sequence: int = 1, node: str = "node-1") -> bytes:
    """A batch of its own definitions, under a name that tells it from others."""
    return _core.FrameEncoder().frame(batch(node), sequence=sequence, epoch=1)


def bare_frame(points: int = 1, sequence: int = 1, epoch: int = 1) -> bytes:
    """A batch of few points without tags, which every identity may send."""
    content = _core.Batch(
        common_tags=[],
        series=[(f"test.metric.{number}", [], 2, "1", False) for number in range(points)],
        series_index=array("I", range(points)),
        timestamps_unix_ns=array("q", [0] * points),
        values=array("d", [float(number) for number in range(points)]),
    )
    return _core.FrameEncoder().frame(content, sequence=sequence, epoch=epoch)


async def acks(node: QuicAgent, stream_id: int, count: int) -> list[_core.Ack]:
    """The first replies of a stream, as many as asked for; fewer when the connection ends."""

    def read() -> list[_core.Ack]:
        return _core.AckReader().feed(node.received(stream_id))

    await node.until(lambda: len(read()) >= count or node.closing is not None)
    return read()


async def stored(node: QuicAgent, stream_id: int = 0, count: int = 1) -> None:
    """Each of the stream's first batches was answered with STORED."""
    replies = await acks(node, stream_id, count)
    assert [ack.outcome for ack in replies] == [Outcome.STORED] * count, node.closing


async def served(node: QuicAgent, sequence: int = 1, name: str = "node-1") -> None:
    """Sends one batch on a stream of its own, and sees it stored."""
    stream_id = 4 * (sequence - 1)
    node.say(stream_id, frame(sequence, name), end=True)
    await stored(node, stream_id)


def strange_datagrams(port: int) -> None:
    """Sends datagrams of many sizes and kinds to a port of loopback, none of which a client would send."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect(("127.0.0.1", port))
        for size in (0, 1, 2, 8, 9, 20, 1_199, 1_200, 9_000, 65_000):
            for first in (0x00, 0x40, 0x80, 0xC0, 0xD0, 0xE0, 0xF0, 0xFF):
                stranger.send((bytes([first]) + b"\x00\x00\x00\x01" + os.urandom(max(size, 5)))[:size])


def forged_ticket(now: datetime) -> SessionTicket:
    """A session ticket that no collector gave."""
    return SessionTicket(
        age_add=1,
        cipher_suite=CipherSuite.AES_128_GCM_SHA256,
        not_valid_after=now + timedelta(days=1),
        not_valid_before=now - timedelta(days=1),
        resumption_secret=bytes(32),
        server_name="collector",
        ticket=bytes(64),
        max_early_data_size=0xFFFFFFFF,
    )
