"""What was recorded since the last flush: one cell a series. Not safe from several threads; `Aggregation` sees to that.

Counters are sums, gauges their last value, histograms counts in buckets. A window is thrown away when it was flushed,
so what is in it is a change, and any number of processes may add to one series (docs/decisions/0028).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Final

from telemetry_collector.agent.sdk.names import MetricMistake, Tags, check_name, check_tags

ALIASES_MAX = 4
"""Ways to write a series, by the order of its tags, that are remembered for each series that there may be."""

IDLE_WINDOWS = 360
"""Flushes after which a tag set that was not used counts no more: an hour, at one every ten seconds."""

SECONDS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets of timings, from a millisecond to a minute."""

BOUNDS: Final = tuple(float(f"{digit}e{power}") for power in range(-3, 6) for digit in ("1", "2.5", "5"))
"""Buckets of other histograms, three a decade from a thousandth to half a million."""


class Cell:
    """A counter's sum or a gauge's last value."""

    __slots__ = ("name", "tags", "unit", "value")

    def __init__(self, name: str, tags: Tags, unit: str) -> None:
        self.name = name
        self.tags = tags
        self.unit = unit
        self.value: float = 0


class HistogramCell:
    """Observations in buckets: `counts[i]` are those up to `bounds[i]`, the last are above all bounds."""

    __slots__ = ("bounds", "counts", "greatest", "least", "name", "sum", "tags", "unit")

    def __init__(self, name: str, tags: Tags, unit: str, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.tags = tags
        self.unit = unit
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0
        self.least: float = float("inf")
        self.greatest: float = float("-inf")

    def add(self, value: float) -> None:
        """One observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        try:
            self.sum += value
        except OverflowError:  # a sum of whole numbers beyond all doubles, and a fraction
            self.sum = float("inf")
        if value < self.least:
            self.least = value
        if value > self.greatest:
            self.greatest = value


class Census:
    """Which series there are, over many windows: what keeps a tag with a value a user from becoming a series a user."""

    def __init__(self, *, series_max: int, tag_sets_max: int) -> None:
        self._series_max = series_max
        self._tag_sets_max = tag_sets_max
        self._names: dict[str, dict[tuple[str, Tags], int]] = {}
        self._series = 0
        self._window = 0

    def admit(self, kind: str, name: str, tags: Tags) -> None:
        """Counts a series in. MetricMistake when there are too many."""
        sets = self._names.get(name)
        if sets is None or (kind, tags) not in sets:
            if self._series >= self._series_max:
                raise MetricMistake("series", f"metric {name}: {self._series_max} series are in use, and no more fit")
            if sets is not None and len(sets) >= self._tag_sets_max:
                raise MetricMistake(
                    "tag_sets",
                    f"metric {name}: {self._tag_sets_max} sets of tags are in use, and no more fit; "
                    "expected tags with few values, such as a route rather than a path",
                )
            sets = self._names.setdefault(name, {})
            self._series += 1
        sets[kind, tags] = self._window

    def turn(self) -> None:
        """A window was flushed: forgets, now and then, what has not been used for long."""
        self._window += 1
        if self._window % IDLE_WINDOWS == 0:
            since = self._window - IDLE_WINDOWS
            used = {n: {t: w for t, w in sets.items() if w >= since} for n, sets in self._names.items()}
            self._names = {name: sets for name, sets in used.items() if sets}
            self._series = sum(len(sets) for sets in self._names.values())


class Window:
    """The cells by what callers say, and in the order of their first use."""

    def __init__(self, census: Census, bounds: Mapping[str, tuple[float, ...]]) -> None:
        self._census = census
        self._bounds = bounds
        self._aliases_max = 0
        self._canonical: dict[tuple[str, str, Tags], Cell | HistogramCell] = {}
        # Looked up with what the caller said, which is cheaper than to sort and check it each time.
        self.counters: dict[object, Cell] = {}
        self.gauges: dict[object, Cell] = {}
        self.histograms: dict[object, HistogramCell] = {}
        self.held = 0
        """Of its points, those that stayed from the window before."""

    def remember(self, aliases_max: int) -> None:
        """So many of the ways to write a series are kept from now on; none before, so that each call comes by here."""
        self._aliases_max = aliases_max

    @property
    def points(self) -> int:
        """Points that a flush would make."""
        return len(self._canonical)

    def hold(self, holds: Callable[[str], bool], into: Window) -> None:
        """Leaves those cells to the next window, which is empty, whose names `holds` says are to stay."""
        stay = {key: cell for key, cell in self._canonical.items() if holds(cell.name)}
        for key, cell in stay.items():
            del self._canonical[key]
            into._admit(key, cell)
        into.held = len(stay)

    def cells(self, kind: str) -> list[Cell | HistogramCell]:
        """Those of `counter`, `gauge` or `histogram`."""
        return [cell for (of, _, _), cell in self._canonical.items() if of == kind]

    def counter(self, alias: object, name: object, tags: Mapping[str, object], unit: str) -> Cell:
        """The cell of a counter that `alias` does not find. MetricMistake where there can be none."""
        return self._scalar("counter", self.counters, alias, name, tags, unit)

    def gauge(self, alias: object, name: object, tags: Mapping[str, object], unit: str) -> Cell:
        """The cell of a gauge that `alias` does not find. MetricMistake where there can be none."""
        return self._scalar("gauge", self.gauges, alias, name, tags, unit)

    def histogram(
        self, alias: object, name: object, tags: Mapping[str, object], unit: str, bounds: tuple[float, ...]
    ) -> HistogramCell:
        """The cell of a histogram that `alias` does not find; `bounds` where none were set for its name."""
        key, exact = self._key("histogram", name, tags)
        cell = self._canonical.get(key)
        if not isinstance(cell, HistogramCell):
            cell = HistogramCell(key[1], key[2], _unit(unit), self._bounds.get(key[1], bounds))
            self._admit(key, cell)
        if exact and len(self.histograms) < self._aliases_max:
            self.histograms[alias] = cell
        return cell

    def _scalar(
        self, kind: str, aliases: dict[object, Cell], alias: object, name: object, tags: Mapping[str, object], unit: str
    ) -> Cell:
        key, exact = self._key(kind, name, tags)
        cell = self._canonical.get(key)
        if not isinstance(cell, Cell):
            cell = Cell(key[1], key[2], _unit(unit))
            self._admit(key, cell)
        if exact and len(aliases) < self._aliases_max:
            aliases[alias] = cell
        return cell

    def _key(self, kind: str, name: object, tags: Mapping[str, object]) -> tuple[tuple[str, str, Tags], bool]:
        """What names a series, and whether its alias may be remembered: 1, True and 1.0 are one key and three texts."""
        key = (kind, check_name(name), check_tags(tags))
        return key, type(name) is str and all(type(value) is str for value in tags.values())

    def _admit(self, key: tuple[str, str, Tags], cell: Cell | HistogramCell) -> None:
        self._census.admit(*key)
        self._canonical[key] = cell


def _unit(unit: object) -> str:
    if not isinstance(unit, str) or len(unit.encode()) > 63 or not unit.isprintable():
        raise MetricMistake("invalid_unit", f"unit {unit!r}: expected UCUM such as s, By or 1, of at most 63 bytes")
    return unit
