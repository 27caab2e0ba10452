"""The agent's unix socket: what services beside it measure goes the agent's way, as safe as what it measures itself.

The wire is the collector's, in row form (docs/wire-protocol.md, "Through an agent"). `STORED` means that the batch is
in the agent's spool, or in its memory where it has none. What there is no room for is answered `RETRY_LATER`: services
wait, the agent's own metrics do not give way to them.
"""

import asyncio
import contextlib
import grp
import os
import socket
import stat
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from prometheus_client import CollectorRegistry

from telemetry_collector.agent.taken import SETTLED, WITHDRAWN, TakenNames
from telemetry_collector.clock import Clock
from telemetry_collector.errors import AddressError, CoreError
from telemetry_collector.model import Reason
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.sender import Batch, RelayedBatch, RelayStream, wire
from telemetry_collector.sender.outbox import POINT_BYTES, bytes_of
from telemetry_collector.sender.points import Tags

log = logger(__name__)

READ_BYTES = 64 * 1024
FRAME_SECS = 30.0
"""A frame that has begun ends within so long, and a reply is read."""
IDLE_SECS = 300.0
"""A service that sends nothing for so long is disconnected; its connection would only keep others out."""
ACCEPT_AGAIN_SECS = 0.1
"""How long to wait after a connection could not be accepted."""
LAST_REPLY_SECS = 1.0
"""How long a connection that ends waits for its last replies to be read."""
KEEP_SECS = 5.0
"""How long a batch may take to reach the spool before its service is told to ask again."""
RETRY_MS = 1_000
"""How long a service is asked to wait while there is no room."""
CREDIT = wire.CREDIT_INITIAL
BACKLOG = 64

_OFTEN_SECS = 30.0

