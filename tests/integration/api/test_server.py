"""Where the service listens and whom it lets in: address, socket, certificates, reflection, standard health."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives import serialization
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.integration.api.conftest import Served, serving
from tests.integration.api.test_collect import batch, stored
from tests.support.certificates import Authority, pem
from tests.support.documents import collector_document, server_tls
from tests.support.grpc_client import service, stubs, wire
from tests.support.running import collector_of
from tests.support.waiting import until

from telemetry_collector.api.grpc.calls import CALLS_MAX
from telemetry_collector.api.grpc.standard import CALLS_MAX as STANDARD_CALLS_MAX
from telemetry_collector.errors import AddressError
from telemetry_collector.security import authority as authorities
from telemetry_collector.security.authority import Files, set_up

SERVICES = ("telemetry.v1.TelemetryService", "telemetry.v1.AlertService")


async def test_the_socket_is_for_this_user_and_group(served: Served) -> None:
    assert stat.S_IMODE(served.socket.stat().st_mode) == 0o660
    async with grpc.aio.insecure_channel(f"unix:{served.socket}") as channel:
        telemetry = stubs.TelemetryServiceStub(channel)
        assert (await telemetry.CollectMetrics(iter([batch(1, 1.0)]))).stored == 1
        health = await telemetry.GetHealth(service.GetHealthRequest())
    assert [row[1] for row in await stored(served, 1)] == ["grpc"]
    assert (health.ok, health.ready, health.points_committed) == (True, True, 1)
    assert health.version
    assert [(writer.name, writer.failing) for writer in health.writers] == [("parquet", "")]
    assert health.journal_room_bytes > 0


async def test_one_client_leaves_others_as_many_calls_as_it_has(served: Served) -> None:
    # Nothing is sent on them.
    streams = [served.telemetry.StreamMetrics() for _ in range(CALLS_MAX // 2 + 10)]
    await until(lambda: sum(stream.done() for stream in streams) == 10)
    assert {await stream.code() for stream in streams if stream.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert served.calls("StreamMetrics", "RESOURCE_EXHAUSTED") == 10
    async with grpc.aio.insecure_channel(f"unix:{served.socket}") as channel:
        assert (await stubs.TelemetryServiceStub(channel).GetHealth(service.GetHealthRequest())).ok
    for stream in streams:
        stream.cancel()


async def test_the_socket_goes_with_the_collector_and_one_left_over_is_replaced(
    tmp_path: Path, certificates: Files
) -> None:
    left_over = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as died:
        died.bind(str(left_over))
    async with serving(tmp_path, certificates) as served, grpc.aio.insecure_channel(f"unix:{left_over}") as channel:
        assert (await stubs.TelemetryServiceStub(channel).GetHealth(service.GetHealthRequest())).ok
        assert served.socket == left_over
    assert not left_over.exists()


@pytest.mark.parametrize("taken", ["port", "socket", "file"])
async def test_an_address_that_cannot_be_had_is_named_with_its_key(
    tmp_path: Path, certificates: Files, taken: str
) -> None:
    path = tmp_path / "grpc.sock"
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as other:
        port.bind(("127.0.0.1", 0))
        port.listen()
        address = f"127.0.0.1:{port.getsockname()[1] if taken == 'port' else 0}"
        if taken == "socket":
            other.bind(str(path))
            other.listen()
        elif taken == "file":
            path.touch()
        with pytest.raises(AddressError) as refused:
            async with serving(tmp_path, certificates, grpc={"listen_addr": address}):
                pass
        told = str(refused.value)
        assert (address if taken == "port" else str(path)) in told
        assert ("grpc.listen_addr" if taken == "port" else "grpc.unix_socket") in told
        assert path.exists() == (taken != "port"), "what others have is left alone"


def credentials(files: Files, node: str | None) -> grpc.ChannelCredentials:
    directory = files.ca.parent
    if node is None:
        return grpc.ssl_channel_credentials(files.ca.read_bytes())
    key, certificate = (directory / f"{node}.key").read_bytes(), (directory / f"{node}.pem").read_bytes()
    return grpc.ssl_channel_credentials(files.ca.read_bytes(), key, certificate)


@asynccontextmanager
async def secure(served: Served, files: Files, node: str | None) -> AsyncIterator[Any]:
    address = served.collector.grpc_addr
    async with grpc.aio.secure_channel(address, credentials(files, node)) as channel:
        yield stubs.TelemetryServiceStub(channel)


async def test_a_client_with_a_certificate_speaks_for_its_own_node(tmp_path: Path, certificates: Files) -> None:
    async with serving(tmp_path, certificates, grpc={"tls": "mutual"}) as served:
        other = wire.Tag(key="node_id", value="node-1")
        async with secure(served, certificates, "node-2") as telemetry:
            summary = await telemetry.CollectMetrics(iter([batch(1, 1.0), batch(2, 2.0, common_tags=[other])]))
            assert (summary.stored, summary.rejected) == (1, 1)
            assert [rejection.reason for rejection in summary.rejections] == [wire.Rejection.IDENTITY_MISMATCH]
        assert [row[1] for row in await stored(served, 1)] == ["spiffe://telemetry/node/node-2"]
        async with secure(served, certificates, None) as telemetry:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await telemetry.GetHealth(service.GetHealthRequest())
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError):
            await served.telemetry.GetHealth(service.GetHealthRequest())


async def test_who_is_not_allowed_hears_so_and_trust_is_replaced_while_it_runs(
    tmp_path: Path, certificates: Files
) -> None:
    """A call on a connection that is open is judged by what holds now."""
    security = {**server_tls(certificates), "allowed_identities": ["spiffe://telemetry/node/node-2"]}
    document = collector_document(
        tmp_path, certificates, security=security, grpc={"listen_addr": "127.0.0.1:0", "tls": "mutual"}
    )
    path = tmp_path / "collector.yaml"
    path.write_text(json.dumps(document))
    async with collector_of(path) as collector:
        channel = grpc.aio.secure_channel(collector.grpc_addr, credentials(certificates, "node-2"))
        async with channel:
            telemetry = stubs.TelemetryServiceStub(channel)
            assert (await telemetry.GetHealth(service.GetHealthRequest())).ok
            security["allowed_identities"] = ["spiffe://telemetry/node/node-3"]
            path.write_text(json.dumps(document))
            await collector.reload()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await telemetry.CollectMetrics(iter([batch(1, 1.0)]))
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert "security.allowed_identities" in (refused.value.details() or "")


async def test_certificates_are_judged_and_shown_as_they_are_now(tmp_path: Path) -> None:
    """A client of an authority below the trusted one is let in until it is revoked, also on an open connection; and
    the collector's own certificate is shown renewed to the next one."""
    own = set_up(tmp_path / "certs", node="node-1")
    root = Authority("Fleet")
    below = Authority("Site", parent=root)
    client = below.issue(uri="spiffe://telemetry/node/node-7")
    certificate, key = (path.read_bytes() for path in client.write(tmp_path, "client"))
    trusted, lists = tmp_path / "trusted.pem", tmp_path / "crl.pem"
    trusted.write_bytes(pem(root.certificate))
    encoding = serialization.Encoding.PEM
    unrevoked = root.revocations().public_bytes(encoding)
    lists.write_bytes(unrevoked + below.revocations().public_bytes(encoding))
    security = {**server_tls(own), "tls_ca_path": str(trusted), "tls_crl_path": str(lists)}
    async with serving(tmp_path, own, security=security, grpc={"tls": "mutual"}) as served:
        address = str(served.collector.grpc_addr)
        given = grpc.ssl_channel_credentials(own.ca.read_bytes(), key, certificate)
        async with grpc.aio.secure_channel(address, given) as channel:
            telemetry = stubs.TelemetryServiceStub(channel)
            assert (await telemetry.CollectMetrics(iter([batch(1, 1.0)]))).stored == 1
            host, _, port = address.rpartition(":")
            before = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
            renewing = authorities.Authority.open(own.ca.parent)
            names, file = ["localhost", "127.0.0.1"], own.server_certificate.stem
            await asyncio.to_thread(lambda: renewing.issue_server("collector", names, file=file, force=True))
            lists.write_bytes(unrevoked + below.revocations(client.certificate).public_bytes(encoding))
            await served.collector.read_trust()
            with pytest.raises(grpc.aio.AioRpcError, match="revoked") as denied:
                await telemetry.GetHealth(service.GetHealthRequest())
            assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
            after = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
            assert before.strip() != after.strip()
            assert after.strip() in own.server_certificate.read_text()
    assert [row[1] for row in await stored(served, 1)] == ["spiffe://telemetry/node/node-7"]


