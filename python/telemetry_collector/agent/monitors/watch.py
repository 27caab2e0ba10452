"""One check over and over: when it is looked at, and whose failure a failure is.

A check that fails has its dependencies looked at anew before it is judged: what they said a while ago would call it
down when its database went down a moment before it, and blocked when that is back already. Each look serves everybody
who asks for one no older, so a dependency that many checks share is looked at once for all of them.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

from telemetry_collector.agent.monitors.config import CheckConfig
from telemetry_collector.agent.monitors.outcome import Check, CheckFailed, Finding, Outcome, Reason, State

OnOutcome = Callable[["Watch", Outcome | None, Outcome], None]
"""Told of each look that has ended: whose, the one before, and this one."""

DETAIL_CHARS_MAX = 300


class Watch:
    """Belongs to one event loop, whose time it goes by."""

    def __init__(
        self,
        config: CheckConfig,
        check: Check,
        dependencies: Sequence["Watch"],
        *,
        places: asyncio.Semaphore,
        on_outcome: OnOutcome,
    ) -> None:
        """`places` bounds how many checks are under way at a time. There is no circle among dependencies."""
        self.config = config
        self.check = check
        self.outcome: Outcome | None = None
        """Of the last look that has ended."""
        self._dependencies = dependencies
        self._places = places
        self._on_outcome = on_outcome
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Looks at once, and then each interval; what it is late for is left out. Runs until it is cancelled."""
        loop, interval = asyncio.get_running_loop(), self.config.interval_secs
        due = loop.time()
        while True:
            await self.outcome_since(due)
            due += max(1, math.ceil((loop.time() - due) / interval)) * interval
            await asyncio.sleep(due - loop.time())

    async def outcome_since(self, moment: float) -> Outcome:
        """That of a look which began no earlier, for which it looks unless there was one."""
        async with self._turn:
            before = self.outcome
            if before is not None and before.began >= moment:
                return before
            self.outcome = await self._judged(*await self._look())
        self._on_outcome(self, before, self.outcome)
        return self.outcome

    async def _look(self) -> tuple[float, float, Finding, CheckFailed | None]:
        loop, finding, failure = asyncio.get_running_loop(), Finding(), None
        async with self._places:
            began = loop.time()
            try:
                async with asyncio.timeout(self.config.timeout_secs):
                    await self.check.look(finding)
            except TimeoutError:
                failure = CheckFailed(Reason.TIMEOUT, f"no answer within {self.config.timeout_secs:g} s")
            except CheckFailed as failed:
                failure = failed
            except Exception as error:  # noqa: BLE001  # whatever is wrong with one check is no other's concern
                failure = CheckFailed(Reason.FAULT, f"{type(error).__name__}: {error}")
            return began, loop.time() - began, finding, failure

    async def _judged(self, began: float, secs: float, finding: Finding, failure: CheckFailed | None) -> Outcome:
        up: dict[str, bool] = {}
        for dependency in self._dependencies:
            seen = dependency.outcome
            if failure is not None or seen is None:
                seen = await dependency.outcome_since(began)
            up[dependency.config.name] = seen.state is State.UP
        if failure is None:
            return Outcome(began, secs, State.UP, None, "", tuple(finding.measures), up)
        needed = [name for name, is_up in up.items() if not is_up]
        detail = f"{failure.detail}; depends on {', '.join(needed)}" if needed else failure.detail
        state = State.BLOCKED if needed else State.DOWN
        measures = tuple(finding.measures)
        return Outcome(began, secs, state, failure.reason, detail[:DETAIL_CHARS_MAX], measures, up)
