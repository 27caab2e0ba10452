"""What is refused or put off, told in the log once in a while: how much since it was last told.

The core counts, and counters are all that its hot path pays for. Here somebody looks at them every now and then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, final

from telemetry_collector.clock import Clock
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.occasional import Occasional

log = logger(__name__)

INTERVAL_SECS: Final = 60.0
"""Each kind of refusal is told when it first happens, and then at most so often."""
OFFENDERS_TOLD_MAX: Final = 5
"""Of the worst offenders against the cardinality limit, so many are named."""

Kind = tuple[str, str]
"""What is counted, and its reason: `("points_refused", "invalid_name")`."""


class Counting(Protocol):
    """The part of the core that is looked at."""

    def stats(self) -> Mapping[str, Any]:
        """Counters by name; those with reasons are mappings of them."""

    def offenders(self) -> list[tuple[str, str, int]]:
        """(identity, metric name, points refused), worst first."""

    def quota_offenders(self) -> list[tuple[str, str, int]]:
        """(identity, quota, batches put off or points refused), worst first."""


@final
class Refusals:
    """Compares the core's counters with what they were."""

    def __init__(self, core: Counting, clock: Clock) -> None:
        self._core = core
        self._occasional = Occasional(INTERVAL_SECS, clock)
        self._seen: dict[Kind, int] = {}

    def look(self) -> None:
        """Tells what is new and due."""
        for kind, total in _counts(self._core.stats()):
            new = total - self._seen.get(kind, 0)
            self._seen[kind] = total
            amount = self._occasional.due(kind, new) if new else None
            if amount is not None:
                self._tell(kind, amount)

    def finish(self) -> None:
        """Tells what was not due yet; for a last word when stopping."""
        self.look()
        for kind, amount in self._occasional.untold():
            assert isinstance(kind, tuple)
            self._tell(kind, amount)

    def _tell(self, kind: Kind, amount: int) -> None:
        match kind:
            case "points_refused", "cardinality_limit":
                worst = [
                    {"identity": identity, "metric": name, "points_refused": points}
                    for identity, name, points in self._core.offenders()[:OFFENDERS_TOLD_MAX]
                ]
                log.warning("cardinality_limit_exceeded", points=amount, worst_offenders=worst)
            case "points_refused", reason:
                log.warning("points_refused", reason=reason, points=amount)
            case "batches_malformed", _:
                log.warning("batches_malformed", batches=amount)
            case "retries_asked", cause if cause.startswith("quota_"):
                log.warning("quota_exceeded", quota=cause, batches=amount, worst_offenders=self._over(cause))
            case "quota_series_refused", _:
                log.warning(
                    "quota_exceeded", quota="quota_series", points=amount, worst_offenders=self._over("quota_series")
                )
            case _, cause:
                log.warning("retries_asked", cause=cause, batches=amount)

    def _over(self, quota: str) -> list[dict[str, Any]]:
        worst = [(identity, amount) for identity, which, amount in self._core.quota_offenders() if which == quota]
        return [{"identity": identity, "amount": amount} for identity, amount in worst[:OFFENDERS_TOLD_MAX]]


def _counts(stats: Mapping[str, Any]) -> Iterator[tuple[Kind, int]]:
    yield ("batches_malformed", ""), stats["batches_malformed"]
    yield ("quota_series_refused", ""), stats["quota_series_refused"]
    for name in ("points_refused", "retries_asked"):
        for reason, count in stats[name].items():
            yield (name, reason), count
