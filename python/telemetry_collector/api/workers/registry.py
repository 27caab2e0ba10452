"""What is known of the workers, in memory: no I/O, time as an argument, and all answers ready as JSON.

A heartbeat writes its worker's JSON once; the map of all is joined from these pieces, and kept until one of them
changes. Whether a worker is active is no matter of a timer: whoever asks has those marked first whose time is over, and
they stand in the order in which they were last heard of, so this looks at no others.

Bounded by workers and by the bytes of their tasks. An unknown worker that finds no room is ignored; one silent for long
enough is forgotten, so that names which come and go do not fill it up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from typing import final

from telemetry_collector.api.workers.worker import (
    RUNNING_TASKS_MAX,
    UNKNOWN,
    Heartbeat,
    RunningTask,
    Worker,
    shown,
    shown_tasks,
)
from telemetry_collector.clock import Clock

INACTIVE_SECS = 30.0
"""A worker not heard of for so long is inactive."""
TASKS_BYTES_MAX = 64 * 1024 * 1024
"""Of the JSON of all workers' tasks; a heartbeat that would exceed it is taken without its tasks."""


class Taken(Enum):
    """What became of a heartbeat."""

    NEWEST = 1
    """It is what its worker is shown as from now on."""
    OLDER = 2
    """A sign of life, but a newer one came before it, or this very one."""
    NO_ROOM = 3
    """Its worker is unknown, and there are as many as may be."""


class _Entry:
    """A worker, its JSON, and when it was last heard of by the monotonic clock."""

    __slots__ = ("item", "key", "seen_at", "tasks", "worker")

    def __init__(self, worker: Worker, seen_at: float) -> None:
        self.key = json.dumps(worker.worker_id).encode()
        self.seen_at = seen_at
        self.worker = worker
        self.tasks = shown_tasks(worker.running_tasks)
        self._write()

    def show(self, worker: Worker) -> None:
        if worker.running_tasks is not self.worker.running_tasks:
            self.tasks = shown_tasks(worker.running_tasks)
        self.worker = worker
        self._write()

    def judge(self, *, is_active: bool) -> None:
        if self.worker.is_active != is_active:
            self.show(replace(self.worker, is_active=is_active))

    def _write(self) -> None:
        self.item = b"%b: %b" % (self.key, shown(self.worker, self.key, self.tasks))

    @property
    def tasks_bytes(self) -> int:
        """Of the JSON of its tasks; none of a worker without any."""
        return len(self.tasks) if self.worker.running_tasks else 0

    @property
    def json(self) -> bytes:
        """The worker in JSON; `item` has its name before it, as the map of all does."""
        return self.item[len(self.key) + 2 :]