POINTS = Event("agent_service_points", "Points that services handed over", level="debug")
REFUSED = Event(
    "agent_service_points_refused",
    "Points of services that were refused for good",
    labels=("reason",),
    level="warning",
    every_secs=_OFTEN_SECS,
)
PUT_OFF = Event(
    "agent_service_batches_put_off",
    "Batches of services that there was no room for, or that were not kept in time, to come again",
    level="warning",
    every_secs=_OFTEN_SECS,
)
TURNED_AWAY = Event(
    "agent_services_turned_away",
    "Connections of services that were closed by the agent",
    labels=("reason",),
    level="warning",
    every_secs=_OFTEN_SECS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Where services come in, and how many."""

    path: Path
    mode: int
    group: str | None
    clients_max: int
    points_max: int
    """Of one batch."""


class Outlet(Protocol):
    """Where batches go on: a `Sender`."""

    def has_room(self, points: int) -> bool: ...
    def offer(self, batch: Batch) -> int: ...
    def kept(self, sequence: int) -> Awaitable[None]: ...


class Door:
    """Listens for services. `start` and `stop` on one event loop."""

    def __init__(
        self, settings: DoorSettings, node: str, outlet: Outlet, registry: CollectorRegistry, clock: Clock
    ) -> None:
        self._settings = settings
        self._node = node
        self._outlet = outlet
        self._clock = clock
        self._events = Events(registry, log, clock)
        self._events.declare(POINTS, REFUSED, PUT_OFF, TURNED_AWAY)
        self._names = TakenNames()
        self._answering: Counter[int] = Counter()  # batches of ours that services wait to hear about
        self._lost: set[int] = set()  # of these, the ones that were given up
        self._listening: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._inode: tuple[int, int] | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self.tags: Tags = ()
        """What points get that services do not say themselves; for connections to come."""
        self.points = 0
        """Points taken so far."""

    @property
    def clients(self) -> int:
        """Services that are connected."""
        return len(self._clients)

    async def start(self) -> None:
        """Opens the socket. AddressError when that cannot be, or another agent has it."""
        settings = self._settings
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _clear(settings.path)
            before = os.umask(0o777 & ~settings.mode)
            try:
                listening.bind(str(settings.path))
            finally:
                os.umask(before)
            settings.path.chmod(settings.mode)
            if settings.group is not None:
                os.chown(settings.path, -1, grp.getgrnam(settings.group).gr_gid)
        except (OSError, KeyError) as error:
            listening.close()
            reason = f"no group {settings.group}" if isinstance(error, KeyError) else (error.strerror or str(error))
            raise AddressError(
                f"agent.socket = {settings.path}: {reason}; expected a path in a directory that this user may write, "
                "which no other agent listens at, and in agent.socket_group a group that this user may give files to"
            ) from error
        found = settings.path.stat()
        self._inode = (found.st_dev, found.st_ino)
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._listening = listening
        self._accepting = asyncio.create_task(self._accept(listening), name="agent-door")

    async def stop(self) -> None:
        """Lets nobody in, answers what was read, and closes. Idempotent, and safe before `start`."""
        if self._listening is None or self._accepting is None:
            return
        self._accepting.cancel()
        await asyncio.wait({self._accepting})
        self._listening.close()
        self._listening = None
        self._stopping.set()
        if self._clients:
            _, late = await asyncio.wait(set(self._clients), timeout=KEEP_SECS)
            for task in late:
                task.cancel()
        with contextlib.suppress(OSError):
            found = self._settings.path.stat()
            if (found.st_dev, found.st_ino) == self._inode:
                self._settings.path.unlink()
        self._events.finish()

    def given_up(self, sequence: int, *, sent: bool) -> None:
        """The agent has dropped a batch, and counted it. A service that waits for it hears so, and may bring it again
        unless a collector may have it.
        """
        if not sent:
            self._names.forget(sequence)
        if sequence in self._answering:
            self._lost.add(sequence)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError as error:  # no descriptors are left, say; others may be given back
                self._events.happened(TURNED_AWAY, reason="not_accepted", problem=str(error))
                await asyncio.sleep(ACCEPT_AGAIN_SECS)
                continue
            if len(self._clients) >= self._settings.clients_max:
                self._events.happened(TURNED_AWAY, reason="too_many", clients=len(self._clients))
                client.close()
                continue
            task = loop.create_task(self._serve(client), name="agent-service")
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, client)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._converse(reader, writer)
        except (CoreError, TimeoutError) as error:
            reason = "frame_too_large" if isinstance(error, CoreError) else "timed_out"
            self._events.happened(TURNED_AWAY, reason=reason, problem=str(error))
        except OSError:
            pass  # it is gone; what it has no answer to it sends again
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(LAST_REPLY_SECS):
                    await writer.wait_closed()
            transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = RelayStream(
            common_tags=self.tags,
            node=self._node,
            points_max=self._settings.points_max,
            frame_bytes_max=wire.FRAME_BYTES_MAX,
        )
        frame_due: float | None = None
        while data := await self._read(reader, frame_due):
            for arrived in stream.feed(data, self._clock.unix_ns()):
                writer.write(await self._answer(arrived))
                frame_due = None
            stream.feed(b"", self._clock.unix_ns())  # a fault behind whole frames
            async with asyncio.timeout(FRAME_SECS):
                await writer.drain()
            if not stream.mid_frame:
                frame_due = None
            elif frame_due is None:
                frame_due = asyncio.get_running_loop().time() + FRAME_SECS

    async def _read(self, reader: asyncio.StreamReader, frame_due: float | None) -> bytes:
        """What comes next; nothing at the end, and when the agent stops."""
        now = asyncio.get_running_loop().time()
        timeout_secs = IDLE_SECS if frame_due is None else max(0.0, frame_due - now)
        reading = asyncio.create_task(reader.read(READ_BYTES))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({reading, stopping}, timeout=timeout_secs, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            if stopping.done():
                return b""
            raise TimeoutError("a frame did not end in time" if frame_due else "nothing came for too long")
        finally:
            for task in (reading, stopping):
                task.cancel()

    async def _answer(self, arrived: RelayedBatch) -> bytes:
        name = (arrived.epoch, arrived.sequence) if arrived.epoch else None
        sequence = self._names.taken(name, arrived.oldest_unacknowledged)
        if sequence == SETTLED:
            return arrived.reply("duplicate", credit=CREDIT)
        again = sequence is not None
        batch = arrived.batch
        if not again and (batch is not None or arrived.withdraws):
            remembered = self._names.has_room(name, arrived.oldest_unacknowledged)
            if not (remembered and (batch is None or self._outlet.has_room(_points_alike(batch)))):
                return self._put_off(arrived)
            sequence = WITHDRAWN if batch is None else self._outlet.offer(batch)
            self._names.take(name, sequence)
        if sequence == WITHDRAWN:
            if batch is not None:
                self._events.happened(REFUSED, batch.points, reason=Reason.WITHDRAWN.label)
            return arrived.reply("withdrawn", credit=CREDIT)
        if not again:
            if batch is not None:
                self.points += batch.points
                self._events.happened(POINTS, batch.points)
            for number, points, example in arrived.rejections:
                self._events.happened(REFUSED, points, reason=wire.reason_label(number), example=example)
        if sequence is not None and not await self._is_kept(sequence):
            return self._put_off(arrived)
        answer: Literal["duplicate", "kept"] = "duplicate" if again else "kept"
        return arrived.reply(answer, credit=CREDIT)

    def _put_off(self, arrived: RelayedBatch) -> bytes:
        self._events.happened(PUT_OFF)
        return arrived.reply("retry_later", credit=CREDIT, retry_after_ms=RETRY_MS)

    async def _is_kept(self, sequence: int) -> bool:
        """Waits until a batch is as safe as it gets. False when it was given up first, or that takes too long: then its
        service asks again under its name, and it is not taken twice.
        """
        self._answering[sequence] += 1
        try:
            async with asyncio.timeout(KEEP_SECS):
                await self._outlet.kept(sequence)
            return sequence not in self._lost
        except TimeoutError:
            return False
        finally:
            self._answering[sequence] -= 1
            if not self._answering[sequence]:
                del self._answering[sequence]
                self._lost.discard(sequence)


def _points_alike(batch: Batch) -> int:
    """How many plain points take as much memory."""
    return bytes_of(batch) // POINT_BYTES


def _clear(path: Path) -> None:
    """Removes a socket that nobody listens at. OSError when somebody does, or something else is there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(f"{path} is there and no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        trying.settimeout(1.0)
        try:
            trying.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError("another process listens there")
