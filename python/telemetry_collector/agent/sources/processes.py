"""The programs that use the most processor time: off unless asked for, because it looks at every process.

Processes are added up by their program's name: a tag with process ids would be a new series for each process.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from telemetry_collector.agent.sources import gauge
from telemetry_collector.clock import Clock
from telemetry_collector.sender import Point

NAME_BYTES_MAX = 64


@dataclass(slots=True)
class _Program:
    cpu_secs: float = 0.0
    memory_bytes: int = 0
    processes: int = 0


class ProcessesSource:
    """The first `top` programs by processor time since the previous reading."""

    name = "processes"

    def __init__(self, top: int, clock: Clock) -> None:
        self._top = top
        self._clock = clock
        self._previous: dict[tuple[int, float], float] = {}
        self._read_at = clock.monotonic()

    def read(self) -> Iterator[Point]:
        now = self._clock.monotonic()
        passed, self._read_at = now - self._read_at, now
        seen: dict[tuple[int, float], float] = {}
        programs: dict[str, _Program] = {}
        for process in psutil.process_iter(["name", "cpu_times", "memory_info", "create_time"]):
            times, memory = process.info["cpu_times"], process.info["memory_info"]
            if times is None or memory is None:
                continue  # it has ended, or is not ours to look at
            key = (process.pid, process.info["create_time"])
            used = times.user + times.system
            program = programs.setdefault(_name(process.info["name"]), _Program())
            program.cpu_secs += max(0.0, used - self._previous.get(key, used))
            program.memory_bytes += memory.rss
            program.processes += 1
            seen[key] = used
        self._previous = seen
        busiest = sorted(programs.items(), key=lambda item: (-item[1].cpu_secs, -item[1].memory_bytes, item[0]))
        for name, program in busiest[: self._top]:
            cpus = program.cpu_secs / passed if passed > 0 else 0.0
            yield gauge("process.cpu.usage", cpus, "{cpu}", program=name)
            yield gauge("process.memory.rss", program.memory_bytes, "By", program=name)
            yield gauge("process.count", program.processes, "{process}", program=name)


def _name(text: str | None) -> str:
    printable = "".join(character for character in text or "" if character.isprintable())
    return printable.encode()[:NAME_BYTES_MAX].decode(errors="ignore") or "unknown"
