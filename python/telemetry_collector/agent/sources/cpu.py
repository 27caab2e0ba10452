"""Processors: their time by mode as totals, and the usage since the previous reading."""

from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from telemetry_collector.agent.sources import counter, gauge, ratio
from telemetry_collector.sender import Point

# Linux counts the time of guests in user and nice already.
_COUNTED_TWICE = ("guest", "guest_nice")
_IDLE = ("idle", "iowait")

Times = Mapping[str, float]


class CpuSource:
    """Usage is over the time since the previous reading; the first is over the time since the source was made."""

    name = "cpu"

    def __init__(self, *, per_cpu: bool = False) -> None:
        self._per_cpu = per_cpu
        self._previous = _times()
        self._previous_each = _times_each() if per_cpu else []

    def read(self) -> Iterator[Point]:
        now = _times()
        for mode, total in now.items():
            yield counter("system.cpu.time", total, "s", mode=mode)
        passed = _passed(self._previous, now)
        self._previous = now
        whole = sum(passed.values())
        yield gauge("system.cpu.usage", busy(passed), "1")
        for mode, secs in passed.items():
            yield gauge("system.cpu.mode.usage", ratio(secs, whole), "1", mode=mode)
        yield gauge("system.cpu.count", psutil.cpu_count() or 1, "{cpu}")
        if self._per_cpu:
            yield from self._read_each()

    def _read_each(self) -> Iterator[Point]:
        each = _times_each()
        if len(each) == len(self._previous_each):  # else processors came or went: next time
            for place, (before, now) in enumerate(zip(self._previous_each, each, strict=True)):
                yield gauge("system.cpu.core.usage", busy(_passed(before, now)), "1", cpu=str(place))
        self._previous_each = each


def busy(passed: Times) -> float:
    """The share of the time, from 0 to 1, in which something ran."""
    idle = sum(passed.get(mode, 0.0) for mode in _IDLE)
    whole = sum(passed.values())
    return ratio(whole - idle, whole)


class CpuUsage:
    """The usage since it was last asked for; the first time, since the start of the system."""

    def __init__(self) -> None:
        self._previous: Times = dict.fromkeys(_times(), 0.0)

    def read(self) -> float:
        """From 0 to 1 of all processors."""
        now = _times()
        passed = _passed(self._previous, now)
        self._previous = now
        return busy(passed)


def _times() -> Times:
    return _modes(psutil.cpu_times())


def _times_each() -> list[Times]:
    return [_modes(times) for times in psutil.cpu_times(percpu=True)]


def _modes(times: Any) -> Times:
    # A named tuple whose fields depend on the system.
    return {mode: secs for mode, secs in times._asdict().items() if mode not in _COUNTED_TWICE}


def _passed(before: Times, now: Times) -> Times:
    # A counter may step back by a tick (iowait does); that is no negative time.
    return {mode: max(0.0, secs - before.get(mode, secs)) for mode, secs in now.items()}
