"""Changed files are noticed when they have come to rest, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.waiting import until

from telemetry_collector.app.watch import LOOK_SECS, REST_SECS, changed, stamps
from telemetry_collector.clock import ManualClock


class Watch:
    """One that is under way, of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.task = asyncio.create_task(changed(stamps([path]), self.clock))

    async def looks(self, times: int = 1) -> None:
        """It has looked so many times more, or has ended."""
        for _ in range(times):
            await until(lambda: self.clock.sleepers or self.task.done())
            self.clock.advance(LOOK_SECS)
        await until(lambda: self.clock.sleepers or self.task.done())

    async def notices(self) -> bool:
        """Whether it does, when the file is left alone for long."""
        await self.looks(int(3 * REST_SECS / LOOK_SECS))
        return self.task.done()


@pytest.fixture
async def watch(tmp_path: Path) -> Watch:
    path = tmp_path / "file"
    path.write_text("one")
    return Watch(path)


async def test_a_file_that_stays_as_it_is_is_never_reported(watch: Watch) -> None:
    await watch.looks(50)
    assert not watch.task.done()
    watch.task.cancel()


async def test_a_file_that_grows_is_reported_only_when_it_has_come_to_rest(watch: Watch) -> None:
    for size in range(20):
        watch.path.write_text("x" * size)
        await watch.looks()
        assert not watch.task.done()
    assert await watch.notices()


async def test_a_file_that_is_replaced_by_one_alike_is_reported(watch: Watch) -> None:
    aside = watch.path.with_name("aside")
    aside.write_text("one")
    aside.replace(watch.path)
    assert await watch.notices()


async def test_a_file_that_disappears_and_one_that_comes_into_being_are_reported(tmp_path: Path) -> None:
    gone, new = tmp_path / "gone", tmp_path / "new"
    gone.touch()
    watches = [Watch(gone), Watch(new)]
    gone.unlink()
    new.touch()
    assert [await watch.notices() for watch in watches] == [True, True]


async def test_a_link_to_another_directory_is_a_change_of_the_files_in_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("alike")
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "file").symlink_to("data/file")
    watch = Watch(tmp_path / "file")
    (tmp_path / "aside").symlink_to("two")
    (tmp_path / "aside").rename(tmp_path / "data")
    assert await watch.notices()


async def test_what_was_changed_back_before_it_rested_is_reported_too(watch: Watch) -> None:
    """Its time of writing is another: nobody can tell from outside that the bytes are the same."""
    watch.path.write_text("two")
    await watch.looks()
    watch.path.write_text("one")
    assert await watch.notices()
