"""The numbers are the wire's."""

import re
from enum import IntEnum
from pathlib import Path

import pytest

from telemetry_collector.model import CloseCode, MetricType, Outcome, Reason

PROTO = (Path(__file__).parents[2] / "proto" / "telemetry.proto").read_text()


def enum_of_proto(name: str) -> dict[str, int]:
    body = re.search(rf"enum {name} \{{(.*?)\}}", PROTO, re.DOTALL)
    assert body is not None
    found = re.findall(r"^\s*([A-Z_]+) = (\d+);", body[1], re.MULTILINE)
    return {re.sub(r"^\w+_UNSPECIFIED$", "UNSPECIFIED", key): int(number) for key, number in found}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("MetricType", MetricType), ("Outcome", Outcome), ("Reason", Reason), ("CloseCode", CloseCode)],
)
def test_names_and_numbers_are_those_of_the_schema(name: str, numbers: type[IntEnum]) -> None:
    assert {member.name: member.value for member in numbers} == enum_of_proto(name)


def test_labels_are_lower_case() -> None:
    assert Outcome.RETRY_LATER.label == "retry_later"
    assert Reason(1).label == "cardinality_limit"
