"""The agent's socket towards services of any language: the wire's row form, its bounds, and who may come in."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.protobuf import Frames, framed, pb
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.agent import door, taken
from telemetry_collector.agent.door import Door, DoorSettings, Outlet
from telemetry_collector.agent.taken import SETTLED, TakenNames
from telemetry_collector.clock import ManualClock
from telemetry_collector.errors import AddressError
from telemetry_collector.model import MetricType, Outcome, Reason
from telemetry_collector.sender import Address, Batch, Point, Sender, SpoolSettings, TransportSettings, batch_of
from telemetry_collector.sender.events import Dropped, SenderEvent

NODE = "gpu-7"


class Kept:
    """A sender's side that remembers what it took."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.room = True
        self.safe = asyncio.Event()
        self.safe.set()

    def has_room(self, _points: int) -> bool:
        return self.room

    def offer(self, batch: Batch) -> int:
        self.batches.append(batch)
        return len(self.batches)

    async def kept(self, _sequence: int) -> None:
        await self.safe.wait()

    @property
    def points(self) -> int:
        return sum(batch.points for batch in self.batches)


class Client:
    """A service that knows the wire from its text alone: protobuf, and four bytes of length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Frames()
        self._acks: list[Any] = []

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def ask(self, batch: Any) -> Any:
        self.write(framed(batch))
        return await self.ack()

    async def ack(self) -> Any:
        async with asyncio.timeout(20):
            while not self._acks:
                data = await self._reader.read(4_096)
                assert data, "the agent is to answer before it closes"
                self._acks += [pb.BatchAck.FromString(body) for body in self._frames.feed(data)]
        return self._acks.pop(0)

    async def ended(self) -> bool:
        async with asyncio.timeout(20):
            try:
                return await self._reader.read() == b""
            except ConnectionResetError:
                return True

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def open_door(
    directory: Path, kept: Outlet, registry: CollectorRegistry | None = None, **settings: Any
) -> AsyncIterator[Door]:
    chosen = {"mode": 0o660, "group": None, "clients_max": 4, "points_max": 10, **settings}
    opened = Door(
        DoorSettings(path=directory / "agent.sock", **chosen),
        NODE,
        kept,
        registry or CollectorRegistry(),
        ManualClock(),
    )
    opened.tags = (("node_id", NODE), ("zone", "z1"))
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
        await opened.stop()


async def connected(directory: Path) -> Client:
    return Client(*await asyncio.open_unix_connection(str(directory / "agent.sock")))


def batch(sequence: int, points: int = 1, *, epoch: int = 9, name: str = "orders.placed", **tags: str) -> Any:
    made = pb.MetricBatch(sequence=sequence, epoch=epoch)
    for key, value in tags.items():
        made.common_tags.add(key=key, value=value)
    for place in range(points):
        made.metrics.add(name=name, type=MetricType.COUNTER, value=place, delta=True)
    return made


async def test_what_is_kept_is_stored_and_what_cannot_be_is_refused_with_its_reason(tmp_path: Path) -> None:
    kept = Kept()
    registry = CollectorRegistry()
    async with open_door(tmp_path, kept, registry) as opened:
        client = await connected(tmp_path)
        ack = await client.ask(batch(1, 3))
        assert (ack.sequence, ack.outcome, ack.accepted_points, ack.credit) == (1, Outcome.STORED, 3, 8)
        mixed = batch(2, 2)
        mixed.metrics.add(name="", value=1)
        ack = await client.ask(mixed)
        assert (ack.outcome, ack.accepted_points, ack.rejected_points) == (Outcome.PARTIAL, 2, 1)
        assert [(one.reason, one.points) for one in ack.rejections] == [(Reason.INVALID_NAME, 1)]
        for bad, reason in (
            (batch(3, 11), Reason.BATCH_TOO_LARGE),
            (batch(4, node_id="gpu-8"), Reason.IDENTITY_MISMATCH),
            (pb.MetricBatch(sequence=5, epoch=9, points=[{"series_ids": [1], "values": [1]}]), Reason.UNKNOWN_SERIES),
            (pb.MetricBatch(sequence=6, epoch=9, series=[{"id": 1, "name": "x"}]), Reason.MALFORMED),
        ):
            ack = await client.ask(bad)
            assert (ack.sequence, ack.outcome, ack.rejections[0].reason) == (bad.sequence, Outcome.REJECTED, reason)
        probe = await client.ask(pb.MetricBatch(sequence=1))
        assert (probe.outcome, probe.accepted_points) == (Outcome.STORED, 0)
        assert (kept.points, opened.points, opened.clients) == (5, 5, 1)
        client.close()
    counted = registry.get_sample_value(
        "telemetry_collector_agent_service_points_refused_total", {"reason": "identity_mismatch"}
    )
    assert counted == 1


async def test_the_answer_waits_until_the_batch_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    kept.safe.clear()
    async with open_door(tmp_path, kept):
        client = await connected(tmp_path)
        client.write(framed(batch(1)))
        asking = asyncio.create_task(client.ack())
        await until(lambda: kept.batches)
        assert not asking.done()
        kept.safe.set()
        assert (await asking).outcome == Outcome.STORED
        monkeypatch.setattr(door, "KEEP_SECS", 0.01)
        kept.safe.clear()
        assert (await client.ask(batch(2))).outcome == Outcome.RETRY_LATER, "it may be safe yet"
        kept.safe.set()
        assert (await client.ask(batch(2))).outcome == Outcome.DUPLICATE
        assert kept.points == 2, "it was taken once"
        client.close()


async def test_a_batch_that_comes_again_is_not_taken_twice_and_without_room_none_is(tmp_path: Path) -> None:
    kept = Kept()
    async with open_door(tmp_path, kept):
        first = await connected(tmp_path)
        assert (await first.ask(batch(1))).outcome == Outcome.STORED
        first.close()
        second = await connected(tmp_path)
        assert (await second.ask(batch(1))).outcome == Outcome.DUPLICATE
        assert (await second.ask(batch(1, epoch=10))).outcome == Outcome.STORED, "that is another service's"
        kept.room = False
        ack = await second.ask(batch(2))
        assert (ack.outcome, ack.retry_after_ms) == (Outcome.RETRY_LATER, door.RETRY_MS)
        kept.room = True
        assert (await second.ask(batch(2))).outcome == Outcome.STORED
        assert kept.points == 3
        asked = pb.MetricBatch(sequence=2, epoch=9, points=[{"series_ids": [1], "values": [1]}])
        assert (await second.ask(asked)).outcome == Outcome.DUPLICATE, "whether a name was taken can be asked"
        second.close()


async def test_strangers_to_the_wire_are_shown_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    registry = CollectorRegistry()
    async with open_door(tmp_path, kept, registry, clients_max=1) as opened:
        client = await connected(tmp_path)
        client.write(framed(batch(1)) + struct.pack(">I", 64 << 20))
        assert (await client.ack()).outcome == Outcome.STORED, "what came before is answered"
        assert await client.ended()
        client.close()
        await until(lambda: opened.clients == 0)
        slow = await connected(tmp_path)
        await until(lambda: opened.clients == 1)
        crowd = await connected(tmp_path)
        assert await crowd.ended(), "one at a time here"
        monkeypatch.setattr(door, "FRAME_SECS", 0.01)
        slow.write(b"\0\0\0\x09\x08")
        assert await slow.ended()
        await until(lambda: opened.clients == 0)
        monkeypatch.setattr(door, "IDLE_SECS", 0.01)
        idle = await connected(tmp_path)
        assert await idle.ended()
        for each in (slow, crowd, idle):
            each.close()

    def turned_away(reason: str) -> float | None:
        name = "telemetry_collector_agent_services_turned_away_total"
        return registry.get_sample_value(name, {"reason": reason})

    assert (turned_away("frame_too_large"), turned_away("timed_out"), turned_away("too_many")) == (1, 2, 1)


async def test_the_socket_is_for_its_group_and_goes_with_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # as a killed agent leaves it
    async with open_door(tmp_path, Kept(), mode=0o620):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o620
        assert found.st_uid == os.geteuid()
        with pytest.raises(AddressError, match=r"another process listens there"):
            async with open_door(tmp_path, Kept()):
                pass
        client = await connected(tmp_path)
    assert await client.ended()
    client.close()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(AddressError, match="is there and no socket"):
        async with open_door(tmp_path, Kept()):
            pass
    assert path.read_text() == "precious"
    with pytest.raises(AddressError, match="no group nobody-has-this"):
        async with open_door(tmp_path / "..", Kept(), group="nobody-has-this"):
            pass


def test_names_are_remembered_within_bounds() -> None:
    names = TakenNames()
    for sequence in range(1, taken.NAMES_MAX + 1):
        assert names.has_room((1, sequence), 0)
        names.take((1, sequence), 100 + sequence)
    assert not names.has_room((1, 99), 0)
    assert names.has_room((1, 99), 99), "the oldest always is, or its service would wait for ever"
    assert names.taken((1, 2), 0) == 102
    assert names.taken((1, 2), 3) == SETTLED, "and forgotten"
    assert names.has_room((1, 99), 3)
    assert names.taken(None, 0) is None
    for epoch in range(2, taken.EPOCHS_MAX + 2):
        names.take((epoch, 1), epoch)
    assert names.taken((1, 5), 0) is None, "the epoch not heard of for longest is forgotten"
    assert names.taken((2, 1), 0) == 2


def question(sequence: int, *, epoch: int = 9, oldest: int = 0) -> Any:
    """Whether a batch was taken; if not, it must not be any more."""
    unknown = {"series_ids": [2**32 - 1], "values": [0]}
    return pb.MetricBatch(sequence=sequence, epoch=epoch, oldest_unacknowledged=oldest, points=[unknown], withdraw=True)


async def test_a_name_that_was_taken_back_is_taken_no_more(tmp_path: Path) -> None:
    """Also not from a copy that is read late, on a connection that the service has given up."""
    kept = Kept()
    registry = CollectorRegistry()
    late = framed(batch(1, 3))
    async with open_door(tmp_path, kept, registry):
        old, new = await connected(tmp_path), await connected(tmp_path)
        old.write(late[:-1])
        for _ in range(2):
            ack = await new.ask(question(1))
            assert (ack.outcome, [one.reason for one in ack.rejections]) == (Outcome.REJECTED, [Reason.WITHDRAWN])
        assert (await new.ask(batch(2))).outcome == Outcome.STORED
        old.write(late[-1:])
        ack = await old.ack()
        assert (ack.outcome, ack.rejected_points, ack.rejections[0].reason) == (Outcome.REJECTED, 3, Reason.WITHDRAWN)
        assert (await new.ask(question(2))).outcome == Outcome.DUPLICATE, "it is too late for that"
        assert kept.points == 1
        for each in (old, new):
            each.close()
    name = "telemetry_collector_agent_service_points_refused_total"
    assert registry.get_sample_value(name, {"reason": "withdrawn"}) == 3


async def test_a_copy_of_what_is_settled_is_not_taken_again(tmp_path: Path) -> None:
    kept = Kept()
    late = framed(batch(1))
    async with open_door(tmp_path, kept):
        old, new = await connected(tmp_path), await connected(tmp_path)
        old.write(late[:-1])
        assert (await new.ask(batch(1))).outcome == Outcome.STORED
        settling = batch(2)
        settling.oldest_unacknowledged = 2
        assert (await new.ask(settling)).outcome == Outcome.STORED
        old.write(late[-1:])
        assert (await old.ack()).outcome == Outcome.DUPLICATE
        assert kept.points == 2
        for each in (old, new):
            each.close()


@asynccontextmanager
async def spooling(directory: Path) -> AsyncIterator[tuple[Sender, _core.FaultDisk, list[Door]]]:
    """A sender with a spool for 4 KB in memory, on a disk that fails on command, and no collector."""
    disk = _core.FaultDisk(str(directory / "spool"), 1)
    doors: list[Door] = []

    def happened(event: SenderEvent) -> None:
        if isinstance(event, Dropped):
            for each in doors:
                each.given_up(event.sequence, sent=event.sent)

    nowhere = TransportSettings(
        endpoints=(Address("127.0.0.1", 9),),
        cert_path=directory / "none.pem",
        key_path=directory / "none.key",
        ca_path=directory / "none.ca",
    )
    spool = SpoolSettings(directory=directory / "spool", bytes_max=1 << 20, memory_bytes_max=4_000, disk=disk)
    sender = Sender(nowhere, spool=spool, on_event=happened)
    await sender.start()
    try:
        yield sender, disk, doors
    finally:
        disk.heal()
        await sender.stop(drain_secs=0)


async def well(sender: Sender) -> None:
    """Waits until the spool has seen that its disk is well."""
    point = [Point("own", 1.0, MetricType.GAUGE, "1")]

    def kept_or_dropped(sequence: int, dropped_before: int) -> bool:
        return sender.durable(sequence) or sender.stats.batches_unspooled != dropped_before

    unspooled = -1
    while sender.stats.batches_unspooled != unspooled:
        unspooled = sender.stats.batches_unspooled
        last = sender.offer(batch_of(point, common_tags=(), timestamp_unix_ns=1))
        await until(partial(kept_or_dropped, last, unspooled))


@pytest.mark.parametrize("named", [True, False])
async def test_what_was_given_up_before_it_was_safe_is_not_said_to_be_stored(tmp_path: Path, *, named: bool) -> None:
    """A spool that cannot write gives up the oldest of what it has in memory: the service is to bring it again."""
    registry = CollectorRegistry()
    epoch = 9 if named else 0
    async with spooling(tmp_path) as (sender, disk, doors), open_door(tmp_path, sender, registry) as opened:
        doors.append(opened)
        disk.fail("sync_data", times=1_000_000, errno=errno.EIO)
        client = await connected(tmp_path)
        client.write(framed(batch(1, 5, epoch=epoch)))
        asking = asyncio.create_task(client.ack())
        await until(lambda: sender.stats.points_pending == 5)
        own = [Point("own", float(place), MetricType.GAUGE, "1") for place in range(40)]
        while not sender.stats.points_dropped:
            sender.offer(batch_of(own, common_tags=(), timestamp_unix_ns=1))
            await asyncio.sleep(0)
        ack = await asking
        assert (ack.outcome, ack.retry_after_ms) == (Outcome.RETRY_LATER, door.RETRY_MS)
        assert sender.stats.dropped_by_reason["outbox_full"] >= 5
        disk.heal()
        await well(sender)
        while (waiting := sender._outbox.next_after(0)) is not None:  # as if a collector had answered them
            sender._outbox.acknowledge(waiting)
        ack = await client.ask(batch(1, 5, epoch=epoch))
        assert ack.outcome == Outcome.STORED, "it is taken anew"
        assert (await client.ask(batch(1, 5, epoch=9))).outcome == (Outcome.DUPLICATE if named else Outcome.STORED)
        client.close()
    put_off = registry.get_sample_value("telemetry_collector_agent_service_batches_put_off_total")
    assert put_off is not None
    assert put_off >= 1
