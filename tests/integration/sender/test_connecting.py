"""Whom a sender connects to, and why not: certificates, protocols, names and addresses."""

import socket
from pathlib import Path
from typing import Any

import pytest
from tests.support.quic_collector import QuicCollector
from tests.support.sending import batch, running, transport
from tests.support.waiting import until

from telemetry_collector.config import Address
from telemetry_collector.sender import (
    TransportName,
    TransportSettings,
    dialling,
)
from telemetry_collector.sender.events import ConnectFailed

pytestmark = pytest.mark.usefixtures("sender_transport")


async def no_connection(settings: TransportSettings) -> str:
    async with running(settings) as (sender, events):
        sender.offer(batch())
        await until(lambda: any(isinstance(event, ConnectFailed) for event in events))
        assert sender.stats.connects == 0
        return next(event.reason for event in events if isinstance(event, ConnectFailed))


async def test_a_collector_of_another_authority_gets_nothing(
    certificates: Path, sender_transport: TransportName
) -> None:
    alert = {"aioquic": "TLS alert 42", "quinn": "TLS alert 48"}[sender_transport]
    async with QuicCollector(certificates / "other") as collector:
        assert alert in await no_connection(transport(certificates, collector.address))
        assert collector.books.seen == []


async def test_a_certificate_for_another_host_gets_nothing(certificates: Path) -> None:
    collector = QuicCollector(certificates)
    collector.certificate = "elsewhere"
    async with collector:
        assert "TLS alert 42" in await no_connection(transport(certificates, collector.address))
        assert collector.books.seen == []


async def test_the_server_name_may_be_given(certificates: Path) -> None:
    collector = QuicCollector(certificates)
    collector.certificate = "elsewhere"
    settings = {"server_name": "elsewhere.example"}
    async with collector, running(transport(certificates, collector.address, **settings)) as (sender, _):
        sender.offer(batch())
        await sender.drained()
        assert len(collector.books.points) == 10


async def test_a_nodes_certificate_does_not_pass_for_a_collectors(certificates: Path) -> None:
    collector = QuicCollector(certificates, host="127.0.0.1")
    collector.certificate = "node-1"
    async with collector:
        reason = await no_connection(transport(certificates, collector.address, server_name="localhost"))
        assert "extended key usage" in reason
        assert collector.books.seen == []


async def test_another_protocol_is_refused(certificates: Path) -> None:
    collector = QuicCollector(certificates)
    collector.alpn = "telemetry/2"
    async with collector:
        assert "TLS alert 120" in await no_connection(transport(certificates, collector.address))


async def test_nobody_listening_is_noticed_at_once(certificates: Path) -> None:
    collector = QuicCollector(certificates)
    await collector.start()
    collector.stop()
    assert "refused" in await no_connection(transport(certificates, collector.address))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cert_path": Path("/nowhere/node.pem")}, "/nowhere/node.pem"),
        ({"ca_path": Path("/nowhere/ca.pem")}, "/nowhere/ca.pem"),
    ],
)
async def test_certificates_that_cannot_be_read_are_named(
    certificates: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in await no_connection(transport(certificates, Address("127.0.0.1", 9), **changes))


@pytest.mark.parametrize(("listens", "reached"), [("::1", "::1"), ("127.0.0.1", "localhost")])
async def test_ipv6_and_names_work(certificates: Path, listens: str, reached: str) -> None:
    async with (
        QuicCollector(certificates, host=listens) as collector,
        running(transport(certificates, Address(reached, collector.address.port))) as (sender, _),
    ):
        sender.offer(batch())
        await sender.drained()
        assert sender.stats.points_acknowledged == 10


async def test_every_address_of_a_name_is_tried(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with QuicCollector(certificates) as collector:
        port = collector.address.port

        async def addresses(host: str, *_: Any, **__: Any) -> list[Any]:
            assert host == "localhost"
            dead = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0))
            return [dead, (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))]

        dialled = Address("localhost", port)
        monkeypatch.setattr(dialling, "resolve", addresses)
        async with running(transport(certificates, dialled)) as (sender, events):
            sender.offer(batch())
            await sender.drained()
            assert not [event for event in events if isinstance(event, ConnectFailed)]
