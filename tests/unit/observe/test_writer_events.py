"""What writers report: counted once, under the writer's name, and told to whom it may concern."""

import pytest
from prometheus_client import generate_latest
from tests.support.writing import Observed


def test_a_writers_counters_are_there_before_anything_happens() -> None:
    observed = Observed()
    observed.context("parquet")
    shown = generate_latest(observed.registry).decode()
    for name in ("points", "bytes", "requests", "files", "compactions", "compacted_files", "points_rewritten"):
        assert f'telemetry_collector_writer_{name}_total{{writer="parquet"}} 0.0' in shown


def test_writers_are_counted_apart() -> None:
    observed = Observed()
    observed.context("a").events.written(3)
    observed.context("b").events.written(4)
    assert (observed.count("points", "a"), observed.count("points", "b")) == (3, 4)


def test_a_destination_is_failing_until_it_takes_something() -> None:
    events = Observed().context("influxdb").events
    told = [events.failing]
    events.failed("unavailable", "503 Service Unavailable", 1.5)
    told.append(events.failing)
    events.accepted(10)
    told.append(events.failing)
    assert told == [None, "unavailable: 503 Service Unavailable", None]


def test_a_published_file_counts_its_rows_and_bytes_and_ends_a_failure() -> None:
    observed = Observed()
    events = observed.context("parquet").events
    events.failed("connection", "gone")
    events.published("a.parquet", rows=7, file_bytes=900)
    assert [observed.count(name, "parquet") for name in ("files", "points", "bytes")] == [1, 7, 900]
    assert events.failing is None


@pytest.mark.parametrize(("operator", "level"), [(False, "warning"), (True, "error")])
def test_what_only_an_operator_can_mend_is_logged_as_an_error(
    operator: bool, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    observed = Observed()
    observed.context("influxdb").events.failed("unauthorized", "401 " + "x" * 5000, 2.0, operator=operator)
    shown = capsys.readouterr().out
    assert f"[{level}" in shown
    assert "writer_attempt_failed" in shown
    assert len(shown) < 1000, "a server's words are cut"
    assert observed.count("failures", "influxdb", reason="unauthorized") == 1


def test_points_refused_are_counted_by_reason_and_logged_with_the_servers_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observed = Observed()
    observed.context("influxdb").events.refused("bad_request", 3, "400 unable to parse")
    assert observed.count("points_refused", "influxdb", reason="bad_request") == 3
    assert "unable to parse" in capsys.readouterr().out
