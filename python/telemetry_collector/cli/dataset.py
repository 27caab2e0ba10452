"""`telemetry-collector dataset`: whether a dataset is whole, and what is in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry_collector.cli.places import Directory, dataset_directories, progress

if TYPE_CHECKING:
    from telemetry_collector.store.verify import Report


@click.group(short_help="Look into a dataset.")
def dataset() -> None:
    """Look into the Parquet files that a collector writes. Nothing is changed, and the collector may go on writing.

    \b
    Examples:
      telemetry-collector dataset verify config.yaml
      telemetry-collector dataset verify --json /var/lib/horizon/telemetry
    """


@dataset.command(short_help="Read every file; find doubles and gaps.")
@click.argument("places", metavar="DIR|CONFIG…", type=Directory, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(places: tuple[Path, ...], as_json: bool) -> None:
    """Read every file whole and count batches and points by identity and epoch. Exits with 1 when a file cannot be
    read or is in the wrong place, or when a batch is stored twice.

    DIR is a dataset's directory, CONFIG the configuration of its collector, whose datasets of traces and logs are read
    as well. Of several datasets, batches that are in
    more than one are counted apart: after a fail-over there may be some.
    """
    from telemetry_collector.store.verify import verify as verify_datasets

    directories = [directory for place in places for directory in dataset_directories(place)]
    with progress("reading") as told:
        report = verify_datasets(directories, told)
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        _show(report)
    sys.exit(0 if report.ok else 1)


def _show(report: Report) -> None:
    from telemetry_collector.cli.tables import say, show

    show(
        "senders",
        ("identity", "epoch", "batches", "points", "first", "last", "not stored between"),
        (
            # An epoch is a random number: without separators.
            (item.identity, str(item.epoch), item.batches, item.points, item.first, item.last, item.gaps)
            for item in report.identities
        ),
    )
    for title, faults in (
        ("cannot be read", report.unreadable),
        ("in the wrong hour", report.misplaced),
        ("claims what another file claims", report.overlapping),
    ):
        show(title, ("file", "reason"), ((item.path, item.reason) for item in faults))
    show(
        "stored more than once",
        ("identity", "epoch", "sequence", "copies", "rows"),
        ((item.identity, str(item.epoch), item.sequence, item.copies, item.rows) for item in report.doubled),
    )
    show("no collector's", ("path",), ((path,) for path in report.unknown))
    say(f"{report.files:,} files, {report.file_bytes:,} bytes, {report.rows:,} rows in {', '.join(report.paths)}")
    if report.staged:
        say(f"{len(report.staged):,} staged files: being written, or left over where no collector runs")
    if len(report.paths) > 1:
        say(
            f"{report.across_batches:,} batches are in more than one dataset; a merge drops {report.across_rows:,} rows"
        )
    if report.ok:
        say("every file can be read, nothing is stored twice")
    else:
        say(
            f"{len(report.unreadable):,} unreadable, {len(report.misplaced):,} misplaced and "
            f"{len(report.overlapping):,} overlapping files; {report.doubled_batches:,} batches doubled, "
            f"{report.doubled_rows:,} rows too many"
        )
