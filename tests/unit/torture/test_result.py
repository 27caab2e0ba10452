"""What a run proves, and what it does not."""

from __future__ import annotations

from collections import Counter

from telemetry_collector.torture.audit import Audit
from telemetry_collector.torture.result import Result


def result(*, faults: int = 1, acknowledged: int = 100) -> Result:
    return Result(seed=1, directory=None, faults=Counter(kill=faults), audit=Audit(acknowledged=acknowledged))


def test_a_run_in_which_all_went_well_says_so() -> None:
    proven = result()
    assert proven.ok
    assert "nothing that was acknowledged is lost" in str(proven)


def test_a_run_that_ended_before_anything_was_done_proves_nothing() -> None:
    early = result(faults=0)
    assert not early.ok
    assert "NOTHING IS PROVEN" in str(early)


def test_neither_does_one_that_had_nothing_acknowledged_or_found_something_else() -> None:
    found = result()
    found.findings.append("a process ended by itself")
    for bad in (result(acknowledged=0), found):
        assert not bad.ok
        assert "NOT ALL IS WELL" in str(bad)
