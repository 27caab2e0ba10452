"""Lanes: who encodes what, how much waits, when a free lane takes over, and in which order parts become visible."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.component import ArrowRecordBatch, ArrowSchema
from telemetry_collector.store import lanes as lanes_module
from telemetry_collector.store.encoding import PartFile
from telemetry_collector.store.lanes import BATCHES_MAX, LANES_MAX, Lane, Lanes, usable_lanes

ROWS = 5
"""Of each batch."""

GROUP_ROWS = 10


class GatedPart(PartFile):
    """A part that goes on only when it is let, one step for each batch and one for the end."""

    def __init__(self, path: Path, schema: ArrowSchema) -> None:
        super().__init__(path, schema, "snappy")
        self.steps = threading.Semaphore(0)
        self.encoded = 0
        self.threads: set[int] = set()
        self.faulty: str | None = None

    def let(self, steps: int = 100) -> None:
        self.steps.release(steps)

    def add(self, rows: ArrowRecordBatch) -> None:
        self._step("add")
        super().add(rows)
        self.encoded += 1

    def finish(self) -> int:
        self._step("finish")
        return super().finish()

    def _step(self, name: str) -> None:
        assert self.steps.acquire(timeout=PATIENCE_SECS), "the test has forgotten the lane"
        self.threads.add(threading.get_ident())
        if self.faulty == name:
            raise OSError(28, "No space left on device")


class World:
    """Lanes over gated parts, and what they published."""

    def __init__(
        self,
        root: Path,
        count: int,
        *,
        open_gates: bool = False,
        file_bytes_max: int = 1 << 30,
        faulty: tuple[int, str] | None = None,
    ) -> None:
        """`faulty` is the place of a part, and the step at which its disk is full."""
        self.parts: list[GatedPart] = []
        self.published: list[tuple[int, int]] = []
        self._root = root
        self._open_gates = open_gates
        self._faulty = faulty
        self.lanes = Lanes(self._create, self._publish, count=count, file_bytes_max=file_bytes_max, name="test-lane")
        self.taken = 0
        self.hour = HOUR

    def take(self) -> None:
        """The next batch of rows."""
        start = self.taken * ROWS
        self.lanes.take(blocks_of(ROWS, start).record_batch(), self.hour, start + ROWS)
        self.taken += 1

    def has_encoded(self, batches: int) -> bool:
        return self.parts[0].encoded == batches

    def staged(self) -> list[Path]:
        return [part.path for part in self.parts if part.path.exists()]

    def _create(self, rows: ArrowRecordBatch) -> GatedPart:
        part = GatedPart(self._root / f"{len(self.parts)}.part", rows.schema)
        if self._faulty is not None and self._faulty[0] == len(self.parts):
            part.faulty = self._faulty[1]
        self.parts.append(part)
        if self._open_gates:
            part.let()
        return part

    def _publish(self, lane: Lane) -> None:
        assert lane.file_bytes == lane.path.stat().st_size
        self.published.append((lane.start, lane.end))


def lane_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("test-lane")]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lanes_module, "ROW_GROUP_ROWS", GROUP_ROWS)
    yield
    assert lane_threads() == [], "every test ends its lanes"


def test_there_are_as_many_as_processors_to_use_but_four(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, lanes in ((1, 1), (2, 2), (64, LANES_MAX)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, processors=processors: set(range(processors)))
        assert usable_lanes() == lanes


def test_one_lane_is_no_thread(tmp_path: Path) -> None:
    world = World(tmp_path, 1, open_gates=True)
    for _ in range(5):
        world.take()
        assert lane_threads() == []
    assert [part.encoded for part in world.parts] == [5], "and has one part until the flush"
    assert world.lanes.flush() == 25
    assert world.published == [(0, 25)]
    assert world.parts[0].threads == {threading.get_ident()}


async def test_rows_are_taken_while_others_are_encoded_and_so_many_wait_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "ROW_GROUP_ROWS", 1_000)
    world = World(tmp_path, 2)
    waiting: list[int] = []

    def take() -> None:
        for _ in range(BATCHES_MAX + 3):
            world.take()
            waiting.append(world.taken - world.parts[0].encoded)

    taking = asyncio.create_task(asyncio.to_thread(take))
    await until(lambda: len(waiting) == BATCHES_MAX)
    world.parts[0].let(1)
    await until(lambda: len(waiting) == BATCHES_MAX + 1)
    world.parts[0].let()
    await taking
    assert max(waiting) == BATCHES_MAX
    assert len(world.parts) == 1
    world.lanes.discard()


def test_a_free_lane_takes_over_at_a_row_group_from_one_that_has_enough_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    for _ in range(GROUP_ROWS // ROWS):
        world.take()
    assert len(world.parts) == 1, "a part has at least a row group"
    world.take()
    assert len(world.parts) == 2
    for part in world.parts:
        part.let()
    assert world.lanes.flush() == 15
    assert world.published == [(0, 10), (10, 15)]
    assert [part.rows for part in world.parts] == [10, 5]
    assert not world.parts[0].threads & world.parts[1].threads, "each has its own thread"


async def test_a_lane_that_keeps_up_goes_on_with_its_part(tmp_path: Path) -> None:
    world = World(tmp_path, 2, open_gates=True)
    for taken in range(1, 7):
        world.take()
        await until(partial(world.has_encoded, taken))
    assert world.lanes.flush() == 30
    assert world.published == [(0, 30)]


async def test_no_more_parts_are_in_the_making_than_there_are_lanes(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    for hour in (HOUR, HOUR + 1):
        world.hour = hour
        world.take()
    world.hour = HOUR + 2
    taking = asyncio.create_task(asyncio.to_thread(world.take))
    world.parts[0].let()
    world.parts[1].let()
    await until(lambda: len(world.parts) == 3)
    assert world.published[:1] == [(0, 5)], "the third has the lane of the first"
    world.parts[2].let()
    await taking
    assert world.lanes.flush() == 15
    assert world.published == [(0, 5), (5, 10), (10, 15)]


async def test_a_part_is_published_after_all_before_it_whichever_is_finished_first(tmp_path: Path) -> None:
    world = World(tmp_path, 3)
    for hour in (HOUR, HOUR + 1, HOUR + 2):
        world.hour = hour
        world.take()
    flushing = asyncio.create_task(asyncio.to_thread(world.lanes.flush))
    for part in world.parts[1:]:
        part.let()
    await until(lambda: all(_is_whole(part.path) for part in world.parts[1:]))
    assert world.published == []
    world.parts[0].let()
    assert await flushing == 15
    assert world.published == [(0, 5), (5, 10), (10, 15)]


async def test_what_is_finished_is_published_with_the_next_rows(tmp_path: Path) -> None:
    world = World(tmp_path, 2, file_bytes_max=1, open_gates=True)
    world.take()
    await until(lambda: world.parts[0].encoded == 1)
    world.lanes.take(blocks_of(0, 5).record_batch(), HOUR, 6)
    await until(lambda: _is_whole(world.parts[0].path))
    while not world.published:
        world.lanes.take(blocks_of(0, 6).record_batch(), HOUR, 6)
    assert world.published == [(0, 6)], "a file that has its size does not wait for the flush"
    world.lanes.discard()


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("step", ["add", "finish"])
def test_behind_a_fault_nothing_is_published_and_nothing_is_left(tmp_path: Path, lanes: int, step: str) -> None:
    world = World(tmp_path, lanes, open_gates=True, faulty=(2, step))

    def fill() -> None:
        for _ in range(5):
            world.take()
            world.hour += 1
        world.lanes.flush()

    with pytest.raises(OSError, match="No space left"):
        fill()
    world.lanes.discard()
    assert world.published == [(0, 5), (5, 10)][: len(world.published)]
    published = len(world.published)
    assert world.staged() == [part.path for part in world.parts[:published]], "those are moved, elsewhere"
    world.lanes.begin(published * ROWS)
    assert world.lanes.flush() == published * ROWS, "and it can begin anew"


def test_giving_up_leaves_no_file_and_publishes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    for _ in range(3):
        world.take()
    assert len(world.staged()) == 2
    for part in world.parts:
        part.let()
    world.lanes.discard()
    assert world.staged() == []
    assert world.published == []


def _is_whole(path: Path) -> bool:
    return path.read_bytes()[-4:] == b"PAR1" and path.stat().st_size > 4
