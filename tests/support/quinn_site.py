"""A listener on quinn at work with the real core behind it, and agents that connect to it."""

from array import array
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from tests.support.certificates import Authority, Credentials
from tests.support.quic_agent import QuicAgent, agent
from tests.support.quic_pair import NODE_URI, agent_configuration
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.listeners.quic_quinn import QuinnListener
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.model import ALPN, Outcome

FRAME_BYTES_MAX = 64 * 1024


@dataclass
class Site:
    """A running listener and all that a test asks it about."""

    authority: Authority
    listener: QuinnListener
    settings: QuicListenerSettings
    core: _core.Ingest
    registry: CollectorRegistry

    def agent(
        self, credentials: Credentials | None = None, *, alpn: str = ALPN, **options: object
    ) -> AbstractAsyncContextManager[QuicAgent]:
        """An agent with good credentials unless told otherwise."""
        credentials = credentials or self.authority.issue(uri=NODE_URI)
        return agent(self.listener.address, agent_configuration(self.authority, credentials, alpn=alpn, **options))

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"telemetry_collector_{name}", labels) or 0.0

    async def counted(self, name: str, count: float, **labels: str) -> None:
        """What happens on the core's threads is counted a moment later."""
        await until(lambda: self.count(name, **labels) >= count)
        assert self.count(name, **labels) == count


Sites = Callable[..., Awaitable[Site]]


def batch(points: int = 1, sequence: int = 1, epoch: int = 1) -> bytes:
    """A whole frame of points."""
    content = _core.Batch(
        common_tags=[],
        series=[(f"test.metric.{number}", [], 2, "1", False) for number in range(points)],
        series_index=array("I", range(points)),
        timestamps_unix_ns=array("q", [0] * points),
        values=array("d", [float(number) for number in range(points)]),
    )
    return _core.FrameEncoder().frame(content, sequence=sequence, epoch=epoch)


async def outcomes(node: QuicAgent, stream_id: int, count: int) -> list[Outcome]:
    """The outcomes of a stream's first replies."""

    def read() -> list[_core.Ack]:
        return _core.AckReader().feed(node.received(stream_id))

    await node.until(lambda: len(read()) >= count or node.closing is not None)
    return [Outcome(ack.outcome) for ack in read()]


async def stored(node: QuicAgent, stream_id: int = 0, count: int = 1) -> None:
    """Each of the stream's first batches was answered with STORED."""
    assert await outcomes(node, stream_id, count) == [Outcome.STORED] * count
