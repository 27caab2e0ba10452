"""Who is known, who is active, and what their JSON says, whatever happens in whatever order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from telemetry_collector.api.workers import registry
from telemetry_collector.api.workers.registry import INACTIVE_SECS, Taken, Workers
from telemetry_collector.api.workers.worker import Heartbeat, Worker, of_json
from telemetry_collector.clock import ManualClock

FORGET_SECS = 100.0
COUNT_MAX = 4


def heartbeat(worker_id: str = "a", timestamp: int = 0, **fields: Any) -> Heartbeat:
    given = {"cpu_usage": 0.25, "memory_usage": 0.5, "gpu_usage": -1.0, "running_tasks": [], **fields}
    return Heartbeat(worker_id=worker_id, node_id="node-1", timestamp_unix_ns=timestamp, **given)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workers(clock: ManualClock) -> Workers:
    return Workers(clock, count_max=COUNT_MAX, forget_secs=FORGET_SECS)


def test_a_worker_is_inactive_after_thirty_seconds_without_a_heartbeat(workers: Workers, clock: ManualClock) -> None:
    silent: list[str] = []
    workers.on_silent = lambda worker: silent.append(worker.worker_id)
    workers.take(heartbeat("a"))
    clock.advance(10)
    workers.take(heartbeat("b"))
    clock.advance(INACTIVE_SECS - 10 - 0.001)
    assert [worker.is_active for worker in workers.all().values()] == [True, True]
    clock.advance(0.001)
    assert json.loads(workers.map_as_json())["a"]["is_active"] is False
    assert json.loads(workers.map_as_json())["b"]["is_active"] is True
    assert silent == ["a"]
    workers.take(heartbeat("a"))
    assert workers.active == 2


def test_what_is_shown_has_the_fields_that_users_know(workers: Workers, clock: ManualClock) -> None:
    workers.take(
        heartbeat('a"\\\u2028\x1b', cpu_usage=1, gpu_usage=-5.0, running_tasks=[("7", "train", "ok", 1_500_000_000)])
    )
    shown = workers.one_as_json('a"\\\u2028\x1b')
    assert shown is not None
    assert json.loads(shown) == {
        "worker_id": 'a"\\\u2028\x1b',
        "cpu_usage": 1,
        "memory_usage": 0.5,
        "gpu_usage": -1.0,
        "running_tasks": [{"task_id": "7", "name": "train", "status": "ok", "started_unix_secs": 1.5}],
        "last_update": clock.unix_secs(),
        "is_active": True,
    }
    assert list(json.loads(shown)) == [
        *("worker_id", "cpu_usage", "memory_usage", "gpu_usage", "running_tasks", "last_update", "is_active"),
    ]


def test_an_older_heartbeat_is_a_sign_of_life_and_no_news(workers: Workers, clock: ManualClock) -> None:
    assert workers.take(heartbeat("a", 200, cpu_usage=0.2)) is Taken.NEWEST
    clock.advance(40)
    assert workers.take(heartbeat("a", 100, cpu_usage=0.1)) is Taken.OLDER
    assert workers.take(heartbeat("a", 200, cpu_usage=0.3)) is Taken.OLDER, "the very same again"
    worker = workers.get("a")
    assert worker is not None
    assert (worker.cpu_usage, worker.is_active, worker.last_update) == (0.2, True, clock.unix_secs())


def test_a_worker_whose_clock_was_ahead_is_heard_when_it_is_set_right(workers: Workers, clock: ManualClock) -> None:
    workers.take(heartbeat("a", clock.unix_ns() + 10**15, cpu_usage=0.1))
    clock.advance(1)
    assert workers.take(heartbeat("a", clock.unix_ns(), cpu_usage=0.2)) is Taken.NEWEST


def test_a_worker_long_silent_makes_room_and_an_unknown_one_without_room_is_ignored(
    workers: Workers, clock: ManualClock
) -> None:
    for name in "abcd":
        workers.take(heartbeat(name))
    clock.advance(INACTIVE_SECS)
    workers.take(heartbeat("a"))
    assert workers.take(heartbeat("e")) is Taken.NO_ROOM
    assert not workers.register("e")
    clock.advance(FORGET_SECS - INACTIVE_SECS)
    assert set(workers.all()) == {"a"}
    assert workers.take(heartbeat("e")) is Taken.NEWEST


def test_tasks_that_stay_are_kept_and_others_are_shown_at_once(workers: Workers, clock: ManualClock) -> None:
    def beat(cpu_usage: float, *tasks: tuple[str, str, str, int]) -> tuple[object, Any]:
        clock.advance(1)
        given = heartbeat("a", clock.unix_ns(), cpu_usage=cpu_usage, running_tasks=list(tasks))
        assert workers.take(given) is Taken.NEWEST
        worker, shown = workers.get("a"), json.loads(workers.one_as_json("a") or b"")
        assert worker is not None
        assert worker.cpu_usage == shown["cpu_usage"] == cpu_usage
        told = [(task["task_id"], task["name"], task["status"]) for task in shown["running_tasks"]]
        assert told == [task[:3] for task in worker.running_tasks] == [task[:3] for task in tasks]
        return worker.running_tasks, shown["running_tasks"]

    first = beat(0.1, ("1", "train", "ok", 5), ("2", '\u2028"', "", 0))
    second = beat(0.2, ("1", "train", "ok", 5), ("2", '\u2028"', "", 0))
    assert second[0] is first[0], "a thousand that stay cost nothing"
    assert second[1] == first[1]
    beat(0.3, ("1", "train", "done", 5), ("2", '\u2028"', "", 0))
    beat(0.4)
    beat(0.5, ("1", "train", "ok", 5))


def test_tasks_are_bounded_in_bytes_over_all_workers(
    workers: Workers, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "TASKS_BYTES_MAX", 2_000)
    tasks = [("x" * 600, "", "", 0)]
    for name in "abcd":
        assert workers.take(heartbeat(name, running_tasks=tasks)) is Taken.NEWEST
    assert [len(worker.running_tasks) for worker in workers.all().values()] == [1, 1, 0, 0]
    assert workers.tasks_dropped == 2
    workers.unregister("a")
    clock.advance(1)
    workers.take(heartbeat("c", running_tasks=tasks))
    assert len(workers.all()["c"].running_tasks) == 1, "there is room again"


def test_a_restart_judges_by_when_workers_were_last_heard_of(workers: Workers, clock: ManualClock) -> None:
    now = clock.unix_secs()
    ages = {"lately": 29.0, "not lately": 31.0, "long ago": FORGET_SECS, "from the future": -1_000.0}
    workers.restore(Worker(name, last_update=now - age) for name, age in ages.items())
    assert {name: worker.is_active for name, worker in workers.all().items()} == {
        "not lately": False,
        "lately": True,
        "from the future": True,
    }
    clock.advance(1)
    assert workers.active == 1
    clock.advance(29)
    assert workers.active == 0


@dataclass
class _Known:
    """A worker of the model."""

    seen_at: float
    timestamp: int = 0
    values: tuple[float, int] | None = None
    last_update: float = field(default=0.0)


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])


class Model(RuleBasedStateMachine):
    """A registry beside a plain dictionary that looks at everything each time."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.workers = Workers(self.clock, count_max=COUNT_MAX, forget_secs=FORGET_SECS)
        self.known: dict[str, _Known] = {}
        self.told: list[str] = []
        self.silent: list[str] = []
        self.workers.on_silent = lambda worker: self.told.append(worker.worker_id)

    def _forget(self) -> None:
        now = self.clock.monotonic()
        self.known = {name: known for name, known in self.known.items() if now - known.seen_at < FORGET_SECS}

    @rule(
        name=NAMES, ago_secs=st.integers(-50, 50), cpu=st.sampled_from([-1.0, 0.0, 0.5, 1.0]), tasks=st.integers(0, 3)
    )
    def beat(self, name: str, ago_secs: int, cpu: float, tasks: int) -> None:
        now = self.clock.unix_ns()
        given = [(str(number), "", "", 0) for number in range(tasks)]
        taken = self.workers.take(heartbeat(name, now - ago_secs * 10**9, cpu_usage=cpu, running_tasks=given))
        if name not in self.known and len(self.known) == COUNT_MAX:
            assert taken is Taken.NO_ROOM
            return
        known = self.known.setdefault(name, _Known(0))
        timestamp = min(now - ago_secs * 10**9, now)
        assert taken is (Taken.NEWEST if timestamp > known.timestamp else Taken.OLDER)
        if taken is Taken.NEWEST:
            known.timestamp, known.values = timestamp, (cpu, tasks)
        known.seen_at, known.last_update = self.clock.monotonic(), self.clock.unix_secs()

    @rule(name=NAMES)
    def register(self, name: str) -> None:
        room = name in self.known or len(self.known) < COUNT_MAX
        assert self.workers.register(name) == room
        if room:
            known = self.known.setdefault(name, _Known(0))
            known.seen_at, known.last_update = self.clock.monotonic(), self.clock.unix_secs()

    @rule(name=NAMES)
    def unregister(self, name: str) -> None:
        assert self.workers.unregister(name) == (self.known.pop(name, None) is not None)

    @rule(secs=st.sampled_from([0.5, 5.0, 29.5, 30.0, 60.0, 101.0]))
    def wait(self, secs: float) -> None:
        before = self.clock.monotonic()
        self.clock.advance(secs)
        now = self.clock.monotonic()
        self.silent += [
            name
            for name, known in sorted(self.known.items(), key=lambda item: item[1].seen_at)
            if before - known.seen_at < INACTIVE_SECS <= now - known.seen_at
        ]
        self._forget()
        self.workers.expire()

    @rule()
    def restart(self) -> None:
        """What is saved and restored at once is as it was, but nobody is told anew."""
        saved = [of_json(json.loads(shown), timestamp) for timestamp, shown in self.workers.snapshot()]
        self.workers = Workers(self.clock, count_max=COUNT_MAX, forget_secs=FORGET_SECS)
        self.workers.on_silent = lambda worker: self.told.append(worker.worker_id)
        self.workers.restore(saved)

    @invariant()
    def they_agree(self) -> None:
        now = self.clock.monotonic()
        found = self.workers.all()
        assert found.keys() == self.known.keys()
        assert json.loads(self.workers.map_as_json()).keys() == self.known.keys()
        assert len(self.workers) == len(self.known)
        assert sorted(self.told) == sorted(self.silent)
        for name, known in self.known.items():
            worker, shown = found[name], self.workers.one_as_json(name)
            assert worker == self.workers.get(name)
            assert shown is not None
            assert json.loads(shown) == json.loads(self.workers.map_as_json())[name]
            assert of_json(json.loads(shown), worker.timestamp_unix_ns) == _inactive(worker)
            assert worker.is_active == (now - known.seen_at < INACTIVE_SECS) == json.loads(shown)["is_active"]
            assert (worker.last_update, worker.timestamp_unix_ns) == (known.last_update, known.timestamp)
            assert known.values is None or (worker.cpu_usage, len(worker.running_tasks)) == known.values


def _inactive(worker: Worker) -> Worker:
    return replace(worker, is_active=False)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
