"""What became of a stream's batches, for the client that is answered once."""

from __future__ import annotations

from telemetry_collector.api.grpc.messages import telemetry_pb2 as wire
from telemetry_collector.api.grpc.messages import telemetry_service_pb2 as service

RETRY_SEQUENCES_MAX = 10_000
"""Batches to be sent again that are named; all are counted."""

_COUNTED = {
    wire.STORED: "stored",
    wire.DUPLICATE: "duplicate",
    wire.PARTIAL: "partial",
    wire.REJECTED: "rejected",
    wire.RETRY_LATER: "retry_later",
}


class Summary:
    """Adds up the answers to batches."""

    def __init__(self) -> None:
        self._told = service.CollectSummary()
        # There are as many as reasons.
        self._rejections: dict[int, wire.Rejection] = {}

    def add(self, ack: wire.BatchAck) -> None:
        """The answer to one more batch."""
        told = self._told
        told.batches += 1
        counted = _COUNTED[ack.outcome]
        setattr(told, counted, getattr(told, counted) + 1)
        told.accepted_points += ack.accepted_points
        told.rejected_points += ack.rejected_points
        for rejection in ack.rejections:
            known = self._rejections.get(rejection.reason)
            if known is None:
                self._rejections[rejection.reason] = known = told.rejections.add()
                known.CopyFrom(rejection)
            else:
                known.points = min(known.points + rejection.points, 2**32 - 1)
        if ack.outcome == wire.RETRY_LATER:
            told.retry_after_ms = max(told.retry_after_ms, ack.retry_after_ms)
            if len(told.retry_sequences) < RETRY_SEQUENCES_MAX:
                told.retry_sequences.append(ack.sequence)

    def message(self) -> service.CollectSummary:
        """As it is sent."""
        return self._told
