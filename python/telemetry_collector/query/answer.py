"""What a question is answered with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Value:
    """What one window comes to."""

    start_ns: int
    """Of the window, in nanoseconds since 1970."""
    values: tuple[float, ...]
    """One; for quantiles one each, in the order that they were asked for."""


@dataclass(frozen=True, slots=True)
class Series:
    """The windows of one group, ascending, without those in which nothing was measured."""

    name: str
    tags: tuple[tuple[str, str], ...]
    """Of those grouped by the ones that its points have, in the order asked for."""
    values: list[Value] = field(default_factory=list)


Answer = list[Series]
"""By name, then by the tags asked for."""
