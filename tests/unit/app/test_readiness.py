"""When it is said that nothing is taken, and when that it is taken again."""

from __future__ import annotations

from pathlib import Path

from telemetry_collector.app.readiness import CALM_SECS, POINTS, JournalInUse, Readiness
from telemetry_collector.clock import ManualClock

FULL = ("bytes_max", "the journal is full")


class Stand:
    """A journal that refuses when it is told to."""

    def __init__(self) -> None:
        self.refusal: tuple[str, str] | None = None
        self.told: list[bool] = []
        self.clock = ManualClock()
        journal = JournalInUse(lambda: self.refusal, Path("journal"), "journal.max_bytes")
        self.readiness = Readiness({POINTS: journal}, self._tell, self.clock)

    async def _tell(self, ok: bool) -> None:
        self.told.append(ok)

    async def look_after(self, secs: float, refusal: tuple[str, str] | None) -> bool:
        self.clock.advance(secs)
        self.refusal = refusal
        await self.readiness.look()
        return self.readiness.ok


async def test_a_journal_with_room_for_a_moment_now_and_then_is_not_ready_each_time() -> None:
    stand = Stand()
    for second in range(20):
        assert not await stand.look_after(1, FULL if second % 2 == 0 else None)
    assert stand.told == [False]


async def test_it_is_ready_once_nothing_was_refused_for_a_while() -> None:
    stand = Stand()
    assert await stand.look_after(1, None)
    assert not await stand.look_after(1, FULL)
    assert not await stand.look_after(1, None)
    assert not await stand.look_after(CALM_SECS - 0.1, None)
    assert await stand.look_after(0.1, None)
    assert (stand.told, stand.readiness.report()) == ([False, True], {})


async def test_another_reason_is_told_with_the_time_since_the_first() -> None:
    stand = Stand()
    await stand.look_after(1, FULL)
    await stand.look_after(3, ("no_space", "the disk is full"))
    report = stand.readiness.report()[POINTS]
    assert (report["reason"], report["seconds"]) == ("the disk is full", 3.0)
