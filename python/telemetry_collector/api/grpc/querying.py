"""QueryMetrics: questions from messages, and answers into them."""

from __future__ import annotations

import asyncio
import time

from telemetry_collector.api.grpc.calls import Code, Refusal
from telemetry_collector.api.grpc.messages import telemetry_pb2 as wire
from telemetry_collector.api.grpc.messages import telemetry_service_pb2 as service
from telemetry_collector.api.grpc.selections import aggregation_of, selection_of
from telemetry_collector.query import Answer, AnswerTooLarge, Engine, Query


class Querying:
    """The method that asks the dataset."""

    def __init__(self, engine: Engine | None, answer_bytes_max: int) -> None:
        """`engine` is None where no Parquet files are written."""
        self.engine = engine
        self._answer_bytes_max = answer_bytes_max

    async def query(self, asked: service.QueryMetricsRequest) -> service.QueryMetricsResponse:
        """The answer, or one of the query's errors."""
        if self.engine is None:
            raise Refusal(Code.FAILED_PRECONDITION, "no Parquet files are written here, which answers come from")
        found = await self.engine.ask(_query_of(asked))
        # The largest answer takes a quarter of a second, which others on the event loop are not to wait for.
        answer = await asyncio.to_thread(_message, found)
        if (size := answer.ByteSize()) > self._answer_bytes_max:
            raise AnswerTooLarge(
                f"the answer has {size} bytes; expected at most {self._answer_bytes_max}: a longer step, fewer tags in "
                "group_by or a narrower selection"
            )
        return answer


def _query_of(asked: service.QueryMetricsRequest) -> Query:
    return Query(
        selection=selection_of(asked.selection),
        start_ns=asked.start_unix_ns,
        end_ns=asked.end_unix_ns or time.time_ns(),
        aggregation=aggregation_of(asked.aggregation),
        step_ns=asked.step_ns,
        quantiles=tuple(asked.quantiles),
        group_by=tuple(asked.group_by),
    )


def _message(answer: Answer) -> service.QueryMetricsResponse:
    return service.QueryMetricsResponse(
        series=[
            service.ResultSeries(
                name=series.name,
                tags=[wire.Tag(key=key, value=value) for key, value in series.tags],
                points=[service.ResultPoint(start_unix_ns=one.start_ns, values=one.values) for one in series.values],
            )
            for series in answer
        ]
    )
