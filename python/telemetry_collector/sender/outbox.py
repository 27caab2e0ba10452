"""What waits for an acknowledgement: the batches of one epoch under their sequences.

`MemoryOutbox` keeps them in memory and forgets them with the process; `SpoolOutbox` (spool.py) keeps them on disk.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from telemetry_collector._core import Batch

POINT_BYTES = 24
"""Bytes of memory that a point takes in a `Batch`: its place, time and value, and a share of the batch itself."""


def bytes_of(batch: Batch) -> int:
    """Memory that a batch takes, about."""
    return batch.points * POINT_BYTES + batch.row_bytes


OnDrop = Callable[[int, int, str], None]
"""Called with the sequence and the points of a batch that was given up, and the reason."""


class Outbox(Protocol):
    """Batches in ascending order of their sequences, until they are answered or abandoned.

    Every method is called from one thread. Sequences start at 1, grow by 1 and are never used twice in an epoch.
    """

    @property
    def epoch(self) -> int:
        """Names this outbox's life: random, 64 bits, not 0."""

    @property
    def oldest(self) -> int | None:
        """What collectors may be told: everything below is answered or abandoned for good."""

    @property
    def next_sequence(self) -> int:
        """What the next batch will be called."""

    @property
    def inherited_below(self) -> int:
        """Lower sequences are an earlier life's, which may have sent them."""

    @property
    def batches(self) -> int: ...

    @property
    def points(self) -> int: ...

    @property
    def bytes(self) -> int:
        """Memory (or disk) that the batches take, about."""

    def has_room(self, points: int) -> bool:
        """Whether `put` of a batch of so many points would drop nothing."""

    def put(self, batch: Batch) -> int:
        """Takes a batch and names it. Over a bound, the oldest batches are dropped and reported first."""

    def batch(self, sequence: int) -> Batch | None:
        """The batch of that name, None once it is answered or dropped, and while it cannot be read."""

    def points_of(self, sequence: int) -> int | None:
        """The points of that batch, None once it is answered or dropped."""

    def next_after(self, sequence: int) -> int | None:
        """The lowest sequence held above another; None also while that one must not be sent yet."""

    def acknowledge(self, sequence: int) -> None:
        """Forgets a batch that has its answer. One that is gone already is no error."""

    def abandon(self, sequence: int) -> None:
        """Gives up a batch of one point that is too large, and reports it."""

    def split(self, sequence: int) -> list[int] | None:
        """Puts halves in a batch's place, as one step; their new sequences, or None when that is not possible now.

        Nothing is dropped for it.
        """


class MemoryOutbox:
    """An outbox in memory. Over either bound the oldest batches are dropped: fresh metrics are worth more.

    A batch may be dropped while it is on its way. It counts as dropped even when the collector stored it: the counters
    never claim more than is known.
    """

    def __init__(self, *, points_max: int, bytes_max: int, on_drop: OnDrop) -> None:
        self._points_max = points_max
        self._bytes_max = bytes_max
        self._on_drop = on_drop
        self._epoch = secrets.randbits(64) or 1
        self._next = 1
        self._held: OrderedDict[int, Batch] = OrderedDict()
        self._points = 0
        self._bytes = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def oldest(self) -> int | None:
        return next(iter(self._held), None)

    @property
    def next_sequence(self) -> int:
        return self._next

    @property
    def inherited_below(self) -> int:
        return 0

    @property
    def batches(self) -> int:
        return len(self._held)

    @property
    def points(self) -> int:
        return self._points

    @property
    def bytes(self) -> int:
        return self._bytes

    def has_room(self, points: int) -> bool:
        return self._fits(points, points * POINT_BYTES)

    def put(self, batch: Batch) -> int:
        while not self._fits(batch.points, bytes_of(batch)):
            sequence, dropped = self._held.popitem(last=False)
            self._forget(dropped)
            self._on_drop(sequence, dropped.points, "outbox_full")
        return self._append(batch)

    def batch(self, sequence: int) -> Batch | None:
        return self._held.get(sequence)

    def points_of(self, sequence: int) -> int | None:
        batch = self._held.get(sequence)
        return None if batch is None else batch.points

    def next_after(self, sequence: int) -> int | None:
        oldest = self.oldest
        if oldest is None:
            return None
        # Every sequence is passed over once a walk, so walks over the gaps cost no more than the batches did.
        for candidate in range(max(sequence + 1, oldest), self._next):
            if candidate in self._held:
                return candidate
        return None

    def acknowledge(self, sequence: int) -> None:
        batch = self._held.pop(sequence, None)
        if batch is not None:
            self._forget(batch)

    def abandon(self, sequence: int) -> None:
        points = self.points_of(sequence)
        if points is not None:
            self.acknowledge(sequence)
            self._on_drop(sequence, points, "too_large")

    def split(self, sequence: int) -> list[int] | None:
        batch = self._held.get(sequence)
        if batch is None or batch.points < 2:
            return None
        self.acknowledge(sequence)
        return [self._append(part) for part in batch.split()]

    def _append(self, batch: Batch) -> int:
        sequence = self._next
        self._next += 1
        self._held[sequence] = batch
        self._points += batch.points
        self._bytes += bytes_of(batch)
        return sequence

    def _fits(self, points: int, size: int) -> bool:
        if not self._held:
            return True  # one batch always fits, or a batch larger than the bound would wait for ever
        return self._points + points <= self._points_max and self._bytes + size <= self._bytes_max

    def _forget(self, batch: Batch) -> None:
        self._points -= batch.points
        self._bytes -= bytes_of(batch)
