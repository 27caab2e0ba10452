"""Directories that a command looks into, named themselves or by the configuration of their collector; and how far it
is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from telemetry_collector.config import Config


class _Place(click.Path):
    """What is there and may not be looked at is told apart from what is not there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            Path(value).stat()
        except FileNotFoundError:
            pass
        except OSError as error:
            self.fail(f"{value} cannot be looked at: {(error.strerror or str(error)).lower()}", param, ctx)
        return super().convert(value, param, ctx)


Directory = _Place(path_type=Path, exists=True)


def journal_directory(place: Path) -> Path:
    """A directory as it is; of a configuration, its `journal.dir`."""
    return place if place.is_dir() else _configuration(place).journal.dir


def dataset_directory(place: Path) -> Path:
    """A directory as it is; of a configuration, its `parquet.output_dir`."""
    if place.is_dir():
        return place
    from telemetry_collector.writers.parquet import ParquetConfig

    section = _configuration(place).writers.get("parquet")
    if not isinstance(section, ParquetConfig):
        raise click.UsageError(f"{place} has no section parquet: name the dataset's directory")
    return section.output_dir


def dataset_directories(place: Path) -> list[Path]:
    """A directory as it is; of a configuration, those of points, traces and logs, as far as they are on."""
    if place.is_dir():
        from telemetry_collector.store.dataset import STAGING

        # An empty directory has no faults, and to say so of one that was meant to be another would be a lie.
        if not (place / STAGING).is_dir() and not any(place.glob("date=*")):
            raise click.ClickException(f"{place} holds no dataset: expected a collector's parquet.output_dir")
        return [place]
    from telemetry_collector.writers.parquet import ParquetConfig

    config = _configuration(place)
    points = config.writers.get("parquet")
    found = [points.output_dir] if isinstance(points, ParquetConfig) else []
    found += [section.output_dir for section in (config.traces, config.logs) if section.output_dir is not None]
    if not found:
        raise click.UsageError(f"{place} keeps no dataset: name its directory")
    return found


def _configuration(path: Path) -> Config:
    from telemetry_collector.config import WRITERS, DiscoveredSections, load

    return load(path, DiscoveredSections(WRITERS), check_files=False)


@contextmanager
def progress(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """What to call with how much is done of how much; shows a bar on standard error where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(text, total=None)
        yield lambda done, of: bars.update(task, completed=done, total=of)
