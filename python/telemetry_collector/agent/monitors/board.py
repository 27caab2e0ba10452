"""What the checks found last, and how often they failed, as a source for the sampler."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from telemetry_collector.agent.monitors.outcome import Outcome, State
from telemetry_collector.agent.sources import DIGITS, counter, gauge
from telemetry_collector.sender import Point

TARGET_CHARS_MAX = 200


@dataclass(slots=True)
class Entry:
    """One check's part of the board."""

    name: str
    service: str
    kind: str
    target: str
    outcome: Outcome | None = None
    looks: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def tags(self) -> dict[str, str]:
        """Of each of its points."""
        return {"service": self.service, "check": self.name, "kind": self.kind, "target": self.target}


class Board:
    """Written by the monitors' thread, read by the sampler's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._before: dict[str, Entry] = {}

    def clear(self) -> None:
        """Shows nothing until other checks are put up; their counters go on where they are the same."""
        with self._lock:
            self._before, self._entries = {**self._before, **self._entries}, {}

    def put_up(self, entries: list[Entry]) -> None:
        """Before the checks begin. One that was there before `clear` goes on counting."""
        with self._lock:
            before, self._before = self._before, {}
            self._entries = {entry.name: entry for entry in entries}
            for name, entry in self._entries.items():
                old = before.get(name)
                if old is not None and old.tags == entry.tags:
                    entry.looks, entry.failures = old.looks, old.failures

    def note(self, name: str, outcome: Outcome) -> None:
        """A look has ended."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return  # taken down meanwhile
            entry.outcome = outcome
            entry.looks += 1
            if outcome.state is State.DOWN and outcome.reason is not None:
                entry.failures[outcome.reason] += 1

    def points(self) -> Iterator[Point]:
        """Every check that was looked at."""
        with self._lock:
            points = [point for entry in self._entries.values() for point in _points(entry)]
        yield from points


class ChecksSource:
    """The board among the sources."""

    name = "checks"

    def __init__(self, board: Board) -> None:
        self._board = board

    def read(self) -> Iterator[Point]:
        """See Source."""
        return self._board.points()


def _points(entry: Entry) -> Iterator[Point]:
    outcome, tags = entry.outcome, entry.tags
    if outcome is None:
        return
    blocked = outcome.state is State.BLOCKED
    if not blocked:
        # A blocked check tells nothing of its own service; the dependency's own check has the failure.
        yield gauge("service.check.up", float(outcome.state is State.UP), "1", **tags)
    if outcome.dependencies:
        yield gauge("service.check.blocked", float(blocked), "1", **tags)
    yield gauge("service.check.duration", round(outcome.secs, DIGITS), "s", **tags)
    yield counter("service.check.looks", entry.looks, "{look}", **tags)
    for reason, failures in entry.failures.items():
        yield counter("service.check.failures", failures, "{look}", **tags, reason=reason)
    for measure in outcome.measures:
        yield gauge(measure.name, measure.value, measure.unit, **tags)
    for dependency, up in outcome.dependencies.items():
        yield gauge(
            "service.dependency.up", float(up), "1", service=entry.service, check=entry.name, dependency=dependency
        )
