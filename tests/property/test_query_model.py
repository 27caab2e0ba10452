"""Whatever is asked, DuckDB's answer is that of plain loops over the same points."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.blocks import HOUR, FakeBlocks, Point
from tests.support.dataset import opened, publish
from tests.support.query_model import Stored, answer

from telemetry_collector.query import Aggregation, Engine, EngineSettings, Operator, Query, Selection, TagMatcher

SECOND = 1_000_000_000
BEGIN = HOUR * 3600 * SECOND
SPAN_SECS = 3 * 3600
NAMES = ("system.cpu.usage", "systemXcpu", 'it\'s; DROP TABLE "points" --', "größe.名前", "100%_\\")
KEYS = ("node_id", "zone", "disk", "a'b", 'quote"d', "$group0", "ключ")
VALUES = ("", "a", "a.b", "ab'; --", 'x"y', "$value0", "%", "значение", "\\")
PATTERNS = ("", ".*", "a.*", "a|ab.*", "[^a]*", "(a|a)*b?.*", "\\\\", "значени.")
BOUNDS: tuple[list[float], ...] = ([], [0.5], [-1.0, 0.0, 2.5], [0.1, 1.0, 10.0])


def tags_of(source: random.Random) -> dict[str, str]:
    return {key: value for key in source.sample(KEYS, source.randint(0, 3)) if (value := source.choice(VALUES))}


def histogram_of(source: random.Random) -> dict[str, Any]:
    bounds = source.choice(BOUNDS)
    counts = [source.randint(0, 5) for _ in range(len(bounds) + 1)]
    total = float(source.randint(0, 100))
    return {"count": sum(counts), "sum": total, "min": None, "max": None, "bounds": bounds, "counts": counts}


def point_of(source: random.Random, tags: list[dict[str, str]]) -> Point:
    kind = source.choice(("gauge", "counter", "counter", "meter", "histogram"))
    return Point(
        name=source.choice(NAMES),
        type=kind,
        value=None if kind == "histogram" else float(source.randint(-20, 20)),
        histogram=histogram_of(source) if kind == "histogram" else None,
        delta=source.random() < 0.2,
        tags=source.choice(tags),
        # Some share their moment, and microseconds are what files have.
        timestamp_ns=BEGIN + source.randrange(SPAN_SECS // 60) * 60 * SECOND + source.choice((0, 0, 1_000)),
    )


@dataclass
class Asked:
    """Datasets, their points, and an engine for each."""

    runner: asyncio.Runner
    sites: list[tuple[Engine, list[Stored]]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asyncio.Runner() as runner:
        sites = []
        for seed in range(3):
            root = tmp_path_factory.mktemp("dataset")
            rows = filled(root, random.Random(seed))
            sites.append((Engine(EngineSettings(root, 1, 128 << 20, 20.0, 2, 1e6, 10_000, 100_000, 86_400, 600)), rows))
        yield Asked(runner, sites)
        for engine, _ in sites:
            runner.run(engine.stop())


def filled(root: Path, source: random.Random) -> list[Stored]:
    """Parts in several hours, each with points of any time before: some come late."""
    dataset = opened(root)
    rows: list[Stored] = []
    tags = [tags_of(source) for _ in range(4)]
    for part in range(12):
        # One point a series and moment: of two in one batch neither is the later one.
        points = list({_moment(point): point for point in (point_of(source, tags) for _ in range(60))}.values())
        block = FakeBlocks(points, part * 100, part * 100 + 60, HOUR + 3 + part // 4, sequence=part + 1, second=part)
        publish(dataset, block)
        rows += [Stored(point, block.received_first_us * 1_000, block.sequence) for point in points]
    dataset.close()
    return rows


def _moment(point: Point) -> tuple[Any, ...]:
    return point.name, tuple(sorted(point.tags.items())), point.timestamp_ns


matchers = st.builds(
    lambda key, operator, value, pattern: TagMatcher(
        key, operator, pattern if operator in (Operator.MATCHES, Operator.MATCHES_NOT) else value
    ),
    st.sampled_from(KEYS),
    st.sampled_from(Operator),
    st.sampled_from(VALUES),
    st.sampled_from(PATTERNS),
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    # Whole tenths of the span: integers drawn freely are mostly small, and what they select is nothing.
    start = BEGIN + draw(st.sampled_from(range(9))) * SPAN_SECS * SECOND // 10 + draw(st.sampled_from((0, 1, 1_000)))
    aggregation = draw(st.sampled_from(Aggregation))
    quantiles = st.lists(st.floats(0, 1), min_size=1, max_size=3).map(tuple)
    return Query(
        Selection(
            draw(st.sampled_from((*NAMES, "*", "*", "*s*", "system.*", "system.c*", "*e", "**%*"))),
            tuple(draw(st.lists(matchers, max_size=2))),
        ),
        start,
        start + draw(st.sampled_from(range(10, 0, -1))) * SPAN_SECS * SECOND // 10 + draw(st.sampled_from((0, 1))),
        aggregation,
        draw(st.sampled_from((0, 0, 7 * SECOND, 600 * SECOND + 1, 3_600 * SECOND))),
        draw(quantiles) if aggregation.takes_quantiles else (),
        tuple(draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=3))),
    )


@settings(max_examples=100, deadline=None)
@given(site=st.integers(0, 2), query=queries())
def test_an_answer_is_that_of_plain_loops(asked: Asked, site: int, query: Query) -> None:
    engine, rows = asked.sites[site]
    found = asked.runner.run(engine.ask(query))
    wanted = answer(query, rows)
    assert [(series.name, series.tags) for series in found] == [(series.name, series.tags) for series in wanted]
    for mine, plain in zip(found, wanted, strict=True):
        assert [one.start_ns for one in mine.values] == [one.start_ns for one in plain.values]
        for one, other in zip(mine.values, plain.values, strict=True):
            assert all(
                math.isclose(*pair, rel_tol=1e-9, abs_tol=1e-9) for pair in zip(one.values, other.values, strict=True)
            ), (one, other)
