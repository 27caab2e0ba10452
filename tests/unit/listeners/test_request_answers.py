"""What a request's sender is told, and what is counted besides."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.listeners.requests import Door, RequestEvents, door
from telemetry_collector.listeners.requests.peers import anonymous


class Consumer:
    """Says of every request what it was told to."""

    def __init__(self, points: int, accepted: int, rejections: Sequence[tuple[str, int, str]]) -> None:
        self._became = {
            "points": points,
            "accepted_points": accepted,
            "rejected_points": sum(points for _, points, _ in rejections),
            "rejections": rejections,
            "retry_after_ms": None,
            "left_out": [],
            "first_fault": None,
        }

    async def take(self, form: _core.RequestForm, body: bytes, encoding: str, **_peer: Any) -> _core.Request:
        del form, body, encoding
        return cast("_core.Request", SimpleNamespace(**self._became))


@pytest.mark.parametrize(
    ("accepted", "refused", "outcome", "missing"),
    [(5, 0, "stored", 0), (3, 2, "partial", 0), (3, 1, "partial", 1), (0, 0, "rejected", 5), (6, 0, "partial", 1)],
)
async def test_points_that_nothing_became_of_are_told_and_counted(
    accepted: int, refused: int, outcome: str, missing: int
) -> None:
    registry = CollectorRegistry()
    rejections = [("invalid_value", refused, "m: NaN")] if refused else []
    consumer = Consumer(5, accepted, rejections)
    door = Door({"metrics": consumer}, RequestEvents(registry), request_bytes_max=1_024, bytes_max=4_096)
    form = _core.RequestForm.remote_write([])
    taken = await door.take("influx", form, b"body", "", anonymous("influx"))
    assert (taken.outcome, taken.accepted, taken.rejected) == (outcome, accepted, refused + missing)
    assert ("a fault of the collector" in taken.problem) is bool(missing)
    counted = registry.get_sample_value("telemetry_collector_request_points_unaccounted_total", {"receiver": "influx"})
    assert (counted or 0) == missing


class Committing(Consumer):
    """Says it when it is told that the commit is known."""

    def __init__(self) -> None:
        super().__init__(5, 5, [])
        self.begun, self.committed = asyncio.Event(), asyncio.Event()

    async def take(self, form: _core.RequestForm, body: bytes, encoding: str, **peer: Any) -> _core.Request:
        self.begun.set()
        await self.committed.wait()
        return await super().take(form, body, encoding, **peer)


async def test_what_is_stored_counts_though_its_client_has_left() -> None:
    registry, consumer = CollectorRegistry(), Committing()
    door = Door({"metrics": consumer}, RequestEvents(registry), request_bytes_max=1_024, bytes_max=4_096)
    form = _core.RequestForm.remote_write([])
    call = asyncio.ensure_future(door.take("otlp_grpc", form, b"body", "", anonymous("otlp_grpc")))
    await consumer.begun.wait()
    call.cancel()
    await asyncio.wait((call,), timeout=0)
    assert not call.done(), "its room is taken until the commit is known"
    consumer.committed.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    counted = registry.get_sample_value
    labels = {"receiver": "otlp_grpc"}
    assert counted("telemetry_collector_request_points_accepted_total", labels) == 5
    assert counted("telemetry_collector_requests_total", {**labels, "outcome": "stored"}) == 1


class Failing(Committing):
    """Fails once the commit is known."""

    async def take(self, form: _core.RequestForm, body: bytes, encoding: str, **peer: Any) -> _core.Request:
        await super().take(form, body, encoding, **peer)
        raise OSError("a defect")


@pytest.mark.parametrize("cancelled", [1, 2])
async def test_what_fails_counts_though_nobody_waits_for_it_any_longer(
    cancelled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its client, nor who let that go: because the time for it is over, or because all is to stop."""
    monkeypatch.setattr(door, "LEFT_SECS_MAX", 0.01 if cancelled == 1 else 60.0)
    registry, consumer = CollectorRegistry(), Failing()
    opened = Door({"metrics": consumer}, RequestEvents(registry), request_bytes_max=1_024, bytes_max=4_096)
    form = _core.RequestForm.remote_write([])
    call = asyncio.ensure_future(opened.take("otlp_grpc", form, b"body", "", anonymous("otlp_grpc")))
    await consumer.begun.wait()
    for _ in range(cancelled):
        call.cancel()
        await asyncio.wait((call,), timeout=0)
    with pytest.raises(asyncio.CancelledError):
        await call
    consumer.committed.set()
    labels = {"receiver": "otlp_grpc", "outcome": "failed"}
    await until(lambda: registry.get_sample_value("telemetry_collector_requests_total", labels) == 1)