async def test_what_is_served_can_be_found_by_reflection(served: Served) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in SERVICES),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="telemetry.v1.MetricBatch"),
    ]
    listed, *files = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    names = {one.name for one in listed.list_services_response.service}
    assert names == {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    found = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for answer in files
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert {file.name for file in found} == {"telemetry.proto", "telemetry_service.proto"}
    methods = {method.name for file in found for one in file.service for method in one.method}
    assert methods == {
        *("CollectMetrics", "StreamMetrics", "QueryMetrics", "GetHealth"),
        *("ConfigureAlert", "ListAlerts", "DeleteAlert"),
    }


async def test_the_standard_health_service_tells_when_it_stops(tmp_path: Path, certificates: Files) -> None:
    async with serving(tmp_path, certificates) as served:
        stub = health_pb2_grpc.HealthStub(served.channel)
        for name in ("", *SERVICES):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Check(health_pb2.HealthCheckRequest(service="other"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        heard: list[int] = []

        async def watch() -> None:
            async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=SERVICES[0])):
                heard.append(answer.status)  # noqa: PERF401  # each is looked at when it comes

        watching = asyncio.create_task(watch())
        await until(lambda: heard)
        async with asyncio.timeout(5):
            await served.collector.stop()
        await asyncio.gather(watching, return_exceptions=True)
        serving_status = health_pb2.HealthCheckResponse
        assert heard == [serving_status.SERVING, serving_status.NOT_SERVING]


async def test_it_is_off_unless_it_is_asked_for(tmp_path: Path, certificates: Files) -> None:
    document = collector_document(tmp_path, certificates)
    async with collector_of(document) as collector:
        assert collector.grpc_addr is None


async def test_questions_follow_the_directory_that_is_written(tmp_path: Path, certificates: Files) -> None:
    """parquet.output_dir takes effect while it runs, so answers must come from there, too."""
    document = collector_document(tmp_path, certificates)
    document["grpc"] = {"listen_addr": "127.0.0.1:0", "alert_rules_path": str(tmp_path / "rules.json")}
    document["parquet"] = {"output_dir": str(tmp_path / "one"), "flush_interval_secs": 0.1}
    path = tmp_path / "collector.yaml"
    path.write_text(json.dumps(document))
    async with collector_of(path) as collector, grpc.aio.insecure_channel(collector.grpc_addr) as channel:
        served = Served(collector, tmp_path, channel)
        asked = service.QueryMetricsRequest(
            selection=service.MetricSelection(name="m"),
            start_unix_ns=1_000_000_000_000_000_000,
            aggregation=service.AGGREGATION_SUM,
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.telemetry.QueryMetrics(asked)
        assert "query.range_secs_max" in (refused.value.details() or "")
        document["parquet"]["output_dir"] = str(tmp_path / "two")
        path.write_text(json.dumps(document))
        await collector.reload()
        summary = await served.telemetry.CollectMetrics(iter([batch(1, 5.0)]))
        assert summary.stored == 1
        await until(lambda: list((tmp_path / "two").glob("date=*/hour=*/*.parquet")))

        asked.start_unix_ns = time.time_ns() - 3600 * 1_000_000_000
        answer = await served.telemetry.QueryMetrics(asked)
        assert [point.values[0] for series in answer.series for point in series.points] == [5.0]


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
async def test_what_cannot_be_read_of_a_standard_method_is_its_clients_fault(
    served: Served, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with grpc.aio.insecure_channel(f"unix:{served.socket}") as channel:
        # One message or a stream of one are the same on the wire.
        call = channel.stream_stream(method)(iter([b"\xff"]))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not [record for record in caplog.records if record.levelname == "ERROR"], "whoever calls fills no log"


async def test_standard_calls_are_counted_and_one_address_leaves_others_as_many_as_it_has(served: Served) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    await health.Check(health_pb2.HealthCheckRequest())
    with pytest.raises(grpc.aio.AioRpcError):
        await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert (served.calls("Check", "OK"), served.calls("Check", "NOT_FOUND")) == (1, 1)
    # Each would be told of changes for ever; nothing is asked on the streams of reflection.
    watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(STANDARD_CALLS_MAX // 4)]
    reflection = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    streams = [reflection.ServerReflectionInfo() for _ in range(STANDARD_CALLS_MAX // 4 + 10)]
    calls = [*watches, *streams]
    await until(lambda: sum(call.done() for call in calls) == 10)
    assert {await call.code() for call in calls if call.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    refused = served.calls("Watch", "RESOURCE_EXHAUSTED") + served.calls("ServerReflectionInfo", "RESOURCE_EXHAUSTED")
    assert refused == 10
    async with grpc.aio.insecure_channel(f"unix:{served.socket}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for call in calls:
        call.cancel()
    # Whether gRPC tells a stream's end or its cancelling first is chance.
    ended = ("CANCELLED", "OK")
    await until(lambda: sum(served.calls("Watch", code) for code in ended) == len(watches))
    await until(lambda: sum(served.calls("ServerReflectionInfo", code) for code in ended) == len(streams) - 10)
    await health.Check(health_pb2.HealthCheckRequest())
