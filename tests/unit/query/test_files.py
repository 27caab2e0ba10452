"""Which hours of receipt a question about times of measurement has to read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import opened, publish

from telemetry_collector.query import AnswerTooLarge, files
from telemetry_collector.query.files import files_of

HOUR_NS = 3600 * 1_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    dataset = opened(tmp_path)
    for hour in range(10):
        publish(dataset, blocks_of(1, hour * 10, hour=HOUR + hour))
    dataset.close()
    return tmp_path


def hours(found: list[str]) -> list[int]:
    return [int(Path(path).parent.name.removeprefix("hour=")) for path in found]


@pytest.mark.parametrize(
    ("start", "end", "late_secs", "ahead_secs", "expected"),
    [
        (2 * HOUR_NS, 3 * HOUR_NS, 0, 0, [2]),
        (2 * HOUR_NS, 3 * HOUR_NS + 1, 0, 0, [2, 3]),
        (2 * HOUR_NS, 3 * HOUR_NS, 7200, 0, [2, 3, 4]),
        (2 * HOUR_NS, 3 * HOUR_NS, 0, 600, [1, 2]),
        (20 * HOUR_NS, 30 * HOUR_NS, 86_400, 600, []),
    ],
)
def test_late_and_early_points_are_looked_for_and_other_hours_are_not(
    root: Path, start: int, end: int, late_secs: int, ahead_secs: int, expected: list[int]
) -> None:
    begin = HOUR * HOUR_NS
    assert hours(files_of(root, begin + start, begin + end, late_secs, ahead_secs)) == expected


def test_only_published_parts_are_read(root: Path) -> None:
    (root / "date=2026-10-24" / "hour=01" / "stranger.parquet").touch()
    (root / "date=2026-10-24" / "hour=99").mkdir()
    (root / ".staging" / "x.part").touch()
    shutil.rmtree(root / "date=2026-10-24" / "hour=02")
    assert hours(files_of(root, HOUR * HOUR_NS, (HOUR + 5) * HOUR_NS, 0, 0)) == [0, 1, 3, 4]


def test_no_dataset_is_no_files(tmp_path: Path) -> None:
    assert files_of(tmp_path / "gone", 0, HOUR_NS, 0, 0) == []


def test_files_have_a_bound(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILES_MAX", 3)
    with pytest.raises(AnswerTooLarge, match="more than 3 files"):
        files_of(root, HOUR * HOUR_NS, (HOUR + 5) * HOUR_NS, 0, 0)
