"""A worker as it is shown, and a heartbeat as it comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

WORKER_ID_BYTES_MAX = 1_024
"""A longer name is none: no tag could have it."""
RUNNING_TASKS_MAX = 1_000
"""Tasks of a worker that are kept: the first so many."""
IDENTITY = "telemetry-collector"
"""The identity under which the core stores what workers said of themselves: the collector's own."""
UNKNOWN = -1.0
"""A usage that is not known, as that of a device where there is none."""


class RunningTask(NamedTuple):
    """One task of a worker, in its own words."""

    task_id: str
    name: str
    status: str
    started_unix_ns: int
    """When it started, nanoseconds since 1970; 0 when that is not known."""


class Heartbeat(NamedTuple):
    """What a worker says of itself. In the order in which the core hands it on."""

    worker_id: str
    node_id: str
    cpu_usage: float
    """0 to 1 of all cores; negative where it is not known, as with the other two."""
    memory_usage: float
    """0 to 1 of physical memory."""
    gpu_usage: float
    """0 to 1 of the busiest device."""
    running_tasks: Sequence[tuple[str, str, str, int]]
    timestamp_unix_ns: int
    """When it was taken, by the worker's clock; 0 stands for now."""

    @property
    def valid(self) -> bool:
        """Whether it has a name, and no number that is NaN or above 1."""
        named = 0 < len(self.worker_id.encode(errors="replace")) <= WORKER_ID_BYTES_MAX
        return named and self.cpu_usage <= 1.0 and self.memory_usage <= 1.0 and self.gpu_usage <= 1.0


@dataclass(frozen=True, slots=True)
class Worker:
    """What is known of a worker."""

    worker_id: str
    cpu_usage: float = UNKNOWN
    memory_usage: float = UNKNOWN
    gpu_usage: float = UNKNOWN
    running_tasks: tuple[RunningTask, ...] = ()
    last_update: float = 0.0
    """When it was last heard of, seconds since 1970 by the collector's clock."""
    is_active: bool = True
    """Whether that is less than 30 seconds ago."""
    timestamp_unix_ns: int = 0
    """The time of its newest heartbeat, by its own clock but never ahead of ours; 0 before the first."""


def shown_tasks(tasks: Sequence[RunningTask]) -> bytes:
    """Tasks in JSON. Written out by hand, in half the time, for a worker may have a thousand."""
    quoted = json.encoder.encode_basestring_ascii
    each = [
        f'{{"task_id": {quoted(task_id)}, "name": {quoted(name)}, "status": {quoted(status)}, '
        f'"started_unix_secs": {started_unix_ns / 1e9!r}}}'
        for task_id, name, status, started_unix_ns in tasks
    ]
    return f"[{', '.join(each)}]".encode()


def shown(worker: Worker, name: bytes, tasks: bytes) -> bytes:
    """The worker in JSON, from its name and tasks in JSON.

    Written out by hand: ten thousand of them come every few seconds.
    """
    return (
        b'{"worker_id": %b, "cpu_usage": %a, "memory_usage": %a, "gpu_usage": %a, "running_tasks": %b, '
        b'"last_update": %a, "is_active": %b}'
    ) % (
        name,
        worker.cpu_usage,
        worker.memory_usage,
        worker.gpu_usage,
        tasks,
        worker.last_update,
        b"true" if worker.is_active else b"false",
    )


def of_json(found: Any, timestamp_unix_ns: Any) -> Worker:
    """The worker that was shown as this. ValueError or TypeError, KeyError or AttributeError when it is none."""
    tasks = tuple(
        RunningTask(
            str(task["task_id"]), str(task["name"]), str(task["status"]), round(float(task["started_unix_secs"]) * 1e9)
        )
        for task in found["running_tasks"][:RUNNING_TASKS_MAX]
    )
    usages = [float(found[key]) for key in ("cpu_usage", "memory_usage", "gpu_usage")]
    last_update = float(found["last_update"])
    worker_id = found["worker_id"]
    sound = isinstance(worker_id, str) and all(-1.0 <= usage <= 1.0 for usage in usages) and last_update >= 0
    if not sound or last_update == float("inf"):
        raise ValueError(f"no worker: {str(found)[:200]}")
    cpu, memory, gpu = usages
    return Worker(worker_id, cpu, memory, gpu, tasks, last_update, False, int(timestamp_unix_ns))
