"""QueryMetrics over what a running collector stored, against a computation that owes it nothing."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import grpc
import grpc.aio
import pyarrow.parquet as pq
import pytest
from tests.integration.api.conftest import Served, serving
from tests.support.grpc_client import service, wire
from tests.support.waiting import until

from telemetry_collector.api.grpc import querying
from telemetry_collector.query import Answer, engine
from telemetry_collector.query.statement import Statement
from telemetry_collector.security.authority import Files

SECOND = 1_000_000_000
HOSTILE = ("it's", 'double "quote"', "'; DROP TABLE points; --", "$name", "%_*", "中文", "\\", "a=b,c d")


async def fill(served: Served) -> int:
    """600 gauges, 120 counters and 60 histograms of the last minutes; the time of the first."""
    begin = time.time_ns() // SECOND * SECOND - 600 * SECOND
    metrics = []
    for number in range(600):
        tag = wire.Tag(key="text", value=HOSTILE[number % len(HOSTILE)])
        moment = begin + number * SECOND
        metrics.append(wire.Metric(name="temp", value=math.sin(number) * 50, tags=[tag], timestamp_unix_ns=moment))
        if number % 5 == 0:
            tags = [wire.Tag(key="route", value="/a" if number % 10 else "/b")]
            total = float(number % 200)
            metrics.append(
                wire.Metric(name="hits", type=wire.COUNTER, value=total, tags=tags, timestamp_unix_ns=moment)
            )
        if number % 10 == 0:
            grown = number // 10 + 1
            histogram = wire.Histogram(
                count=3 * grown, sum=1.5 * grown, upper_bounds=[0.1, 1.0], bucket_counts=[grown, grown, grown]
            )
            metrics.append(wire.Metric(name="took", type=wire.HISTOGRAM, histogram=histogram, timestamp_unix_ns=moment))
    batches = [
        wire.MetricBatch(sequence=1 + at // 100, epoch=9, metrics=metrics[at : at + 100])
        for at in range(0, len(metrics), 100)
    ]
    summary = await served.telemetry.CollectMetrics(iter(batches))
    assert (summary.stored, summary.accepted_points) == (len(batches), len(metrics))
    await until(lambda: len(rows(served.directory)) == len(metrics))
    return begin


def rows(directory: Path) -> list[dict[str, Any]]:
    files = sorted(directory.glob("parquet/date=*/hour=*/*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def asking(name: str, begin: int, aggregation: int, **given: Any) -> Any:
    matchers = given.pop("matchers", [])
    return service.QueryMetricsRequest(
        selection=service.MetricSelection(name=name, matchers=matchers),
        start_unix_ns=begin,
        end_unix_ns=begin + 600 * SECOND,
        aggregation=aggregation,
        **given,
    )


def told(answer: Any) -> dict[tuple[Any, ...], list[tuple[int, tuple[float, ...]]]]:
    return {
        (series.name, *((tag.key, tag.value) for tag in series.tags)): [
            (point.start_unix_ns, tuple(point.values)) for point in series.points
        ]
        for series in answer.series
    }


async def test_answers_are_those_of_the_same_rows(served: Served) -> None:
    begin = await fill(served)
    query = served.telemetry.QueryMetrics
    by_text: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(served.directory):
        if row["name"] == "temp":
            at = int(row["timestamp"].timestamp()) * SECOND
            by_text[dict(row["tags"])["text"]][begin + (at - begin) // (60 * SECOND) * 60 * SECOND].append(row["value"])

    averages = told(await query(asking("temp", begin, service.AGGREGATION_AVG, step_ns=60 * SECOND, group_by=["text"])))
    assert set(averages) == {("temp", ("text", text)) for text in HOSTILE}
    for (_, (_, text)), points in averages.items():
        assert [moment for moment, _ in points] == sorted(by_text[text])
        for moment, (value,) in points:
            assert math.isclose(value, fmean(by_text[text][moment]), rel_tol=1e-9)

    for text in HOSTILE:
        matcher = service.TagMatcher(key="text", value=text)
        found = told(await query(asking("temp", begin, service.AGGREGATION_MAX, matchers=[matcher])))
        assert found == {("temp",): [(begin, (max(max(values) for values in by_text[text].values()),))]}

    pattern = service.TagMatcher(key="text", operator=service.TagMatcher.MATCHES, value=".*['\"].*")
    counted = told(await query(asking("te*", begin, service.AGGREGATION_COUNT, matchers=[pattern])))
    assert counted == {("temp",): [(begin, (225.0,))]}

    quantiles = await query(asking("temp", begin, service.AGGREGATION_QUANTILE, quantiles=[0, 0.5, 0.9, 1]))
    every = sorted(value for windows in by_text.values() for values in windows.values() for value in values)
    ((_, values),) = told(quantiles)[("temp",)]
    assert (values[0], values[3]) == (every[0], every[-1])
    assert math.isclose(values[1], (every[299] + every[300]) / 2)
    assert math.isclose(values[2], every[539] + (every[540] - every[539]) * 0.1)


async def test_rates_and_histograms_are_those_of_what_was_gained(served: Served) -> None:
    begin = await fill(served)
    query = served.telemetry.QueryMetrics
    rates = told(await query(asking("hits", begin, service.AGGREGATION_RATE, group_by=["route"])))
    for route, first in (("/b", 0), ("/a", 5)):
        totals = [float(number % 200) for number in range(first, 600, 10)]
        gained = sum(new - old if new >= old else new for old, new in pairwise(totals))
        ((_, (rate,)),) = rates["hits", ("route", route)]
        assert math.isclose(rate, gained / 600)
    assert told(await query(asking("took", begin, service.AGGREGATION_HISTOGRAM_COUNT)))["took",][0][1] == (177.0,)
    assert told(await query(asking("took", begin, service.AGGREGATION_HISTOGRAM_SUM)))["took",][0][1] == (88.5,)
    assert told(await query(asking("took", begin, service.AGGREGATION_HISTOGRAM_AVG)))["took",][0][1] == (0.5,)
    asked = asking("took", begin, service.AGGREGATION_HISTOGRAM_QUANTILE, quantiles=[0.5, 0.99])
    median, last = told(await query(asked))["took",][0][1]
    assert math.isclose(median, 0.55)
    assert last == 1.0, "the last bucket has no end"
    assert told(await query(asking("took", begin, service.AGGREGATION_AVG))) == {}, "and no plain value"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"aggregation": 0}, "aggregation: AGGREGATION_UNSPECIFIED is none"),
        ({"aggregation": 99}, "aggregation: 99 is none"),
        ({"aggregation": service.AGGREGATION_QUANTILE}, "quantiles: there are none"),
        (
            {"aggregation": 1, "matchers": [service.TagMatcher(key="k", operator=9)]},
            "selection.matchers[0].operator: 9 is none; expected EQUAL, NOT_EQUAL, MATCHES, MATCHES_NOT",
        ),
        (
            {"aggregation": 1, "matchers": [service.TagMatcher(key="k", operator=2, value="(((a{100}){100}){100})")]},
            "selection.matchers[0].value: is no regular expression that RE2 takes",
        ),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_which_field(
    served: Served, given: dict[str, Any], problem: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.telemetry.QueryMetrics(asking("m", 1, **given))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (refused.value.details() or "").startswith(problem)
    assert served.calls("QueryMetrics", "INVALID_ARGUMENT") == 1


async def test_a_request_that_cannot_be_read_is_the_clients_fault(served: Served) -> None:
    query = served.channel.unary_unary("/telemetry.v1.TelemetryService/QueryMetrics")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await query(b"\xff\xff\xff")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "the request is no telemetry.v1.QueryMetricsRequest"


async def test_answers_are_put_together_beside_the_event_loop(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest takes a quarter of a second."""
    threads: list[int] = []
    putting_together = querying._message

    def looked(answer: Answer) -> Any:
        threads.append(threading.get_ident())
        return putting_together(answer)

    monkeypatch.setattr(querying, "_message", looked)
    await served.telemetry.QueryMetrics(asking("m", time.time_ns() - SECOND, service.AGGREGATION_AVG))
    (thread,) = threads
    assert thread != threading.get_ident()


