"""A listener at work, and agents that connect to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from prometheus_client import CollectorRegistry
from tests.support.certificates import Authority, Credentials
from tests.support.consumer import FakeConsumer
from tests.support.quic_agent import QuicAgent, agent
from tests.support.quic_pair import NODE_URI, agent_configuration

from telemetry_collector.listeners.quic_aioquic import QuicListener
from telemetry_collector.model import ALPN


class Site:
    """A running listener and all that a test asks it about."""

    def __init__(
        self, authority: Authority, listener: QuicListener, consumer: FakeConsumer, registry: CollectorRegistry
    ) -> None:
        self.authority = authority
        self.listener = listener
        self.consumer = consumer
        self.registry = registry

    def agent(
        self, credentials: Credentials | None = None, *, host: str = "127.0.0.1", alpn: str = ALPN, **options: object
    ) -> AbstractAsyncContextManager[QuicAgent]:
        """An agent with good credentials unless told otherwise."""
        credentials = credentials or self.authority.issue(uri=NODE_URI)
        configuration = agent_configuration(self.authority, credentials, alpn=alpn, **options)
        return agent(self.listener.address, configuration, host)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"telemetry_collector_{name}", labels) or 0.0


Sites = Callable[..., Awaitable[Site]]
"""Starts listeners with these settings; they stop at the end of the test."""
