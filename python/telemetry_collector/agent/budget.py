"""How much of what it may use an agent uses: processor time, memory, disk, and its collector's patience.

Without I/O: it is told what was used, and says which share of each budget that is. 1 is all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PUT_OFF_SHARE = 0.25
"""When so many of a collector's answers put a batch off, or leave a window of one, its patience is used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used up to now. All but memory, disk and what waits are totals."""

    now: float
    """Seconds on a clock that only goes forward."""
    cpu_secs: float
    memory_bytes: int
    disk_bytes: int
    answers: int
    """The collector's answers to batches."""
    answers_put_off: int
    """Of these, RETRY_LATER."""
    answers_narrow: int
    """Of these, and not put off, those that left a window of one batch."""
    batches_pending: int
    """Batches without a final answer."""


class Budget:
    """Compares one usage with the one before."""

    def __init__(
        self, *, cpu_percent: float | None, memory_bytes: int | None, disk_bytes: int | None, patience_held: float
    ) -> None:
        """None for what has no bound. `patience_held` is the most that a collector which says nothing may count: it is
        neither to be spared nor to be sent more.
        """
        self._cpu_percent = cpu_percent
        self._memory_bytes = memory_bytes
        self._disk_bytes = disk_bytes
        self._patience_held = patience_held
        self._before: Usage | None = None
        self._patience = 0.0

    def shares(self, usage: Usage) -> Mapping[str, float]:
        """The share of each budget: cpu, memory, disk, collector. Those over a time are since the last call."""
        before, self._before = self._before, usage
        shares: dict[str, float] = {}
        if before is not None and self._cpu_percent is not None and usage.now > before.now:
            percent = 100.0 * (usage.cpu_secs - before.cpu_secs) / (usage.now - before.now)
            shares["cpu"] = max(0.0, percent / self._cpu_percent)
        if self._memory_bytes is not None:
            shares["memory"] = usage.memory_bytes / self._memory_bytes
        if self._disk_bytes is not None:
            shares["disk"] = usage.disk_bytes / self._disk_bytes
        if before is not None:
            self._patience = self._collector(before, usage)
        shares["collector"] = self._patience
        return shares

    def _collector(self, before: Usage, usage: Usage) -> float:
        answers = usage.answers - before.answers
        if answers > 0:
            put_off = usage.answers_put_off - before.answers_put_off
            narrow = usage.answers_narrow - before.answers_narrow
            share = (put_off + narrow) / answers / PUT_OFF_SHARE
            if 0 < before.batches_pending >= usage.batches_pending:
                # What waits is of earlier; as much as comes now is taken. To send less still would be for nothing.
                return max(narrow / answers / PUT_OFF_SHARE, min(share, self._patience_held))
            return share
        # It is silent: because it was sent nothing, or because what was put off waits for its time.
        return min(self._patience, self._patience_held) if usage.batches_pending else 0.0
