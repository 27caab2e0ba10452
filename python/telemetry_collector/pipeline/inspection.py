"""Looks into a journal's directory, whether a collector has it open or not, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from telemetry_collector import _core
from telemetry_collector.errors import PermanentError


def inspect_journal(directory: Path, progress: Callable[[int, int], object] | None = None) -> dict[str, Any]:
    """Every record read and checked: files, contents and damage, under the names that docs/operations.md lists.

    `progress` is called with the bytes read and the bytes there are. PermanentError when there is no journal in the
    directory, JournalError when it cannot be read, holds two of them, or was written by a later version.
    """
    found = _core.inspect_journal(directory, progress)
    segments = found["segments"]
    if not (segments or found["checkpoints"] or found["cursors"] or found["damaged"]):
        raise PermanentError(f"{directory} holds no journal; expected a collector's journal.dir")
    totals = {name: sum(segment[name] for segment in segments) for name in ("bytes", "records", "batches", "points")}
    return {"directory": str(directory), "ok": not found["damaged"], **totals, **found}
