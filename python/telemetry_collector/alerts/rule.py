"""A rule, as a type that cannot be wrong."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final, Self

from telemetry_collector.query import Aggregation, InvalidQuery, Operator, Selection, TagMatcher, check_aggregation

SECOND_NS: Final = 1_000_000_000
WINDOW_NS_MAX: Final = 31 * 86_400 * SECOND_NS
FOR_NS_MAX: Final = 31 * 86_400 * SECOND_NS
LABELS_MAX: Final = 32
LABEL_KEY_BYTES_MAX: Final = 128
LABEL_VALUE_BYTES_MAX: Final = 1_024

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Comparison(Enum):
    """How a value stands to the threshold when the rule applies."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="
    EQUAL_TO = "=="
    NOT_EQUAL_TO = "!="


class Severity(Enum):
    """How urgent it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """What is to be noticed: an aggregate that stands so to a threshold, for so long."""

    name: str
    selection: Selection
    aggregation: Aggregation
    window_ns: int
    """What is aggregated at a time."""
    comparison: Comparison
    threshold: float
    severity: Severity
    quantiles: tuple[float, ...] = ()
    group_by: tuple[str, ...] = ()
    for_ns: int = 0
    labels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """InvalidQuery names the first field that is wrong."""
        if not _NAME.fullmatch(self.name):
            raise InvalidQuery("name", f"{self.name[:200]!r} is no rule's name; expected 1 to 128 of a-z A-Z 0-9 . _ -")
        self.selection.check()
        check_aggregation(self.aggregation, self.quantiles, self.group_by)
        if len(self.quantiles) > 1:
            raise InvalidQuery("quantiles", f"there are {len(self.quantiles)}; expected one, which is compared")
        if not SECOND_NS <= self.window_ns <= WINDOW_NS_MAX:
            raise InvalidQuery("window_ns", f"is {self.window_ns}; expected one second to 31 days, in nanoseconds")
        if not math.isfinite(self.threshold):
            raise InvalidQuery("threshold", f"is {self.threshold}; expected a finite number")
        if not 0 <= self.for_ns <= FOR_NS_MAX:
            raise InvalidQuery("for_ns", f"is {self.for_ns}; expected 0 to 31 days, in nanoseconds")
        self._check_labels()

    def _check_labels(self) -> None:
        if len(self.labels) > LABELS_MAX:
            raise InvalidQuery("labels", f"there are {len(self.labels)}; expected at most {LABELS_MAX}")
        seen: set[str] = set()
        for place, (key, value) in enumerate(self.labels):
            if not 1 <= len(key.encode()) <= LABEL_KEY_BYTES_MAX:
                raise InvalidQuery(f"labels[{place}].key", f"expected 1 to {LABEL_KEY_BYTES_MAX} bytes")
            if len(value.encode()) > LABEL_VALUE_BYTES_MAX:
                raise InvalidQuery(f"labels[{place}].value", f"expected at most {LABEL_VALUE_BYTES_MAX} bytes")
            if key in seen:
                raise InvalidQuery(f"labels[{place}].key", f"{key} is there twice")
            seen.add(key)

    def as_json(self) -> dict[str, Any]:
        """In values that JSON has."""
        return {
            **asdict(self),
            "selection": {
                "name": self.selection.name,
                "matchers": [[one.key, one.operator.value, one.value] for one in self.selection.matchers],
            },
            "aggregation": self.aggregation.value,
            "comparison": self.comparison.value,
            "severity": self.severity.value,
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """What `as_json` made. KeyError, TypeError, ValueError or InvalidQuery when it did not."""
        selection = kept["selection"]
        matchers = tuple(TagMatcher(key, Operator(operator), value) for key, operator, value in selection["matchers"])
        return cls(
            **{
                **kept,
                "selection": Selection(selection["name"], matchers),
                "aggregation": Aggregation(kept["aggregation"]),
                "comparison": Comparison(kept["comparison"]),
                "severity": Severity(kept["severity"]),
                "quantiles": tuple(kept["quantiles"]),
                "group_by": tuple(kept["group_by"]),
                "labels": tuple((key, value) for key, value in kept["labels"]),
            }
        )
