"""A question as SQL. The text is put together from the fragments in this file and nothing else; whatever came from
outside is a bound parameter.

    points       rows of the selection and range: group (g0, g1, …), window (w), and what the aggregation needs
    ► gained     counters and histograms: what each point gained over the one before it in its series
    ► one row a name, group and window, in that order
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from telemetry_collector.model import STANDARD_TAGS
from telemetry_collector.query.query import Aggregation, Operator, Query

_SCALAR: Final = "value IS NOT NULL"
_HISTOGRAM: Final = "histogram IS NOT NULL"

_OVER_POINTS: Final = {
    Aggregation.AVG: "avg(value)",
    Aggregation.MIN: "min(value)",
    Aggregation.MAX: "max(value)",
    Aggregation.SUM: "sum(value)",
    Aggregation.COUNT: "CAST(count(*) AS DOUBLE)",
    # Of points with the same time the one received last, and so on, so that the same files always give the same answer.
    Aggregation.LAST: "last(value ORDER BY measured, received, sequence, value)",
    Aggregation.QUANTILE: "quantile_cont(value, $quantiles)",
}

_OVER_GAINED: Final = {
    Aggregation.RATE: "sum(gained) / (least($window, $span - w * $window) / 1e9)",
    Aggregation.HISTOGRAM_COUNT: "CAST(sum(gained) AS DOUBLE)",
    Aggregation.HISTOGRAM_SUM: "sum(gained_sum)",
    Aggregation.HISTOGRAM_AVG: "sum(gained_sum) / nullif(sum(gained), 0)",
}

_COMPARISONS: Final = {
    Operator.EQUAL: "{tag} = {value}",
    Operator.NOT_EQUAL: "{tag} <> {value}",
    Operator.MATCHES: "regexp_full_match({tag}, {value})",
    Operator.MATCHES_NOT: "NOT regexp_full_match({tag}, {value})",
}

# The columns themselves would take four times the memory: it is what bounds how many points a rate may be of. That two
# of a million series have one number happens to one question in forty million.
_SERIES: Final = f"hash(name, {', '.join(STANDARD_TAGS)}, tags, delta) AS series"
_IN_SERIES: Final = "(PARTITION BY series ORDER BY measured, received, sequence, value)"

# The first point of a series' total only tells where it stands.
_COUNTER_GAINED: Final = f"""gained AS (
  SELECT *, CASE WHEN delta THEN value WHEN value < before THEN value ELSE value - before END AS gained
  FROM (SELECT *, lag(value) OVER {_IN_SERIES} AS before FROM points)
)"""

# A total that falls anywhere, or whose buckets are others now, began anew: all of it is gained.
_HISTOGRAM_GAINED: Final = f"""compared AS (
  SELECT *, delta OR (before IS NOT NULL AND (
      before.bounds <> histogram.bounds OR histogram.count < before.count
      OR list_min(list_transform(list_zip(histogram.counts, before.counts), lambda pair: pair[1] - pair[2])) < 0
    )) AS anew
  FROM (SELECT *, lag(histogram) OVER {_IN_SERIES} AS before FROM points)
), gained AS (
  SELECT *,
    CASE WHEN anew THEN histogram.count ELSE histogram.count - before.count END AS gained,
    CASE WHEN anew THEN histogram.sum ELSE histogram.sum - before.sum END AS gained_sum,
    CASE WHEN anew THEN histogram.counts
      ELSE list_transform(list_zip(histogram.counts, before.counts), lambda pair: pair[1] - pair[2])
    END AS gained_counts
  FROM compared WHERE anew OR before IS NOT NULL
)"""

_BUCKETS: Final = """buckets AS (
  SELECT name, {groups}w,
    unnest(list_append(histogram.bounds, CAST('infinity' AS DOUBLE))) AS bound, unnest(gained_counts) AS gained
  FROM gained
), joined AS (SELECT name, {groups}w, bound, sum(gained) AS gained FROM buckets GROUP BY ALL)"""


# What stands in the directories' names is no column: one such as region=eu would take the place of the tag.
_ROWS: Final = "read_parquet($files, hive_partitioning = false)"

TIME_TYPE: Final = f"DESCRIBE SELECT timestamp FROM {_ROWS}"
"""Tells the type of `timestamp`, which is that of the first file; the others' are brought to it."""

_IN_PATTERNS: Final = re.compile(r"[*?\[]")

