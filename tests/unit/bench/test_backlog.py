"""What the bench says while it waits for the writers, and when it gives one up."""

from __future__ import annotations

from telemetry_collector.bench.backlog import STALLED_SECS, Backlog


def page(committed: int, **written: int) -> str:
    lines = [
        "# HELP telemetry_collector_points_committed_total Points on stable storage",
        f"telemetry_collector_points_committed_total {committed:.1f}",
        'telemetry_collector_writer_points_refused_total{reason="other",writer="influxdb"} 5.0',
        'telemetry_collector_writer_points_dropped_total{error="PermanentError",writer="influxdb"} 2.0',
        'telemetry_collector_writer_points_created{writer="influxdb"} 1.7e+09',
    ]
    lines += [f'telemetry_collector_writer_points_total{{writer="{name}"}} {count}' for name, count in written.items()]
    return "\n".join(lines)


def test_it_says_what_each_writer_has_to_write_and_how_fast_it_does() -> None:
    backlog = Backlog(["parquet", "influxdb"])
    backlog.read(page(10_000, parquet=10_000, influxdb=1_993), 100.0)
    assert str(backlog) == "waiting for the writers; influxdb has 8,000 points to write"
    backlog.read(page(10_000, parquet=10_000, influxdb=3_993), 104.0)
    assert str(backlog) == "waiting for the writers; influxdb has 6,000 points to write, 500 a second"
    backlog.read(page(10_000, parquet=10_000, influxdb=9_993), 110.0)
    assert str(backlog) == "waiting for the writers", "what was refused is not waited for"


def test_a_writer_that_writes_nothing_for_a_minute_is_given_up() -> None:
    backlog = Backlog(["parquet", "influxdb"])
    backlog.read(page(10_000, parquet=10_000, influxdb=1_993), 100.0)
    assert backlog.stalled(100.0 + STALLED_SECS - 1) is None
    backlog.read(page(10_000, parquet=10_000, influxdb=1_994), 150.0)
    backlog.read(page(10_000, parquet=10_000, influxdb=1_994), 200.0)
    assert backlog.stalled(149.0 + STALLED_SECS) is None, "it has written one meanwhile"
    assert backlog.stalled(150.0 + STALLED_SECS) == (
        "the writer influxdb has written nothing for 60 s, and 7,999 of 10,000 points are missing"
    )


def test_a_writer_that_is_through_is_waited_for_as_long_as_it_takes() -> None:
    backlog = Backlog(["parquet"])
    backlog.read(page(10_000, parquet=10_000), 100.0)
    assert backlog.stalled(1e6) is None
