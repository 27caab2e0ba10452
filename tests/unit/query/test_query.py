"""What may be asked: whatever is wrong is named by its field, before anything is read."""

from __future__ import annotations

import math
from typing import Any

import pytest

from telemetry_collector.query import Aggregation, InvalidQuery, Operator, Query, Selection, TagMatcher

SECOND = 1_000_000_000


def query(**given: Any) -> Query:
    fields = {"selection": Selection("m"), "start_ns": 0, "end_ns": SECOND, "aggregation": Aggregation.AVG, **given}
    return Query(**fields)


def with_tag(key: str, operator: Operator, value: str) -> dict[str, Any]:
    return {"selection": Selection("m", (TagMatcher(key, operator, value),))}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"selection": Selection("")}, "selection.name"),
        ({"selection": Selection("n" * 256)}, "selection.name"),
        ({"selection": Selection("*" * 257)}, "selection.name"),
        ({"selection": Selection("a\0b")}, "selection.name"),
        ({"selection": Selection("a\ud800")}, "selection.name"),
        ({"selection": Selection("m", (TagMatcher("k", Operator.EQUAL, ""),) * 17)}, "selection.matchers"),
        (with_tag("", Operator.EQUAL, "v"), "selection.matchers[0].key"),
        (with_tag("k" * 129, Operator.EQUAL, "v"), "selection.matchers[0].key"),
        (with_tag("k", Operator.NOT_EQUAL, "v" * 1_025), "selection.matchers[0].value"),
        (with_tag("k", Operator.MATCHES, "a" * 257), "selection.matchers[0].value"),
        ({"start_ns": SECOND}, "end_unix_ns"),
        ({"start_ns": -1}, "start_unix_ns"),
        ({"start_ns": 2**64 - 2, "end_ns": 2**64 - 1}, "start_unix_ns"),
        ({"end_ns": 2**63}, "end_unix_ns"),
        ({"step_ns": -1}, "step_ns"),
        ({"end_ns": 11_001, "step_ns": 1}, "step_ns"),
        ({"aggregation": Aggregation.QUANTILE}, "quantiles"),
        ({"quantiles": (0.5,)}, "quantiles"),
        ({"aggregation": Aggregation.QUANTILE, "quantiles": (0.5, 1.01)}, "quantiles[1]"),
        ({"aggregation": Aggregation.HISTOGRAM_QUANTILE, "quantiles": (math.nan,)}, "quantiles[0]"),
        ({"aggregation": Aggregation.QUANTILE, "quantiles": (0.5,) * 9}, "quantiles"),
        ({"group_by": ("a", "b", "a")}, "group_by[2]"),
        ({"group_by": tuple(map(str, range(17)))}, "group_by"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidQuery) as wrong:
        query(**given)
    assert wrong.value.field == field
    assert str(wrong.value).startswith(f"{field}: ")


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(((a{100}){100}){100})", r"[\p{L}\p{N}]{0,1000}"])
@pytest.mark.parametrize("operator", [Operator.MATCHES, Operator.MATCHES_NOT])
def test_an_expression_that_is_none_is_named_by_its_field(operator: Operator, pattern: str) -> None:
    matchers = (TagMatcher("a", Operator.EQUAL, "("), TagMatcher("b", operator, pattern))
    with pytest.raises(InvalidQuery, match="is no regular expression that RE2 takes") as wrong:
        Selection("m", matchers).check_expressions()
    assert wrong.value.field == "selection.matchers[1].value"


@pytest.mark.parametrize(
    ("start", "end", "step", "windows"),
    [(0, 10, 0, 1), (0, 10, 10, 1), (0, 10, 3, 4), (5, 6, 100, 1), (0, 2**63 - 1, 0, 1)],
)
def test_windows_cover_the_range(start: int, end: int, step: int, windows: int) -> None:
    assert query(start_ns=start, end_ns=end, step_ns=step).windows == windows
