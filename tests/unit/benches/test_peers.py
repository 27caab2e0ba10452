"""What the comparison with other collectors computes: payloads, what was delivered, and the table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benches.peers import run
from benches.peers.load import closed_loop
from benches.peers.payloads import lines, otlp, otlp_points
from benches.peers.result import Run, markdown
from benches.peers.run import STALL_SECS, drained, from_bench
from grpc_tools import protoc  # type: ignore[import-untyped]

from telemetry_collector.bench.reference import Fleet

FLEET = Fleet(run.NODES, run.NODE_SERIES, run.BATCH_POINTS, start_ms=1_700_000_000_000)

OTLP = """
syntax = "proto3";
message AnyValue { string string_value = 1; }
message KeyValue { string key = 1; AnyValue value = 2; }
message Resource { repeated KeyValue attributes = 1; }
message NumberDataPoint { repeated KeyValue attributes = 7; fixed64 time_unix_nano = 3; double as_double = 4; }
message Gauge { repeated NumberDataPoint data_points = 1; }
message Metric { string name = 1; string unit = 3; Gauge gauge = 5; }
message ScopeMetrics { repeated Metric metrics = 2; }
message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
message Request { repeated ResourceMetrics resource_metrics = 1; }
"""
"""What the comparison uses of OTLP, with the numbers of opentelemetry-proto 1.x."""


@pytest.fixture(scope="module")
def pb(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    directory = tmp_path_factory.mktemp("otlp")
    (directory / "otlp.proto").write_text(OTLP)
    assert protoc.main(["protoc", f"-I{directory}", f"--python_out={directory}", str(directory / "otlp.proto")]) == 0
    spec = importlib.util.spec_from_file_location("otlp_pb2", directory / "otlp_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_data_set_is_the_one_that_is_described() -> None:
    """Node b mod 1,000; 10 readings 1 s apart of 100 series; 20 names, and within a name 5 services."""
    readings = FLEET.readings(1_007)
    assert len(readings.values) == 1_000
    assert list(readings.timestamps_ms) == [1_700_000_010_000 + 1_000 * (point // 100) for point in range(1_000)]
    assert list(readings.places) == list(range(100)) * 10
    names = [name for name, *_ in readings.definitions]
    assert len(set(names)) == 20
    assert all(len(set(names[place : place + 5])) == 1 for place in range(0, 100, 5))
    tags = [dict(tags) for _, tags, *_ in readings.definitions]
    assert {tag["node_id"] for tag in tags} == {"node-00007"}
    assert [tag["service"] for tag in tags[:6]] == [f"service-{service}" for service in (0, 1, 2, 3, 4, 0)]
    assert len({(tag["service"], tag["version"]) for tag in tags}) == 5
    nodes = [dict(FLEET.definition(node, 0)[1]) for node in range(24)]
    assert len({tag["region"] for tag in nodes}) == 4
    assert len({(tag["region"], tag["zone"]) for tag in nodes}) == 12
    bases = [(37 * (100 * 7 + place) % 97) + 1 for place in readings.places]
    distances = [(value / base - 1) / 0.05 for value, base in zip(readings.values, bases, strict=True)]
    assert all(value == round(value, 3) for value in readings.values)
    assert abs(sum(distances) / 1_000) < 0.2
    assert 0.8 < sum(distance * distance for distance in distances) / 1_000 < 1.2


def test_a_line_has_the_name_the_tags_a_value_and_milliseconds() -> None:
    readings = FLEET.readings(0)
    head, value, moment = lines(readings).decode().splitlines()[100].split(" ")
    assert head == (
        "system.cpu.usage,node_id=node-00000,region=region-0,service=service-0,version=1.0.0,zone=region-0-a"
    )
    assert value == f"value={readings.values[100]}"
    assert moment == "1700000001000"


def test_otlp_says_the_same_as_the_readings(pb: Any) -> None:
    readings = FLEET.readings(3)
    encoded = otlp(readings)
    assert otlp_points(encoded) == 1_000
    (resource,) = pb.Request.FromString(encoded).resource_metrics
    node = {one.key: one.value.string_value for one in resource.resource.attributes}
    said = {
        (metric.name, frozenset({*node.items(), *((one.key, one.value.string_value) for one in point.attributes)}),
         point.time_unix_nano, point.as_double)
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.gauge.data_points
    }  # fmt: skip
    points = zip(readings.places, readings.timestamps_ms, readings.values, strict=True)
    definitions = readings.definitions
    assert said == {
        (definitions[place][0], frozenset(definitions[place][1]), moment * 1_000_000, value)
        for place, moment, value in points
    }


def a_run(case: str = "one", *, stored: tuple[int, ...] = (1_000_000,), seconds: float = 2.0) -> Run:
    return Run(
        case=case,
        acknowledged=1_000_000,
        stored=stored,
        seconds=seconds,
        cpu_seconds=3.0,
        resident_mb=100.0,
        p50_ms=1.0,
        p99_ms=9.0,
        file_bytes=5_000_000,
    )


@pytest.mark.parametrize(
    ("stored", "delivered"),
    [((), 1_000_000), ((1_000_000, 900_000), 900_000), ((1_500_000,), 1_000_000)],
    ids=["nowhere", "the destination that has less counts", "what came twice counts once"],
)
def test_delivered_is_what_is_at_every_destination(stored: tuple[int, ...], delivered: int) -> None:
    run = a_run(stored=stored)
    assert run.delivered == delivered
    assert run.points_per_sec == delivered / 2
    assert run.cpu_secs_per_million == 3.0
    assert run.bytes_per_point == 5_000_000 / delivered
    assert run.lost_percent == pytest.approx(100 * (1 - delivered / 1e6))


def test_the_table_has_the_medians_of_each_case() -> None:
    runs = [a_run("one", seconds=2.0), a_run("two"), a_run("one", seconds=1.0), a_run("one", seconds=4.0)]
    _, _, one, two = markdown(runs, {"one": "at once", "two": "later"}).splitlines()
    assert one == "| one | 500,000 | 3.00 | 100 | 1.0 / 9.0 | 5.0 | 0 | at once |"
    assert two.startswith("| two |")


def test_drained_ends_when_all_is_there_or_nothing_more_comes() -> None:
    class Time:
        now = 100.0

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    time = Time()
    arriving = iter([10, 20, 30])
    found, last = drained(lambda: next(arriving), 30, lambda: time.now, time.sleep)
    assert (found, round(last, 3)) == (30, 100.1)
    began = time.now
    assert drained(lambda: 29, 30, lambda: time.now, time.sleep) == (29, began)
    assert STALL_SECS < time.now - began < STALL_SECS + 1


def test_a_batch_that_was_put_off_comes_again_and_counts_once() -> None:
    taken: list[bytes] = []
    answers = iter([False, False])

    def send(payload: bytes) -> bool:
        if not next(answers, True):
            return False
        taken.append(payload)
        return True

    load = closed_loop(lambda: send, [b"a", b"b"], 0.05)
    assert load.retried == 2
    assert load.batches == len(taken) == len(load.latencies_ms)
    assert load.latencies_ms == sorted(load.latencies_ms)


def test_our_own_figures_are_those_of_the_bench_command() -> None:
    found = {
        "points_per_s": 500_000.0, "cpu_s_per_million": 0.5, "stored_bytes_per_point": 3.0, "resident_mb": 90.0,
        "ack_ms": {"p50": 1.0, "p99": 2.0, "p999": 3.0}, "acknowledged": 1_000_000, "stored": 1_000_000,
        "delivered_database": 999_000, "retried": 1,
    }  # fmt: skip
    run = from_bench("ours-aioquic-both", found)
    assert (run.delivered, run.seconds, run.cpu_secs_per_million) == (999_000, 2.0, 0.5)
    assert run.file_bytes == 3_000_000
    journal = from_bench("ours-aioquic-journal", {**found, "stored_bytes_per_point": None, "delivered_database": None})
    assert journal.file_bytes is None
    assert journal.stored == (1_000_000,)


def test_the_cache_of_programs_is_outside_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benches.peers import programs

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert programs.telegraf() == tmp_path / "telemetry-collector-peers" / "bin" / "telegraf"
    assert programs.otelcol_version().count(".") == 2
