"""The workers, fed and kept: heartbeats from the core in, their metrics back to it, the file, and whoever is told.

    listeners ─► core ──hand_on──► TelemetryManager ──store──► core ─► journal ─► writers
                                          │  └─► the file, every few seconds and at the end
                                          └─► API, update callback

The core keeps the newest heartbeat of each worker; a few times a second all that have changed are taken from it,
whatever listener they came by. Nothing here waits for anything but the file, which is written in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

from prometheus_client import CollectorRegistry

from telemetry_collector.api.workers.metrics import WorkerMetrics
from telemetry_collector.api.workers.registry import Taken, Workers
from telemetry_collector.api.workers.saved import DamagedError, SavedWorkers
from telemetry_collector.api.workers.worker import RUNNING_TASKS_MAX, Heartbeat, Worker
from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import new_registry

log = logger(__name__)

TURN_SECS = 0.25
"""So often heartbeats are taken from the core."""
TAKEN_AT_ONCE_MAX = 10
"""Heartbeats taken in one go, before the event loop's other tasks have a turn. One takes some microseconds, and with a
thousand tasks that are all new most of a millisecond."""
TAKEN_A_TURN_MAX = 10_000
"""Further ones wait in the core, within its bounds, for the next turn."""
STORED_AT_ONCE_MAX = 500
"""Heartbeats given to the core in one go."""
SAVE_SECS = 5.0
"""The file is written at most so often."""
SENT_AGAIN_SECS = 60.0
"""So long after a crash a heartbeat of before it may be sent again. One that seems to be that old later is of a worker
whose clock is slow, or ours was fast."""
UNSTORED_MAX = 100_000
"""Heartbeats that wait to be stored as metrics, until the next turn; further ones are not stored, and counted."""

IGNORED = Event(
    "worker_heartbeats_ignored",
    "Heartbeats of workers that were not taken: no room for their worker, or no number where one is due",
    labels=("reason",),
    level="warning",
    every_secs=60.0,
)
UNSAVED = Event("worker_saves_failed", "Times the workers could not be saved", level="warning", every_secs=60.0)
DAMAGED = Event("worker_files_damaged", "Files of saved workers that could not be read", level="error")
DEAF = Event(
    "worker_callbacks_failed",
    "Times that what is told of updated workers raised an error",
    level="error",
    every_secs=60.0,
)
UNSTORED = Event(
    "worker_heartbeats_unstored",
    "Heartbeats that were taken and not stored as metrics",
    labels=("reason",),
    every_secs=60.0,
)

HandOn = Callable[[int], Sequence[tuple[Any, ...]]]
"""`_core.Ingest.hand_on_heartbeats`."""
Store = Callable[[Sequence[tuple[str, str, float, float, float, int, int]], int], None]
"""`_core.Ingest.store_workers`."""
Update = Callable[[Worker], None]
"""Told of a worker that was heard of, registered, or has become inactive, on the event loop: it must not block."""


@final
class TelemetryManager:
    """Who the workers are, and how they are. All calls on one event loop; none but `start` and `shutdown` waits."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        hand_on: HandOn = lambda _count_max: (),
        store: Store = lambda _states, _now: None,
        registry: CollectorRegistry | None = None,
        clock: Clock | None = None,
        workers_max: int = 10_000,
        forget_secs: float = 604_800.0,
        on_update: Update | None = None,
    ) -> None:
        """Workers are kept in the file at `path`, or not at all; `registry` shows metrics."""
        registry = registry or new_registry("")
        self._clock = clock or SystemClock()
        self._saved = SavedWorkers(path) if path is not None else None
        self._hand_on = hand_on
        self._store = store
        self._on_update = on_update
        self._workers = Workers(self._clock, count_max=workers_max, forget_secs=forget_secs)
        self._workers.on_silent = self._told
        self._events = Events(registry, log, self._clock)
        self._events.declare(IGNORED, UNSAVED, DAMAGED, DEAF, UNSTORED)
        self._metrics = WorkerMetrics(self._workers, workers_max)
        registry.register(self._metrics)
        self._unstored: list[tuple[str, str, float, float, float, int, int]] = []
        # Of a heartbeat that was taken before, it is not known whether it is stored already.
        self._store_after_unix_ns, self._sent_again_until = 0, 0.0
        self._changed = False
        self._save_due = self._clock.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._over = False

    def register(self, worker_id: str) -> bool:
        """Makes a worker known before its first heartbeat, active for 30 seconds; false when it is no name, or there is
        no room."""
        if not Heartbeat(worker_id, worker_id, 0, 0, 0, (), 0).valid or not self._workers.register(worker_id):
            return False
        self._updated(worker_id)
        return True

    def unregister(self, worker_id: str) -> bool:
        """Forgets a worker; its next heartbeat makes it known again. False when there is none of this name."""
        known = self._workers.unregister(worker_id)
        self._changed |= known
        return known

    def process_heartbeat(self, heartbeat: Heartbeat) -> bool:
        """Takes a heartbeat, whoever brought it, in some microseconds; false when it is ignored, which is counted.

        What it says is stored as metrics with the next turn.
        """
        begun = time.perf_counter()
        taken = self._workers.take(heartbeat) if heartbeat.valid else None
        if taken is None or taken is Taken.NO_ROOM:
            reason = "invalid" if taken is None else "no_room"
            self._events.happened(IGNORED, reason=reason, worker=heartbeat.worker_id[:100])
            return False
        if taken is Taken.NEWEST:
            self._to_store(heartbeat)
        self._updated(heartbeat.worker_id)
        self._metrics.handled(time.perf_counter() - begun)
        return True

    def get(self, worker_id: str) -> Worker | None:
        """A worker as it is known; None when there is none of this name."""
        return self._workers.get(worker_id)

    def get_all(self) -> dict[str, Worker]:
        """All workers by their names."""
        return self._workers.all()

    def one_as_json(self, worker_id: str) -> bytes | None:
        """A worker in JSON, ready made."""
        return self._workers.one_as_json(worker_id)

    def map_as_json(self) -> bytes:
        """All workers in JSON, by their names; joined when one of them has changed."""
        return self._workers.map_as_json()

    async def start(self) -> None:
        """Takes up what was saved, and begins to take heartbeats. Never fails: what cannot be read is told."""
        if self._task is not None or self._over:
            return
        await self._load()
        # From now on what is saved is not complete until the end.
        await self._save()
        if not self._over:  # it may have been ended meanwhile
            self._task = asyncio.create_task(self._turns(), name="workers")

    async def shutdown(self) -> None:
        """Takes what the core still has, stores and saves it, and ends. Idempotent, and safe before `start`."""
        if self._over:
            return
        self._over = True
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if self._saving is not None:
            # Its thread writes whether or not anybody waits, and two must not write at a time.
            await self._saving
        await self._turn()
        await self._save(complete=True)
        self._events.finish()

    async def _turns(self) -> None:
        while True:
            try:
                await self._turn()
                if self._changed and self._clock.monotonic() >= self._save_due:
                    self._saving = asyncio.create_task(self._save(), name="workers saving")
                    await asyncio.shield(self._saving)
            except Exception:
                # A defect in one turn must not make the workers deaf for good.
                log.exception("workers_defect")
            await self._clock.sleep(TURN_SECS)

    async def _turn(self) -> None:
        for _ in range(TAKEN_A_TURN_MAX // TAKEN_AT_ONCE_MAX):
            handed = self._hand_on(TAKEN_AT_ONCE_MAX)
            for heartbeat in handed:
                self.process_heartbeat(Heartbeat._make(heartbeat))
            if len(handed) < TAKEN_AT_ONCE_MAX:
                break
            await asyncio.sleep(0)
        self._workers.expire()
        while self._unstored:
            states, self._unstored = self._unstored[:STORED_AT_ONCE_MAX], self._unstored[STORED_AT_ONCE_MAX:]
            self._store(states, self._clock.unix_ns())

    def _to_store(self, heartbeat: Heartbeat) -> None:
        worker_id, node_id, cpu, memory, gpu, tasks, timestamp = heartbeat
        if len(self._unstored) >= UNSTORED_MAX:
            self._events.happened(UNSTORED, reason="too_many")
            return
        if 0 < timestamp <= self._store_after_unix_ns and self._clock.monotonic() < self._sent_again_until:
            self._events.happened(UNSTORED, reason="before_a_crash")
            return
        self._unstored.append(
            (
                worker_id,
                node_id,
                cpu,
                memory,
                gpu,
                min(len(tasks), RUNNING_TASKS_MAX),
                timestamp or self._clock.unix_ns(),
            )
        )

    def _updated(self, worker_id: str) -> None:
        self._changed = True
        if self._on_update is not None and (worker := self._workers.get(worker_id)) is not None:
            self._told(worker)

    def _told(self, worker: Worker) -> None:
        self._changed = True
        if self._on_update is None:
            return
        try:
            self._on_update(worker)
        except Exception as error:  # noqa: BLE001  # whoever is told has no say in what becomes of heartbeats
            self._events.happened(DEAF, worker=worker.worker_id[:100], error=f"{type(error).__name__}: {error}")

    async def _load(self) -> None:
        if self._saved is None:
            return
        complete = False
        try:
            saved = await asyncio.to_thread(self._saved.load)
            self._workers.restore(saved.workers)
            complete = saved.complete
        except DamagedError as error:
            self._events.happened(DAMAGED, file=str(self._saved.aside), error=str(error), note="starting without it")
        except OSError as error:
            self._events.happened(DAMAGED, file=str(self._saved.path), error=str(error), note="starting without it")
        if not complete:
            self._store_after_unix_ns = self._clock.unix_ns()
            self._sent_again_until = self._clock.monotonic() + SENT_AGAIN_SECS

    async def _save(self, *, complete: bool = False) -> None:
        self._save_due = self._clock.monotonic() + SAVE_SECS
        if self._saved is None:
            return
        self._changed = False
        try:
            await asyncio.to_thread(self._saved.save, self._workers.snapshot(), complete=complete)
        except OSError as error:
            self._changed = True
            self._events.happened(UNSAVED, file=str(self._saved.path), error=str(error))
