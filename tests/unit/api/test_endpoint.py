"""The API over HTTP, as its clients see it: answers, errors, bounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.waiting import until

from telemetry_collector.api.endpoint import ApiEndpoint
from telemetry_collector.api.openapi import document
from telemetry_collector.api.workers import Heartbeat, TelemetryManager
from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import AddressError
from telemetry_collector.observe import http_connection, http_server

FIELDS = ["worker_id", "cpu_usage", "memory_usage", "gpu_usage", "running_tasks", "last_update", "is_active"]
PATHS = ["/health", "/telemetry", "/telemetry/worker-1", "/workers", "/openapi.json", "/docs", "/"]


class Site:
    """An API with two workers, the second of which is silent."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.manager = TelemetryManager(clock=self.clock)
        self.api = ApiEndpoint("127.0.0.1", 0, self.manager, self.registry, version="1.2.3", clock=self.clock)
        self.beat("rack 1/2")
        self.clock.advance(31)
        self.beat("worker-1")

    def beat(self, worker_id: str) -> None:
        tasks = [("7", "train", "running", 10**9)]
        assert self.manager.process_heartbeat(Heartbeat(worker_id, "n", 0.5, 0.25, -1.0, tasks, 0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.port}"

    async def raw(self, request: bytes) -> bytes:
        """What comes back until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.api.port)
        writer.write(request)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.api.start()
    yield site
    await site.api.stop()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(site.url) as session:
        yield session


async def test_health_says_healthy_and_what_time_it_is(site: Site, client: aiohttp.ClientSession) -> None:
    async with client.get("/health") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == {"status": "healthy", "time": int(site.clock.unix_secs())}


@pytest.mark.parametrize("path", ["/telemetry", "/workers"])
async def test_all_workers_are_a_map_by_their_names(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as answer:
        found = await answer.json()
    assert {name: worker["is_active"] for name, worker in found.items()} == {"rack 1/2": False, "worker-1": True}
    assert [list(worker) for worker in found.values()] == [FIELDS, FIELDS]


@pytest.mark.parametrize(("path", "worker"), [("worker-1", "worker-1"), ("rack%201%2F2", "rack 1/2")])
async def test_one_worker_is_asked_for_by_its_name(site: Site, path: str, worker: str) -> None:
    answer = await site.raw(f"GET /telemetry/{path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert json.loads(body) == json.loads(site.manager.map_as_json())[worker]


async def test_a_worker_may_have_any_name(site: Site) -> None:
    for name in ("{a}", "{", "}", "a{b:c}", "%7B", "."):
        site.beat(name)
        quoted = quote(name).replace(".", "%2E")
        for path in {quoted, quoted.replace("%7B", "{").replace("%7D", "}")}:
            answer = await site.raw(f"GET /telemetry/{path} HTTP/1.0\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.0 200 OK"), path
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["worker_id"] == name


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /telemetry/worker-2 HTTP/1.1", 404),
        ("GET /telemetry/%FF%00 HTTP/1.1", 404),
        ("GET /telemetry/worker-1/more HTTP/1.1", 404),
        ("GET /nothing HTTP/1.1", 404),
        ("POST /workers HTTP/1.1", 405),
        ("DELETE /telemetry/worker-1 HTTP/1.1", 405),
        ("OPTIONS /health HTTP/1.1", 405),
        ("GET /health HTTP/9.9", 400),
        ("G\x00T /health HTTP/1.1", 400),
        ("complete nonsense", 400),
        (f"GET /{'x' * 9_000} HTTP/1.1", 400),
        ("GET /health HTTP/1.1\r\nX: " + "x" * 9_000, 400),
        ("GET /health HTTP/1.1\r\n" + "\r\n".join(f"X-{number}: 1" for number in range(100)), 400),
        ("GET /health HTTP/1.1\r\nContent-Length: x", 400),
        ("GET /health HTTP/1.1\r\nExpect: the unexpected", 417),
    ],
)
async def test_every_error_is_json(site: Site, request_line: str, status: int) -> None:
    answer = await site.raw(f"{request_line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split(b" ")[1]) == status, answer
    assert b"Content-Type: application/json" in head
    told = json.loads(body)
    assert told["status"] == status
    assert 0 < len(told["error"]) <= http_connection.WORDS_MAX + 50
    assert (b"Allow: GET,HEAD" in head) == (status == 405)


async def test_a_defect_is_an_error_as_json_and_stands_in_the_log(
    site: Site, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> bytes:
        raise RuntimeError("a defect")

    monkeypatch.setattr(site.manager, "map_as_json", broken)
    with capture_logs() as logs:
        async with client.get("/workers") as answer:
            assert (answer.status, (await answer.json())["status"]) == (500, 500)
            assert "a defect" not in await answer.text()
    assert [(entry["event"], entry["path"], str(entry["exc_info"])) for entry in logs] == [
        ("http_request_failed", "/workers", "a defect")
    ]


@pytest.mark.parametrize("path", [*PATHS, "/telemetry/worker-2", "/nothing"])
async def test_head_is_get_without_its_body(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as got, client.head(path) as head:
        assert (head.status, await head.read()) == (got.status, b"")
        for name in ("Content-Type", "Content-Length"):
            assert head.headers[name] == got.headers[name]


async def test_nobody_is_told_what_it_is_made_of_and_nothing_is_cached(client: aiohttp.ClientSession) -> None:
    for path in PATHS:
        async with client.get(path) as answer:
            assert answer.headers["Server"] == "telemetry-collector"
            assert path == "/" or answer.headers["Cache-Control"] == "no-store"
            assert path == "/" or answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_requests_are_counted_by_path_and_status(site: Site, client: aiohttp.ClientSession) -> None:
    for path in ("/health", "/telemetry/worker-1", "/telemetry/x", "/nothing", "/else"):
        async with client.get(path):
            pass

    def counted(path: str, status: str) -> float | None:
        return site.registry.get_sample_value(
            "telemetry_collector_api_requests_total", {"path": path, "status": status}
        )

    assert counted("/health", "200") == 1
    assert (counted("/telemetry/{worker_id}", "200"), counted("/telemetry/{worker_id}", "404")) == (1, 1)
    assert counted("other", "404") == 2, "no label by what somebody asks for"


class _Links(HTMLParser):
    """What a page would have a browser load, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: set[str] = set()
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "link", "img", "iframe") or "src" in named:
            self.loads.append(tag)
        if named.get("href"):
            self.leads.add(named["href"] or "")
        if named.get("id"):
            self.ids.add(named["id"] or "")


