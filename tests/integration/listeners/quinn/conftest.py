"""What only the listener on quinn shows."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.support.certificates import Authority
from tests.support.quinn_site import FRAME_BYTES_MAX, Site, Sites

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_quinn import QuinnListener
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.pipeline.ingest import Ingest
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import ClientVerifier


@pytest.fixture
async def quinn(authority: Authority, server: tuple[Path, Path], tmp_path: Path) -> AsyncIterator[Sites]:
    """Starts a listener with its core, and stops both at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            allowlist: AllowList | None = None,
            revocations: RevocationLists | None = None,
            address: Address | None = None,
            **options: object,
        ) -> Site:
            journal = str(tmp_path / "journal")
            core = _core.Ingest(
                _core.IngestSettings(
                    journal_dir=journal, journal_segment_bytes=1 << 20, frame_bytes_max=FRAME_BYTES_MAX
                )
            )
            stack.callback(core.close)
            ingest = Ingest(core, committed=lambda: None)
            ingest.start()
            stack.callback(ingest.stop)
            registry = CollectorRegistry()
            settings = QuicListenerSettings(
                address or Address("127.0.0.1", 0),
                *server,
                threads=2,
                **options,  # type: ignore[arg-type]
            )
            listener = QuinnListener(
                settings,
                core,
                ClientVerifier([authority.certificate], revocations),
                allowlist or AllowList(),
                ListenerEvents(registry),
            )
            await listener.start()
            stack.push_async_callback(listener.stop, 0.1)
            return Site(authority, listener, settings, core, registry)

        yield start
