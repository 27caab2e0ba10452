"""Batches by gRPC: the same ingest, the same answers, and never more unanswered than the collector allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import duckdb
import grpc
import grpc.aio
import pytest
from tests.integration.api.conftest import Served, serving
from tests.support.grpc_bomb import UNPACKED_MIB, answer_to_bomb
from tests.support.grpc_client import stubs, wire
from tests.support.waiting import until

from telemetry_collector.api.grpc import collecting
from telemetry_collector.pipeline.requests import RequestIngest
from telemetry_collector.security.authority import Files

EPOCH = 7


def batch(sequence: int, *values: float, name: str = "m", **fields: Any) -> Any:
    metrics = [wire.Metric(name=name, value=value) for value in values]
    return wire.MetricBatch(sequence=sequence, epoch=EPOCH, metrics=metrics, **fields)


async def stored(served: Served, count: int) -> list[tuple[float, str, int]]:
    """Values, identities and sequences in the dataset, once there are so many."""
    found: list[tuple[float, str, int]] = []

    def enough() -> bool:
        files = [str(file) for file in served.directory.glob("parquet/date=*/hour=*/*.parquet")]
        if files:
            query = "select value, identity, sequence from read_parquet(?) order by all"
            found[:] = duckdb.execute(query, [files]).fetchall()
        return len(found) >= count

    await until(enough)
    return found


async def test_the_summary_tells_what_became_of_each_batch(served: Served) -> None:
    batches = [
        batch(1, 1.0, 2.0),
        batch(1, 1.0, 2.0),
        batch(2, 3.0, float("nan")),
        batch(3, float("inf"), float("nan")),
        wire.MetricBatch(),
        batch(5, *[0.0] * 1_001),
    ]
    summary = await served.telemetry.CollectMetrics(iter(batches))
    assert (summary.batches, summary.stored, summary.duplicate, summary.partial) == (6, 2, 1, 1)
    assert (summary.rejected, summary.retry_later) == (2, 0)
    assert (summary.accepted_points, summary.rejected_points) == (3, 1 + 2 + 1_001)
    reasons = {rejection.reason: rejection for rejection in summary.rejections}
    assert reasons[wire.Rejection.INVALID_VALUE].points == 3
    assert reasons[wire.Rejection.INVALID_VALUE].example.startswith("m: ")
    assert reasons[wire.Rejection.BATCH_TOO_LARGE].points == 1_001
    assert [row[0] for row in await stored(served, 3)] == [1.0, 2.0, 3.0]
    assert {row[1] for row in await stored(served, 3)} == {"grpc"}
    assert served.calls("CollectMetrics", "OK") == 1


async def test_many_batches_of_one_stream_are_stored_once_each_and_in_full(served: Served) -> None:
    summary = await served.telemetry.CollectMetrics(batch(number, float(number)) for number in range(1, 301))
    assert (summary.batches, summary.stored, summary.accepted_points) == (300, 300, 300)
    rows = await stored(served, 300)
    assert [(value, sequence) for value, _, sequence in rows] == [(float(n), n) for n in range(1, 301)]


async def test_each_answer_of_a_conversation_comes_in_order_and_by_itself(served: Served) -> None:
    call = served.telemetry.StreamMetrics()
    for number in range(1, 4):
        await call.write(batch(number, float(number)))
        ack = await call.read()
        assert (ack.sequence, ack.outcome, ack.accepted_points) == (number, wire.STORED, 1)
        assert ack.credit >= 1
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_series_that_a_stream_defined_are_known_to_its_later_batches(served: Served) -> None:
    defining = wire.MetricBatch(sequence=1, epoch=EPOCH, series=[wire.SeriesDefinition(id=3, name="d")])
    using = wire.MetricBatch(sequence=2, epoch=EPOCH, points=[wire.PointColumns(series_ids=[3], values=[4.5])])
    summary = await served.telemetry.CollectMetrics(iter([defining, using]))
    assert summary.accepted_points == 1
    summary = await served.telemetry.CollectMetrics(
        iter([wire.MetricBatch(sequence=3, epoch=EPOCH, points=using.points)])
    )
    assert [rejection.reason for rejection in summary.rejections] == [wire.Rejection.UNKNOWN_SERIES]


async def test_no_more_is_read_than_may_be_unanswered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast a client writes, the conversation never has more pending than its window."""
    from telemetry_collector.pipeline.ingest import Ingest

    most = 0
    original = Ingest.conversation

    def watched(*arguments: Any, **named: Any) -> Any:
        conversation = original(*arguments, **named)
        receive = conversation.receive

        def counting(data: bytes, now_unix_ns: int) -> bytes:
            nonlocal most
            replies = receive(data, now_unix_ns)
            most = max(most, conversation.pending)
            return replies

        conversation.receive = counting
        return conversation

    monkeypatch.setattr(Ingest, "conversation", watched)
    summary = await served.telemetry.CollectMetrics(batch(number, 1.0) for number in range(1, 601))
    assert summary.stored == 600
    assert 1 < most <= 64


