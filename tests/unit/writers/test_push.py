"""Writers that post requests, against a server on a bad day."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError
from tests.support.blocks import blocks_of
from tests.support.waiting import until
from tests.support.writing import Observed

from telemetry_collector.errors import RetryableError
from telemetry_collector.writers.otlp import OtlpConfig, OtlpWriter
from telemetry_collector.writers.prometheus_remote_write import RemoteWriteConfig, RemoteWriteWriter
from telemetry_collector.writers.push import PushWriter

PARTIAL = b"\x0a\x09\x08\x02\x12\x05words"


@dataclass
class Destination:
    """Answers with `script`, one a request, then with 200."""

    script: list[tuple[int, bytes]] = field(default_factory=list)
    bad: tuple[bytes, ...] = ()
    """A body with one of these is refused whole."""
    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def post(self, request: web.Request) -> web.Response:
        given = await request.read()
        self.requests.append((dict(request.headers), given))
        status, body = self.script.pop(0) if self.script else (200, b"")
        if status == 200 and any(one in given for one in self.bad):
            status, body = 400, b"out of order sample"
        elif status == 200:
            self.accepted.update(given.splitlines())
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"} if status == 302 else {})

    accepted: set[bytes] = field(default_factory=set)
    """Lines of the bodies that were."""

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.requests]


@pytest.fixture
async def destination() -> AsyncIterator[Destination]:
    serving = Destination()
    application = web.Application()
    application.router.add_post("/path", serving.post)
    # What was compressed is to be seen as it was sent.
    runner = web.AppRunner(application, shutdown_timeout=0, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    serving.url = f"http://127.0.0.1:{runner.addresses[0][1]}/path"
    try:
        yield serving
    finally:
        await runner.cleanup()


@asynccontextmanager
async def started(url: str, observed: Observed, name: str = "otlp", **keys: Any) -> AsyncIterator[PushWriter]:
    context = observed.context(name, retry_secs_max=0.05)
    writer: PushWriter = (
        OtlpWriter(OtlpConfig(url=url, **keys), context)
        if name == "otlp"
        else RemoteWriteWriter(RemoteWriteConfig(url=url, **keys), context)
    )
    assert await writer.start(0) == 0
    try:
        yield writer
    finally:
        await writer.stop()


async def test_requests_arrive_with_the_headers_of_their_protocol(destination: Destination) -> None:
    observed = Observed()
    headers = {"Authorization": SecretStr("Bearer secret")}
    for name in ("otlp", "prometheus_remote_write"):
        async with started(destination.url, observed, name, headers=headers) as writer:
            await writer.write(blocks_of(10, 0))
            assert await writer.flush() == 10
        assert observed.count("points", name) == 10
        assert observed.count("requests", name) == 1
    (otlp, otlp_body), (remote, remote_body) = destination.requests
    assert otlp_body == b"".join(blocks_of(10, 0).otlp(1 << 20).bodies)
    assert remote_body == b"".join(blocks_of(10, 0).remote_write(1 << 20).bodies)
    assert (otlp["Content-Type"], "Content-Encoding" in otlp) == ("application/x-protobuf", False)
    assert (remote["Content-Encoding"], remote["X-Prometheus-Remote-Write-Version"]) == ("snappy", "0.1.0")
    assert otlp["Authorization"] == remote["Authorization"] == "Bearer secret"


async def test_what_leaves_the_machine_is_compressed() -> None:
    assert OtlpConfig(url="https://example.org/v1/metrics").compresses
    assert not OtlpConfig(url="http://localhost:4318/v1/metrics").compresses


async def test_compression_can_be_asked_for(destination: Destination) -> None:
    async with started(destination.url, Observed(), gzip="on") as writer:
        await writer.write(blocks_of(3, 0))
    headers, body = destination.requests[0]
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == blocks_of(3, 0).otlp(1 << 20).bodies[0]


async def test_a_destination_that_fails_is_tried_until_it_takes_it(destination: Destination) -> None:
    observed = Observed()
    destination.script = [(503, b"busy"), (429, b""), (401, b"who?"), (302, b""), (404, b"")]
    async with started(destination.url, observed) as writer:
        await writer.write(blocks_of(5, 0))
        assert await writer.flush() == 5
    assert len(set(destination.bodies)) == 1
    assert len(destination.bodies) == 6
    assert observed.count("points", "otlp") == 5
    for reason in ("unavailable", "throttled", "unauthorized", "unexpected_answer", "not_found"):
        assert observed.count("failures", "otlp", reason=reason) == 1


async def test_what_is_refused_for_good_is_counted_and_passed_over(destination: Destination) -> None:
    observed = Observed()
    destination.script = [(400, b"no such thing"), (200, PARTIAL), (200, b"\xff"), (409, b"older than what is there")]
    async with started(destination.url, observed) as writer:
        for place in range(4):
            await writer.write(blocks_of(5, 5 * place))
        assert await writer.flush() == 20
    assert observed.count("points_refused", "otlp", reason="conflict") == 5
    assert observed.count("points_refused", "otlp", reason="bad_request") == 5
    assert observed.count("points_refused", "otlp", reason="partial_success") == 2
    assert observed.count("points", "otlp") == 3 + 5


async def test_requests_that_are_too_large_come_again_in_smaller_ones(destination: Destination) -> None:
    observed = Observed()
    destination.script = [(413, b""), (413, b"")]
    async with started(destination.url, observed, batch_bytes=16_384) as writer:
        await writer.write(blocks_of(400, 0))
    sizes = [len(body) for body in destination.bodies]
    assert sizes[0] > sizes[1] > sizes[2]
    assert b"".join(destination.bodies[2:]) == b"".join(blocks_of(400, 0).otlp(4_096).bodies)
    assert observed.count("points", "otlp") == 400


async def test_stopping_ends_a_write_that_waits() -> None:
    async with started("http://127.0.0.1:9/path", Observed()) as writer:
        writing = asyncio.create_task(writer.write(blocks_of(1, 0)))
        await until(lambda: writer._delivery.under_way)
        await writer.stop()
        with pytest.raises(RetryableError, match="stopped"):
            await writing
        await writer.stop()


def test_mistakes_are_told() -> None:
    with pytest.raises(ValidationError, match="http"):
        OtlpConfig(url="localhost:4318")
    assert "secret" not in repr(OtlpConfig(url="http://x", headers={"Authorization": SecretStr("secret")}))


async def test_what_was_accepted_before_a_request_that_is_too_large_counts_once(destination: Destination) -> None:
    observed = Observed()
    destination.script = [(200, b""), (413, b"")]
    async with started(destination.url, observed, batch_bytes=16_384) as writer:
        await writer.write(blocks_of(400, 0))
    assert observed.count("points", "otlp") == 400


async def test_of_a_refused_remote_write_only_the_series_at_fault_are_lost(destination: Destination) -> None:
    observed = Observed()
    destination.bad = (b"value=7.0 ", b"value=1800.0 ")
    async with started(destination.url, observed, "prometheus_remote_write", batch_bytes=65_536) as writer:
        await writer.write(blocks_of(2_000, 0))
        assert await writer.flush() == 2_000
    assert len(destination.accepted) == 1_998
    assert observed.count("points", "prometheus_remote_write") == 1_998
    assert observed.count("points_refused", "prometheus_remote_write", reason="bad_request") == 2


async def test_where_all_is_refused_the_search_ends_and_each_point_counts_once(destination: Destination) -> None:
    observed = Observed()
    destination.bad = (b"value",)
    async with started(destination.url, observed, "prometheus_remote_write") as writer:
        await writer.write(blocks_of(2_000, 0))
        assert await writer.flush() == 2_000
    assert observed.count("points_refused", "prometheus_remote_write", reason="bad_request") == 2_000
    # Once whole, in requests of 4 KiB, and 16 of these in single lines.
    assert len(destination.requests) < 2_000
