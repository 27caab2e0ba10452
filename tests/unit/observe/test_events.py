"""One event is one counter and one log line."""

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from telemetry_collector.clock import ManualClock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger

OPENED = Event("connections_opened", "Connections opened")
REFUSED = Event("connections_refused", "Refused", labels=("reason",), level="warning", every_secs=10)


def total(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"telemetry_collector_{name}_total", labels)


def test_an_event_is_counted_and_logged() -> None:
    registry = CollectorRegistry()
    events = Events(registry, logger("x"))
    events.declare(OPENED)
    assert total(registry, "connections_opened") == 0
    with capture_logs() as logs:
        events.happened(OPENED, peer="node-1")
        events.happened(OPENED, 2, peer="node-2")
    assert total(registry, "connections_opened") == 3
    assert logs == [
        {"event": "connections_opened", "log_level": "info", "peer": "node-1", "amount": 1},
        {"event": "connections_opened", "log_level": "info", "peer": "node-2", "amount": 2},
    ]


def test_an_event_that_floods_is_counted_each_time_and_logged_once_in_a_while() -> None:
    registry, clock = CollectorRegistry(), ManualClock()
    events = Events(registry, logger("x"), clock)
    events.declare(REFUSED)
    with capture_logs() as logs:
        for _ in range(5):
            events.happened(REFUSED, reason="not_allowed", peer="a")
        events.happened(REFUSED, reason="full", peer="b")
        clock.advance(10)
        events.happened(REFUSED, reason="not_allowed", peer="c")
        events.happened(REFUSED, reason="not_allowed", peer="d")
        events.finish()
        events.finish()
    assert total(registry, "connections_refused", reason="not_allowed") == 7
    assert total(registry, "connections_refused", reason="full") == 1
    assert [(entry.get("peer"), entry["reason"], entry["amount"]) for entry in logs] == [
        ("a", "not_allowed", 1),
        ("b", "full", 1),
        ("c", "not_allowed", 5),
        (None, "not_allowed", 1),
    ]
    assert {entry["log_level"] for entry in logs} == {"warning"}


def test_a_label_that_is_left_out_is_a_defect() -> None:
    events = Events(CollectorRegistry(), logger("x"))
    events.declare(REFUSED)
    with pytest.raises(KeyError, match="reason"):
        events.happened(REFUSED, peer="a")


def test_an_event_that_was_not_declared_is_a_defect() -> None:
    with pytest.raises(KeyError):
        Events(CollectorRegistry(), logger("x")).happened(OPENED)
