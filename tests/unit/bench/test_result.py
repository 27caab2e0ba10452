"""What is told of a measurement, to people and to programs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from telemetry_collector.bench.result import AckMs, Result, as_json

RESULT = Result(
    points_per_s=1_234_567.891234, cpu_s_per_million=0.41234567, wire_bytes_per_point=4.25, stored_bytes_per_point=3.0,
    ack_ms=AckMs(1.23456789, 5.0, 20.0), resident_mb=180.5, acknowledged=12_000_000, stored=12_000_000, verified=True,
    transport="aioquic", client="quinn", form="columnar", compression="zstd", agents=1_000, connections=4, series=100,
    batch_points=1_000, rate=None, writers=("parquet",), seconds=9.72, refused=0, retried=3, delivered_database=None,
    cpu_share=0.5, client_cpu_share=0.9, load_average=0.25, accepted_per_s=1_300_000.0,
    handshakes_per_s=170.0, pinned=True, version="0.1.0",
)  # fmt: skip


def test_programs_get_the_promised_keys_in_figures_that_can_be_read() -> None:
    told = json.loads(as_json(RESULT))
    assert told["points_per_s"] == 1_234_567.8912
    assert told["ack_ms"] == {"p50": 1.2346, "p99": 5.0, "p999": 20.0}
    promised = ("cpu_s_per_million", "wire_bytes_per_point", "stored_bytes_per_point", "resident_mb")
    assert [told[name] for name in promised] == [0.4123, 4.25, 3.0, 180.5]
    assert [told[name] for name in ("acknowledged", "stored", "verified")] == [12_000_000, 12_000_000, True]


def test_people_get_a_line_a_figure_and_the_verdict_last() -> None:
    lines = str(RESULT).splitlines()
    assert lines[0] == (
        "1,000 agents × 100 series, flat out, 4 connections of quinn to aioquic, columnar form, compression zstd, "
        "kept by parquet; 9.7 s, load average 0.2 before"
    )
    assert "  throughput            1,234,568  points/s, until every writer was through" in lines
    assert "  put off                       3  batches, that were sent again" in lines
    assert lines[-1] == "verified: what was acknowledged is stored, once, and nothing else"


def test_what_could_not_be_measured_is_null_for_programs_and_left_out_for_people() -> None:
    remote = replace(
        RESULT, transport=None, writers=None, resident_mb=None, cpu_s_per_million=None, stored=None, verified=None
    )
    assert json.loads(as_json(remote))["resident_mb"] is None
    assert "memory" not in str(remote)
    assert "4 connections of quinn to a target, columnar form, compression zstd; 9.7 s" in str(remote)
    assert str(remote).splitlines()[-1].startswith("not verified: the target's data cannot be seen from here")


@pytest.mark.parametrize(
    ("rate", "told"), [(None, "flat out"), (0.0, "idle"), (50_000.0, "50,000 points/s")]
)  # fmt: skip
def test_the_pace_is_told_in_words(rate: float | None, told: str) -> None:
    assert f"100 series, {told}, " in str(replace(RESULT, rate=rate))


def test_what_is_wrong_is_told_with_where_the_files_are() -> None:
    wrong = replace(RESULT, verified=False, findings=["batch 7 of n is lost"], directory="/var/tmp/bench-1")
    assert str(wrong).splitlines()[-2:] == [
        "  batch 7 of n is lost",
        "NOT VERIFIED: what is stored is not what was acknowledged; the files are in /var/tmp/bench-1",
    ]
