"""Whether the dataset holds exactly what was acknowledged: each batch once, whole, with the points that were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from telemetry_collector.bench.fingerprint import TEXTS, of_stored
from telemetry_collector.bench.frames import Lane
from telemetry_collector.bench.load import LaneAnswers
from telemetry_collector.store.verify import Report, verify

FINDINGS_MAX: Final = 20
"""Examples that are told; all count."""
_NAME: Final = ("epoch", "sequence")
_ROWS_AT_A_TIME: Final = 1 << 20


@dataclass
class Verification:
    """What was found."""

    rows: int = 0
    files: int = 0
    file_bytes: int = 0
    wrong: int = 0
    """Batches, files and rows that are not as they should be."""
    findings: list[str] = field(default_factory=list)

    def find(self, text: str, count: int = 1) -> None:
        """Something is not as it should be."""
        self.wrong += count
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return self.wrong == 0


def verify_dataset(
    root: Path,
    lanes: Sequence[Lane],
    answers: Sequence[LaneAnswers],
    progress: Callable[[int, int], object] | None = None,
    *,
    others_rows: bool = False,
) -> Verification:
    """Reads the dataset twice: once for whether it is whole, once for what the batches' rows hold.

    `others_rows`: the dataset may hold batches of others, too.
    """
    found = Verification()
    if not root.is_dir():
        if any(lane_answers.sent for lane_answers in answers):
            found.find(f"{root} is no directory: nothing was stored")
        return found
    report = verify([root], progress)
    found.rows, found.files, found.file_bytes = report.rows, report.files, report.file_bytes
    for fault in (*report.unreadable, *report.misplaced, *report.overlapping):
        found.find(f"{fault.path}: {fault.reason}")
    if report.doubled_batches:
        first = report.doubled[0]
        found.find(f"{report.doubled_batches} batches are stored twice, {first.sequence} of {first.identity} first",
                   report.doubled_batches)  # fmt: skip
    expected = 0
    for lane, told in zip(lanes, answers, strict=True):
        expected += _compare(found, report, lane, told)
    ours = {(lane.identity, lane.epoch) for lane in lanes}
    strangers = [sender for sender in report.identities if (sender.identity, sender.epoch) not in ours]
    if others_rows:
        found.rows -= sum(sender.points for sender in strangers)
    elif strangers:
        found.find(f"{strangers[0].points} rows of {strangers[0].identity} in epoch {strangers[0].epoch}, which nobody "
                   "has sent", len(strangers))  # fmt: skip
    if found.rows != expected and found.ok:
        found.find(f"{found.rows} rows, and {expected} points were acknowledged")
    if not report.unreadable:
        _compare_contents(found, root, lanes, answers)
    return found


def _compare(found: Verification, report: Report, lane: Lane, told: LaneAnswers) -> int:
    """A lane's batches by their names and numbers of rows; returns the rows that there should be."""
    names = report.names.get((lane.identity, lane.epoch))
    expected = 0
    for sequence in range(1, told.sent + 1):
        rows = 0 if names is None else names.rows_of(sequence)
        if sequence in told.unanswered:
            found.find(f"batch {sequence} of {lane.identity} was never answered; {rows} rows of it are stored")
            continue
        should = _points(lane, told, sequence)
        expected += should
        if rows != should:
            found.find(f"batch {sequence} of {lane.identity}: {should} points acknowledged, {rows} rows stored")
    if names is not None and names.batches and names.last[-1] > told.sent:
        found.find(f"batch {names.last[-1]} of {lane.identity} is stored and was never sent")
    return expected


def _points(lane: Lane, told: LaneAnswers, sequence: int) -> int:
    return told.exceptions.get(sequence, lane.prepared(sequence).content.points)


def _compare_contents(found: Verification, root: Path, lanes: Sequence[Lane], answers: Sequence[LaneAnswers]) -> None:
    by_epoch = {lane.epoch: (lane, told) for lane, told in zip(lanes, answers, strict=True)}
    sums = [_sums(rows) for rows in _rows(root)]
    if not sums:
        return
    # A batch's rows may stand in two row groups.
    total = pa.concat_tables(sums).group_by(_NAME).aggregate([("fingerprint_sum", "sum")])
    columns = (total[name].to_pylist() for name in (*_NAME, "fingerprint_sum_sum"))
    for epoch, sequence, fingerprint in zip(*columns, strict=True):
        lane, told = by_epoch.get(epoch, (None, None))
        if lane is None or told is None or sequence > told.sent or sequence in told.exceptions:
            continue  # a stranger's, which was found before; or in part, and then nobody knows which part
        if fingerprint != lane.prepared(sequence).content.fingerprint:
            found.find(f"batch {sequence} of {lane.identity} holds other points than were sent")


def _rows(root: Path) -> Iterator[pa.RecordBatch]:
    columns = [*_NAME, *TEXTS, "value", "timestamp"]
    for path in sorted(root.glob("date=*/hour=*/*.parquet")):
        with pq.ParquetFile(path, read_dictionary=list(TEXTS)) as file:
            yield from file.iter_batches(_ROWS_AT_A_TIME, columns=columns)


def _sums(rows: pa.RecordBatch) -> pa.Table:
    columns = {**{name: rows.column(name) for name in _NAME}, "fingerprint": of_stored(rows)}
    return pa.table(columns).group_by(_NAME).aggregate([("fingerprint", "sum")])
