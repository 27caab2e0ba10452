"""What readers see, what a next process finds, and what publishing does when it meets a fault."""

import errno
import os
import threading
from pathlib import Path

import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import names, opened, publish, values
from tests.support.waiting import PATIENCE_SECS
from tests.support.writing import JOURNAL_ID

from telemetry_collector.errors import ConfigError, RetryableError
from telemetry_collector.store.part import PartName, partition

OTHER_ID = "f" * 32


def test_a_published_part_stands_in_its_hour_under_its_range(tmp_path: Path) -> None:
    path = publish(opened(tmp_path), blocks_of(10, 5, hour=HOUR + 31))
    assert path == tmp_path / partition(HOUR + 31) / f"{JOURNAL_ID}-{5:016x}-{15:016x}.parquet"
    assert values(tmp_path) == [float(value) for value in range(10)]
    assert list((tmp_path / ".staging").iterdir()) == []


def test_the_next_process_finds_the_greatest_end_of_its_own_journal(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    assert dataset.published_end == 0
    publish(dataset, blocks_of(10, 0))
    publish(dataset, blocks_of(10, 10, hour=HOUR + 1))
    publish(dataset, blocks_of(10, 1000), journal_id=OTHER_ID)
    (tmp_path / partition(HOUR) / "notes.parquet").touch()
    assert dataset.published_end == 20
    dataset.close()
    assert opened(tmp_path).published_end == 20


def test_what_is_staged_is_garbage_to_the_next_process(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    (dataset.staging / "left").mkdir()
    (dataset.staging / "left" / "part.parquet").write_text("half")
    (dataset.staging / "00000001.part").write_text("half")
    dataset.close()
    assert list(opened(tmp_path).staging.iterdir()) == []


def test_no_range_is_published_twice(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    publish(dataset, blocks_of(10, 0))
    with pytest.raises(FileExistsError):
        publish(dataset, blocks_of(10, 0, first=100))
    assert values(tmp_path) == [float(value) for value in range(10)]


def test_an_hour_that_someone_removed_is_made_again(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    publish(dataset, blocks_of(1, 0)).unlink()
    (tmp_path / partition(HOUR)).rmdir()
    publish(dataset, blocks_of(1, 1, first=7))
    assert values(tmp_path) == [7.0]


def test_parents_are_synced_once_a_partition_and_again_after_each_start(tmp_path: Path) -> None:
    steps: list[str] = []
    dataset = opened(tmp_path, steps.append)
    for start in range(3):
        publish(dataset, blocks_of(1, start))
    assert steps.count("publish: sync parents") == 1
    dataset.close()
    dataset.open()
    publish(dataset, blocks_of(1, 3))
    assert steps.count("publish: sync parents") == 2


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(ConfigError, match=r"parquet\.output_dir"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_a_directory_that_cannot_be_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"parquet.output_dir = .*/file/data: cannot be used: not a directory"):
        opened(tmp_path / "file" / "data")
    with pytest.raises(ConfigError, match=r"parquet.output_dir = .*/file: cannot be used: file exists; expected a dir"):
        opened(tmp_path / "file")


def test_a_full_disk_is_no_mistake_but_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(RetryableError, match="no space left"):
            opened(tmp_path / "data")
    opened(tmp_path / "data").close()


def test_replacing_carries_along_what_was_published_meanwhile(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    old = publish(dataset, blocks_of(10, 0))
    (old.parent / "notes.txt").write_text("someone else's")
    whole = dataset.stage(".hour")
    whole.mkdir()
    os.link(old, whole / str(PartName(JOURNAL_ID, 0, 50)))
    late = publish(dataset, blocks_of(5, 50, first=100))
    dataset.replace(HOUR, whole, {old.name})
    assert names(tmp_path) == sorted([str(PartName(JOURNAL_ID, 0, 50)), late.name])
    assert (old.parent / "notes.txt").read_text() == "someone else's"
    assert list(dataset.staging.iterdir()) == [whole], "whoever was listing the old directory may go on"


def test_closing_waits_for_an_exchange_that_is_under_way_and_none_begins_after_it(tmp_path: Path) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    order: list[str] = []

    def held_up(step: str) -> None:
        if step == "replace: exchange":
            begun.set()
            assert goes_on.wait(PATIENCE_SECS)
        order.append(step)

    def close() -> None:
        dataset.close()
        order.append("closed")

    dataset = opened(tmp_path, held_up)
    old = publish(dataset, blocks_of(10, 0))
    whole, unused = (dataset.stage(".hour") for _ in range(2))
    whole.mkdir()
    os.link(old, whole / str(PartName(JOURNAL_ID, 0, 50)))
    replacing = threading.Thread(target=dataset.replace, args=(HOUR, whole, {old.name}))
    closing = threading.Thread(target=close)
    replacing.start()
    assert begun.wait(PATIENCE_SECS)
    closing.start()
    # Did it not wait, the next owner would throw the staged hour away while it takes the place of the old one.
    closing.join(0.2)
    goes_on.set()
    for thread in (replacing, closing):
        thread.join(PATIENCE_SECS)
    assert order[-2:] == ["replace: sync parent", "closed"]
    successor = opened(tmp_path)
    assert len(values(tmp_path)) == 10
    with pytest.raises(OSError, match="was closed"):
        dataset.replace(HOUR, unused, set())
    assert successor.stage(".hour").name != unused.name, "what either stages is no other's"


def test_opening_again_finds_a_part_whose_publisher_failed_half_way(tmp_path: Path) -> None:
    def fail(step: str) -> None:
        if step == "publish: sync directory":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    dataset = opened(tmp_path, fail)
    with pytest.raises(OSError, match="Input/output"):
        publish(dataset, blocks_of(10, 0))
    assert dataset.published_end == 0
    dataset.open()
    assert dataset.published_end == 10
