"""The spool as the sender's outbox: nothing goes out before it is on disk, what has no answer is there afterwards."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.waiting import until

from telemetry_collector import _core
from telemetry_collector.config import Address
from telemetry_collector.errors import JournalError
from telemetry_collector.model import MetricType
from telemetry_collector.sender import (
    Batch,
    DeliverySettings,
    Point,
    Sender,
    SpoolSettings,
    TransportSettings,
    batch_of,
    events,
)
from telemetry_collector.sender.delivery import READ_RETRY_SECS, Delivery
from telemetry_collector.sender.outbox import MemoryOutbox
from telemetry_collector.sender.spool import SpoolOutbox
from telemetry_collector.sender.stats import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def batch(points: int = 3) -> Batch:
    readings = [Point("m", float(place), MetricType.GAUGE, "1") for place in range(points)]
    return batch_of(readings, common_tags=(("node_id", "node-1"),), timestamp_unix_ns=1)


@asynccontextmanager
async def opened(directory: Path, **changes: Any) -> AsyncIterator[tuple[SpoolOutbox, list[Any]]]:
    told: list[Any] = []
    settings = SpoolSettings(directory=directory, **{"machine_id": "m1", "started_unix_us": 0, **changes})
    outbox = SpoolOutbox(settings, lambda *drop: told.append(drop), told.append)
    ready = asyncio.Event()
    await outbox.open(ready=ready.set, again=lambda _: None)
    try:
        yield outbox, told
    finally:
        await outbox.close()


def unreachable(directory: Path) -> TransportSettings:
    return TransportSettings(
        endpoints=(Address("127.0.0.1", 9),),
        cert_path=directory / "none.pem",
        key_path=directory / "none.key",
        ca_path=directory / "none.ca",
    )


async def test_a_batch_is_handed_out_when_it_is_durable_and_the_loop_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path / "spool") as (outbox, _):
        sequence = outbox.put(batch())
        await until(lambda: outbox.next_after(0) == sequence)
        assert outbox.is_durable(sequence)
        assert (outbox.batches, outbox.points, outbox.points_of(sequence)) == (1, 3, 3)
        held = outbox.batch(sequence)
        assert held is not None
        assert held.points == 3


async def test_what_has_no_answer_is_there_again_under_its_name(tmp_path: Path) -> None:
    async with opened(tmp_path / "spool") as (outbox, _):
        epoch = outbox.epoch
        first, second = outbox.put(batch(2)), outbox.put(batch(5))
        await until(lambda: outbox.is_durable(second))
        outbox.acknowledge(first)
    async with opened(tmp_path / "spool") as (outbox, told):
        assert (outbox.epoch, outbox.batches, outbox.next_after(0)) == (epoch, 1, second)
        assert outbox.points_of(second) == 5
        assert outbox.next_sequence == second + 1
        assert told == [events.SpoolOpened(str(tmp_path / "spool"), 1, 5, None, 0, 0)]


async def test_a_copied_disk_and_a_renamed_machine_get_a_new_epoch(tmp_path: Path) -> None:
    async with opened(tmp_path / "spool", identity="a", node="a") as (outbox, _):
        first = outbox.epoch
        sequence = outbox.put(batch())
        await until(lambda: outbox.is_durable(sequence))
    async with opened(tmp_path / "spool", identity="b", node="b") as (outbox, told):
        second = outbox.epoch
        assert second != first
        assert (outbox.batches, told[0].renewal) == (1, "another_identity")
    async with opened(tmp_path / "spool", identity="b", node="b", machine_id="m2") as (outbox, told):
        assert outbox.epoch not in (first, second)
        assert (outbox.batches, told[0].renewal) == (0, "another_machine")
        await until(lambda: (sequence, 3, "another_machine") in told)
        assert outbox.stats()["dropped"] == {"another_machine": (1, 3)}


async def test_a_sender_that_stops_leaves_its_spool_to_the_next(tmp_path: Path) -> None:
    settings = SpoolSettings(directory=tmp_path / "spool")
    first = Sender(unreachable(tmp_path), spool=settings)
    with pytest.raises(RuntimeError, match="started"):
        first.offer(batch())
    await first.start()
    for _ in range(10):
        first.offer(batch())
    await asyncio.wait_for(first.stop(drain_secs=30), 10)
    assert (first.stats.points_dropped, first.stats.points_pending) == (0, 30)
    second = Sender(unreachable(tmp_path), spool=settings)
    await second.start()
    try:
        assert (second.stats.points_pending, second.stats.points_offered) == (30, 30)
        assert second.stats.spool_bytes > 0
    finally:
        await second.stop()


async def test_a_bound_that_is_reached_costs_the_oldest_and_the_count_outlives_the_sender(tmp_path: Path) -> None:
    settings = SpoolSettings(directory=tmp_path / "spool", bytes_max=1 << 20)
    told: list[Any] = []
    sender = Sender(unreachable(tmp_path), spool=settings, on_event=told.append)
    await sender.start()
    noise = [Point("m", int.from_bytes(os.urandom(6)), MetricType.GAUGE, "1") for _ in range(900)]
    while not sender.stats.points_dropped:
        for _ in range(20):
            sender.offer(batch_of(noise, common_tags=(), timestamp_unix_ns=1))
        await asyncio.sleep(0.01)
        assert sender.stats.points_offered < 2_000_000
    await sender.stop()
    dropped = sender.stats.dropped_by_reason["outbox_full"]
    assert dropped == 900 * sender.stats.batches_dropped
    drops = [event.sequence for event in told if isinstance(event, events.Dropped)]
    assert drops == list(range(1, len(drops) + 1)), "the oldest, in order"
    again = Sender(unreachable(tmp_path), spool=settings)
    await again.start()
    try:
        assert again.stats.points_offered == sender.stats.points_offered
        assert again.stats.points_dropped >= dropped, "opening may need room itself"
        await until(lambda: again.stats.points_pending + again.stats.points_dropped == again.stats.points_offered)
    finally:
        await again.stop()


def test_a_disk_that_fails_to_read_pauses_the_sender_and_costs_no_turn() -> None:
    class FailingOutbox(MemoryOutbox):
        readings: list[int]
        fails = True

        def batch(self, sequence: int) -> Batch | None:
            self.readings.append(sequence)
            return None if self.fails else super().batch(sequence)

    outbox = FailingOutbox(points_max=100, bytes_max=1 << 20, on_drop=lambda *_: None)
    outbox.readings = []
    delivery = Delivery(outbox, DeliverySettings(), random=Random(1), tally=Tally())
    sequences = [delivery.put(batch()) for _ in range(3)]
    delivery.connected()
    assert delivery.next(10.0, 8) is None
    assert outbox.readings == sequences[:1], "the others are not asked for in the same breath"
    assert delivery.next_due(8) == 10.0 + READ_RETRY_SECS
    outbox.fails = False
    sent = [delivery.next(10.0 + READ_RETRY_SECS, 100) for _ in sequences]
    assert [taken[0] for taken in sent if taken is not None] == sequences


async def test_a_sender_that_a_fault_has_ended_lets_its_spool_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("a fault of its own")

    monkeypatch.setattr("telemetry_collector.sender.sender.dial", broken)
    settings = SpoolSettings(directory=tmp_path / "spool", machine_id="m1")
    first = Sender(unreachable(tmp_path), spool=settings)
    await first.start()
    first.offer(batch())
    with pytest.raises(ArithmeticError):
        await first.wait()
    with pytest.raises(ArithmeticError):
        await first.stop()
    async with opened(settings.directory) as (outbox, _):
        assert outbox.points == 3


async def test_a_spool_in_use_is_refused_by_name(tmp_path: Path) -> None:
    async with opened(tmp_path / "spool"):
        other = Sender(unreachable(tmp_path), spool=SpoolSettings(directory=tmp_path / "spool"))
        with pytest.raises(JournalError, match="another process"):
            await other.start()
        await other.stop()


async def test_a_later_life_goes_on_from_the_time_so_that_a_restored_disk_uses_no_name_twice(tmp_path: Path) -> None:
    async with opened(tmp_path / "spool") as (outbox, _):
        assert outbox.put(batch()) == 1
    begun = time.time_ns() // 1_000
    async with opened(tmp_path / "spool", started_unix_us=None) as (outbox, _):
        assert begun <= outbox.next_sequence <= time.time_ns() // 1_000
        assert outbox.next_after(0) == 1, "what waits keeps its name"
        assert outbox.inherited_below == outbox.next_sequence


async def test_who_waits_for_a_batch_that_is_dropped_has_been_told_so_first(tmp_path: Path) -> None:
    disk = _core.FaultDisk(str(tmp_path / "spool"), 1)
    async with opened(tmp_path / "spool", memory_bytes_max=1_000, disk=disk) as (outbox, told):
        disk.fail("sync_data", times=1_000_000, errno=errno.EIO)
        first = outbox.put(batch(30))
        outbox.put(batch(30))
        assert outbox.is_durable(first)
        assert (first, 30, "outbox_full") in told
        disk.heal()
