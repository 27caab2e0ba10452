"""What the sender counts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from telemetry_collector.sender.latency import LatencyHistogram


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderStats:
    """A snapshot of the sender's counters. At every instant

    ``points_offered == points_acknowledged + points_refused + points_dropped + points_pending``.
    """

    points_offered: int
    """Points handed to the sender, and those that its spool had or had dropped when it was opened."""
    points_sent: int
    """Points sent at least once; sending again does not count."""
    points_acknowledged: int
    """Points that the collector has on stable storage, as far as it said so."""
    points_refused: int
    """Points that the collector refused for good."""
    refused_by_reason: Mapping[str, int]
    """The same by the reasons of the wire contract in lower case."""
    points_dropped: int
    """Points given up on this side: they never will be sent (again)."""
    dropped_by_reason: Mapping[str, int]
    """The same by reason: outbox_full, too_large, stopped, and of a spool also spool_failed, damaged, another_machine.

    A spool's counts go on over restarts of the agent.
    """
    batches_dropped: int
    """The batches of these points."""
    batches_unspooled: int
    """Batches sent from memory because the spool could not be written."""
    spool_bytes: int
    """Bytes of the spool's files, 0 without one."""
    points_pending: int
    """Points without an answer."""
    batches_pending: int
    batches_sent: int
    """Batches sent at least once."""
    batches_acknowledged: int
    """Batches answered with STORED, PARTIAL or DUPLICATE."""
    batches_duplicate: int
    """Of these, batches that had been stored before: the first reply was lost."""
    batches_resent: int
    """Times that a batch was sent again under its name."""
    batches_retried: int
    """Answers RETRY_LATER."""
    batches_split: int
    answers: int
    """Answers to batches, final or not."""
    answers_narrow: int
    """Of those that were final, answers that left their stream a window of one batch: the collector is behind."""
    heartbeats_sent: int
    heartbeats_refused: int
    frame_bytes_sent: int
    """Bytes of frames, with their length prefixes and without QUIC."""
    ack_p50_secs: float
    """Median time from a batch's first sending to its final answer; 0 before the first one."""
    ack_p99_secs: float
    connected_to: str | None
    """The collector in use, as host:port; None while there is none."""
    connects: int
    """Connections that became good: a first reply arrived."""
    reconnects: int
    """Of these, all but the first."""
    connect_failures: int
    """Attempts that did not become good."""
    collectors: Mapping[str, str]
    """For each collector, as host:port, whether it is tried: closed (it is), half_open (this once), open (not now)."""


@dataclass(slots=True)
class Tally:
    """The counters behind `SenderStats`, while they are counted."""

    points_offered: int = 0
    points_sent: int = 0
    points_acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    batches_dropped: int = 0
    batches_sent: int = 0
    batches_acknowledged: int = 0
    batches_duplicate: int = 0
    batches_resent: int = 0
    batches_retried: int = 0
    batches_split: int = 0
    answers: int = 0
    answers_narrow: int = 0
    heartbeats_sent: int = 0
    heartbeats_refused: int = 0
    frame_bytes_sent: int = 0
    connects: int = 0
    connect_failures: int = 0
    ack_latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    def resume(self, dropped: Mapping[str, tuple[int, int]], *, points_pending: int) -> None:
        """Goes on from what a spool holds and has dropped (batches and points by reason)."""
        for reason, (batches, points) in dropped.items():
            self.dropped[reason] += points
            self.batches_dropped += batches
        self.points_offered += self.dropped.total() + points_pending

    def snapshot(
        self,
        *,
        points_pending: int,
        batches_pending: int,
        connected_to: str | None,
        collectors: Mapping[str, str] = MappingProxyType({}),
        batches_unspooled: int = 0,
        spool_bytes: int = 0,
    ) -> SenderStats:
        """The counters as they stand now."""
        return SenderStats(
            points_offered=self.points_offered,
            points_sent=self.points_sent,
            points_acknowledged=self.points_acknowledged,
            points_refused=self.refused.total(),
            refused_by_reason=MappingProxyType(dict(self.refused)),
            points_dropped=self.dropped.total(),
            dropped_by_reason=MappingProxyType(dict(self.dropped)),
            batches_dropped=self.batches_dropped,
            batches_unspooled=batches_unspooled,
            spool_bytes=spool_bytes,
            points_pending=points_pending,
            batches_pending=batches_pending,
            batches_sent=self.batches_sent,
            batches_acknowledged=self.batches_acknowledged,
            batches_duplicate=self.batches_duplicate,
            batches_resent=self.batches_resent,
            batches_retried=self.batches_retried,
            batches_split=self.batches_split,
            answers=self.answers,
            answers_narrow=self.answers_narrow,
            heartbeats_sent=self.heartbeats_sent,
            heartbeats_refused=self.heartbeats_refused,
            frame_bytes_sent=self.frame_bytes_sent,
            ack_p50_secs=self.ack_latency.quantile(0.5),
            ack_p99_secs=self.ack_latency.quantile(0.99),
            connected_to=connected_to,
            connects=self.connects,
            reconnects=max(0, self.connects - 1),
            connect_failures=self.connect_failures,
            collectors=MappingProxyType(dict(collectors)),
        )