_TIME_TYPES: Final = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ", "TIMESTAMPTZ_NS": "TIMESTAMPTZ_NS"}


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and the values of its parameters."""

    text: str
    parameters: dict[str, Any]


def names(files: Sequence[str]) -> list[str]:
    """Each file as DuckDB finds it and no other: a path is a pattern there."""
    return [_IN_PATTERNS.sub(r"[\g<0>]", file) for file in files]


def statement(query: Query, files: Sequence[str], rows_max: int, time_type: str) -> Statement:
    """Rows (name, groups…, window, result) in order, at most so many. `time_type` is what `TIME_TYPE` told.

    The result is a number; for quantiles a list of them, and for quantiles of histograms bounds and counts.
    """
    aggregation = query.aggregation
    parameters: dict[str, Any] = {
        "files": names(files),
        "start": query.start_ns,
        "end": query.end_ns,
        "from_us": query.start_ns // 1_000,
        "until_us": -(-query.end_ns // 1_000),
        "window": query.window_ns,
        "rows_max": rows_max,
    }
    points = _points(query, parameters, _TIME_TYPES[time_type])
    groups = "".join(f"g{place}, " for place in range(len(query.group_by)))
    if aggregation is Aggregation.RATE:
        parameters["span"] = query.end_ns - query.start_ns
    if aggregation is Aggregation.QUANTILE:
        parameters["quantiles"] = [abs(quantile) for quantile in query.quantiles]  # -0.0 would count from the top
    if aggregation in _OVER_POINTS:
        tables, source, results = [points], "points", [_OVER_POINTS[aggregation]]
    elif aggregation is Aggregation.HISTOGRAM_QUANTILE:
        tables, source = [points, _HISTOGRAM_GAINED, _BUCKETS.format(groups=groups)], "joined"
        results = ["list(bound ORDER BY bound)", "list(gained ORDER BY bound)"]
    else:
        gained = _COUNTER_GAINED if aggregation is Aggregation.RATE else _HISTOGRAM_GAINED
        tables, source, results = [points, gained], "gained", [_OVER_GAINED[aggregation]]
    # Groups without a result, of single points of totals, are none.
    text = (
        f"WITH {', '.join(tables)}\n"
        f"SELECT name, {groups}w, {', '.join(results)} FROM {source}\n"
        f"GROUP BY name, {groups}w HAVING {results[0]} IS NOT NULL\n"
        f"ORDER BY name, {groups}w LIMIT $rows_max"
    )
    return Statement(text, parameters)


def _points(query: Query, parameters: dict[str, Any], time_type: str) -> str:
    """The rows of the selection."""
    groups = []
    for place, key in enumerate(query.group_by):
        groups.append(f"{_tag(key, f'group{place}', parameters)} AS g{place}")
    conditions = [
        _kind(query.aggregation),
        _name(query.selection.name, parameters),
        # By the column itself, which has statistics; then exactly, where files have nanoseconds.
        f"timestamp >= CAST(make_timestamptz($from_us) AS {time_type})",
        f"timestamp < CAST(make_timestamptz($until_us) AS {time_type})",
        "epoch_ns(timestamp) >= $start",
        "epoch_ns(timestamp) < $end",
    ]
    for place, matcher in enumerate(query.selection.matchers):
        tag = _tag(matcher.key, f"key{place}", parameters)
        parameters[f"value{place}"] = matcher.value
        conditions.append(_COMPARISONS[matcher.operator].format(tag=tag, value=f"$value{place}"))
    columns = ["name", *groups, *_needed(query.aggregation)]
    return (
        f"points AS (\n  SELECT {', '.join(columns)}, epoch_ns(timestamp) AS measured,\n"
        "    (epoch_ns(timestamp) - $start) // $window AS w\n"
        f"  FROM {_ROWS}\n  WHERE {' AND '.join(conditions)}\n)"
    )


def _needed(aggregation: Aggregation) -> tuple[str, ...]:
    """The columns that an aggregation reads. Those of a file that nobody names are not read from the disk."""
    if aggregation is Aggregation.LAST:
        return ("value", "received", "sequence")
    if aggregation in _OVER_POINTS:
        return ("value",)
    return (
        _SERIES,
        "delta",
        "received",
        "sequence",
        "value",
        *(() if aggregation is Aggregation.RATE else ("histogram",)),
    )


def _kind(aggregation: Aggregation) -> str:
    if aggregation is Aggregation.RATE:
        return f"type = 'counter' AND {_SCALAR}"
    return _SCALAR if aggregation in _OVER_POINTS else _HISTOGRAM


def _name(name: str, parameters: dict[str, Any]) -> str:
    if "*" not in name:
        parameters["name"] = name
        return "name = $name"
    # LIKE goes back and forth on many asterisks; RE2 takes the same time whatever the pattern.
    parameters["name"] = ".*".join(re.escape(part) for part in re.split(r"\*+", name))
    return "regexp_full_match(name, $name)"


def _tag(key: str, parameter: str, parameters: dict[str, Any]) -> str:
    if key in STANDARD_TAGS:
        return f"coalesce({key}, '')"
    parameters[parameter] = key
    return f"coalesce(tags[${parameter}], '')"