@final
class Workers:
    """The workers by their names. Not safe from several threads."""

    def __init__(self, clock: Clock, *, count_max: int, forget_secs: float) -> None:
        """`forget_secs` of silence, and a worker is not known any more."""
        self._clock = clock
        self._count_max = count_max
        self._forget_secs = forget_secs
        # Both in the order in which they were last heard of.
        self._active: dict[str, _Entry] = {}
        self._silent: dict[str, _Entry] = {}
        self._tasks_bytes = 0
        self._map: bytes | None = None
        self.tasks_dropped = 0
        """Heartbeats taken without their tasks."""
        self.on_silent: Callable[[Worker], None] | None = None
        """Told of each worker that has become inactive."""

    def __len__(self) -> int:
        return len(self._active) + len(self._silent)

    @property
    def active(self) -> int:
        """How many were heard of lately."""
        self.expire()
        return len(self._active)

    def register(self, worker_id: str) -> bool:
        """Makes a worker known, and takes this for a sign of life; false when there is no room."""
        entry = self._taken_out(worker_id)
        if entry is None:
            if len(self) >= self._count_max:
                return False
            entry = _Entry(Worker(worker_id, last_update=self._clock.unix_secs()), 0.0)
        self._heard(entry, replace(entry.worker, last_update=self._clock.unix_secs(), is_active=True))
        return True

    def unregister(self, worker_id: str) -> bool:
        """Forgets a worker, until it is heard of again; false when there is none of this name."""
        return self._taken_out(worker_id) is not None

    def take(self, heartbeat: Heartbeat) -> Taken:
        """Takes a heartbeat, which makes its worker known if there is room."""
        now = self._clock.unix_ns()
        # A clock that is ahead must not make the worker deaf to itself once it is set right.
        timestamp = min(heartbeat.timestamp_unix_ns or now, now)
        entry = self._taken_out(heartbeat.worker_id)
        if entry is None:
            if len(self) >= self._count_max:
                return Taken.NO_ROOM
            entry = _Entry(Worker(heartbeat.worker_id), 0.0)
        # Nor must a clock of ours that was ahead: what was taken by it is newer than now.
        if timestamp <= entry.worker.timestamp_unix_ns <= now:
            self._heard(entry, replace(entry.worker, last_update=now / 1e9, is_active=True))
            return Taken.OLDER
        # Mostly they are those of the heartbeat before, and stay what they are, with their JSON.
        tasks, told = entry.worker.running_tasks, tuple(heartbeat.running_tasks[:RUNNING_TASKS_MAX])
        if told != tasks:
            tasks = tuple(map(RunningTask._make, told))
        worker = Worker(
            heartbeat.worker_id,
            max(heartbeat.cpu_usage, UNKNOWN),
            max(heartbeat.memory_usage, UNKNOWN),
            max(heartbeat.gpu_usage, UNKNOWN),
            tasks,
            now / 1e9,
            True,
            timestamp,
        )
        self._heard(entry, worker)
        return Taken.NEWEST

    def restore(self, workers: Iterable[Worker]) -> None:
        """Takes workers of before a restart, judged by when they were last heard of; those known already stay."""
        now, monotonic = self._clock.unix_secs(), self._clock.monotonic()
        for worker in sorted(workers, key=lambda worker: worker.last_update):
            # A clock that was set back meanwhile makes nobody active for longer than a heartbeat just now.
            last_update = min(worker.last_update, now)
            silent_secs = now - last_update
            room = len(self) < self._count_max and silent_secs < self._forget_secs
            if room and self.get(worker.worker_id) is None:
                is_active = silent_secs < INACTIVE_SECS
                entry = _Entry(replace(worker, last_update=last_update, is_active=is_active), monotonic - silent_secs)
                self._put(entry)

    def expire(self) -> None:
        """Marks those inactive whose time is over, and forgets those that are silent for too long."""
        now = self._clock.monotonic()
        while self._active:
            entry = next(iter(self._active.values()))
            if now - entry.seen_at < INACTIVE_SECS:
                break
            del self._active[entry.worker.worker_id]
            entry.judge(is_active=False)
            self._silent[entry.worker.worker_id] = entry
            self._map = None
            if self.on_silent is not None:
                self.on_silent(entry.worker)
        while self._silent:
            entry = next(iter(self._silent.values()))
            if now - entry.seen_at < self._forget_secs:
                break
            self._taken_out(entry.worker.worker_id)

    def get(self, worker_id: str) -> Worker | None:
        """A worker; None when there is none of this name."""
        entry = self._entry(worker_id)
        return None if entry is None else entry.worker

    def all(self) -> dict[str, Worker]:
        """All workers by their names, the longest silent first; the caller's own."""
        self.expire()
        return {name: entry.worker for some in (self._silent, self._active) for name, entry in some.items()}

    def one_as_json(self, worker_id: str) -> bytes | None:
        """A worker in JSON; None when there is none of this name."""
        entry = self._entry(worker_id)
        return None if entry is None else entry.json

    def map_as_json(self) -> bytes:
        """All workers in JSON, as one object by their names."""
        self.expire()
        if self._map is None:
            entries = (entry for some in (self._silent, self._active) for entry in some.values())
            self._map = b"{" + b", ".join([entry.item for entry in entries]) + b"}"
        return self._map

    def snapshot(self) -> list[tuple[int, bytes]]:
        """Each worker's newest timestamp and its JSON: what a restart needs. Nothing in it changes any more."""
        self.expire()
        entries = (entry for some in (self._silent, self._active) for entry in some.values())
        return [(entry.worker.timestamp_unix_ns, entry.json) for entry in entries]

    def _entry(self, worker_id: str) -> _Entry | None:
        self.expire()
        return self._active.get(worker_id) or self._silent.get(worker_id)

    def _heard(self, entry: _Entry, worker: Worker) -> None:
        """The worker was heard of just now: it is the last in the order."""
        entry.seen_at = self._clock.monotonic()
        entry.show(worker)
        self._put(entry)

    def _put(self, entry: _Entry) -> None:
        if self._tasks_bytes + entry.tasks_bytes > TASKS_BYTES_MAX:
            entry.show(replace(entry.worker, running_tasks=()))
            self.tasks_dropped += 1
        self._tasks_bytes += entry.tasks_bytes
        (self._active if entry.worker.is_active else self._silent)[entry.worker.worker_id] = entry
        self._map = None

    def _taken_out(self, worker_id: str) -> _Entry | None:
        entry = self._active.pop(worker_id, None) or self._silent.pop(worker_id, None)
        if entry is not None:
            self._tasks_bytes -= entry.tasks_bytes
            self._map = None
        return entry
