"""What a listener counts and tells."""

from prometheus_client import CollectorRegistry

from telemetry_collector.listeners.events import ListenerEvents


def test_events_too_many_to_be_told_are_counted_as_ever() -> None:
    registry = CollectorRegistry()
    events = ListenerEvents(registry)
    events.missed("opened", [], 5)
    events.missed("closed", ["lost", "network"], 3)
    events.missed("refused", ["not_allowed"], 7)

    def count(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"telemetry_collector_{name}", labels)

    assert count("connections") == 2
    assert count("connections_opened_total") == 5
    assert count("connections_closed_total", code="lost", side="network") == 3
    assert count("connections_refused_total", reason="not_allowed") == 7
