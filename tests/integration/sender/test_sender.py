"""The sender over real QUIC on the loopback, with real certificates, against a scripted collector."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import uvloop
from tests.integration.sender import test_connecting
from tests.support.collector import retry_later
from tests.support.quic_collector import QuicCollector
from tests.support.sending import PLAIN, batch, running, transport
from tests.support.waiting import until

from telemetry_collector.config import Address
from telemetry_collector.model import CloseCode
from telemetry_collector.security.identity import Identity
from telemetry_collector.sender import (
    DeliverySettings,
    Heartbeat,
    OutboxSettings,
    Sender,
    SpoolSettings,
)
from telemetry_collector.sender.events import Answered, Connected, ConnectFailed, Disconnected, SenderEvent

pytestmark = pytest.mark.usefixtures("sender_transport")


async def test_batches_and_heartbeats_arrive_and_are_acknowledged(certificates: Path) -> None:
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address)) as (sender, _),
    ):
        for _ in range(100):
            sender.offer(batch())
        sender.heartbeat(
            Heartbeat(worker_id="node-1", cpu_usage=0.5, memory_usage=0.5, gpu_usage=-1.0, timestamp_unix_ns=1)
        )
        await sender.drained()
        await until(lambda: collector.books.heartbeats)
        assert len(collector.books.points) == 1_000
        stats = sender.stats
        assert stats.points_acknowledged == 1_000
        assert stats.batches_resent == 0
        assert stats.connected_to == str(collector.address)
        assert 0 < stats.ack_p50_secs <= stats.ack_p99_secs


async def test_the_collector_sees_our_certificate(certificates: Path) -> None:
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address)) as (sender, _),
    ):
        sender.offer(batch())
        await sender.drained()
        identity = Identity.of(collector.certificates[0])
        assert identity is not None
        assert identity.node == "localhost"


async def test_stop_waits_for_acknowledgements_and_closes_with_normal(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector:
        sender = Sender(transport(certificates, collector.address), delivery=PLAIN)
        await sender.start()
        for _ in range(50):
            sender.offer(batch())
        await sender.stop(drain_secs=10)
        await sender.stop()
        assert sender.stats.points_acknowledged == 500
        assert sender.stats.points_dropped == 0
        await until(lambda: collector.closes == [CloseCode.NORMAL])


async def test_what_is_left_when_stopping_counts_as_dropped(certificates: Path) -> None:
    sender = Sender(transport(certificates, Address("127.0.0.1", 9)), delivery=PLAIN)
    await sender.start()
    sender.offer(batch())
    await sender.stop(drain_secs=0)
    assert sender.stats.dropped_by_reason == {"stopped": 10}
    assert sender.stats.points_pending == 0


async def test_stop_before_start_is_harmless(certificates: Path) -> None:
    sender = Sender(transport(certificates, Address("127.0.0.1", 9)))
    await sender.stop()
    with pytest.raises(RuntimeError):
        await sender.start()


async def test_put_waits_for_room(certificates: Path) -> None:
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address), outbox=OutboxSettings(points_max=25)) as (sender, _),
    ):
        collector.silent = True
        await sender.put(batch())
        await sender.put(batch())
        third = asyncio.create_task(sender.put(batch()))
        await until(lambda: collector.connections)
        assert not third.done()
        collector.speak()
        await third
        await sender.drained()
        assert sender.stats.points_acknowledged == 30
        assert sender.stats.points_dropped == 0


async def test_after_a_restart_of_the_collector_everything_is_sent_again_under_its_name(
    certificates: Path,
) -> None:
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address)) as (sender, events),
    ):
        sender.offer(batch())
        await sender.drained()
        collector.silent = True
        for _ in range(5):
            sender.offer(batch())
        await until(lambda: len(collector.books.seen) >= 7)
        collector.stop(code=None)
        collector.silent = False
        sender.offer(batch())  # the system tells its datagrams that nobody listens
        await until(lambda: any(isinstance(event, Disconnected) for event in events))
        await collector.start()
        await sender.drained()
        assert sorted(sequence for _, sequence in collector.books.stored) == [1, 2, 3, 4, 5, 6, 7]
        assert sender.stats.points_acknowledged == 70
        assert sender.stats.batches_resent == 6
        assert sender.stats.reconnects == 1


async def test_a_close_is_noticed_at_once_and_reconnected(certificates: Path) -> None:
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address)) as (sender, events),
    ):
        await until(lambda: sender.stats.connected_to)
        collector.close_connections(CloseCode.SHUTTING_DOWN)
        await until(lambda: sender.stats.reconnects == 1)
        gone = next(event for event in events if isinstance(event, Disconnected))
        assert gone.reason == "shutting_down"


async def test_a_silent_collector_is_given_up(certificates: Path) -> None:
    settings = DeliverySettings(compression="none", reply_timeout_secs=0.2)
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address), settings) as (sender, events),
    ):
        await until(lambda: sender.stats.connected_to)
        collector.silent = True
        sender.offer(batch())
        await until(lambda: any(isinstance(event, Disconnected) for event in events))
        collector.silent = False
        await sender.drained()
        assert sender.stats.points_acknowledged == 10
        assert [event.reason for event in events if isinstance(event, Disconnected)] == ["no reply in time"]


async def test_the_second_collector_takes_over_and_the_first_is_gone_back_to(certificates: Path) -> None:
    first, second = QuicCollector(certificates), QuicCollector(certificates)
    await first.start()
    first.stop(code=None)
    async with second, running(transport(certificates, first.address, second.address)) as (sender, events):
        sender.offer(batch())
        await sender.drained()
        assert sender.stats.connected_to == str(second.address)
        async with first:
            await until(lambda: sender.stats.connected_to == str(first.address))
            sender.offer(batch())
            await sender.drained()
            assert len(first.books.points) == 10
            await until(lambda: second.closes == [CloseCode.NORMAL])
        connected = [event.endpoint for event in events if isinstance(event, Connected)]
        assert connected[:2] == [str(second.address), str(first.address)]


async def test_a_collector_that_refuses_us_is_passed_over(certificates: Path) -> None:
    async with QuicCollector(certificates) as first, QuicCollector(certificates) as second:
        first.refuse = CloseCode.NOT_ALLOWED
        async with running(transport(certificates, first.address, second.address)) as (sender, events):
            sender.offer(batch())
            await sender.drained()
            assert sender.stats.connected_to == str(second.address)
            refusal = next(event for event in events if isinstance(event, ConnectFailed))
            assert "not_allowed: by the test" in refusal.reason
            assert first.books.points == []


async def test_large_batches_pass_with_large_datagrams(certificates: Path) -> None:
    settings = {"max_datagram_size": 9_000}
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address, **settings)) as (sender, _),
    ):
        for place in range(20):
            sender.offer(batch(1_000, name=f"large.{place}"))
        await sender.drained()
        assert len(collector.books.points) == 20_000


async def test_retry_later_is_obeyed_over_the_network(certificates: Path) -> None:
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address)) as (sender, _),
    ):
        refusals = iter(range(3))
        collector.books.answer = lambda message: (
            retry_later(message, 20) if message.epoch and next(refusals, None) is not None else None
        )
        sender.offer(batch())
        await sender.drained()
        assert sender.stats.batches_retried == 3
        assert sender.stats.points_acknowledged == 10


def test_it_works_on_uvloop(certificates: Path) -> None:
    tests: list[Callable[[Path], Awaitable[None]]] = [
        test_batches_and_heartbeats_arrive_and_are_acknowledged,
        test_after_a_restart_of_the_collector_everything_is_sent_again_under_its_name,
        test_connecting.test_nobody_listening_is_noticed_at_once,
        partial(test_connecting.test_ipv6_and_names_work, listens="::1", reached="::1"),
    ]
    for test in tests:

        async def once(test: Callable[[Path], Awaitable[None]] = test) -> None:
            await test(certificates)

        uvloop.run(once())


async def test_after_an_outage_state_comes_first_in_few_bytes_then_what_is_new_then_the_rest(
    certificates: Path,
) -> None:
    async with QuicCollector(certificates) as collector:
        sender = Sender(transport(certificates, collector.address), delivery=PLAIN)
        tasks = [("t1", "train", "running", 1)]
        sender.heartbeat(
            Heartbeat(
                worker_id="node-1",
                cpu_usage=0.5,
                memory_usage=0.5,
                gpu_usage=-1.0,
                timestamp_unix_ns=7,
                running_tasks=tasks,
            )
        )
        for _ in range(100):
            sender.offer(batch(1, "old"))
        await sender.start()
        try:
            await until(lambda: sender.stats.connected_to)
            sender.offer(batch(1, "new"))
            await sender.drained()
            await until(lambda: len(collector.books.heartbeats) == 2)
        finally:
            await sender.stop(drain_secs=0)
        first = collector.books.seen[0]
        assert (first.epoch, first.heartbeat.timestamp_unix_ns, len(first.heartbeat.running_tasks)) == (0, 7, 0)
        assert [len(heartbeat.running_tasks) for heartbeat in collector.books.heartbeats] == [0, 1]
        names = [points[0].name for points in collector.books.stored.values()]
        assert names.index("new") < 40, "not behind the backlog"
        assert names.count("old") == 100


async def test_a_spool_is_sent_by_the_next_sender_each_batch_once(certificates: Path, tmp_path: Path) -> None:
    spool = SpoolSettings(directory=tmp_path / "spool")
    async with QuicCollector(certificates) as collector:
        collector.silent = True  # it stores, and nobody hears of it
        first = Sender(transport(certificates, collector.address), delivery=PLAIN, spool=spool)
        await first.start()
        for _ in range(30):
            first.offer(batch(2))
        await asyncio.sleep(0)
        await first.stop(drain_secs=0)
        collector.speak()
        answers: list[SenderEvent] = []
        second = Sender(
            transport(certificates, collector.address), delivery=PLAIN, spool=spool, on_event=answers.append
        )
        await second.start()
        second.offer(batch(2))
        async with asyncio.timeout(30):
            await second.drained()
        await second.stop()
        assert len(collector.books.stored) == 31
        assert len({epoch for epoch, _ in collector.books.stored}) == 1
        told = sorted(event.sequence for event in answers if isinstance(event, Answered))
        assert told == sorted(sequence for _, sequence in collector.books.stored)


async def test_a_dead_collector_is_left_alone_while_the_next_one_works(certificates: Path) -> None:
    async with QuicCollector(certificates) as second:
        dead = Address("127.0.0.1", _unused_port())
        changes = {"backoff_min_secs": 5.0, "backoff_max_secs": 5.0, "connect_timeout_secs": 0.5}
        async with running(transport(certificates, dead, second.address, **changes)) as (sender, events):
            await until(lambda: sender.stats.connected_to == str(second.address))
            assert sender.stats.collectors == {str(dead): "open", str(second.address): "closed"}
            assert [event.endpoint for event in events if isinstance(event, ConnectFailed)] == [str(dead)]


def _unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_heartbeat_that_comes_while_connecting_is_not_left_to_the_next(certificates: Path) -> None:
    async with QuicCollector(certificates) as collector:
        collector.silent = True
        async with running(transport(certificates, collector.address)) as (sender, _):
            await until(lambda: collector.books.seen)
            heartbeat = {"worker_id": "node-1", "cpu_usage": 0.5, "memory_usage": 0.5, "gpu_usage": -1.0}
            sender.heartbeat(Heartbeat(timestamp_unix_ns=1, **heartbeat))  # type: ignore[arg-type]  # as named
            collector.speak()
            await until(lambda: collector.books.heartbeats)
            assert len(collector.books.heartbeats) == 1