async def test_batches_above_a_quota_are_named_to_be_sent_again(tmp_path: Path, certificates: Files) -> None:
    """A client that is answered once cannot wait as replies ask, so its stream is not read for as long: there is room
    for 200 batches and then for fifty a second, and of those that come later many find room."""
    quotas = {"default": {"batches_per_sec": 50}}
    async with serving(tmp_path, certificates, quotas=quotas) as served:
        summary = await served.telemetry.CollectMetrics(batch(number, 1.0) for number in range(1, 401))
        assert summary.stored + summary.retry_later == summary.batches == 400
        assert summary.stored >= 240
        assert len(summary.retry_sequences) == summary.retry_later > 0
        assert summary.retry_after_ms > 0
        kept = sorted(set(range(1, 401)) - set(summary.retry_sequences))
        assert [sequence for _, _, sequence in await stored(served, len(kept))] == kept


async def test_a_batch_larger_than_a_frame_ends_its_stream_and_says_why(served: Served) -> None:
    large = wire.MetricBatch(sequence=2, epoch=EPOCH, metrics=[wire.Metric(name="m", unit="u" * 1_100_000)])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.telemetry.CollectMetrics(iter([batch(1, 1.0), large]))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "limits.frame_bytes_max = 1048576" in (refused.value.details() or "")
    assert len(await stored(served, 1)) == 1
    assert served.calls("CollectMetrics", "INVALID_ARGUMENT") == 1


async def test_a_message_over_ten_megabytes_is_grpcs_to_refuse(served: Served) -> None:
    huge = wire.MetricBatch(metrics=[wire.Metric(name="m", unit="u" * (10 * 1024 * 1024))])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.telemetry.CollectMetrics(iter([huge]))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stream_that_falls_silent_is_ended_after_its_batches_were_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "SILENCE_SECS_MAX", 0.3)
    call = served.telemetry.StreamMetrics()
    await call.write(batch(1, 1.0))
    assert (await call.read()).outcome == wire.STORED
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ended.value.details() == "no batch came for 0.3 seconds"


async def test_bytes_that_are_no_batch_are_malformed_and_the_stream_goes_on(served: Served) -> None:
    collect = served.channel.stream_unary("/telemetry.v1.TelemetryService/CollectMetrics")
    from tests.support.grpc_client import service

    messages: Iterable[bytes] = [b"\xff\xff\xff", batch(1, 1.0).SerializeToString()]
    summary = service.CollectSummary.FromString(await collect(iter(messages)))
    assert (summary.rejected, summary.stored) == (1, 1)
    assert [rejection.reason for rejection in summary.rejections] == [wire.Rejection.MALFORMED]


async def test_stopping_answers_what_was_read_and_tells_streams_that_are_open(
    tmp_path: Path, certificates: Files
) -> None:
    async with serving(tmp_path, certificates) as served:
        call = served.telemetry.StreamMetrics()
        await call.write(batch(1, 1.0))
        assert (await call.read()).outcome == wire.STORED
        waiting = asyncio.ensure_future(call.read())
        await served.collector.stop()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await waiting
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "the collector stops" in (ended.value.details() or "")


async def test_a_client_that_leaves_is_counted_and_leaves_nothing_behind(served: Served) -> None:
    async def endless() -> AsyncIterator[Any]:
        yield batch(1, 1.0)
        await asyncio.Event().wait()

    call = served.telemetry.CollectMetrics(endless())
    await stored(served, 1)
    call.cancel()
    # Whether gRPC tells of the end of its stream or of the cancelling first is chance.
    await until(lambda: served.calls("CollectMetrics", "CANCELLED") + served.calls("CollectMetrics", "OK") == 1)


async def test_what_a_client_left_in_mid_commit_counts_as_stored(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    due, left = asyncio.Event(), asyncio.Event()
    on_commit, settle = RequestIngest._on_commit, collecting._Stream._settle

    def held(ingest: RequestIngest) -> None:
        """Nothing is heard of commits before the client's leaving is."""
        due.set()
        if left.is_set():
            on_commit(ingest)

    async def leaving(stream: collecting._Stream, reading: asyncio.Task[None]) -> None:
        left.set()
        await settle(stream, reading)

    async def endless() -> AsyncIterator[Any]:
        yield batch(1, 1.0, 2.0)
        await asyncio.Event().wait()

    monkeypatch.setattr(RequestIngest, "_on_commit", held)
    monkeypatch.setattr(collecting._Stream, "_settle", leaving)
    async with serving(tmp_path, certificates) as served:

        def accepted() -> float | None:
            return served.collector.metrics.get_sample_value("telemetry_collector_grpc_points_accepted_total")

        call = served.telemetry.CollectMetrics(endless())
        await due.wait()
        assert accepted() == 0
        call.cancel()
        await until(lambda: accepted() == 2)
        await stored(served, 2)


async def test_packed_messages_are_unpacked_within_the_bound(served: Served) -> None:
    address = str(served.collector.grpc_addr)
    async with grpc.aio.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        telemetry = stubs.TelemetryServiceStub(channel)
        summary = await telemetry.CollectMetrics(iter([batch(1, *[1.0] * 50), batch(2, *[2.0] * 50)]))
        assert (summary.stored, summary.accepted_points) == (2, 100)
    status, grown_mib = await answer_to_bomb(address, "/telemetry.v1.TelemetryService/CollectMetrics")
    assert status == str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
    assert grown_mib < UNPACKED_MIB // 4
