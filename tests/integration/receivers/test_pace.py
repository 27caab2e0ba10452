"""Clients that trickle, break off or bring too much: what becomes of them, and of the others meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from prometheus_client import CollectorRegistry
from tests.integration.receivers.conftest import Running, curl, receiving
from tests.integration.receivers.test_otlp import EXPORT
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.requests import Door, RequestEvents
from telemetry_collector.listeners.requests.body import Pace, read_body
from telemetry_collector.listeners.requests.http import HttpListener
from telemetry_collector.listeners.requests.influx import InfluxHttp
from telemetry_collector.listeners.requests.reading import READS_OF_CLIENT_MAX, Readings
from telemetry_collector.listeners.requests.room import Room
from telemetry_collector.pipeline.requests import LOOP_BYTES_MAX
from telemetry_collector.security.authority import Files

HEAD = b"POST /write HTTP/1.1\r\nHost: a\r\n"
MIB = 1024 * 1024
FOR_EVER = Pace(secs_max=3_600.0, turn_secs=3_600.0)


class Standing:
    """A consumer that takes nothing before it may."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.taken = 0

    async def take(self, form: _core.RequestForm, body: bytes, encoding: str, **_peer: object) -> _core.Request:
        del form, body, encoding
        self.taken += 1
        await self.open.wait()
        raise _core.RequestError("taken")


@dataclass
class Listening:
    """A receiver of line protocol by itself."""

    port: int
    consumer: Standing
    door: Door
    registry: CollectorRegistry

    def answered(self, outcome: str) -> float:
        labels = {"receiver": "influx", "outcome": outcome}
        return self.registry.get_sample_value("telemetry_collector_requests_total", labels) or 0.0

    @property
    def held_bytes(self) -> int:
        return self.door._room._all.bytes


@asynccontextmanager
async def listening(pace: Pace, bytes_max: int = 64 * MIB) -> AsyncIterator[Listening]:
    registry, consumer = CollectorRegistry(), Standing()
    door = Door({"metrics": consumer}, RequestEvents(registry), request_bytes_max=16 * MIB, bytes_max=bytes_max)
    listener = HttpListener("influx", Address("127.0.0.1", 0), InfluxHttp({}, None), door, None, None, pace)
    await listener.start()
    try:
        yield Listening(listener.address.port, consumer, door, registry)
    finally:
        consumer.open.set()
        await listener.stop()


@asynccontextmanager
async def connected(
    port: int, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection from one of loopback's many addresses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def status_of(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(PATIENCE_SECS):
        return int((await reader.readline()).split()[1])


async def test_trickling_bodies_hold_what_came_of_them_and_nothing_more() -> None:
    async with listening(FOR_EVER) as there, contextlib.AsyncExitStack() as stack:
        for _ in range(64):
            _, writer = await stack.enter_async_context(connected(there.port))
            writer.write(HEAD + b"Content-Length: 16777216\r\n\r\nm value=")
        reader, writer = await stack.enter_async_context(connected(there.port))
        writer.write(HEAD + b"Content-Length: 9\r\n\r\nm value=1")
        await until(lambda: there.consumer.taken == 1)
        there.consumer.open.set()
        assert await status_of(reader) == 400


async def test_a_client_that_fills_its_part_of_the_room_leaves_the_others_theirs() -> None:
    async with listening(FOR_EVER, 32 * MIB) as there, contextlib.AsyncExitStack() as stack:
        answers = []
        for _ in range(8):
            reader, writer = await stack.enter_async_context(connected(there.port))
            writer.write(HEAD + b"Content-Length: 8388608\r\n\r\n" + b" " * (8 * MIB - 1))
            answers.append(asyncio.create_task(status_of(reader)))
        # Of eight times eight MiB less a byte it may hold sixteen: two stand, the others are told to come back.
        await until(lambda: sum(answer.done() for answer in answers) == 6)
        assert {answer.result() for answer in answers if answer.done()} == {503}
        reader, writer = await stack.enter_async_context(connected(there.port, "127.0.0.2"))
        writer.write(HEAD + b"Content-Length: 4194304\r\n\r\n" + b" " * (4 * MIB))
        await until(lambda: there.consumer.taken == 1)
        for answer in answers:
            answer.cancel()


async def test_a_body_that_comes_too_slowly_is_ended_and_may_be_sent_again() -> None:
    pace = Pace(secs_max=3_600.0, turn_secs=0.3, turn_bytes_min=64)
    async with listening(pace) as there, connected(there.port) as (reader, writer):
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 100)
        answer = asyncio.create_task(status_of(reader))
        while not answer.done():
            # Now and then a byte, for as long as it is listened to.
            writer.write(b"x")
            await asyncio.wait([answer], timeout=0.05)
        assert answer.result() == 503
        assert there.consumer.taken == 0
        assert there.answered("too_slow") == 1


