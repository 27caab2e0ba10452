"""What only the listener on aioquic shows: its insides, and a fake in place of the core behind it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.support.certificates import Authority
from tests.support.consumer import FakeConsumer
from tests.support.fake_site import Site, Sites

from telemetry_collector.clock import ManualClock
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic import QuicListener, QuicListenerSettings
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import ClientVerifier


@pytest.fixture
async def sites(authority: Authority, server: tuple[Path, Path]) -> AsyncIterator[Sites]:
    """Starts listeners, and stops them at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            consumer: FakeConsumer | None = None,
            allowlist: AllowList | None = None,
            revocations: RevocationLists | None = None,
            clock: ManualClock | None = None,
            address: Address | None = None,
            **options: object,
        ) -> Site:
            registry = CollectorRegistry()
            consumer = consumer or FakeConsumer()
            address = address or Address("127.0.0.1", 0)
            listener = QuicListener(
                QuicListenerSettings(address, *server, **options),  # type: ignore[arg-type]
                consumer,
                ClientVerifier([authority.certificate], revocations, clock=clock),
                allowlist or AllowList(),
                ListenerEvents(registry),
                clock,
            )
            await listener.start()
            stack.push_async_callback(listener.stop, 0.1)
            return Site(authority, listener, consumer, registry)

        yield start
