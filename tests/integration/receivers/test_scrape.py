"""Targets that show their metrics, read by a collector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from tests.integration.receivers.conftest import receiving
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.config.scrape import ScrapeJob
from telemetry_collector.listeners.requests import Door, RequestEvents, Scraper
from telemetry_collector.observe.metrics import new_registry
from telemetry_collector.security.authority import Files

PAGE = """\
# HELP requests_total All requests.
# TYPE requests_total counter
requests_total{code="200",job="mine"} 7
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 2
latency_seconds_bucket{le="+Inf"} 3
latency_seconds_sum 4.5
latency_seconds_count 3
broken{
"""


@asynccontextmanager
async def target(
    *pages: tuple[int, str] | Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Shows the pages one after the other, then the last for good."""
    waiting = list(pages)

    async def show(request: web.Request) -> web.StreamResponse:
        page = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return web.Response(status=page[0], text=page[1]) if isinstance(page, tuple) else await page(request)

    application = web.Application()
    application.router.add_get("/metrics", show)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def job(url: str, **keys: object) -> dict[str, object]:
    return {"jobs": [{"name": "service", "targets": [url], "interval_secs": 0.2, "timeout_secs": 0.2, **keys}]}


async def test_what_a_target_shows_is_in_the_dataset(tmp_path: Path, certificates: Files) -> None:
    async with (
        target((200, PAGE)) as url,
        receiving(tmp_path, certificates, scrape=job(url, labels={"region": "eu", "node_id": "n7"})) as running,
    ):
        counters = await running.rows(
            2, "type, value, region, node_id, tags['job'], tags['exported_job'], identity", "name = 'requests_total'"
        )
        histograms = await running.rows(1, "histogram", "name = 'latency_seconds'")
        up = await running.rows(1, "value, tags['instance']", "name = 'up'")
        assert running.counted("request_parts_left_out_total", receiver="scrape", kind="bad_line") >= 1
    assert set(counters) == {("counter", 7.0, "eu", "n7", "service", "mine", "scrape")}
    assert histograms[0][0] | {"count": 3, "sum": 4.5, "bounds": [0.5], "counts": [2, 1]} == histograms[0][0]
    assert set(up) == {(1.0, url.removeprefix("http://"))}


async def test_a_target_that_fails_is_told_and_read_again(tmp_path: Path, certificates: Files) -> None:
    async with (
        target((500, "no"), (200, "temperature 21.5\n")) as url,
        receiving(tmp_path, certificates, scrape=job(url)) as running,
    ):
        assert (await running.rows(1, "value", "name = 'temperature'"))[0] == (21.5,)
        ups = await running.rows(2, "value", "name = 'up'")
        assert {value for (value,) in ups} == {0.0, 1.0}
        assert running.counted("scrapes_failed_total", job="service") == 1


async def test_a_target_that_is_not_there_costs_the_others_nothing(tmp_path: Path, certificates: Files) -> None:
    async with target((200, "good 1\n")) as url:
        jobs = job(url)["jobs"]
        assert isinstance(jobs, list)
        gone = {**jobs[0], "name": "gone", "targets": ["http://127.0.0.1:9"]}
        async with receiving(tmp_path, certificates, scrape={"jobs": [*jobs, gone]}) as running:
            await until(lambda: running.counted("scrapes_failed_total", job="gone") >= 2)
            assert len(await running.rows(2, "value", "name = 'good'")) >= 2


class Nobody:
    async def take(self, *_request: object, **_sender: object) -> _core.Request:
        raise AssertionError("there is no room for any page")


async def test_pages_take_room_as_they_come() -> None:
    """Else those that are read at a time would take as much as they like together."""
    registry = new_registry("")
    door = Door({"metrics": Nobody()}, RequestEvents(registry), request_bytes_max=1_000, bytes_max=2_000)

    over = asyncio.Event()

    async def without_end(request: web.Request) -> web.StreamResponse:
        page = web.StreamResponse()
        await page.prepare(request)
        await page.write(b"a 1\n" * 200)
        await over.wait()
        return page

    async with target(without_end) as url:
        scraper = Scraper([ScrapeJob(name="service", targets=(f"{url}/metrics",), interval_secs=3_600)], door)
        await scraper.start()
        try:
            with door.hold("another") as hold:
                assert hold.grow(1_000)
                await scraper.read(scraper._targets[0])
        finally:
            over.set()
            await scraper.stop()
    labels = {"receiver": "scrape", "outcome": "retry_later"}
    assert registry.get_sample_value("telemetry_collector_requests_total", labels) == 1
    assert door._room._all.bytes == 0
