"""What a service prints at its end."""

import json
from typing import Any

import pytest

from telemetry_collector.app.service import print_summary

SUMMARY: dict[str, Any] = {
    "node": "gpu-07",
    "refused_by_reason": {"invalid_timestamp": 2, "cardinality_limit": 1},
    "dropped_by_reason": {},
    "ack_p50_secs": 0.0009918212890625,
    "connected_to": None,
    "writers": {"parquet": {"points_written": 3, "points_refused": 1}},
}


def test_a_person_reads_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(SUMMARY, as_json=False)
    assert [line.split(maxsplit=3)[-1] for line in capsys.readouterr().out.splitlines()[1:5]] == [
        "invalid_timestamp 2, cardinality_limit 1",
        "none",
        "0.001",
        "none",
    ]


def test_a_program_reads_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(SUMMARY, as_json=True)
    assert json.loads(capsys.readouterr().out) == SUMMARY
