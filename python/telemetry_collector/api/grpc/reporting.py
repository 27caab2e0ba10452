"""GetHealth: the collector's own report, as /health and /ready tell it."""

from __future__ import annotations

from typing import Any

from telemetry_collector.api.grpc.messages import telemetry_service_pb2 as service
from telemetry_collector.observe.endpoint import Report


class Reporting:
    """The method that asks the collector about itself."""

    def __init__(self, health: Report, ready: Report) -> None:
        self._health = health
        self._ready = ready

    async def health(self, _asked: service.GetHealthRequest) -> service.GetHealthResponse:
        """As it stands now."""
        report = self._health()
        journal: dict[str, Any] = report.get("journal") or {}
        return service.GetHealthResponse(
            ok=report["ok"],
            ready=self._ready()["ok"],
            version=report["version"],
            uptime_secs=report["seconds"],
            connections=report["connections"],
            series=report["series"],
            batches_received=report["batches_received"],
            points_received=report["points_received"],
            points_accepted=report["points_accepted"],
            points_committed=report["points_committed"],
            points_refused=report["points_refused"],
            writers=[
                service.WriterHealth(
                    name=name,
                    points_written=writer["points_written"],
                    points_refused=writer["points_refused"],
                    lag_points=writer["lag_points"],
                    failing=str(writer["failing"] or ""),
                )
                for name, writer in report["writers"].items()
            ],
            journal_room_bytes=journal.get("room_bytes", 0),
            outage_covered_secs=journal.get("outage_covered_secs"),
            unwritten_age_secs=journal.get("unwritten_age_secs", 0.0),
        )
