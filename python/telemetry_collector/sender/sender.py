"""The way in: takes batches, keeps a connection to the best collector that works, and reports what became of them."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

from telemetry_collector._core import Batch, Heartbeat
from telemetry_collector.config import Address
from telemetry_collector.errors import AddressError, CertificateError
from telemetry_collector.sender import events
from telemetry_collector.sender.backoff import Backoff
from telemetry_collector.sender.breaker import Breaker
from telemetry_collector.sender.connection import Connection
from telemetry_collector.sender.delivery import Delivery
from telemetry_collector.sender.dialling import dial
from telemetry_collector.sender.outbox import MemoryOutbox, Outbox
from telemetry_collector.sender.session import Session
from telemetry_collector.sender.settings import DeliverySettings, OutboxSettings, Reach, SpoolSettings
from telemetry_collector.sender.spool import SpoolOutbox
from telemetry_collector.sender.stats import SenderStats, Tally


class Sender:
    """Sends batches to the first collector of a list that works, and goes back to a better one when that recovers.

    Belongs to the event loop it was started on; nothing here is safe to call from another thread. What the collector
    has not acknowledged is sent again, on whichever connection there is, under the same names; nothing is dropped
    without being counted. `random` decides about jitter only.

    With a `spool` batches wait on disk, survive the process and are sent by the next one; batches are then taken once
    the sender is started. Without one they wait in memory within the bounds of `outbox`.
    """

    def __init__(
        self,
        transport: Reach,
        *,
        delivery: DeliverySettings | None = None,
        outbox: OutboxSettings | None = None,
        spool: SpoolSettings | None = None,
        on_event: events.OnEvent = events.ignore,
        random: Random | None = None,
    ) -> None:
        if not transport.endpoints:
            raise ValueError("a sender needs at least one collector")
        self._transport = transport
        self._settings = delivery or DeliverySettings()
        bounds = outbox or OutboxSettings()
        self._random = random or Random()
        self._on_event = on_event
        self._tally = Tally()
        self._spool = SpoolOutbox(spool, self._dropped_by_outbox, on_event) if spool else None
        self._outbox: Outbox = self._spool or MemoryOutbox(
            points_max=bounds.points_max, bytes_max=bounds.bytes_max, on_drop=self._dropped_by_outbox
        )
        self._delivery = Delivery(
            self._outbox,
            self._settings,
            random=self._random,
            tally=self._tally,
            on_event=on_event,
            on_shrink=self._shrunk,
        )
        self._breakers: dict[Address | Path, Breaker] = {
            endpoint: self._new_breaker() for endpoint in transport.endpoints
        }
        self._keeping: asyncio.Task[None] | None = None
        self._heartbeat: Heartbeat | None = None
        self._told: Heartbeat | None = None
        self._connection: Connection | None = None
        self._endpoint: Address | Path | None = None
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._stopped = False

    @property
    def stats(self) -> SenderStats:
        """The counters as they stand now."""
        spool = self._spool.stats() if self._spool else {}
        return self._tally.snapshot(
            collectors={str(endpoint): breaker.state for endpoint, breaker in self._breakers.items()},
            batches_unspooled=spool.get("batches_unspooled", 0),
            spool_bytes=spool.get("bytes", 0),
            points_pending=self._outbox.points,
            batches_pending=self._outbox.batches,
            connected_to=str(self._endpoint) if self._endpoint else None,
        )

    async def start(self) -> None:
        """Opens the spool and begins to connect, in the background; batches are taken at once. Not more than once.

        JournalError when the spool cannot be had; the text names the file.
        """
        if self._task is not None or self._stopped:
            raise RuntimeError("a sender is started once")
        if self._spool is not None:
            await self._spool.open(ready=self._spool_moved, again=self._delivery.again)
            self._tally.resume(self._spool.opening["dropped"], points_pending=self._spool.opening["points"])
            self._keeping = asyncio.create_task(self._spool.keep(), name="sender-spool")
        self._task = asyncio.create_task(self._run(), name="sender")

    def offer(self, batch: Batch) -> int:
        """Takes a batch at once; its sequence. Where there is no room the oldest make some, and count as dropped."""
        sequence = self._delivery.put(batch)
        self._wake()
        return sequence

    def has_room(self, points: int) -> bool:
        """Whether `offer` of a batch of so many points would drop nothing."""
        return self._outbox.has_room(points)

    def durable(self, sequence: int) -> bool:
        """Whether a batch outlives the process from now on, or has got its answer. Never without a spool."""
        return self._spool is not None and self._spool.is_durable(sequence)

    async def put(self, batch: Batch) -> None:
        """Takes a batch when there is room for it without dropping anything: for senders that can wait."""
        while not self._outbox.has_room(batch.points):
            self._room.clear()
            await self._room.wait()
        self.offer(batch)

    async def kept(self, sequence: int) -> None:
        """Returns when a batch is as safe as it gets before its answer: in the spool, or without one at once."""
        while self._spool is not None and not self._spool.is_durable(sequence):
            self._room.clear()
            await self._room.wait()

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Sends the worker's state as soon as possible. The newest wins: one that was not sent yet is forgotten."""
        self._heartbeat = heartbeat
        if self._connection is not None:
            self._connection.session.heartbeat(heartbeat)
            self._wake()

    async def drained(self) -> None:
        """Returns when every batch taken so far or meanwhile is answered."""
        while not self._delivery.empty:
            self._room.clear()
            await self._room.wait()

    async def wait(self) -> None:
        """Returns once the sender is stopped; raises what ended it otherwise, which is a fault of its own."""
        running = {task for task in (self._task, self._keeping) if task is not None}
        if running:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()

    async def stop(self, drain_secs: float = 5.0) -> None:
        """Waits up to `drain_secs` for what is unanswered, then closes with NORMAL.

        What is left stays in the spool, for the next life; without a spool it counts as dropped. Idempotent, and safe
        before `start`. JournalError when the spool could not be closed in order: the next life then sends more again.
        Raises what ended the sender before, as `wait` does, once the spool is closed.
        """
        if self._stopped:
            return
        self._stopped = True
        # What is in a spool need not wait for a collector.
        if self._task is not None and (self._spool is None or self._connection is not None):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_secs):
                    await self.drained()
        running = [task for task in (self._task, self._keeping) if task is not None]
        try:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)
        finally:
            if self._spool is not None:
                await self._spool.close()
            else:
                self._delivery.abandon()
        for task in running:
            if not task.cancelled():
                task.result()

    # ---- connections

    def _new_breaker(self) -> Breaker:
        transport = self._transport
        backoff = Backoff(min_secs=transport.backoff_min_secs, max_secs=transport.backoff_max_secs, random=self._random)
        return Breaker(backoff, proven_secs=transport.backoff_max_secs)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            found = await self._first_good(self._transport.endpoints)
            if found is not None:
                await self._serve(*found)
            due = min(breaker.due for breaker in self._breakers.values())
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _first_good(self, endpoints: Sequence[Address | Path]) -> tuple[Connection, int] | None:
        loop = asyncio.get_running_loop()
        for place, endpoint in enumerate(endpoints):
            breaker = self._breakers[endpoint]
            if not breaker.allows(loop.time()):
                continue
            try:
                connection = await dial(endpoint, self._new_session, self._transport)
            except (AddressError, CertificateError) as error:
                breaker.failed(loop.time())
                self._tally.connect_failures += 1
                self._on_event(events.ConnectFailed(str(endpoint), str(error)))
            else:
                breaker.worked(loop.time())
                return connection, place
        return None

    def _new_session(self) -> Session:
        session = Session(self._delivery, self._settings, asyncio.get_running_loop().time())
        if self._heartbeat is not None:
            # The newest state is the first thing that a collector hears. While batches wait it is told in few bytes, so
            # that it gets through where little does.
            session.heartbeat(self._heartbeat if self._delivery.empty else self._heartbeat.without_tasks())
        self._told = self._heartbeat if self._delivery.empty else None
        return session

    async def _serve(self, connection: Connection, place: int) -> None:
        """Uses a good connection, and every better one that is found meanwhile, until the one in use is lost."""
        better: asyncio.Task[tuple[Connection, int]] | None = None
        try:
            while True:
                self._adopt(connection, place)
                better = asyncio.create_task(self._find_better(place)) if place > 0 else None
                waits: set[asyncio.Future[object]] = {connection.lost}  # type: ignore[arg-type]
                if better is not None:
                    waits.add(better)  # type: ignore[arg-type]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if connection.lost.done() or better is None:
                    self._breakers[self._transport.endpoints[place]].failed(asyncio.get_running_loop().time())
                    return
                await self._retire(connection)
                connection, place = better.result()
        finally:
            await self._release(connection, better)

    def _adopt(self, connection: Connection, place: int) -> None:
        self._connection = connection
        self._endpoint = self._transport.endpoints[place]
        self._tally.connects += 1
        self._on_event(events.Connected(str(self._endpoint)))
        # Told in few bytes so far, or come while the connection was being made.
        if self._heartbeat is not None and self._heartbeat is not self._told:
            connection.session.heartbeat(self._heartbeat)
        self._delivery.connected()
        connection.session.active = True
        connection.pump()

    async def _find_better(self, place: int) -> tuple[Connection, int]:
        """Tries the collectors before this one now and then, until one is good."""
        while True:
            await asyncio.sleep(self._transport.failback_secs * self._random.uniform(0.8, 1.2))
            found = await self._first_good(self._transport.endpoints[:place])
            if found is not None:
                return found

    async def _retire(self, connection: Connection) -> None:
        """Lets a connection that another takes the place of finish what it has begun."""
        connection.session.finish()
        connection.pump()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.reply_timeout_secs):
                await asyncio.wait((connection.finished, connection.lost), return_when=asyncio.FIRST_COMPLETED)
        self._lost(connection, "a better collector has recovered")
        connection.shut("a better collector has recovered")

    async def _release(self, connection: Connection, better: asyncio.Task[tuple[Connection, int]] | None) -> None:
        if better is not None:
            better.cancel()
            await asyncio.wait({better})  # unlike `await better`, this tells its cancellation from ours
            if not better.cancelled():
                better.result()[0].shut()
        if connection.lost.done():
            self._lost(connection, connection.lost.result())
        else:
            self._connection = self._endpoint = None
            connection.session.close()
        connection.shut("stopped")

    def _lost(self, connection: Connection, reason: str) -> None:
        unanswered = connection.session.close()
        if self._connection is connection and self._endpoint is not None:
            self._on_event(events.Disconnected(str(self._endpoint), reason, unanswered))
            self._connection = self._endpoint = None

    # ---- what happens

    def _wake(self) -> None:
        if self._connection is not None:
            self._connection.pump()

    def _shrunk(self) -> None:
        self._room.set()

    def _spool_moved(self) -> None:
        """More is on disk, or there is more room."""
        self._room.set()
        self._wake()

    def _dropped_by_outbox(self, sequence: int, points: int, reason: str) -> None:
        self._delivery.dropped(sequence, points, reason)
