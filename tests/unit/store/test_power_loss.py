"""The machine goes out at any call of publishing, compacting and recovering, and forgets what was not synchronized.

What a reader then sees, and what the next process makes of it, is held against the journal, which keeps everything
behind the cursor that it has stored: no file is half there, no row is missing or there twice.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import joiner, opened, publish
from tests.support.power_loss import Killed, Record, recorded
from tests.support.writing import JOURNAL_ID

from telemetry_collector.clock import ManualClock
from telemetry_collector.store.compaction import Compactor, Failed
from telemetry_collector.store.dataset import REPLACED_KEPT_SECS, Dataset
from telemetry_collector.store.durable import sync_directory, sync_file
from telemetry_collector.store.verify import verify

PARTS = 6
PART_POINTS = 2
END = PARTS * PART_POINTS
OTHER_ID = "f" * 32
LATER = (HOUR + 100) * 3600.0
SEEDS = tuple(range(10))
"""Of what survives: nothing, everything, removals alone, and some of it in seven ways."""

Tree = dict[str, bytes | None]
Losses = dict[tuple[object, ...], tuple[Tree, int]]


def hour(start: int) -> int:
    """Three parts in the last hour of a day, three in the first of the next."""
    return HOUR + 23 + start // PART_POINTS // 3


def work(root: Path, cursor: int, record: Record | None = None) -> None:
    """What the writer does from its stored cursor on: recover, publish, store the cursor, compact."""
    clock = ManualClock()
    dataset = Dataset(root, JOURNAL_ID, key="parquet.output_dir", clock=clock)
    try:
        dataset.open()
        write(dataset, cursor, record)
        clock.advance(REPLACED_KEPT_SECS)
        dataset.remove_replaced()
    finally:
        dataset.close()  # as the kernel does when the process is killed


def write(dataset: Dataset, cursor: int, record: Record | None) -> None:
    for start in range(max(cursor, dataset.published_end), END, PART_POINTS):
        publish(dataset, blocks_of(PART_POINTS, start, hour=hour(start)))
        if record is not None:
            record.note(start + PART_POINTS)
    compactor = Compactor(
        dataset, joiner(dataset), compression="snappy", file_bytes_max=1 << 30, period_secs=3600, settle_secs=0
    )
    for outcome in compactor.run(LATER):
        if isinstance(outcome, Failed):
            raise outcome.error


def written(tree: Tree, root: Path) -> Path:
    root.mkdir()
    for name, content in tree.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
    return root


def seen(root: Path) -> list[int]:
    """The starts of the parts that a reader sees, each whole and once; not those of another journal."""
    report = verify([root])
    assert report.ok, report
    return [
        first + place - 1
        for names in report.names.values()
        for first, last, rows in names.ranges()
        for place in range(last - first + 1)
        if rows == PART_POINTS
    ]


def check(root: Path, cursor: int) -> None:
    """A reader sees everything before the cursor and no hole behind it; afterwards all of it is there."""
    starts = seen(root)
    assert starts == list(range(0, len(starts) * PART_POINTS, PART_POINTS))
    assert len(starts) * PART_POINTS >= cursor
    work(root, cursor)
    assert seen(root) == list(range(0, END, PART_POINTS))
    assert list((root / ".staging").iterdir()) == []


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A dataset in which another journal has a part in an hour that is to be compacted: it is carried along."""
    root = tmp_path / "begun"
    root.mkdir()
    dataset: Dataset = opened(root)
    publish(dataset, blocks_of(5, 1000, hour=hour(0)), journal_id=OTHER_ID)
    dataset.close()
    shutil.copytree(root, tmp_path / "pristine")
    return root


def losses(record: Record, seeds: tuple[int, ...], after: int = 0, left: Losses | None = None) -> Losses:
    """What is left of every crash, each different one once; only those that are not known yet are added."""
    left = {} if left is None else left
    for calls in range(after, len(record.calls) + 1):
        for seed in seeds:
            tree, cursor = record.crash(calls, seed + 17 * calls if seed > 2 else seed)
            # Names in the staging directory do not matter one by one; whether anything is there does.
            shown = {name: content for name, content in tree.items() if not name.startswith(".staging/")}
            key = (*sorted((name, hash(content)) for name, content in shown.items()), len(tree) > len(shown), cursor)
            left.setdefault(key, (tree, cursor))
    return left


@pytest.mark.slow
def test_a_power_loss_at_any_call_costs_nothing(begun: Path, tmp_path: Path) -> None:
    with recorded(begun) as record:
        work(begun, 0, record)
    left = losses(record, SEEDS)
    assert len(left) > 25, "crashes differ"
    again: list[Record] = []
    for number, (tree, cursor) in enumerate(left.values()):
        root = written(tree, tmp_path / str(number))
        if number % 10:
            check(root, cursor)
        else:
            with recorded(root) as recovery:
                recovery.note(cursor)
                check(root, cursor)
            again.append(recovery)
    for which, recovery in enumerate(again):
        for number, (tree, cursor) in enumerate(list(losses(recovery, SEEDS[2:5], after=1).values())[::6]):
            check(written(tree, tmp_path / f"again-{which}-{number}"), cursor)


@pytest.mark.slow
def test_a_power_loss_after_a_kill_costs_nothing(begun: Path, tmp_path: Path) -> None:
    """What the killed process did not synchronize its successor finds, builds on, and must synchronize itself."""
    with recorded(begun) as record:
        work(begun, 0, record)
    left: Losses = {}
    for kill_at in range(1, len(record.calls)):
        root = shutil.copytree(tmp_path / "pristine", tmp_path / f"killed-{kill_at}")
        with recorded(root) as record:
            record.kill_at = kill_at
            with pytest.raises(Killed):
                work(root, 0, record)
            record.kill_at = None
            work(root, record.noted, record)
        losses(record, (0, 2), kill_at, left)
        shutil.rmtree(root)
    for number, (tree, cursor) in enumerate(left.values()):
        check(written(tree, tmp_path / str(number)), cursor)


def test_the_model_forgets_what_was_not_synchronized(tmp_path: Path) -> None:
    with recorded(tmp_path) as record:
        (tmp_path / "hour").mkdir()
        sync_directory(tmp_path)
        named = len(record.calls)
        with (tmp_path / "hour" / "part").open("wb") as sink:
            sink.write(b"bytes")
        sync_file(tmp_path / "hour" / "part")
        stable = len(record.calls)
        sync_directory(tmp_path / "hour")
    part = {"hour": None, "hour/part": b"bytes"}
    assert record.crash(0, 0)[0] == {}
    assert record.crash(named, 0)[0] == record.crash(stable, 0)[0] == {"hour": None}
    assert record.crash(stable, 1)[0] == record.crash(stable + 1, 0)[0] == part
    halves = [record.crash(stable - 1, seed)[0].get("hour/part") for seed in range(40)]
    assert set(halves) == {None, b"", b"by", b"bytes"}
