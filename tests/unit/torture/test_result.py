"""What a run proves, and what it does not."""

from __future__ import annotations

from collections import Counter

from telemetry_collector.torture.audit import Audit
from telemetry_collector.torture.result import Result


def test_a_run_that_ended_before_anything_was_done_proves_nothing() -> None:
    result = Result(seed=1, directory=None, audit=Audit(acknowledged=100))
    assert not result.ok
    assert "NOTHING IS PROVEN" in str(result)

    result.faults = Counter(kill=1)
    assert result.ok
    assert "nothing that was acknowledged is lost" in str(result)

    result.findings.append("a process ended by itself")
    assert not result.ok
    assert "NOT ALL IS WELL" in str(result)
