"""The HTTP server, as clients of every manner see it: order, ends, bounds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.observe import http_connection, http_server
from telemetry_collector.observe.http_connection import BODY_BYTES_MAX, UNREAD_BYTES_MAX
from telemetry_collector.observe.http_message import Answer, Request
from telemetry_collector.observe.http_server import HttpServer

LARGE = b"x" * (16 * 1024 * 1024)
"""More than the system buffers of a connection whose client does not read."""
HEAD = b"Host: x\r\n"


class Site:
    """A server with a short page, a long one, and one for each name."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        """Done while a page is made."""
        routes = {"/": self._page, "/large": self._large, "/of/{name}": self._page}
        self.server = HttpServer("127.0.0.1", 0, routes, purpose="tests", port_key="port", addr_key="addr")

    def _page(self, request: Request) -> Answer:
        self.asked.append(request.path)
        self.meanwhile()
        return Answer(request.path.encode())

    def _large(self, request: Request) -> Answer:
        self.asked.append(request.path)
        return Answer(LARGE)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that ends with the block, if it has not ended before."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def told(self, *pieces: bytes) -> bytes:
        """What comes back until the connection is ended; it is ended here only after that."""
        async with self.client() as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), PATIENCE_SECS)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.server.start()
    yield site
    await site.server.stop()


async def test_requests_sent_together_are_answered_in_their_order(site: Site) -> None:
    last = b"GET /of/3 HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n"
    answer = await site.told(b"GET /of/1 HTTP/1.1\r\n" + HEAD + b"\r\nHEAD /of/2 HTTP/1.1\r\n" + HEAD + b"\r\n" + last)
    assert site.asked == ["/of/1", "/of/2", "/of/3"]
    assert [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"/of/1",
        b"",
        b"/of/3",
    ]


async def test_who_sends_many_requests_together_makes_nobody_else_wait_for_all(site: Site) -> None:
    many = 200
    between: list[int] = []
    async with site.client() as (reader, writer):
        writer.write((b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n") * many)
        # The client ends its half, too: what it asked before is answered all the same.
        writer.write_eof()
        while len(site.asked) < many:
            await asyncio.sleep(0)
            between.append(len(site.asked))
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECS)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == many
    assert max(after - before for before, after in pairwise([0, *between])) <= 2


async def test_who_breaks_off_before_all_was_read_is_no_error(site: Site) -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    client = socket.create_connection(("127.0.0.1", site.server.port))
    # It is reset rather than ended, between its request and the body that cannot be read.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    site.meanwhile = lambda: loop.call_soon(client.close)
    client.sendall(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\nno size\r\n")
    await until(lambda: site.asked != [] and site.server.connections == 0)
    assert told == []


async def test_a_defect_among_many_requests_ends_the_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    dates = iter(["today"])
    # The second answer has none.
    monkeypatch.setattr(http_connection, "formatdate", lambda **_: next(dates))
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    async with site.client() as (_, writer):
        writer.write((b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n") * 2)
        await until(lambda: site.asked == ["/", "/"] and site.server.connections == 0)
    assert len(told) == 1


async def test_a_request_may_come_a_byte_at_a_time(site: Site) -> None:
    request = b"GET /of/me HTTP/1.0\r\nAccept: text/plain\r\n\r\n"
    answer = await site.told(*(request[place : place + 1] for place in range(len(request))))
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n/of/me")


async def test_an_old_client_may_keep_its_connection(site: Site) -> None:
    async with site.client() as (reader, writer):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECS)
            assert b"Connection: keep-alive" in head
            assert await reader.readexactly(1) == b"/"


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://other.example/of/me?x=1", "/of/me"), (b"/of/me?/of/you", "/of/me"), (b"/of/a%2Fb", "/of/a%2Fb")],
)
async def test_what_is_asked_for_is_the_path(site: Site, target: bytes, path: str) -> None:
    answer = await site.told(b"GET " + target + b" HTTP/1.0\r\n\r\n")
    assert (site.asked, answer.split(b" ")[1]) == ([path], b"200")


async def test_who_asks_on_without_taking_the_answer_is_not_answered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "ANSWER_SECS_MAX", 0.1)
    async with site.client() as (_, writer):
        writer.write((b"GET /large HTTP/1.1\r\n" + HEAD + b"\r\n") * 3)
        await until(lambda: site.asked != [] and site.server.connections == 0)
    assert site.asked == ["/large"]


async def test_a_head_without_an_end_costs_bounded_memory(site: Site) -> None:
    endless = b"x" * (UNREAD_BYTES_MAX // 2)
    answer = await site.told(b"GET / HTTP/1.1\r\nX: ", endless, endless, endless)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert site.asked == []


async def test_a_large_body_ends_the_connection_after_the_answer(site: Site) -> None:
    body = b"x" * (BODY_BYTES_MAX + 1)
    answer = await site.told(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n" + HEAD + b"\r\n", body)
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


async def test_another_protocol_is_not_spoken(site: Site) -> None:
    answer = await site.told(
        b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" + HEAD + b"\r\nPRI * HTTP/2.0"
    )
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer, "a client must not count on the connection"
    assert site.asked == ["/"]


@pytest.mark.parametrize(
    "body",
    [
        b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
        b"Transfer-Encoding: identity\r\n\r\nGET /of/me HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_body_that_cannot_be_read_ends_the_connection_and_has_no_answer_of_its_own(
    site: Site, body: bytes
) -> None:
    answer = await site.told(b"POST / HTTP/1.1\r\n" + HEAD + body)
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert site.asked == []


async def test_chunks_in_an_old_request_end_the_connection(site: Site) -> None:
    answer = await site.told(
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /of/me HTTP/1.0\r\n\r\n"
    )
    assert b"\r\nConnection: close\r\n" in answer
    assert site.asked == ["/"]


@pytest.mark.parametrize("version", [b"0.9", b"2.0"])
async def test_another_version_is_refused_in_ours(site: Site, version: bytes) -> None:
    answer = await site.told(b"GET / HTTP/" + version + b"\r\n" + HEAD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert site.asked == []


async def test_space_behind_a_field_is_no_part_of_its_value(site: Site) -> None:
    answer = await site.told(b"GET / HTTP/1.0\r\nExpect: 100-continue \t\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")


async def test_who_does_not_end_a_connection_that_was_ended_loses_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "LINGER_SECS_MAX", 0.05)
    async with site.client() as (reader, writer):
        writer.write(b"nonsense\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), PATIENCE_SECS)).startswith(b"HTTP/1.1 400")
        await until(lambda: site.server.connections == 0)


async def test_stopping_ends_who_waits_and_lets_who_is_answered_take_the_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "STOP_SECS_MAX", PATIENCE_SECS)
    async with site.client() as (idle, _), site.client() as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\n" + HEAD + b"\r\n")
        await until(lambda: site.asked == ["/large"] and site.server.connections == 2)
        stopping = asyncio.create_task(site.server.stop())
        assert await asyncio.wait_for(idle.read(), PATIENCE_SECS) == b""
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECS)
        assert len(answer.partition(b"\r\n\r\n")[2]) == len(LARGE)
        await stopping
        assert site.server.connections == 0