async def test_a_body_that_keeps_its_pace_has_to_end_nevertheless() -> None:
    pace = Pace(secs_max=0.5, turn_secs=0.1, turn_bytes_min=1)
    async with listening(pace) as there, connected(there.port) as (reader, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        answer = asyncio.create_task(status_of(reader))
        while not answer.done():
            writer.write(b"2\r\nxx\r\n")
            await asyncio.wait([answer], timeout=0.02)
        assert answer.result() == 503


async def test_broken_chunks_are_answered_at_once() -> None:
    async with listening(FOR_EVER) as there, connected(there.port) as (reader, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nm value=1\r\n")
        await until(lambda: there.held_bytes == 9)
        writer.write(b"no number\r\n")
        assert await status_of(reader) == 400
        async with asyncio.timeout(PATIENCE_SECS):
            rest = await reader.read()
        assert b"HTTP/1.1" not in rest, "it is answered once, and the connection ends"
        assert there.consumer.taken == 0
        assert there.answered("malformed") == 1


async def test_a_client_that_leaves_gives_back_what_it_held(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(FOR_EVER) as there:
        async with connected(there.port) as (_, writer):
            writer.write(HEAD + b"Content-Length: 100\r\n\r\nm value=1")
            await until(lambda: there.held_bytes == 9)
        await until(lambda: there.held_bytes == 0)
        await until(lambda: there.answered("malformed") == 1)
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "it is no fault of ours"


async def test_a_body_is_too_large_whether_its_length_is_told_or_not() -> None:
    async with listening(FOR_EVER, 256 * MIB) as there:
        for head, body in [
            (b"Content-Length: 16777217\r\n\r\n", b""),
            (b"Transfer-Encoding: chunked\r\n\r\n1000001\r\n", b" " * (16 * MIB + 1)),
        ]:
            async with connected(there.port) as (reader, writer):
                writer.write(HEAD + head + body)
                assert await status_of(reader) == 413


async def test_grpc_reads_few_messages_of_one_client_at_a_time() -> None:
    readings = Readings()
    begun = {"slow": 0, "quick": 0}

    async def never() -> AsyncIterator[bytes]:
        begun["slow"] += 1
        await asyncio.Event().wait()
        yield b""

    async def at_once() -> AsyncIterator[bytes]:
        begun["quick"] += 1
        yield b"message"

    slow = [asyncio.create_task(readings.read("slow", never())) for _ in range(50)]
    await until(lambda: begun["slow"] == READS_OF_CLIENT_MAX)
    for _ in range(50):
        assert await readings.read("quick", at_once()) == b"message"
    assert begun["slow"] == READS_OF_CLIENT_MAX
    with pytest.raises(TimeoutError):
        await Readings().read("slow", never(), 0.01)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert not readings._clients


async def test_a_message_over_grpc_that_is_too_large_is_refused_for_good(running: Running) -> None:
    async with grpc.aio.insecure_channel(running.address("otlp_grpc")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(EXPORT)(b"\x00" * (17 * MIB))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await channel.unary_unary(EXPORT)(b"") == b""


async def test_what_unpacks_to_much_is_unpacked_beside_the_loop() -> None:
    small, large = b" " * LOOP_BYTES_MAX, b" " * (LOOP_BYTES_MAX + 1)
    assert _core.unpack_small(gzip.compress(small), "gzip", LOOP_BYTES_MAX) == small
    assert _core.unpack_small(gzip.compress(large), "gzip", LOOP_BYTES_MAX) is None
    assert _core.unpack_small(small, "", LOOP_BYTES_MAX) is small
    for body, encoding in [(b"x", "gzip"), (b"x", "br")]:
        with pytest.raises(_core.RequestError):
            _core.unpack_small(body, encoding, LOOP_BYTES_MAX)


async def test_a_client_over_its_quota_is_stored_once_however_often_it_tries(
    tmp_path: Path, certificates: Files
) -> None:
    quotas = {"default": {"points_per_sec": 500}}
    async with receiving(tmp_path, certificates, quotas=quotas) as running:
        url, tries = running.url("influx", "/api/v2/write"), 0
        for request in range(2):
            lines = "".join(f"m,line=l{request}-{number} value={number}\n" for number in range(2_500)).encode()
            async with asyncio.timeout(6 * PATIENCE_SECS):
                while True:
                    tries += 1
                    status, headers, body = await curl(url, "--data-binary", "@-", data=lines)
                    if status == 204:
                        break
                    assert (status, json.loads(body)["code"]) == (429, "too many requests")
                    assert int(headers["retry-after"]) >= 1
                    await asyncio.sleep(0.1)
        assert tries > 3, "the quota was met"
        rows = await running.rows(5_000, "tags['line']", "name = 'm'")
        assert len(rows) == len(set(rows)) == 5_000


async def test_a_client_that_had_left_before_its_body_was_waited_for_is_no_fault_of_ours() -> None:
    loop = asyncio.get_running_loop()
    gone = BaseProtocol(loop)
    room = Room(bytes_max=2_000, requests_max=1)
    with room.hold("client") as hold, pytest.raises(ConnectionError):
        await read_body(StreamReader(gone, 2**16, loop=loop), hold, 1_000)
