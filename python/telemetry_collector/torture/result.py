"""What a run found."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from telemetry_collector.torture.audit import EXAMPLES_MAX, Audit


@dataclass
class Result:
    """The counts, and examples of everything that should not be."""

    seed: int
    directory: str | None
    """Where the files are; None once they are removed."""
    seconds: float = 0.0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Everything that was done, by kind."""
    recoveries_secs: list[float] = field(default_factory=list)
    """From each blow until everything that it hit was at work again and every agent was answered anew."""
    audit: Audit = field(default_factory=Audit)
    unwritten: int = 0
    """Points in a dataset that the database beside it was never given."""
    undelivered: int = 0
    """Batches that were still in a spool when everything had been quiet for a long time."""
    reads: int = 0
    """Files that a reader read whole while all this went on."""
    findings: list[str] = field(default_factory=list)
    """What else should not be: processes that ended by themselves, reads that failed, what did not recover."""

    @property
    def ok(self) -> bool:
        """Nothing lost, doubled or unreadable, and nothing else wrong, although something was done to it."""
        audit = self.audit
        wrong = (audit.lost, audit.doubled, audit.unreadable, audit.mixed, self.findings)
        # What an agent had not got to its disk dies with it. Before what it had, nothing may be missing, unless the
        # bound of its spool was reached, and then it is counted.
        missing = audit.holes > audit.dropped.total()
        proves = audit.acknowledged > 0 and self.faults.total() > 0
        return proves and not any((*wrong, missing, self.unwritten, self.undelivered))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        audit, recoveries = self.audit, self.recoveries_secs
        return {
            "ok": self.ok,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "kills": self.kills,
            "faults": self.faults.total(),
            "faults_by_kind": dict(sorted(self.faults.items())),
            "acknowledged": audit.acknowledged,
            "lost": len(audit.lost),
            "doubled": len(audit.doubled),
            "doubled_across": audit.doubled_across,
            "unreadable": len(audit.unreadable),
            "mixed": len(audit.mixed),
            "rows": audit.rows,
            "files": audit.files,
            "refused": audit.refused,
            "dropped_points": dict(audit.dropped),
            "missing_points": audit.holes,
            "unwritten_points": self.unwritten,
            "undelivered_batches": self.undelivered,
            "files_read_meanwhile": self.reads,
            "recovery_seconds": {
                "p50": round(median(recoveries), 3) if recoveries else None,
                "max": round(max(recoveries), 3) if recoveries else None,
            },
            "findings": [*self.examples()],
            "directory": self.directory,
        }

    def examples(self) -> list[str]:
        """Some of each kind of what is wrong."""
        audit = self.audit
        kinds = {
            "lost": audit.lost,
            "doubled": audit.doubled,
            "unreadable": audit.unreadable,
            "mixed": audit.mixed,
            "finding": self.findings,
        }
        return [f"{kind}: {text}" for kind, texts in kinds.items() for text in texts[:EXAMPLES_MAX]]

    def __str__(self) -> str:
        told = self.as_dict()
        audit, recoveries = self.audit, [value or 0.0 for value in told["recovery_seconds"].values()]
        verdict = (
            "nothing that was acknowledged is lost, nothing is stored twice, every file is whole"
            if self.ok
            else "NOT ALL IS WELL"
            if self.faults.total()
            else "NOTHING IS PROVEN: it ended before anything was done to it"
        )
        return "\n".join(
            (
                f"tortured for {self.seconds:.0f} s with seed {self.seed}"
                + (f", in {self.directory}" if self.directory else ""),
                f"  kills                {self.kills:>10,}   of {told['faults']:,} faults: "
                + ", ".join(f"{count} {kind}" for kind, count in told["faults_by_kind"].items()),
                f"  batches acknowledged {audit.acknowledged:>10,}   {audit.rows:,} rows in {audit.files:,} files",
                f"  lost                 {len(audit.lost):>10,}",
                f"  doubled              {len(audit.doubled):>10,}   within a dataset"
                f" ({audit.doubled_across:,} are in two datasets after a fail-over, under one name)",
                f"  unreadable files     {len(audit.unreadable):>10,}   {self.reads:,} were read whole meanwhile",
                f"  missing points       {audit.holes:>10,}   that an agent had spooled before later ones",
                f"  not in the database  {self.unwritten:>10,}   points of the datasets",
                f"  still in spools      {self.undelivered:>10,}   batches",
                f"  recovery             {recoveries[0]:>10.2f}   s (median), worst {recoveries[1]:.2f} s",
                *(f"  {text}" for text in self.examples()),
                verdict,
            )
        )


def as_json(result: Result) -> str:
    """One line."""
    return json.dumps(result.as_dict())
