"""kill -9 of the collector while traces and logs come in: what was answered is in the datasets, once."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import grpc
import grpc.aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.support.documents import collector_document
from tests.support.process import PATIENCE_SECS, command

from telemetry_collector.security.authority import set_up

EXPORT_TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
EXPORT_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
ROWS = 20
"""Of a request."""
ANSWERS_BEFORE_A_KILL = (15, 40, 3)
"""Of each signal; what is on its way then is cut off somewhere, as is what is being flushed."""
CLIENTS = 4
"""Of each signal, so that requests share commits."""
FLUSH_INTERVAL_SECS = 0.15


@dataclass
class Sent:
    """What one signal's clients were answered."""

    method: str
    message: Callable[[range], bytes]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    answered: list[int] = field(default_factory=list)

    async def send(self, channel: grpc.aio.Channel) -> None:
        """Sends rows with numbers of their own until the collector is gone."""
        export = channel.unary_unary(self.method)
        while True:
            first = next(self.numbers) * ROWS
            try:
                assert await export(self.message(range(first, first + ROWS))) == b""
            except grpc.aio.AioRpcError:
                return
            self.answered += range(first, first + ROWS)


def spans_of(numbers: range) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in numbers:
        spans.add(trace_id=b"trace" * 3 + b"!", span_id=(number + 1).to_bytes(8, "big"), name=str(number))
    message: bytes = request.SerializeToString()
    return message


def logs_of(numbers: range) -> bytes:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in numbers:
        records.add(event_name=str(number))
    message: bytes = request.SerializeToString()
    return message


def document_of(directory: Path) -> Path:
    to = {"flush_interval_secs": FLUSH_INTERVAL_SECS, "journal_max_bytes": 1 << 24}
    document = collector_document(
        directory,
        set_up(directory / "certs", node="node-1"),
        receivers={"otlp_grpc": {"listen_addr": "127.0.0.1:0"}},
        traces={"output_dir": str(directory / "spans"), **to},
        logs={"output_dir": str(directory / "logs"), **to},
        observability={"metrics_addr": "127.0.0.1", "metrics_port": 0, "log_format": "json"},
    )
    path = directory / "collector.yaml"
    path.write_text(json.dumps(document))
    return path


def parts(directory: Path) -> int:
    """Files that were published."""
    return sum(1 for _ in directory.glob("*/date=*/hour=*/*.parquet"))


def stored(directory: Path, column: str) -> list[int]:
    with duckdb.connect() as connection:
        files = f"{directory}/date=*/hour=*/*.parquet"
        query = f"SELECT {column}::BIGINT FROM read_parquet(?) ORDER BY ALL"
        return [number for (number,) in connection.execute(query, [files]).fetchall()]


async def test_what_was_answered_is_stored_once_whenever_the_collector_dies(tmp_path: Path) -> None:
    document = document_of(tmp_path)
    spans, logs = Sent(EXPORT_TRACES, spans_of), Sent(EXPORT_LOGS, logs_of)
    both = (spans, logs)
    for answers in ANSWERS_BEFORE_A_KILL:
        async with command("run", document, "--json") as collector:
            address = (await collector.logged("receiver_started"))["addr"]
            wanted = [len(sent.answered) + answers * ROWS for sent in both]
            async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(PATIENCE_SECS):
                clients = [asyncio.create_task(sent.send(channel)) for sent in both for _ in range(CLIENTS)]
                pairs = list(zip(both, wanted, strict=True))
                while any(len(sent.answered) < count for sent, count in pairs):  # noqa: ASYNC110 (other tasks count)
                    await asyncio.sleep(0.001)
                # A file that has just been published is where a restart could write something twice.
                files = parts(tmp_path)
                while parts(tmp_path) == files:  # noqa: ASYNC110 (another process writes)
                    await asyncio.sleep(0)
                collector.process.kill()
                await collector.process.wait()
                await asyncio.gather(*clients)
    async with command("run", document, "--json") as collector:
        await collector.logged("receiver_started")
        code, summary = await collector.stop()
    assert code == 0
    for sent, dataset, column, signal in ((spans, "spans", "name", "traces"), (logs, "logs", "event_name", "logs")):
        found = stored(tmp_path / dataset, column)
        assert len(found) == len(set(found)), "nothing is there twice"
        assert set(sent.answered) <= set(found), "all that was answered is there"
        assert len(sent.answered) >= sum(ANSWERS_BEFORE_A_KILL) * ROWS
        assert summary["signals"][signal]["failing"] is None
