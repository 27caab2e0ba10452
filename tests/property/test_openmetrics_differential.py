"""Pages of OpenMetrics beside prometheus_client: what its parser reads is what is stored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample, Timestamp
from tests.contract.door import NODE, NOW, Door, opened

from telemetry_collector import _core

QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORM = _core.RequestForm.exposition([], openmetrics=True)
Point = tuple[str, str, str, tuple[tuple[str, str], ...], int, str]
"""Name, type, unit, tags, time and data."""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    directory: Path = tmp_path_factory.mktemp("openmetrics")
    with opened(directory, max_cardinality=1_000_000) as door:
        yield door


def stored(door: Door, page: str) -> tuple[Counter[Point], dict[str, int]]:
    """The points of a page as the dataset has them, and what was left out."""
    request = door.core.take(FORM, page.encode(), "", identity="scrape", node=NODE, relay=True, now_unix_ns=NOW)
    rows = door.stored()
    assert request.done()
    assert (request.accepted_points, request.rejected_points) == (len(rows), 0), request.rejections
    points: Counter[Point] = Counter()
    for row in rows:
        tags = tuple(sorted(row["tags"].items()))
        data = row["histogram"] or row["summary"] or row["value"]
        points[row["name"], row["type"], row["unit"], tags, row["timestamp"], repr(data)] += 1
    return points, dict(request.left_out)


# ---- what prometheus_client reads, as points --------------------------------------------------------------------


def expected(page: str) -> tuple[Counter[Point], dict[str, int]]:
    """What its parser makes of a page; ValueError where it makes nothing of it."""
    points: Counter[Point] = Counter()
    left: Counter[str] = Counter()
    for family in text_string_to_metric_families(page):  # type: ignore[no-untyped-call]  # neither here
        left["exemplar"] += sum(sample.exemplar is not None for sample in family.samples)
        if family.type in ("histogram", "gaugehistogram", "summary"):
            points.update(distributions(family))
            continue
        for sample in family.samples:
            if family.type == "counter" and sample.name == f"{family.name}_created":
                continue
            if not math.isfinite(sample.value):
                left["no_value"] += 1
                continue
            kind = "counter" if family.type == "counter" else "gauge"
            points[point(sample.name, kind, family, sample.labels, sample.timestamp, float(sample.value))] += 1
    return points, {kind: count for kind, count in left.items() if count}


def point(name: str, kind: str, family: Metric, labels: Mapping[str, str], time: Any, data: object) -> Point:
    tags = tuple(sorted((key, value) for key, value in labels.items() if value))
    return name, kind, family.unit, tags, NOW if time is None else nanoseconds(time), repr(data)


def nanoseconds(time: Any) -> int:
    return time.sec * 10**9 + time.nsec if isinstance(time, Timestamp) else int(time * 1e9)


def distributions(family: Metric) -> Iterable[Point]:
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    label = "quantile" if family.type == "summary" else "le"
    for sample in family.samples:
        ending = sample.name.removeprefix(family.name)
        if ending == "_created":
            continue
        labels = {key: value for key, value in sample.labels.items() if key != label}
        key = (tuple(sorted(labels.items())), str(sample.timestamp))
        group = groups.setdefault(key, {"labels": labels, "time": sample.timestamp, "parts": []})
        if label in sample.labels:
            group["parts"].append((float(sample.labels[label]), sample.value))
        else:
            group[ending.replace("_g", "_")] = sample.value
    for group in groups.values():
        parts = sorted(group["parts"])
        total = float(group.get("_sum", 0))
        if family.type == "summary":
            known = [(at, float(value)) for at, value in parts if math.isfinite(value)]
            data: dict[str, Any] = {"count": int(group.get("_count", 0)), "sum": total}
            data |= {"quantiles": [at for at, _ in known], "values": [value for _, value in known]}
            yield point(family.name, "summary", family, group["labels"], group["time"], data)
            continue
        counts = [int(count) for _, count in parts]
        data = {
            "count": counts[-1],
            "sum": total,
            "min": None,
            "max": None,
            "bounds": [bound for bound, _ in parts[:-1]],
            "counts": [count - before for before, count in zip([0, *counts], counts, strict=False)],
        }
        yield point(family.name, "histogram", family, group["labels"], group["time"], data)


# ---- pages of every kind ------------------------------------------------------------------------------------------

# Control characters are no part of a tag, which is another test's matter.
texts = st.text(
    st.one_of(st.sampled_from('#{}",\\= _n\x80é'), st.characters(exclude_categories=["Cs", "Cc"])), max_size=12
)
labels = st.dictionaries(st.sampled_from(["code", "path", "_x", "A1"]), texts, max_size=3)
numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**6), 10**6).map(float))
amounts = numbers.map(abs)
counts = st.integers(0, 1 << 50)
seconds = st.integers(NOW // 10**9 - 600_000, NOW // 10**9 + 500)
times = st.one_of(seconds, st.builds(Timestamp, seconds, st.integers(0, 999_999_999)))
# Its parser takes an escaped quote within an exemplar for the end of it.
exemplar_labels = st.dictionaries(
    st.sampled_from(["trace_id", "s"]), texts.filter(lambda text: not set(text) & set('"\\')), max_size=2
)
exemplars = st.none() | st.builds(Exemplar, exemplar_labels, numbers, st.none() | times)
UNITS = {"counter": ["", "seconds"], "gauge": ["", "bytes"], "histogram": ["", "seconds"], "summary": ["", "seconds"]}
TYPES = ["counter", "gauge", "unknown", "info", "stateset", "histogram", "gaugehistogram", "summary"]


@st.composite
def families(draw: st.DrawFn, name: str) -> Metric:
    kind = draw(st.sampled_from(TYPES))
    family = Metric(name, draw(texts), kind, draw(st.sampled_from(UNITS.get(kind, [""]))))
    for own in draw(st.lists(labels, max_size=3, unique_by=lambda own: tuple(sorted(own.items())))):
        moments: list[Any] = [None]
        if kind != "info" and draw(st.booleans()):
            # Of a second point its parser forgets all samples but the first.
            most = 2 if kind in ("gauge", "unknown") else 1
            several = st.lists(times, min_size=1, max_size=most, unique_by=nanoseconds_of)
            moments = sorted(draw(several), key=nanoseconds_of)
        for moment in moments:
            family.samples += draw(samples(family.name, kind, own, moment))
    return family


def nanoseconds_of(time: Any) -> int:
    return time.sec * 10**9 + time.nsec if isinstance(time, Timestamp) else time * 10**9


@st.composite
def samples(draw: st.DrawFn, name: str, kind: str, own: dict[str, str], moment: Any) -> list[Sample]:
    """One point of a family, in as many samples as it takes."""

    def one(ending: str, value: float, exemplar: Exemplar | None = None, **more: str) -> Sample:
        return Sample(name + ending, {**own, **more}, value, moment, exemplar)

    created = [one("_created", draw(amounts))] if draw(st.booleans()) else []
    match kind:
        case "counter":
            return [one("_total", draw(amounts), draw(exemplars)), *created]
        case "gauge" | "unknown":
            return [one("", draw(st.one_of(numbers, st.sampled_from([math.inf, -math.inf, math.nan]))))]
        case "info":
            return [one("_info", 1)]
        case "stateset":
            return [one("", draw(st.sampled_from([0, 1])), None, **{name: state}) for state in ("open", "shut")]
        case "summary":
            at = draw(st.lists(st.floats(0, 1), max_size=3, unique=True))
            values = st.one_of(amounts, st.just(math.nan))
            quantiles = [one("", draw(values), None, quantile=str(quantile)) for quantile in at]
            return [*quantiles, one("_count", draw(counts)), one("_sum", draw(amounts)), *created]
    bounds = sorted(draw(st.sets(st.integers(-5, 500).map(lambda number: number / 4), max_size=4)))
    below, buckets = 0, []
    for bound in [*map(str, bounds), "+Inf"]:
        below += draw(st.integers(0, 1000))
        buckets.append(one("_bucket", below, draw(exemplars), le=bound))
    negative = bool(bounds) and bounds[0] < 0
    if kind == "gaugehistogram":
        return [*buckets, one("_gcount", below), one("_gsum", draw(numbers) if negative else draw(amounts))]
    totals = [] if negative else [one("_count", below), one("_sum", draw(amounts))]
    return [*buckets, *totals, *created]


class Shown(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


@st.composite
def pages(draw: st.DrawFn) -> str:
    registry = CollectorRegistry()
    registry.register(Shown([draw(families(name)) for name in ("a", "a_b", "cd")[: draw(st.integers(0, 3))]]))
    page: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # prometheus_client has no types there
    return page.decode()


@QUICK
@given(pages())
def test_what_its_client_writes_is_stored_as_its_parser_reads_it(door: Door, page: str) -> None:
    assert stored(door, page) == expected(page)


@QUICK
@given(pages(), st.integers(min_value=0))
def test_a_page_that_was_cut_short_is_refused_whole(door: Door, page: str, place: int) -> None:
    cut = page[: place % (len(page) - 1)]
    with pytest.raises(_core.RequestError, match="cut short"):
        stored(door, cut)
    assert door.stored() == []


@pytest.mark.parametrize(
    "lines",
    [
        '# TYPE a counter\n# HELP a help\na_total 1 # {a="b"} 0.5\na_created 123.4',
        '# HELP a # EOF\\nhelp \\\\ # {x="y"}\n# TYPE a counter\na_total 17.0 1799999999.5 # {x="y #"} -1e-3 123',
        "# UNIT a_seconds seconds\n# TYPE a_seconds counter\n# HELP a_seconds help\na_seconds_total 1",
        '# TYPE a gauge\na{x="bar # baz"} 1\na{x="}"} 2\na{x="{",y="="} 3\na{x="c:\\\\d\\\\"} 4\n'
        'a{x="\\\\n\\""} 5\na{x=","} 6',
        "a 1e-3\nb -1.5E+6\nc +Inf\nd -Inf\ne NaN\nf{} 7\ng 0",
        '# TYPE a histogram\na_bucket{le="1"} 0\na_bucket{le="+Inf"} 3 # {a="2345678901234567890123456789"} 4.0 123\n'
        'a_count 3\na_sum 2\na_created 1\na_bucket{le="+Inf",b="c"} 1\na_count{b="c"} 1\na_sum{b="c"} 0',
        '# TYPE a gaugehistogram\na_bucket{le="-2.0"} 5\na_bucket{le="+Inf"} 9\na_gcount 9\na_gsum -20',
        '# TYPE a summary\na{quantile="0"} NaN\na{quantile="1.0"} 3\na_count 1\na_sum 2\na_created 5',
        '# TYPE a gauge\na{b="c"} 1 1799999990\na{b="c"} 2 1799999999\n'
        "# TYPE d summary\nd_count 2 1799999999\nd_sum 3 1799999999",
        '# TYPE a info\na_info{v="1"} 1\n# TYPE b stateset\nb{b="x"} 1\nb{b="y"} 0\n# TYPE c unknown\nc 2',
        "# TYPE a counter\na_total 1 1799999999.123456789\n# TYPE b gauge\nb 1 1799999999.",
        "# TYPE a counter\n# TYPE a_b gauge\na_b 1\n# TYPE a_b_c counter\na_b_c_total 2",
        "# TYPE a counter\na_total 1\n# HELP b of a family without a type\nb_total 2",
        "",
    ],
)
def test_what_is_known_to_be_hard_is_read_as_its_parser_reads_it(door: Door, lines: str) -> None:
    page = f"{lines}\n# EOF\n" if lines else "# EOF\n"
    assert stored(door, page) == expected(page)
