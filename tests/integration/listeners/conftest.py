"""Listeners are tested on the loop that the collector runs on, on real sockets, with the real core behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
import uvloop
from prometheus_client import CollectorRegistry
from tests.support.certificates import SERVER, Authority
from tests.support.quic_listener import Site, Sites, listener_of

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.pipeline.ingest import Ingest
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import ClientVerifier

FRAME_BYTES_MAX = 64 * 1024


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return authority.issue(dns="collector", usages=SERVER).write(tmp_path_factory.mktemp("server"), "server")


@pytest.fixture
async def sites(
    authority: Authority, server: tuple[Path, Path], transport: str, tmp_path: Path
) -> AsyncIterator[Sites]:
    """Starts listeners of the kind that is tested, and stops them at the end of the test."""
    numbers = count()
    files = {"tls_cert_path": server[0], "tls_key_path": server[1]}
    defaults = {"address": Address("127.0.0.1", 0), **files, "threads": 2}
    async with AsyncExitStack() as stack:

        async def start(
            *,
            allowlist: AllowList | None = None,
            revocations: RevocationLists | None = None,
            **options: object,
        ) -> Site:
            journal = tmp_path / f"journal-{next(numbers)}"
            core = _core.Ingest(
                _core.IngestSettings(
                    journal_dir=str(journal), journal_segment_bytes=1 << 20, frame_bytes_max=FRAME_BYTES_MAX
                )
            )
            stack.callback(core.close)
            ingest = Ingest(core, committed=lambda: None)
            registry = CollectorRegistry()
            settings = QuicListenerSettings(**{**defaults, **options})  # type: ignore[arg-type]
            listener = listener_of(
                transport,
                settings,
                core,
                ingest,
                ClientVerifier([authority.certificate], revocations),
                allowlist or AllowList(),
                ListenerEvents(registry),
            )
            ingest.start()
            stack.callback(ingest.stop)
            stack.push_async_callback(listener.stop, 0.1)
            await listener.start()
            return Site(authority, listener, settings, core, registry)

        yield start
