"""Whether the collector should be sent anything: what its journals refuse, since when, and what helps.

A journal refuses when its disk is full or fails, or when it has reached its bound, until that is over. Who has used up
a quota, or sends more at a time than the disk commits, is put off for a moment and says nothing about the collector.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, final

from telemetry_collector.clock import Clock
from telemetry_collector.observe.logs import logger

log = logger(__name__)

LOOK_SECS: Final = 1.0
"""How often the journals are asked: so late it is known that one refuses, and that it takes again."""

CALM_SECS: Final = 5.0
"""So long nothing may be refused before it is said that points are taken again: a full journal whose destination is
slow has room for a moment each time that a segment goes, and who sends should not be called each time."""

POINTS: Final = "metrics"
"""What agents bring. A collector that cannot take it is not ready, whatever becomes of traces and logs."""

_REMEDIES: Final = {
    "no_space": "free room on the disk of {directory}; everything goes on by itself then",
    "bytes_max": "a destination stands still: see writers in /health; once it takes data again everything goes on by "
    "itself; or raise {bound} and restart",
    "failed": "the disk of {directory} fails: see the kernel's log; everything goes on by itself when it works again",
    "closed": "restart the collector: its journal has ended",
}


@dataclass(frozen=True)
class JournalInUse:
    """One journal: who says what it refuses, where it is, and the key of its bound."""

    refusal: Callable[[], tuple[str, str] | None]
    directory: Path
    bound: str


@dataclass(frozen=True)
class _Refusal:
    kind: str
    reason: str
    remedy: str
    since: float
    """On the monotonic clock."""
    since_unix_secs: float
    calm_since: float | None = None
    """When it was first seen to be over, if it is."""


@final
class Readiness:
    """Looks at the journals once a second, and tells who wants to know when the answer changes."""

    def __init__(
        self, journals: Mapping[str, JournalInUse], tell: Callable[[bool], Awaitable[None]], clock: Clock
    ) -> None:
        """`journals` by what they keep; `tell` is called with whether points are taken."""
        self._journals = journals
        self._tell = tell
        self._clock = clock
        self._refusals: dict[str, _Refusal] = {}
        self._told = True

    @property
    def ok(self) -> bool:
        """Whether points are taken."""
        return POINTS not in self._refusals

    def report(self) -> dict[str, dict[str, Any]]:
        """What is refused: why, since when, and what helps."""
        return {
            what: {
                "reason": found.reason,
                "since": datetime.fromtimestamp(found.since_unix_secs, UTC).isoformat(timespec="seconds"),
                "seconds": round(self._clock.monotonic() - found.since, 1),
                "remedy": found.remedy,
            }
            for what, found in self._refusals.items()
        }

    async def watch(self) -> None:
        """Looks for ever."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECS)

    async def look(self) -> None:
        """Asks every journal now; none makes anybody wait."""
        for what, journal in self._journals.items():
            self._note(what, journal, journal.refusal())
        if self.ok != self._told:
            self._told = self.ok
            await self._tell(self.ok)

    def _note(self, what: str, journal: JournalInUse, refusal: tuple[str, str] | None) -> None:
        before, moment = self._refusals.get(what), self._clock.monotonic()
        if refusal is None:
            if before is not None:
                self._calm(what, before, moment)
            return
        kind, reason = refusal
        if before is not None and before.kind == kind:
            self._refusals[what] = replace(before, calm_since=None)
            return
        remedy = _REMEDIES[kind].format(directory=journal.directory, bound=journal.bound)
        if before is None:
            now = _Refusal(kind, reason, remedy, moment, self._clock.unix_secs())
        else:
            now = replace(before, kind=kind, reason=reason, remedy=remedy, calm_since=None)
        self._refusals[what] = now
        log.error("everything_refused", what=what, reason=reason, remedy=remedy, note="nothing acknowledged is lost")

    def _calm(self, what: str, before: _Refusal, moment: float) -> None:
        calm_since = moment if before.calm_since is None else before.calm_since
        if moment - calm_since < CALM_SECS:
            self._refusals[what] = replace(before, calm_since=calm_since)
            return
        del self._refusals[what]
        log.info("taken_again", what=what, refused_secs=round(calm_since - before.since, 1))
