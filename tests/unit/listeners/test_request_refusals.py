"""What clients hear of requests that no consumer has judged: in their protocol's words, and whether to come again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2
from prometheus_client import CollectorRegistry
from tests.support.waiting import PATIENCE_SECS

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.requests.door import Door
from telemetry_collector.listeners.requests.events import RequestEvents
from telemetry_collector.listeners.requests.grpc import GrpcListener
from telemetry_collector.listeners.requests.http import HttpListener, HttpProtocol
from telemetry_collector.listeners.requests.influx import InfluxHttp
from telemetry_collector.listeners.requests.otlp import EXPORTS, OtlpHttp
from telemetry_collector.observe.metrics import new_registry


class Defect(Exception):
    pass


class Broken:
    async def take(self, *_request: Any, **_sender: Any) -> _core.Request:
        raise Defect("of ours")


def broken_door() -> Door:
    return Door({"metrics": Broken()}, RequestEvents(new_registry("")), request_bytes_max=1_000, bytes_max=1_000)


async def test_a_fault_of_ours_is_a_status_that_otlps_clients_send_again() -> None:
    listener = GrpcListener("otlp_grpc", Address("127.0.0.1", 0), (), broken_door(), None, None)
    await listener.start()
    try:
        async with grpc.aio.insecure_channel(str(listener.address)) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="fault of the collector") as failed:
                await channel.unary_unary(EXPORTS["metrics"])(b"")
    finally:
        await listener.stop()
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


async def answered_raw(protocol: HttpProtocol, request: bytes) -> tuple[int, str, bytes, CollectorRegistry]:
    """The answer to a request as it stands here, and what was counted."""
    registry = new_registry("")
    door = Door({"metrics": Broken()}, RequestEvents(registry), request_bytes_max=1_000, bytes_max=1_000)
    listener = HttpListener("http", Address("127.0.0.1", 0), protocol, door, None, None)
    await listener.start()
    try:
        reader, writer = await asyncio.open_connection(listener.address.host, listener.address.port)
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECS)
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        writer.close()
    finally:
        await listener.stop()
    return int(lines[0].split()[1]), headers["Content-Type"].split(";")[0], body, registry


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /\xe9 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nExpect: much\r\nContent-Length: 0\r\n\r\n", 417),
        (b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nExpect: \xe9\r\nContent-Length: 0\r\n\r\n", 417),
        (b"what is this\r\n\r\n", 400),
    ],
)
async def test_what_comes_to_no_handler_is_counted_and_answered_in_the_protocols_words(
    request_bytes: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    got, content_type, body, registry = await answered_raw(OtlpHttp((), lambda _signal: True), request_bytes)
    assert (got, content_type) == (status, "application/x-protobuf")
    assert status_pb2.Status.FromString(body).message
    assert (
        registry.get_sample_value("telemetry_collector_requests_total", {"receiver": "http", "outcome": "malformed"})
        == 1
    )
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")], "whoever comes fills no log"


async def test_an_encoding_that_is_no_text_is_the_clients_fault() -> None:
    class Unpacks:
        async def take(self, *request: Any, **_sender: Any) -> _core.Request:
            raise _core.RequestError(f"Content-Encoding {request[2].encode()}")

    door = Door({"metrics": Unpacks()}, RequestEvents(new_registry("")), request_bytes_max=1_000, bytes_max=1_000)
    listener = HttpListener("http", Address("127.0.0.1", 0), InfluxHttp({}, None), door, None, None)
    await listener.start()
    try:
        reader, writer = await asyncio.open_connection(listener.address.host, listener.address.port)
        writer.write(b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Encoding: \xe9\r\nContent-Length: 1\r\n\r\nx")
        assert (await asyncio.wait_for(reader.readline(), PATIENCE_SECS)).startswith(b"HTTP/1.1 400 ")
        writer.close()
    finally:
        await listener.stop()


async def answered(protocol: HttpProtocol, path: str, content_type: str) -> tuple[int, str, bytes]:
    listener = HttpListener("http", Address("127.0.0.1", 0), protocol, broken_door(), None, None)
    await listener.start()
    try:
        headers = {"Content-Type": content_type}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{listener.address}{path}", data=b"x", headers=headers) as response,
        ):
            return response.status, response.content_type, await response.read()
    finally:
        await listener.stop()


@pytest.mark.parametrize(
    ("path", "content_type", "status", "code"),
    [
        ("/v1/metrics", "application/json", 503, 14),
        ("/v1/metrics", "application/x-protobuf", 503, 14),
        ("/v1/traces", "application/json", 404, 12),
        ("/v1/metrics", "text/plain", 415, 3),
    ],
)
async def test_otlps_clients_hear_a_status_in_their_encoding(
    path: str, content_type: str, status: int, code: int
) -> None:
    protocol = OtlpHttp((), lambda signal: signal == "metrics")
    answer = await answered(protocol, path, content_type)
    if content_type == "application/json":
        assert answer[:2] == (status, "application/json")
        told = json.loads(answer[2])
        assert (told["code"], bool(told["message"])) == (code, True)
    else:
        assert answer[:2] == (status, "application/x-protobuf")
        message = status_pb2.Status.FromString(answer[2])
        assert (message.code, bool(message.message)) == (code, True)


@pytest.mark.parametrize(
    ("path", "status", "keys"),
    [
        ("/api/v2/write?precision=x", 400, {"code": "invalid"}),
        ("/api/v2/write", 503, {"code": "unavailable"}),
        ("/write?precision=x", 400, {}),
        ("/write", 503, {}),
    ],
)
async def test_influxdbs_clients_hear_json_in_their_versions_words(
    path: str, status: int, keys: dict[str, str]
) -> None:
    answer = await answered(InfluxHttp({}, None), path, "text/plain")
    assert answer[:2] == (status, "application/json")
    told = json.loads(answer[2])
    assert told.pop("message" if keys else "error")
    assert told == keys
