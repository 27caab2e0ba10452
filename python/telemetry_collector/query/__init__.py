"""Questions about what is stored: a selection of points, aggregated by windows of time and by tags.

    Query ─► Engine (slots, timeout) ─► Dataset's files of the hours in question ─► DuckDB, on a thread ─► Answer

Whoever asks gives values, never SQL: names, tags and patterns are bound parameters (`statement`). Everything has a
bound: the range, the points and series of an answer, memory, time, and how many are answered at once. Only this package
imports duckdb, and only when the first question comes: it takes its time and memory.
"""

from telemetry_collector.query.answer import Answer, Series, Value
from telemetry_collector.query.engine import Engine, EngineSettings
from telemetry_collector.query.errors import (
    AnswerTooLarge,
    DatasetUnreadable,
    InvalidQuery,
    QueryBusy,
    QueryError,
    QueryTimedOut,
    QueryTooLarge,
)
from telemetry_collector.query.priority import give_way
from telemetry_collector.query.query import Aggregation, Operator, Query, Selection, TagMatcher, check_aggregation

__all__ = [
    "Aggregation",
    "Answer",
    "AnswerTooLarge",
    "DatasetUnreadable",
    "Engine",
    "EngineSettings",
    "InvalidQuery",
    "Operator",
    "Query",
    "QueryBusy",
    "QueryError",
    "QueryTimedOut",
    "QueryTooLarge",
    "Selection",
    "Series",
    "TagMatcher",
    "Value",
    "check_aggregation",
    "give_way",
]
