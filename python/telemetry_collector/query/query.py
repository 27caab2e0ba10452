"""What may be asked, as types that cannot be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from telemetry_collector.query.errors import InvalidQuery

NAME_BYTES_MAX: Final = 255
KEY_BYTES_MAX: Final = 128
VALUE_BYTES_MAX: Final = 1_024
PATTERN_BYTES_MAX: Final = 256
"""Of a name with `*` and of a regular expression: what is compiled stays small."""
MATCHERS_MAX: Final = 16
GROUP_TAGS_MAX: Final = 16
QUANTILES_MAX: Final = 8
WINDOWS_MAX: Final = 11_000
"""Windows of one question; a day in steps of ten seconds has 8,640."""
TIME_NS_MAX: Final = 2**63 - 1


class Operator(Enum):
    """How a tag's value is compared. A tag that is absent has the value ""."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"

    @property
    def takes_expression(self) -> bool:
        """Whether the value is a regular expression."""
        return self in (Operator.MATCHES, Operator.MATCHES_NOT)


class Aggregation(Enum):
    """What becomes of the points of a group and window; proto/telemetry_service.proto tells of each."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    LAST = "last"
    QUANTILE = "quantile"
    RATE = "rate"
    HISTOGRAM_COUNT = "histogram_count"
    HISTOGRAM_SUM = "histogram_sum"
    HISTOGRAM_AVG = "histogram_avg"
    HISTOGRAM_QUANTILE = "histogram_quantile"

    @property
    def takes_quantiles(self) -> bool:
        """Whether it has a value for each of `quantiles`."""
        return self in (Aggregation.QUANTILE, Aggregation.HISTOGRAM_QUANTILE)


@dataclass(frozen=True, slots=True)
class TagMatcher:
    """A condition on one tag."""

    key: str
    operator: Operator
    value: str

    def check(self, field: str) -> None:
        """InvalidQuery when key or value cannot be a tag's. Whether an expression is one is not looked at yet."""
        _check_text(f"{field}.key", self.key, 1, KEY_BYTES_MAX)
        value_bytes_max = PATTERN_BYTES_MAX if self.operator.takes_expression else VALUE_BYTES_MAX
        _check_text(f"{field}.value", self.value, 0, value_bytes_max)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which points: those of a name, or of all names that a name with `*` stands for, with these tags."""

    name: str
    matchers: tuple[TagMatcher, ...] = ()

    def check(self, field: str = "selection") -> None:
        """InvalidQuery names the first thing that is wrong."""
        _check_text(f"{field}.name", self.name, 1, PATTERN_BYTES_MAX if "*" in self.name else NAME_BYTES_MAX)
        _check_count(f"{field}.matchers", len(self.matchers), MATCHERS_MAX)
        for place, matcher in enumerate(self.matchers):
            matcher.check(f"{field}.matchers[{place}]")

    def check_expressions(self, field: str = "selection") -> None:
        """InvalidQuery names the first that is no regular expression. Each may take half a second of a processor,
        however short it is: not for an event loop."""
        for place, matcher in enumerate(self.matchers):
            if matcher.operator.takes_expression:
                _check_expression(f"{field}.matchers[{place}].value", matcher.value)


@dataclass(frozen=True, slots=True)
class Query:
    """One question."""

    selection: Selection
    start_ns: int
    """Points measured from here on, in nanoseconds since 1970."""
    end_ns: int
    """And before this."""
    aggregation: Aggregation
    step_ns: int = 0
    """Length of a window; 0: the range is one."""
    quantiles: tuple[float, ...] = ()
    group_by: tuple[str, ...] = ()
    """Tags that keep series apart, besides the name."""

    def __post_init__(self) -> None:
        """InvalidQuery names the first field that is wrong."""
        self.selection.check()
        for field, time_ns in (("start_unix_ns", self.start_ns), ("end_unix_ns", self.end_ns)):
            if not 0 <= time_ns <= TIME_NS_MAX:
                raise InvalidQuery(field, f"{time_ns} is no time; expected nanoseconds since 1970, below 2^63")
        if self.end_ns <= self.start_ns:
            raise InvalidQuery("end_unix_ns", f"{self.end_ns} is not after start_unix_ns {self.start_ns}")
        if not 0 <= self.step_ns <= TIME_NS_MAX:
            raise InvalidQuery("step_ns", f"{self.step_ns} is no duration; expected nanoseconds, or 0 for one window")
        if self.windows > WINDOWS_MAX:
            raise InvalidQuery(
                "step_ns", f"the range has {self.windows} windows; expected at most {WINDOWS_MAX}: a longer step"
            )
        check_aggregation(self.aggregation, self.quantiles, self.group_by)

    @property
    def window_ns(self) -> int:
        """Length of a window; the last may be shorter."""
        return self.step_ns or self.end_ns - self.start_ns

    @property
    def windows(self) -> int:
        """How many windows the range has."""
        return -(-(self.end_ns - self.start_ns) // self.window_ns)


def check_aggregation(aggregation: Aggregation, quantiles: tuple[float, ...], group_by: tuple[str, ...]) -> None:
    """InvalidQuery when these do not go together or are too many."""
    _check_count("quantiles", len(quantiles), QUANTILES_MAX)
    if aggregation.takes_quantiles and not quantiles:
        raise InvalidQuery("quantiles", f"there are none; expected at least one with {aggregation.value}")
    if quantiles and not aggregation.takes_quantiles:
        raise InvalidQuery("quantiles", f"{aggregation.value} takes none")
    for place, quantile in enumerate(quantiles):
        if not (math.isfinite(quantile) and 0 <= quantile <= 1):
            raise InvalidQuery(f"quantiles[{place}]", f"{quantile} is not between 0 and 1")
    _check_count("group_by", len(group_by), GROUP_TAGS_MAX)
    for place, key in enumerate(group_by):
        _check_text(f"group_by[{place}]", key, 1, KEY_BYTES_MAX)
        if key in group_by[:place]:
            raise InvalidQuery(f"group_by[{place}]", f"{key} is there twice")


def _check_text(field: str, text: str, bytes_min: int, bytes_max: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidQuery(field, "is not Unicode text") from error
    if not bytes_min <= size <= bytes_max:
        raise InvalidQuery(field, f"has {size} bytes; expected {bytes_min} to {bytes_max}")
    if any(character < " " or character == "\x7f" for character in text):
        raise InvalidQuery(field, "has control characters, which no name or tag has")


def _check_count(field: str, count: int, count_max: int) -> None:
    if count > count_max:
        raise InvalidQuery(field, f"there are {count}; expected at most {count_max}")


def _check_expression(field: str, pattern: str) -> None:
    """Arrow has the expressions that DuckDB has, RE2's, whose time is linear in the text whatever the expression."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise InvalidQuery(field, f"is no regular expression that RE2 takes: {error}") from error
