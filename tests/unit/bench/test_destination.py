"""A dataset that the target does not write is told within seconds, not when everything is over."""

from pathlib import Path

import pytest

from telemetry_collector.bench.destination import BEGUN_SECS_MAX, Destination
from telemetry_collector.bench.plan import PlanError
from telemetry_collector.errors import TelemetryCollectorError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".staging").mkdir()
    (tmp_path / "date=2026-01-01/hour=00").mkdir(parents=True)
    (tmp_path / "date=2026-01-01/hour=00/old.parquet").touch()
    return tmp_path


def test_a_directory_that_no_collector_has_opened_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"--dataset .*: no collector has written there"):
        Destination(tmp_path)


def test_one_in_which_nothing_is_begun_is_told_seconds_after_the_first_acknowledgement(root: Path) -> None:
    destination = Destination(root)
    destination.look(0, 0.0)
    destination.look(0, 100.0)
    destination.look(1, 101.0)
    destination.look(5, 100.9 + BEGUN_SECS_MAX)
    with pytest.raises(TelemetryCollectorError, match=r"--dataset .* no file is begun there"):
        destination.look(5, 101.0 + BEGUN_SECS_MAX)


@pytest.mark.parametrize("name", [".staging/1-00000001.part", "date=2026-01-01/hour=00/new.parquet"])
def test_a_file_in_the_making_or_a_new_one_is_enough(root: Path, name: str) -> None:
    destination = Destination(root)
    destination.look(1, 0.0)
    (root / name).touch()
    destination.look(1, 5.0)
    (root / name).unlink()
    destination.look(1, 1_000.0)


def test_a_file_that_was_in_the_making_before_leaves_it_to_the_end(root: Path) -> None:
    (root / ".staging/1-00000001.part").touch()
    destination = Destination(root)
    for moment in (0.0, 1_000.0):
        destination.look(1, moment)
