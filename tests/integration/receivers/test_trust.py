"""Certificates of receivers and of their clients, as they change while connections stay open."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives import serialization
from tests.integration.receivers.conftest import receiving
from tests.support.certificates import Authority, pem

from telemetry_collector.security import authority as authorities
from telemetry_collector.security.authority import Files, set_up

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
MUTUAL = {name: {"listen_addr": "127.0.0.1:0", "tls": "mutual"} for name in ("otlp_grpc", "otlp_http")}


@pytest.fixture
def own(tmp_path: Path) -> Files:
    """Certificates that the test may change."""
    return set_up(tmp_path / "certs", node="node-1")


async def test_who_is_revoked_sends_nothing_more_on_an_open_connection(tmp_path: Path, own: Files) -> None:
    # Of an authority below the one that is trusted: what clients send behind their certificate counts.
    root = Authority("Fleet")
    below = Authority("Site", parent=root)
    client = below.issue(uri="spiffe://telemetry/node/node-7")
    certificate, key = client.write(tmp_path, "client")
    trusted, lists = tmp_path / "trusted.pem", tmp_path / "crl.pem"
    trusted.write_bytes(pem(root.certificate))
    encoding = serialization.Encoding.PEM
    lists.write_bytes(b"".join(one.revocations().public_bytes(encoding) for one in (root, below)))
    security = {
        "tls_cert_path": str(own.server_certificate),
        "tls_key_path": str(own.server_key),
        "tls_ca_path": str(trusted),
        "tls_crl_path": str(lists),
    }
    tls = ssl.create_default_context(cafile=str(own.ca))
    tls.load_cert_chain(certificate, key)
    credentials = grpc.ssl_channel_credentials(own.ca.read_bytes(), key.read_bytes(), certificate.read_bytes())
    async with (
        receiving(tmp_path, own, receivers=MUTUAL, security=security) as running,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=1)) as session,
        grpc.aio.secure_channel(running.address("otlp_grpc").replace("127.0.0.1", "localhost"), credentials) as channel,
    ):
        url = running.url("otlp_http", "/v1/metrics", "https")
        async with session.post(url, data=b"", headers=PROTOBUF) as answer:
            assert answer.status == 200
        assert await channel.unary_unary(EXPORT)(b"") == b""
        revoked = below.revocations(client.certificate).public_bytes(encoding)
        await asyncio.to_thread(lists.write_bytes, root.revocations().public_bytes(encoding) + revoked)
        await running.collector.read_trust()
        async with session.post(url, data=b"", headers=PROTOBUF) as answer:
            assert answer.status == 403
        with pytest.raises(grpc.aio.AioRpcError, match="revoked") as denied:
            await channel.unary_unary(EXPORT)(b"")
        assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
        for receiver in MUTUAL:
            assert running.counted("requests_refused_total", receiver=receiver, outcome="denied") == 1


async def test_a_renewed_certificate_is_shown_to_new_connections(tmp_path: Path, own: Files) -> None:
    receivers = {name: {"listen_addr": "127.0.0.1:0", "tls": "server"} for name in MUTUAL}
    async with receiving(tmp_path, own, receivers=receivers) as running:

        def shown() -> list[str]:
            addresses = (running.address(name).rpartition(":") for name in receivers)
            return [ssl.get_server_certificate((host, int(port))) for host, _, port in addresses]

        before = await asyncio.to_thread(shown)
        await asyncio.to_thread(
            lambda: authorities.Authority.open(own.ca.parent).issue_server(
                "collector", ["localhost", "127.0.0.1"], file=own.server_certificate.stem, force=True
            )
        )
        renewed = await asyncio.to_thread(own.server_certificate.read_text)
        await running.collector.read_trust()
        after = await asyncio.to_thread(shown)
    assert before[0] == before[1] != after[0] == after[1]
    assert after[0].strip() in renewed
