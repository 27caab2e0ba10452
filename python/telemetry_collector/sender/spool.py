"""The outbox that outlives the process: batches in the core's spool, which writes on a thread of its own.

What takes long (opening, `maintain`, closing) runs outside the event loop; commits are told by an eventfd.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from telemetry_collector import _core
from telemetry_collector._core import Batch, JournalError
from telemetry_collector.sender import events
from telemetry_collector.sender.outbox import OnDrop
from telemetry_collector.sender.settings import SpoolSettings

MAINTAIN_SECS = 1.0
"""How long an answer may take to become durable, and a full spool to get room."""

PRESSED_SECS = 0.02
"""How long a spool that is pressed all the same after `maintain` waits for what may help: a commit, or an answer."""

MACHINE_ID = Path("/etc/machine-id")


class SpoolOutbox:
    """An `Outbox` on disk. `open` before anything else; every method but `open`, `keep` and `close` is quick."""

    def __init__(self, settings: SpoolSettings, on_drop: OnDrop, on_event: events.OnEvent) -> None:
        self._settings = settings
        self._on_drop = on_drop
        self._on_event = on_event
        self._core: _core.Spool | None = None
        self._again: Callable[[int], None] = lambda _: None
        self._ready: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pressed = asyncio.Event()
        self._unspooled = 0
        self._inherited_below = 0

    # ---- life

    async def open(self, *, ready: Callable[[], None], again: Callable[[int], None]) -> None:
        """Takes the directory and reads what still waits; JournalError when it cannot be had.

        `ready` is called on the running loop when there may be more to send or more room, `again` with a batch that
        could not be split.
        """
        self._core = core = await asyncio.to_thread(self._open)
        self._inherited_below = core.next_sequence
        self._ready, self._again = ready, again
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(core.fileno(), self._woken)
        opening = core.opening
        self._on_event(
            events.SpoolOpened(
                str(self._settings.directory),
                opening["batches"],
                opening["points"],
                opening["renewal"],
                opening["damaged_bytes"],
                opening["undecodable"],
            )
        )

    def _open(self) -> _core.Spool:
        settings = self._settings
        return _core.Spool(
            directory=str(settings.directory),
            bytes_max=settings.bytes_max,
            memory_bytes_max=settings.memory_bytes_max,
            machine_id=machine_id() if settings.machine_id is None else settings.machine_id,
            identity=settings.identity,
            node=settings.node,
            started_unix_us=time.time_ns() // 1_000 if settings.started_unix_us is None else settings.started_unix_us,
            disk=settings.disk,
        )

    async def keep(self) -> None:
        """Keeps the spool's house until cancelled: see `maintain` in the core."""
        while True:
            self._pressed.clear()
            if not self._spool.pressed:
                try:
                    async with asyncio.timeout(MAINTAIN_SECS):
                        await self._pressed.wait()
                except TimeoutError:
                    pass
            try:
                await asyncio.to_thread(self._spool.maintain)
            except JournalError as error:
                self._trouble(str(error))
                await asyncio.sleep(MAINTAIN_SECS)
            else:
                self._look_for_trouble()
                if self._spool.pressed:
                    await asyncio.sleep(PRESSED_SECS)

    async def close(self) -> None:
        """Makes durable what can be and lets the directory go; JournalError when that failed. Idempotent."""
        if self._core is None or self._loop is None:
            return
        self._loop.remove_reader(self._core.fileno())
        self._loop = None
        try:
            await asyncio.to_thread(self._core.close)
        finally:
            self._hear()

    # ---- the outbox

    @property
    def _spool(self) -> _core.Spool:
        if self._core is None:
            raise RuntimeError("a sender with a spool takes batches once it is started")
        return self._core

    @property
    def epoch(self) -> int:
        return self._spool.epoch

    @property
    def oldest(self) -> int | None:
        return self._spool.oldest_unacknowledged

    @property
    def next_sequence(self) -> int:
        return self._spool.next_sequence

    @property
    def inherited_below(self) -> int:
        return self._inherited_below

    @property
    def batches(self) -> int:
        return self._core.waiting[0] if self._core else 0

    @property
    def points(self) -> int:
        return self._core.waiting[1] if self._core else 0

    @property
    def bytes(self) -> int:
        stats = self._core.stats() if self._core else {}
        return int(stats.get("bytes", 0))

    @property
    def opening(self) -> dict[str, Any]:
        """What `open` found, as the core says it."""
        return self._spool.opening

    def stats(self) -> dict[str, Any]:
        """The core's counters; empty before `open`."""
        return self._core.stats() if self._core else {}

    def has_room(self, points: int) -> bool:
        return self._spool.has_room(points)

    def put(self, batch: Batch) -> int:
        sequence = self._spool.put(batch)
        if self._spool.pressed:
            self._pressed.set()
        return sequence

    def batch(self, sequence: int) -> Batch | None:
        batch = self._spool.batch(sequence)
        if batch is None and self._spool.points_of(sequence) is not None:
            self._trouble(str(self._spool.stats()["trouble"]))
        return batch

    def points_of(self, sequence: int) -> int | None:
        return self._spool.points_of(sequence)

    def is_durable(self, sequence: int) -> bool:
        """Whether a batch is on stable storage, or gone; that one was dropped has been told then."""
        durable = self._spool.durable(sequence)
        if durable and self._spool.points_of(sequence) is None:
            self._woken()
        return durable

    def next_after(self, sequence: int) -> int | None:
        return self._spool.next_after(sequence)

    def acknowledge(self, sequence: int) -> None:
        self._spool.acknowledge(sequence)

    def abandon(self, sequence: int) -> None:
        self._spool.abandon_too_large(sequence)

    def split(self, sequence: int) -> list[int] | None:
        first = self._spool.split(sequence)
        return None if first is None else [first, first + 1]

    # ---- what the core tells

    def _woken(self) -> None:
        self._hear()
        self._ready()

    def _hear(self) -> None:
        for sequence, points, reason in self._spool.told():
            if reason is None:
                self._again(sequence)
            else:
                self._on_drop(sequence, points, reason)

    def _look_for_trouble(self) -> None:
        stats = self._spool.stats()
        if stats["batches_unspooled"] > self._unspooled:
            self._trouble(str(stats["trouble"]), stats["batches_unspooled"] - self._unspooled)
            self._unspooled = stats["batches_unspooled"]

    def _trouble(self, reason: str, batches: int = 0) -> None:
        self._on_event(events.SpoolFailed(reason, batches))


def machine_id() -> str:
    """What systemd calls this machine; empty where nothing does, so that no difference is seen."""
    try:
        return MACHINE_ID.read_text().strip()
    except OSError:
        return ""
