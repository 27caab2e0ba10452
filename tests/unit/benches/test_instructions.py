"""A stage that takes a tenth more instructions than the committed baseline stops `make test`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benches import instructions
from benches.instructions import compare


def stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: dict[str, float], *arguments: str) -> bool:
    """Whether the tool ends with a failure, where a stage called "decode" has a baseline of 100."""
    baseline = tmp_path / "instructions.json"
    baseline.write_text(json.dumps({"rustc": "1.95.0", "instructions_a_point": {"decode": 100.0}}))
    monkeypatch.setattr(instructions, "BASELINE", baseline)
    monkeypatch.setattr(instructions, "count", lambda: now)
    monkeypatch.setattr(sys, "argv", ["instructions", *arguments])
    status = 0
    try:
        instructions.main()
    except SystemExit as stop:
        status = int(str(stop.code))
    return status == 1


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"decode": 111.0}, True),
        ({"decode": 109.0}, False),
        ({"decode": 100.0}, False),
        ({"decode": 50.0}, False),
        ({}, True),
        ({"decode": 100.0, "admit": 1.0}, True),
    ],
    ids=["+11 %", "+9 %", "as before", "half", "gone", "without a baseline"],
)
def test_more_than_a_tenth_more_or_an_unknown_stage_stops_it(
    counts: dict[str, float], expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert stopped(monkeypatch, tmp_path, counts) is expected


def test_what_became_much_better_asks_for_a_lower_baseline() -> None:
    better, same = compare({"decode": 89.0, "admit": 91.0}, {"decode": 100.0, "admit": 100.0})
    assert "make baseline" in better.verdict
    assert same.verdict == ""


def test_the_baseline_is_written_only_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = '{"rustc": "1.95.0", "instructions_a_point": {"decode": 100.0}}'
    assert stopped(monkeypatch, tmp_path, {"decode": 150.0})
    assert instructions.BASELINE.read_text() == before
    assert not stopped(monkeypatch, tmp_path, {"decode": 150.0}, "--update")
    written = json.loads(instructions.BASELINE.read_text())
    assert written["instructions_a_point"] == {"decode": 150.0}


def test_a_count_is_of_the_named_function_alone(tmp_path: Path) -> None:
    """A program in which the counted function takes next to nothing beside what surrounds it."""
    source, program = tmp_path / "instructions.rs", tmp_path / "instructions"
    source.write_text("""
        #[inline(never)]
        fn counted(turns: u64) -> u64 { (0..turns).fold(0, |sum, turn| std::hint::black_box(sum ^ turn)) }
        fn main() {
            std::hint::black_box((0..1_000_000_u64).fold(0, |sum, turn| std::hint::black_box(sum ^ turn)));
            std::hint::black_box(counted(std::hint::black_box(10_000)));
            println!("10000");
        }
    """)
    subprocess.run(["rustc", "--crate-name=instructions", "-O", "-o", program, source], check=True)
    assert 1 <= instructions.count_stage(program, "any") <= 20
