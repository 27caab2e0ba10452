"""Connections of receivers: how many an address may have, and what is told of those that TLS ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from tests.support.certificates import SERVER, Authority, pem
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.requests.door import Door
from telemetry_collector.listeners.requests.events import RequestEvents
from telemetry_collector.listeners.requests.grpc import GrpcListener
from telemetry_collector.listeners.requests.http import HttpListener
from telemetry_collector.listeners.requests.influx import InfluxHttp
from telemetry_collector.listeners.requests.otlp import EXPORTS
from telemetry_collector.listeners.requests.peers import server_context
from telemetry_collector.listeners.requests.reading import CALLS_WAITING_MAX
from telemetry_collector.observe.metrics import new_registry


class Nobody:
    async def take(self, *_request: object, **_sender: object) -> _core.Request:
        raise AssertionError("nothing is sent here")


class Receiver:
    """A receiver by itself, and what it counts."""

    def __init__(self, tls: ssl.SSLContext | None, connections_max: int) -> None:
        self._registry = new_registry("")
        door = Door({"metrics": Nobody()}, RequestEvents(self._registry), request_bytes_max=1_000, bytes_max=1_000)
        address = Address("127.0.0.1", 0)
        self.listener = HttpListener(
            "influx", address, InfluxHttp({}, None), door, None, tls, connections_max=connections_max
        )

    def counted(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(f"telemetry_collector_{name}", {"receiver": "influx", **labels}) or 0.0

    async def pings(self, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> int:
        """What a client at an address is answered. ClientError when it is not."""
        connector = aiohttp.TCPConnector(local_addr=(source, 0))
        url = f"http{'s' if tls else ''}://{self.listener.address}/ping"
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, ssl=tls or True, server_hostname="localhost" if tls else None) as answer,
        ):
            return answer.status


@contextlib.asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None, connections_max: int = 8) -> AsyncIterator[Receiver]:
    receiver = Receiver(tls, connections_max)
    await receiver.listener.start()
    try:
        yield receiver
    finally:
        await receiver.listener.stop()


@contextlib.contextmanager
def connected(address: Address, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((address.host, address.port)))
        yield


@pytest.mark.parametrize("over_tls", [False, True])
async def test_no_address_takes_all_connections_and_those_that_end_are_free_again(
    tmp_path: Path, over_tls: bool
) -> None:
    tls, trusting = contexts(tmp_path) if over_tls else (None, None)
    async with receiving(tls) as receiver:
        # Over TLS they never get further than their handshake.
        with connected(receiver.listener.address, 10):
            await until(lambda: receiver.counted("request_connections_turned_away_total") == 6)
            with pytest.raises(aiohttp.ClientError):
                await receiver.pings(tls=trusting)
            assert await receiver.pings("127.0.0.2", trusting) == 204
        await until(lambda: receiver.listener.connections == 0)
        assert await receiver.pings(tls=trusting) == 204


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server that asks for certificates, and of a client that it takes."""
    authority = Authority("Fleet")
    server = authority.issue(dns="localhost", usages=SERVER).write(directory, "server")
    client = authority.issue(uri="spiffe://telemetry/node/node-1").write(directory, "client")
    (directory / "ca.pem").write_bytes(pem(authority.certificate))
    trusting = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    trusting.load_cert_chain(*client)
    return server_context("mutual", *server, directory / "ca.pem"), trusting


async def test_whom_tls_turns_away_is_told_by_reason_and_costs_nobody_else_anything(tmp_path: Path) -> None:
    tls, trusting = contexts(tmp_path)
    stranger = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    stranger.load_cert_chain(*Authority("Elsewhere").issue(uri="spiffe://telemetry/node/x").write(tmp_path, "stranger"))
    without = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with receiving(tls) as receiver, aiohttp.ClientSession() as session:
        url = f"https://{receiver.listener.address}/ping"
        async with session.get(url, ssl=trusting, server_hostname="localhost") as answer:
            assert answer.status == 204
        for client, reason in [(stranger, "untrusted"), (without, "no_certificate")]:
            with pytest.raises(aiohttp.ClientError):
                await receiver.pings(tls=client)
            # aiohttp tries a second time.
            await until(partial(receiver.counted, "request_handshakes_failed_total", reason=reason))
        # Python's clients do not say why they leave.
        curl = await asyncio.create_subprocess_exec("curl", "--silent", url)
        assert await curl.wait() == 60
        await until(lambda: receiver.counted("request_handshakes_failed_total", reason="refused_by_client"))
        with pytest.raises(aiohttp.ClientError):
            await receiver.pings()
        await until(lambda: receiver.counted("request_handshakes_failed_total", reason="not_tls"))
        with connected(receiver.listener.address, 1):
            pass
        await until(lambda: receiver.counted("request_handshakes_failed_total", reason="left"))
        # On the connection that was open before.
        async with session.get(url, ssl=trusting, server_hostname="localhost") as answer:
            assert answer.status == 204
        assert receiver.listener.connections == 1


async def test_calls_that_wait_for_their_turn_leave_room_and_those_beyond_may_come_again() -> None:
    door = Door({"metrics": Nobody()}, RequestEvents(new_registry("")), request_bytes_max=1_000, bytes_max=1_000)
    listener = GrpcListener("otlp_grpc", Address("127.0.0.1", 0), (), door, None, None)
    await listener.start()
    try:
        async with grpc.aio.insecure_channel(str(listener.address)) as channel:
            export = channel.stream_unary(EXPORTS["metrics"])
            # Nothing is sent on them; one address has half of those that may wait.
            waiting = [export() for _ in range(CALLS_WAITING_MAX // 2 + 20)]
            await until(lambda: sum(call.done() for call in waiting) == 20)
            for call in waiting:
                if call.done():
                    told = status_pb2.Status.FromString(dict(await call.trailing_metadata())["grpc-status-details-bin"])
                    assert told.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
                    assert told.details[0].Is(error_details_pb2.RetryInfo.DESCRIPTOR)
            for call in waiting:
                call.cancel()
    finally:
        await listener.stop(0.1)