async def test_a_request_of_many_empty_fields_is_refused_before_it_is_read(served: Served) -> None:
    matchers = [service.TagMatcher()] * 40_000
    bomb = service.QueryMetricsRequest(selection=service.MetricSelection(name="m", matchers=matchers))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.telemetry.QueryMetrics(bomb)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == f"a request of {bomb.ByteSize()} bytes; expected at most 65536"


async def test_a_question_that_times_out_costs_no_batch(tmp_path: Path, certificates: Files) -> None:
    async with serving(tmp_path, certificates, query={"timeout_secs": 0.0001}) as served:
        begin = await fill(served)

        async def ask() -> grpc.StatusCode:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await served.telemetry.QueryMetrics(asking("*", begin, service.AGGREGATION_AVG, step_ns=SECOND))
            return refused.value.code()

        metrics = [wire.Metric(name="beside", value=1.0)]
        batches = (wire.MetricBatch(sequence=number, epoch=10, metrics=metrics) for number in range(1, 201))
        summary, *codes = await asyncio.gather(served.telemetry.CollectMetrics(batches), *(ask() for _ in range(6)))
        assert summary.stored == 200
        assert set(codes) <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert grpc.StatusCode.DEADLINE_EXCEEDED in codes
        await until(lambda: sum(row["name"] == "beside" for row in rows(served.directory)) == 200)


async def test_stopping_does_not_wait_for_questions(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are ended, and told so."""
    forever = Statement("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", {})
    monkeypatch.setattr(engine, "statement", lambda *_: forever)
    async with serving(tmp_path, certificates, query={"timeout_secs": 60}) as served:
        begin = await fill(served)
        call = served.telemetry.QueryMetrics(asking("temp", begin, service.AGGREGATION_AVG))
        waiting = asyncio.ensure_future(call)
        await until(lambda: any(thread.name.startswith("query") for thread in threading.enumerate()))
        async with asyncio.timeout(5):
            await served.collector.stop()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await waiting
        assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "the collector stops" in (ended.value.details() or "")


async def test_without_parquet_there_is_nothing_to_ask(tmp_path: Path, certificates: Files) -> None:
    gone = {"url": "http://127.0.0.1:9", "org": "o", "bucket": "b", "token": "t"}
    async with serving(tmp_path, certificates, drop=["parquet"], influxdb=gone) as served:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.telemetry.QueryMetrics(asking("m", 1, service.AGGREGATION_AVG))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
