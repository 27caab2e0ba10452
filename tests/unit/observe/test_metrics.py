import pytest
from prometheus_client import generate_latest

from telemetry_collector.observe.metrics import counter, gauge, histogram, new_registry


def test_a_registry_has_the_process_and_the_version_and_nothing_of_another() -> None:
    one, two = new_registry("1.2.3"), new_registry("1.2.3")
    counter(one, "points_taken", "Points taken").inc(3)
    text = generate_latest(one).decode()
    assert 'telemetry_collector_build_info{version="1.2.3"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "telemetry_collector_points_taken_total 3.0" in text
    assert "_created" not in text
    assert "points_taken" not in generate_latest(two).decode()


def test_metrics_are_named_alike() -> None:
    registry = new_registry("1")
    counter(registry, "points_refused", "Refused", ["reason"]).labels("x").inc()
    gauge(registry, "journal_bytes", "Journal").set(5)
    histogram(registry, "commit_seconds", "Commits", buckets=(0.1, 1)).observe(0.5)
    text = generate_latest(registry).decode()
    assert 'telemetry_collector_points_refused_total{reason="x"} 1.0' in text
    assert "telemetry_collector_journal_bytes 5.0" in text
    assert 'telemetry_collector_commit_seconds_bucket{le="1.0"} 1.0' in text


@pytest.mark.parametrize("name", ["", "Points", "points_", "a__b", "1a", "points_total", "telemetry_collector_points"])
def test_a_name_that_breaks_the_rule_is_a_defect(name: str) -> None:
    with pytest.raises(AssertionError):
        counter(new_registry("1"), name, "about")
