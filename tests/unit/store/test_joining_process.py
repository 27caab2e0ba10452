"""Compaction in a process of its own: that it does the same, and what becomes of an hour when that process does not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import names, opened, publish, staged, values
from tests.support.writing import JOURNAL_ID

from telemetry_collector.store.compaction import Compacted, Compactor, Failed, Joined, Stopped, Task
from telemetry_collector.store.dataset import Dataset
from telemetry_collector.store.format import POINTS
from telemetry_collector.store.joining_process import JoinerProcess, joined_answer, joined_of, task_line, task_of
from telemetry_collector.store.part import PartName, partition

LATER = (HOUR + 1) * 3600 + 100.0
BOUND_SECS = 30.0


def compactor(dataset: Dataset, joiner: JoinerProcess) -> Compactor:
    return Compactor(dataset, joiner, compression="snappy", file_bytes_max=1 << 30, period_secs=3600, settle_secs=20.0)


def saying(script: str, **settings: Any) -> JoinerProcess:
    """A process that speaks for itself."""
    return JoinerProcess(POINTS, command=(sys.executable, "-c", f"import os, sys, time\n{script}"), **settings)


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def waited_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + BOUND_SECS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Dataset]:
    """Two parts of an hour that is over."""
    dataset = opened(tmp_path)
    for start in (0, 10):
        publish(dataset, blocks_of(10, start, first=start))
    yield dataset
    dataset.close()
    assert children() == [], "nobody is left behind"


def test_hours_are_joined_by_one_process_that_is_gone_afterwards(dataset: Dataset) -> None:
    for start in (20, 30):
        publish(dataset, blocks_of(10, start, first=start, hour=HOUR + 1))
    round_ = compactor(dataset, JoinerProcess(POINTS)).run(LATER + 3600)
    assert next(round_) == Compacted(HOUR, files=2, into=1, rows=20)
    (first,) = children()
    assert first.nice() == 19, "everything else goes first"
    assert Path(f"/proc/{first.pid}/oom_score_adj").read_text().strip() == "1000"
    assert next(round_) == Compacted(HOUR + 1, files=2, into=1, rows=20)
    assert children() == [first]
    assert list(round_) == []
    assert children() == []
    assert names(dataset.root) == [str(PartName(JOURNAL_ID, 0, 20)), str(PartName(JOURNAL_ID, 20, 40))]
    assert values(dataset.root) == [float(value) for value in range(40)]


def test_none_is_started_for_an_hour_of_one_part_nor_for_one_that_was_looked_at(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    for start, end in ((0, 10), (20, 30)):
        publish(dataset, blocks_of(end - start, start, hour=HOUR))
    publish(dataset, blocks_of(10, 100, hour=HOUR + 1))
    started: list[Path] = []
    joiner = saying('print(\'{"joined": {"into": [], "replaced": [], "rows": 0}}\', flush=True)')
    join = joiner.join

    class Counting:
        def join(self, task: Task) -> Joined:
            started.append(task.directory)
            return join(task)

        rest, stop = joiner.rest, joiner.stop

    counting = Compactor(
        dataset, Counting(), compression="none", file_bytes_max=1 << 30, period_secs=3600, settle_secs=20.0
    )
    assert list(counting.run(HOUR * 3600 + 3000.0)) == [], "the hour is not over"
    assert started == []
    assert list(counting.run(LATER + 3600)) == []
    assert started == [tmp_path / partition(HOUR)], "the two do not touch, which only a look shows"
    assert list(counting.run(LATER + 3600)) == []
    assert len(started) == 1
    dataset.close()


def test_a_damaged_part_is_told_as_ever_and_costs_no_other_hour(dataset: Dataset) -> None:
    for start in (20, 30):
        publish(dataset, blocks_of(10, start, first=start, hour=HOUR + 1))
    damaged = dataset.root / partition(HOUR) / str(PartName(JOURNAL_ID, 10, 20))
    damaged.write_bytes(b"no parquet")
    failed, done = compactor(dataset, JoinerProcess(POINTS)).run(LATER + 3600)
    assert isinstance(failed, Failed)
    assert f"{damaged} cannot be read as a part" in str(failed.error)
    assert done == Compacted(HOUR + 1, files=2, into=1, rows=20)


def test_an_hour_removed_meanwhile_is_no_fault(dataset: Dataset) -> None:
    gone = saying('sys.stdin.readline(); print(\'{"gone": "a part"}\', flush=True)')
    assert list(compactor(dataset, gone).run(LATER)) == []


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("os.kill(os.getpid(), 9)", "the process that joins parts was killed, as the system does when memory runs out"),
        ("os.kill(os.getpid(), 15)", "the process that joins parts ended by SIGTERM"),
        ("sys.exit('out of luck')", "the process that joins parts ended with status 1: out of luck"),
        ("sys.stdin.readline(); raise MemoryError", "the process that joins parts ended with status 1: MemoryError"),
        ("print('hello', flush=True); time.sleep(60)", "the process that joins parts answered b'hello'"),
    ],
)
def test_a_process_that_dies_is_one_failed_hour_that_says_why(dataset: Dataset, script: str, cause: str) -> None:
    (failed,) = compactor(dataset, saying(script)).run(LATER)
    assert isinstance(failed, Failed)
    assert failed.hour == HOUR
    assert str(failed.error) == cause
    assert len(names(dataset.root)) == 2
    assert staged(dataset.root) == []


def test_after_one_that_died_the_next_hour_gets_another(dataset: Dataset) -> None:
    for start in (20, 30):
        publish(dataset, blocks_of(10, start, first=start, hour=HOUR + 1))
    compacting = compactor(dataset, JoinerProcess(POINTS))

    def kill(step: str) -> None:
        if step == "replace: exchange":
            for child in children():
                child.kill()

    dataset.step = kill
    first, second = compacting.run(LATER + 3600)
    assert first == Compacted(HOUR, files=2, into=1, rows=20), "it had done its part"
    assert isinstance(second, Failed)
    assert "was killed" in str(second.error)
    (third,) = compacting.run(LATER + 3600 + 300)
    assert third == Compacted(HOUR + 1, files=2, into=1, rows=20)


def test_one_that_cannot_be_started_is_a_failed_hour(dataset: Dataset, tmp_path: Path) -> None:
    absent = JoinerProcess(POINTS, command=(str(tmp_path / "absent"),))
    (failed,) = compactor(dataset, absent).run(LATER)
    assert isinstance(failed, Failed)
    assert "the process that joins parts cannot be started: " in str(failed.error)
    assert "absent" in str(failed.error)


def test_one_that_gets_nowhere_is_ended_however_much_it_complains(dataset: Dataset) -> None:
    script = "while True: print('still here', file=sys.stderr, flush=True); time.sleep(0.01)"
    (failed,) = compactor(dataset, saying(script, silence_secs_max=0.5)).run(LATER)
    assert isinstance(failed, Failed)
    assert str(failed.error) == "the process that joins parts got nowhere for 0.5 s, and was ended"


def test_what_it_says_is_in_the_log(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    said = "print('something odd', file=sys.stderr); print('x' * 5000, file=sys.stderr, flush=True)"
    (failed,) = compactor(dataset, saying(f"{said}; sys.exit(3)")).run(LATER)
    assert isinstance(failed, Failed)
    logged = capsys.readouterr().out
    assert "compaction_said" in logged
    assert "something odd" in logged
    assert "x" * 1001 not in logged


def test_stopping_ends_it_at_once_and_leaves_the_hour_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    joiner = saying("sys.stdin.readline(); time.sleep(600)")
    compacting = compactor(dataset, joiner)
    outcomes: list[object] = []
    running = threading.Thread(target=lambda: outcomes.extend(compacting.run(LATER)))
    running.start()
    waited_for(children)
    compacting.stop()
    running.join(BOUND_SECS)
    assert not running.is_alive()
    assert outcomes == []
    assert len(names(dataset.root)) == 2
    assert list(compacting.run(LATER)) == [], "and stays stopped"
    with pytest.raises(Stopped):
        joiner.join(Task(tmp_path, tmp_path / "staged", "none", 1, 3600, 0, None))


def test_it_ends_with_the_process_that_started_it_however_that_ends() -> None:
    module = "telemetry_collector.store.joining_child"
    script = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-P', '-m', '{module}', 'points', str(os.getpid())])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    # Tasks could still come: that there are no more is not what ends it.
    tasks, teller = os.pipe()
    with subprocess.Popen([sys.executable, "-c", script], stdin=tasks, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        waited_for(lambda: child.nice() == 19)
        parent.kill()
    waited_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    os.close(tasks)
    os.close(teller)


def test_tasks_and_answers_come_through_whatever_the_paths_are(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(bytes(tmp_path) + b'/\xff\n"'))
    task = Task(odd, odd / "staged", "zstd", 5, 60, 7, 6)
    assert task_line(task).count(b"\n") == 1
    assert task_of(task_line(task)) == task
    joined = Joined(("a",), frozenset({"b", "c"}), 3)
    assert joined_of(joined_answer(joined)) == joined
