"""The manager as the core, the disk and whoever asks see it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.virtual_time import LoopClock, in_virtual_time

from telemetry_collector.api.workers import Heartbeat, TelemetryManager, Worker
from telemetry_collector.api.workers import manager as module
from telemetry_collector.api.workers.manager import SAVE_SECS, TURN_SECS
from telemetry_collector.api.workers.saved import SavedWorkers

State = tuple[str, str, float, float, float, int, int]
TURN = TURN_SECS + 0.01


class Core:
    """The two calls that the manager makes of the core."""

    def __init__(self) -> None:
        self.waiting: list[Heartbeat] = []
        self.stored: list[State] = []
        self.asked: list[int] = []

    def hand_on(self, count_max: int) -> list[Heartbeat]:
        self.asked.append(count_max)
        handed, self.waiting = self.waiting[:count_max], self.waiting[count_max:]
        return handed

    def store(self, states: Sequence[State], now_unix_ns: int) -> None:
        assert now_unix_ns > 0
        self.stored += states


class Stand:
    """A manager and what is around it; made inside the loop."""

    def __init__(self, path: Path | None = None, **settings: Any) -> None:
        self.core = Core()
        self.clock = LoopClock()
        self.registry = CollectorRegistry()
        self.manager = TelemetryManager(
            path, hand_on=self.core.hand_on, store=self.core.store, registry=self.registry, clock=self.clock, **settings
        )

    def beat(self, worker_id: str = "a", timestamp: int = 0, **fields: Any) -> Heartbeat:
        given = {"cpu_usage": 0.25, "memory_usage": 0.5, "gpu_usage": -1.0, "running_tasks": [], **fields}
        return Heartbeat(worker_id=worker_id, node_id="n", timestamp_unix_ns=timestamp or self.clock.unix_ns(), **given)

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"telemetry_collector_{name}", labels) or 0.0


def test_heartbeats_come_from_the_core_and_go_back_to_it_as_metrics() -> None:
    async def main() -> None:
        stand = Stand()
        await stand.manager.start()
        stand.core.waiting = [stand.beat("a", 7, running_tasks=[("1", "", "", 0)]), stand.beat("b", 8)]
        await asyncio.sleep(TURN)
        assert set(stand.manager.get_all()) == {"a", "b"}
        assert stand.core.stored == [("a", "n", 0.25, 0.5, -1.0, 1, 7), ("b", "n", 0.25, 0.5, -1.0, 0, 8)]
        assert stand.counted("workers", state="active") == 2
        assert stand.counted("worker_heartbeats_handled_total") == 2
        await stand.manager.shutdown()

    in_virtual_time(main())


def test_the_same_heartbeat_again_is_not_stored_again() -> None:
    async def main() -> None:
        stand = Stand()
        await stand.manager.start()
        for _ in range(2):
            stand.core.waiting = [stand.beat("a", 7)]
            await asyncio.sleep(TURN)
        assert len(stand.core.stored) == 1
        await stand.manager.shutdown()

    in_virtual_time(main())


async def test_one_that_is_ended_while_it_starts_stays_ended(tmp_path: Path) -> None:
    stand = Stand(tmp_path / "workers.json")
    starting = asyncio.create_task(stand.manager.start())
    await asyncio.sleep(0)
    assert not starting.done(), "it waits for the file"
    await stand.manager.shutdown()
    await starting
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert stand.core.asked == []


def test_a_flood_is_taken_in_parts_and_within_one_turn() -> None:
    async def main() -> None:
        stand = Stand()
        await stand.manager.start()
        stand.core.waiting = [stand.beat(f"w{number}") for number in range(1_200)]
        await asyncio.sleep(TURN)
        assert len(stand.manager.get_all()) == len(stand.core.stored) == 1_200
        assert stand.core.asked[-3:] == [module.TAKEN_AT_ONCE_MAX] * 3
        await stand.manager.shutdown()

    in_virtual_time(main())


def test_thirty_seconds_of_silence_are_told_and_shown() -> None:
    async def main() -> None:
        told: list[tuple[str, bool]] = []
        stand = Stand(on_update=lambda worker: told.append((worker.worker_id, worker.is_active)))
        await stand.manager.start()
        assert stand.manager.process_heartbeat(stand.beat("a"))
        assert told == [("a", True)]
        await asyncio.sleep(29.9)
        worker = stand.manager.get("a")
        assert worker is not None
        assert worker.is_active
        await asyncio.sleep(0.5)
        assert told == [("a", True), ("a", False)], "nobody had to ask"
        assert json.loads(stand.manager.one_as_json("a") or b"")["is_active"] is False
        assert stand.counted("workers", state="inactive") == 1
        await stand.manager.shutdown()

    in_virtual_time(main())


def test_what_is_told_of_updates_may_fail_without_harm() -> None:
    def broken(_worker: Worker) -> None:
        raise RuntimeError("no")

    async def main() -> None:
        stand = Stand(on_update=broken)
        assert stand.manager.process_heartbeat(stand.beat("a"))
        assert stand.manager.get("a") is not None
        assert stand.counted("worker_callbacks_failed_total") == 1

    in_virtual_time(main())


@pytest.mark.parametrize(
    "fields",
    [{"cpu_usage": 1.1}, {"memory_usage": float("nan")}, {"gpu_usage": float("inf")}, {"worker_id": ""},
     {"worker_id": "x" * 1_025}],
)  # fmt: skip
def test_what_is_no_heartbeat_is_ignored_and_counted(fields: dict[str, Any]) -> None:
    async def main() -> None:
        stand = Stand()
        assert not stand.manager.process_heartbeat(stand.beat(**fields))
        assert stand.manager.get_all() == {}
        assert stand.counted("worker_heartbeats_ignored_total", reason="invalid") == 1

    in_virtual_time(main())


def test_unknown_workers_without_room_are_ignored_and_counted() -> None:
    async def main() -> None:
        stand = Stand(workers_max=1)
        assert stand.manager.register("a")
        assert stand.manager.register("a")
        assert not stand.manager.register("b")
        assert not stand.manager.register("")
        assert not stand.manager.process_heartbeat(stand.beat("b"))
        assert stand.manager.process_heartbeat(stand.beat("a"))
        assert stand.counted("worker_heartbeats_ignored_total", reason="no_room") == 1
        assert stand.manager.unregister("a")
        assert not stand.manager.unregister("a")
        assert stand.manager.get("a") is None
        assert stand.manager.process_heartbeat(stand.beat("b"))

    in_virtual_time(main())


def test_heartbeats_that_wait_to_be_stored_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSTORED_MAX", 2)

    async def main() -> None:
        stand = Stand()
        await stand.manager.start()
        for name in "abc":
            assert stand.manager.process_heartbeat(stand.beat(name))
        await stand.manager.shutdown()
        assert [state[0] for state in stand.core.stored] == ["a", "b"]
        assert stand.counted("worker_heartbeats_unstored_total", reason="too_many") == 1

    in_virtual_time(main())


def test_a_restart_knows_who_was_there_and_judges_by_when(tmp_path: Path) -> None:
    path = tmp_path / "there" / "workers.json"

    async def first() -> None:
        stand = Stand(path)
        await stand.manager.start()
        stand.core.waiting = [stand.beat("early", 5)]
        await asyncio.sleep(25)
        # Only the core knows of it when the end comes.
        stand.core.waiting = [stand.beat("late", running_tasks=[("1", "train", "ok", 3 * 10**9)])]
        await stand.manager.shutdown()
        assert [state[0] for state in stand.core.stored] == ["early", "late"]
        await stand.manager.shutdown()

    async def second() -> None:
        stand = Stand(path)
        await asyncio.sleep(40)
        await stand.manager.start()
        found = stand.manager.get_all()
        assert {name: worker.is_active for name, worker in found.items()} == {"early": False, "late": True}
        assert found["late"].running_tasks == (("1", "train", "ok", 3 * 10**9),)
        assert 0 < found["late"].last_update - found["early"].last_update < 26
        stand.core.waiting = [stand.beat("early", 5)]
        await asyncio.sleep(TURN)
        assert stand.core.stored == [], "the same heartbeat again, over a restart"
        await stand.manager.shutdown()

    in_virtual_time(first())
    in_virtual_time(second())


def test_after_a_crash_a_heartbeat_of_before_it_is_not_stored_again(tmp_path: Path) -> None:
    """The file may be older than what was stored; a heartbeat of a batch that is sent again is one of before."""
    path = tmp_path / "workers.json"

    async def crashes() -> Heartbeat:
        stand = Stand(path)
        await stand.manager.start()
        sent = stand.beat("a")
        stand.core.waiting = [sent]
        await asyncio.sleep(TURN)
        assert len(stand.core.stored) == 1
        assert SavedWorkers(path).load() == ([], False)
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "workers"]
        task.cancel()
        return sent

    async def comes_back(sent: Heartbeat) -> None:
        stand = Stand(path)
        await asyncio.sleep(5)
        await stand.manager.start()
        stand.core.waiting = [sent]
        await asyncio.sleep(TURN)
        assert stand.manager.get("a") is not None, "a sign of life all the same"
        assert stand.core.stored == []
        assert stand.counted("worker_heartbeats_unstored_total", reason="before_a_crash") == 1
        stand.core.waiting = [stand.beat("a")]
        await asyncio.sleep(TURN)
        assert len(stand.core.stored) == 1
        for minutes in (0, 1):
            # One whose clock is an hour slow is not to go without metrics for an hour.
            await asyncio.sleep(60 * minutes)
            stand.core.waiting = [stand.beat("slow", stand.clock.unix_ns() - 3_600 * 10**9)]
            await asyncio.sleep(TURN)
            assert len(stand.core.stored) == 1 + minutes
        await stand.manager.shutdown()

    in_virtual_time(comes_back(in_virtual_time(crashes())))


def test_the_file_is_written_every_few_seconds_at_most_and_not_without_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "workers.json"
    saves: list[bool] = []
    really = SavedWorkers.save

    def counted(self: SavedWorkers, workers: Sequence[tuple[int, bytes]], *, complete: bool) -> None:
        saves.append(complete)
        really(self, workers, complete=complete)

    monkeypatch.setattr(SavedWorkers, "save", counted)

    async def main() -> None:
        stand = Stand(path)
        await stand.manager.start()
        for _ in range(50):
            assert stand.manager.process_heartbeat(stand.beat("a"))
            await asyncio.sleep(SAVE_SECS / 5)
        assert 9 <= len(saves) <= 12
        await asyncio.sleep(29)
        before = len(saves)
        await asyncio.sleep(600)
        assert len(saves) == before + 1, "that it is inactive is news, and then there is none"
        await stand.manager.shutdown()
        assert len(saves) == before + 2
        assert saves == [False] * (before + 1) + [True]

    in_virtual_time(main())


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other", "newer", "rows"])
async def test_a_damaged_file_is_set_aside_and_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "workers.json"
    first = TelemetryManager(path)
    await first.start()
    assert first.register("a")
    await first.shutdown()
    good = path.read_bytes()
    sound = SavedWorkers(path)
    assert [worker.worker_id for worker in sound.load().workers] == ["a"]
    if damage == "rows":
        sound.save([(1, b'{"worker_id": "a", "last_update": NaN}')], complete=True)
    else:
        path.write_bytes({
            "cut": good[:-3],
            "flipped": good.replace(b'"a"', b'"b"'),
            "empty": b"",
            "other": b"[]\n",
            "newer": good.replace(b'"format": 1', b'"format": 2'),
        }[damage])  # fmt: skip
    bad = path.read_bytes()

    registry = CollectorRegistry()
    again = TelemetryManager(path, registry=registry)
    await again.start()
    assert again.get_all() == {}
    assert sound.aside.read_bytes() == bad
    assert registry.get_sample_value("telemetry_collector_worker_files_damaged_total") == 1
    assert again.register("b")
    await again.shutdown()
    assert [worker.worker_id for worker in sound.load().workers] == ["b"]


async def test_a_disk_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    """A directory stands in the file's place: it can be neither read nor written."""
    path = tmp_path / "workers.json"
    path.mkdir()
    registry = CollectorRegistry()
    manager = TelemetryManager(path, registry=registry)
    await manager.start()
    assert manager.register("a")
    await manager.shutdown()
    assert manager.get("a") is not None
    assert registry.get_sample_value("telemetry_collector_worker_files_damaged_total") == 1
    assert registry.get_sample_value("telemetry_collector_worker_saves_failed_total") == 2


