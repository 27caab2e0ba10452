"""`telemetry-collector journal`: what a journal holds, and whether it is whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from telemetry_collector.cli.places import Directory, journal_directory, progress

_place = click.argument("place", metavar="DIR|CONFIG", type=Directory)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group(short_help="Look into a journal.")
def journal() -> None:
    """Look into a journal, of a collector that runs or of one that does not. Nothing is changed and no lock is taken;
    what is being written meanwhile is not taken for damage.

    DIR is the journal's directory, CONFIG the configuration of its collector.

    \b
    Examples:
      telemetry-collector journal inspect config.yaml
      telemetry-collector journal verify --json /var/lib/horizon/journal
    """


@journal.command(short_help="Show what a journal holds.")
@_place
@_as_json
def inspect(place: Path, as_json: bool) -> None:
    """Show a journal's segments, cursors, checkpoints, what was set aside and what is damaged."""
    found = _read(place)
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found)


@journal.command(short_help="Check every record of a journal.")
@_place
@_as_json
def verify(place: Path, as_json: bool) -> None:
    """Read every record, check it and decode it, and list what is damaged. Exits with 1 when something is."""
    found = _read(place)
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show_damage(found)
        _conclude(found)
    sys.exit(0 if found["ok"] else 1)


def _read(place: Path) -> dict[str, Any]:
    from telemetry_collector.pipeline.inspection import inspect_journal

    directory = journal_directory(place)
    with progress(f"reading {directory}") as told:
        return inspect_journal(directory, told)


def _show(found: dict[str, Any]) -> None:
    from telemetry_collector.cli.tables import moment, position, say, show

    say(
        f"journal {found['journal_id'] or 'of an unknown id'} in {found['directory']}, format {found['format_version']}"
    )
    show(
        "segments",
        ("base", "bytes", "records", "batches", "points", "begun (UTC)", "because", "ends"),
        (
            (
                *(position(item["base"]), item["bytes"], item["records"], item["batches"], item["points"]),
                *(moment(item["created_unix_secs"]), item["cause"], position(item["end"])),
            )
            for item in found["segments"]
        ),
    )
    show(
        "cursors",
        ("consumer", "position", "bytes behind"),
        ((item["consumer"], position(item["position"]), item["lag_bytes"]) for item in found["cursors"]),
    )
    show(
        "checkpoints",
        ("position", "bytes", "series", "identities", "epochs"),
        (
            (position(item["position"]), item["bytes"], item["series"], item["identities"], item["epochs"])
            for item in found["checkpoints"]
        ),
    )
    show(
        "set aside",
        ("file", "bytes", "position", "reason"),
        ((item["file"], item["bytes"], position(item["position"]), item["reason"]) for item in found["quarantine"]),
    )
    _show_damage(found)
    _conclude(found)


def _show_damage(found: dict[str, Any]) -> None:
    from telemetry_collector.cli.tables import position, show

    show(
        "damaged",
        ("file", "position", "bytes", "reason", ""),
        (
            (item["file"], position(item["position"]), item["bytes"], item["reason"], item["detail"] or "")
            for item in found["damage"]
        ),
    )


def _conclude(found: dict[str, Any]) -> None:
    from telemetry_collector.cli.tables import position, say

    contents = f"{found['batches']:,} batches, {found['points']:,} points"
    if found["payload"] == "not decoded":
        contents = "payload not decoded: not a collector's"
    say(
        f"{len(found['segments']):,} segments, {found['bytes']:,} bytes, {found['records']:,} records ({contents}); "
        f"ends at {position(found['end'])}"
    )
    if found["tail_bytes"]:
        say(f"{found['tail_bytes']:,} bytes behind the end: being written, or torn and cut at the next start")
    if found["ok"]:
        say("nothing is damaged")
    else:
        say(f"damaged places: {found['damaged']:,}, with {found['damaged_bytes']:,} bytes")
