"""Values that name themselves: every point that an agent makes has another one, whichever life of it made it.

A value is a whole number below 2^53, which a double holds exactly: 9 bits for the agent, 12 for its life, 32 for the
point's place in that life.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

AGENTS_MAX: Final = 1 << 9
LIVES_MAX: Final = 1 << 12
_PLACE_BITS: Final = 32
_LIFE_BITS: Final = 12


def first_value(agent: int, life: int) -> int:
    """The value of the first point of an agent's life."""
    if not (0 <= agent < AGENTS_MAX and 0 <= life < LIVES_MAX):
        raise ValueError(f"agent {agent}, life {life}: expected less than {AGENTS_MAX} and {LIVES_MAX}")
    return ((agent << _LIFE_BITS) | life) << _PLACE_BITS


class Seen:
    """A set of values: a byte each, since those of a life are dense."""

    def __init__(self) -> None:
        self._lives: dict[int, bytearray] = {}

    def update(self, values: Iterable[int]) -> None:
        """Adds values."""
        for value in values:
            life, place = value >> _PLACE_BITS, value & ((1 << _PLACE_BITS) - 1)
            places = self._lives.setdefault(life, bytearray())
            if place >= len(places):
                places.extend(bytes(place + 1 - len(places)))
            places[place] = 1

    def merge(self, other: Seen) -> None:
        """Adds another set's values."""
        for life, theirs in other._lives.items():
            ours = self._lives.setdefault(life, bytearray())
            ours.extend(bytes(max(len(theirs) - len(ours), 0)))
            for place, present in enumerate(theirs):
                if present:
                    ours[place] = 1

    def missing(self, other: Seen) -> int:
        """How many values another set has and this one has not."""
        total = 0
        for life, places in other._lives.items():
            own = self._lives.get(life, bytearray())
            padded = own + bytes(max(len(places) - len(own), 0))
            total += sum(1 for theirs, ours in zip(places, padded, strict=False) if theirs and not ours)
        return total

    def holes(self) -> int:
        """Values that are absent although a later one of the same life is there."""
        return sum(places.count(0) for places in self._lives.values())

    def __len__(self) -> int:
        return sum(len(places) - places.count(0) for places in self._lives.values())