async def test_stopping_waits_for_a_save_under_way_and_writes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers at a time would tear the file."""
    began, go_on = asyncio.Event(), threading.Event()
    loop, writing = asyncio.get_running_loop(), threading.Semaphore(1)
    really = SavedWorkers.save

    def slow(self: SavedWorkers, workers: Sequence[tuple[int, bytes]], *, complete: bool) -> None:
        if not manager.get_all():
            return really(self, workers, complete=complete)
        assert writing.acquire(blocking=False), "one at a time"
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(30)
        really(self, workers, complete=complete)
        writing.release()
        return None

    monkeypatch.setattr(SavedWorkers, "save", slow)
    monkeypatch.setattr(module, "SAVE_SECS", 0.0)
    manager = TelemetryManager(tmp_path / "workers.json")
    await manager.start()
    assert manager.register("a")
    await asyncio.wait_for(began.wait(), 30)
    assert manager.register("b")
    stopping = asyncio.create_task(manager.shutdown())
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    await asyncio.wait_for(stopping, 30)
    saved = SavedWorkers(tmp_path / "workers.json").load()
    assert ({worker.worker_id for worker in saved.workers}, saved.complete) == ({"a", "b"}, True)


async def test_a_defect_in_one_turn_does_not_end_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECS", 0.001)
    calls = asyncio.Queue[int]()

    def broken(count_max: int) -> list[Heartbeat]:
        calls.put_nowait(count_max)
        if calls.qsize() == 1:
            raise RuntimeError("a defect")
        return []

    manager = TelemetryManager(hand_on=broken)
    await manager.start()
    await manager.start()
    async with asyncio.timeout(30):
        while calls.qsize() < 2:  # noqa: ASYNC110  # the turns are the manager's own
            await asyncio.sleep(0.001)
    await manager.shutdown()


async def test_stopping_is_safe_before_starting_and_starting_after_it_does_nothing(tmp_path: Path) -> None:
    manager = TelemetryManager(tmp_path / "workers.json")
    await manager.shutdown()
    await manager.start()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "workers"]
