"""Targets that show their metrics, read by a collector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.exposition import choose_encoder
from tests.integration.receivers.conftest import receiving
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.config.scrape import ScrapeJob
from telemetry_collector.listeners.requests.door import Door
from telemetry_collector.listeners.requests.events import RequestEvents
from telemetry_collector.listeners.requests.scrape import Scraper
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
async def serving(show: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Where /metrics is answered so."""
    application = web.Application()
    application.router.add_get("/metrics", show)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def target(*pages: tuple[int, str], content_type: str = "text/plain") -> AsyncIterator[str]:
    """Shows the pages one after the other, then the last for good."""
    waiting = list(pages)

    async def show(_request: web.Request) -> web.Response:
        status, page = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return web.Response(status=status, text=page, content_type=content_type)

    async with serving(show) as url:
        yield url


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


async def test_a_page_of_another_kind_is_no_metrics(tmp_path: Path, certificates: Files) -> None:
    """A page to log in is answered with 200, too, and nobody asked for protobuf."""
    async with (
        target((200, "good 1\n"), content_type="text/html") as html,
        target((200, "good 1\n"), content_type="application/vnd.google.protobuf") as protobuf,
        receiving(tmp_path, certificates, scrape=job(html, targets=[html, protobuf])) as running,
    ):
        ups = await running.rows(4, "value", "name = 'up'")
        assert set(ups) == {(0.0,)}
        assert running.counted("scrapes_failed_total", job="service") >= 4


@asynccontextmanager
async def client(registry: CollectorRegistry) -> AsyncIterator[tuple[str, list[str]]]:
    """Shows what prometheus_client makes of being asked; how it was asked."""
    asked = []

    async def show(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept"])
        encode, content_type = choose_encoder(asked[-1])
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async with serving(show) as url:
        yield url, asked


async def test_openmetrics_is_asked_for_first_and_read(tmp_path: Path, certificates: Files) -> None:
    registry = CollectorRegistry()
    Counter("requests", "All.", ["code"], registry=registry).labels("200").inc(7, {"trace_id": "a # {b"})
    latency = Histogram("latency", "Time.", unit="seconds", buckets=[0.5], registry=registry)
    latency.observe(0.25, {"trace_id": "c"})
    latency.observe(2)
    Info("build", "Which.", registry=registry).info({"branch": "main"})
    async with client(registry) as (url, asked), receiving(tmp_path, certificates, scrape=job(url)) as running:
        columns = "name, type, unit, value, histogram, tags['code'], tags['branch']"
        await running.rows(1, columns, "name = 'build_info'")
        rows = {row[0]: row[1:] for row in await running.rows(5, columns)}
        assert running.counted("request_parts_left_out_total", receiver="scrape", kind="exemplar") >= 2
        assert running.counted("request_parts_left_out_total", receiver="scrape", kind="bad_line") == 0
    assert asked[0].startswith("application/openmetrics-text;version=1.0.0,")
    assert "protobuf" not in asked[0]
    counted = {"count": 2, "sum": 2.25, "min": None, "max": None, "bounds": [0.5], "counts": [1, 1]}
    assert rows["requests_total"] == ("counter", "", 7.0, None, "200", None)
    assert rows["latency_seconds"] == ("histogram", "seconds", None, counted, None, None)
    assert rows["build_info"] == ("gauge", "", 1.0, None, None, "main")
    assert rows["up"][2] == 1.0
    assert set(rows) == {"requests_total", "latency_seconds", "build_info", "up", "scrape_duration_seconds"}


async def test_a_target_whose_page_was_cut_short_is_down(tmp_path: Path, certificates: Files) -> None:
    whole = "# TYPE good gauge\ngood 1\n# EOF\n"
    pages = [(200, cut) for cut in (whole[:-6], "", f"{whole}good 2\n")]
    async with (
        target(*pages, (200, whole), content_type="application/openmetrics-text") as url,
        receiving(tmp_path, certificates, scrape=job(url)) as running,
    ):
        assert (await running.rows(1, "value", "name = 'good'"))[0] == (1.0,)
        ups = await running.rows(4, "value", "name = 'up'")
        assert [value for (value,) in ups[:4]] == [0.0, 0.0, 0.0, 1.0]
        assert running.counted("scrapes_failed_total", job="service") == 3
        assert running.counted("requests_refused_total", receiver="scrape", outcome="malformed") == 3


async def test_what_is_read_of_a_page_counts_against_the_room_while_it_is_read() -> None:
    read = asyncio.Event()

    async def show(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        await answer.write(b"# a comment\n" * 50)
        await read.wait()
        return answer

    application = web.Application()
    application.router.add_get("/metrics", show)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    door = Door({}, RequestEvents(new_registry("")), request_bytes_max=1_000, bytes_max=2_000)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    # Not one of them is whole, and together they would hold more than there is.
    scraper = Scraper([ScrapeJob.model_validate({"name": "x", "targets": tuple(f"{url}?{n}" for n in range(9))})], door)
    try:
        await scraper.start()
        turns = [asyncio.create_task(scraper.read(target)) for target in scraper._targets]
        done, _ = await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECS)
        assert done, "who finds no room gives up at once"
    finally:
        read.set()
        await scraper.stop()
        await asyncio.gather(*turns)
        await runner.cleanup()
