"""What a network does to a datagram, decided without I/O and clock."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Link:
    """A way between two hosts. Jitter alone brings datagrams out of order."""

    loss: float = 0.0
    """The share that never arrives."""
    doubled: float = 0.0
    """The share that arrives twice."""
    delay_secs: float = 0.0
    jitter_secs: float = 0.0
    """Up to so much is added to the delay, for each datagram anew."""

    def arrivals(self, random: Random) -> tuple[float, ...]:
        """After how many seconds copies of a datagram arrive: usually one, none when it is lost."""
        if self.loss and random.random() < self.loss:
            return ()
        copies = 2 if self.doubled and random.random() < self.doubled else 1
        return tuple(self.delay_secs + self.jitter_secs * random.random() for _ in range(copies))


CLEAR = Link()
"""Nothing happens to datagrams but their passing."""