async def test_the_page_tells_all_there_is_and_loads_nothing(client: aiohttp.ClientSession) -> None:
    async with client.get("/docs") as answer:
        assert answer.content_type == "text/html"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
        text = await answer.text()
    links = _Links()
    links.feed(text)
    assert links.loads == []
    assert not re.search(r"url\(|@import|//cdn", text)
    assert {lead for lead in links.leads if not lead.startswith("#")} == {"openapi.json"}
    assert {lead.removeprefix("#") for lead in links.leads if lead.startswith("#")} <= links.ids
    assert all(f"GET {path}" in text for path in document("")["paths"])
    assert all(f"<code>{field}</code>" in text for field in FIELDS)


async def test_the_description_is_of_what_there_is(client: aiohttp.ClientSession) -> None:
    async with client.get("/openapi.json") as answer:
        assert await answer.json() == document("1.2.3")
    for path in document("")["paths"]:
        async with client.get(path.replace("{worker_id}", "worker-1")) as answer:
            assert answer.status == 200


async def test_curl_reads_it(site: Site) -> None:
    command = ["curl", "--silent", "--show-error", "--fail", "--compressed", f"{site.url}/telemetry/worker-1"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, timeout=30)
    assert json.loads(done.stdout)["running_tasks"] == [
        {"task_id": "7", "name": "train", "status": "running", "started_unix_secs": 1.0}
    ]


async def test_a_body_that_nobody_asked_for_is_not_waited_for(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.api.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert b"healthy" in await reader.readuntil(b"}")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nHost: x\r\n\r\nabc",
        b"GET /health HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\nHost: x\r\n\r\nabc",
        b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n3\r\nabcdef\r\n",
    ],
)
async def test_what_outsiders_send_is_no_news(site: Site, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.api.port)
    writer.write(sent)
    assert (await reader.readline()).startswith(b"HTTP/1.")
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    assert caplog.text == ""


async def test_one_connection_too_many_is_told_so_and_room_is_given_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "CONNECTIONS_MAX", 2)
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    idle = [await asyncio.open_connection("127.0.0.1", site.api.port) for _ in range(2)]
    for reader, writer in idle:
        writer.write(request)
        await reader.readuntil(b"}")
    refused = await site.raw(request)
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in refused
    assert json.loads(refused.partition(b"\r\n\r\n")[2])["status"] == 503
    idle[0][1].close()
    await idle[0][1].wait_closed()
    async with asyncio.timeout(30):
        while (await site.raw(request.replace(b"1.1", b"1.0"))).startswith(b"HTTP/1.1 503"):
            pass
    idle[1][1].close()
    await idle[1][1].wait_closed()


async def test_a_request_that_never_ends_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "KEEPALIVE_SECS", 0.05)
    began = time.monotonic()
    assert await site.raw(b"GET /health HTTP/1.1\r\nHost: ") == b""
    assert time.monotonic() - began < 10


async def test_an_answer_that_nobody_takes_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "ANSWER_SECS_MAX", 0.05)
    answer = b"x" * (64 * 1024 * 1024)
    monkeypatch.setattr(site.manager, "map_as_json", lambda: answer)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.api.port)
    writer.write(b"GET /workers HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: site.api.connections == 0)
    # Whether the end is told as one depends on what the system had buffered.
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(len(answer))
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()


async def test_a_taken_port_is_told_with_its_keys(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = ApiEndpoint("127.0.0.1", port, site.manager, CollectorRegistry(), version="")
        with pytest.raises(AddressError) as caught:
            await other.start()
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1 port {port} for the API: address already in use; expected a free port in "
        "api.http_port (or the environment variable HTTP_PORT) and one of this machine's addresses in api.http_addr"
    )
    await other.stop()


def test_the_fields_of_a_worker_are_those_of_its_description() -> None:
    described: dict[str, Any] = document("")["components"]["schemas"]["Worker"]
    assert list(described["properties"]) == described["required"] == FIELDS
