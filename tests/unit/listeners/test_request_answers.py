"""What clients hear of requests that no consumer has judged: in their protocol's words, and whether to come again."""

from __future__ import annotations


import grpc
import grpc.aio
import pytest

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.requests.door import Door
from telemetry_collector.listeners.requests.events import RequestEvents
from telemetry_collector.listeners.requests.grpc import GrpcListener
from telemetry_collector.listeners.requests.otlp import EXPORTS
from telemetry_collector.observe.metrics import new_registry


class Defect(Exception):
    pass


class Broken:
    async def take(
        self, form: _core.RequestForm, body: bytes, encoding: str, *, identity: str, node: str, relay: bool
    ) -> _core.Request:
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
