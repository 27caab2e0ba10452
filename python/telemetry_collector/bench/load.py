"""The load: what sends the prepared batches, follows the credit and times the answers, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Counters:
    """What was done so far."""

    connections: int = 0
    """Connected, and answered once."""
    batches_sent: int = 0
    """For the first time."""
    frame_bytes_sent: int = 0
    """Of those, length prefixes included."""
    points_sent: int = 0
    """Of those."""
    batches_acknowledged: int = 0
    points_acknowledged: int = 0
    points_refused: int = 0
    batches_retried: int = 0
    """Times a batch was put off, and sent again later."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Batches by why they were not stored whole."""
    lost: list[str] = field(default_factory=list)
    """Why connections ended that were not to."""


@dataclass(frozen=True, slots=True)
class LaneAnswers:
    """What a lane was told. Every sequence from 1 to `sent` is stored whole, but for the exceptions."""

    sent: int
    exceptions: Mapping[int, int]
    """Points stored of a sequence that was refused, in whole or in part."""
    unanswered: frozenset[int] = frozenset()
    """Sequences without an answer when there was no more time to wait for it."""


class Load(Protocol):
    """Something that sends. Its methods are called once each, in this order."""

    name: str
    """What it is made of."""

    @property
    def counters(self) -> Counters:
        """Read at any time."""

    async def connect(self) -> float:
        """Opens every connection and waits for a first answer on each; the seconds that it took. AddressError."""

    async def run(self, seconds: float) -> None:
        """Sends for so long, then waits for the answers due, within a bound. Whoever loses a connection after that has
        not lost it to a fault."""

    async def close(self) -> None:
        """Ends every connection. Safe in any state."""

    def answers(self) -> list[LaneAnswers]:
        """What each lane was told, in their order."""

    def ack_ms(self, quantile: float) -> float | None:
        """Milliseconds to the answer: from when a batch was due that had to wait for room, else from its sending."""
