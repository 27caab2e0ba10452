"""Instructions a point of each stage of the core, counted by valgrind, beside those of a committed baseline.

`python -m benches.instructions` prints a table, and fails when a stage takes over 10 % more than `instructions.json`
says, or is missing on either side; with `--update` it writes that file anew. Unlike times, counts are the same on a
busy machine and on an idle one: valgrind runs one thread at a time, on a processor that it makes up.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
BASELINE = Path(__file__).with_name("instructions.json")
CHANGE_MAX = 0.10
"""A stage that takes more than so much more fails; one that takes so much less asks for a new baseline."""
COUNTED = "*instructions*counted*"
"""The function of benches/rust/instructions.rs whose instructions are counted, with all that it calls."""
STAGE_SECS_MAX = 120.0

# Both packages are named so that dependencies get the features that the extension's build gives them, and are not built
# a second time.
BUILD = (
    *("cargo", "build", "--quiet", "--release", "--locked"),
    *("--package", "telemetry-core", "--package", "telemetry-bindings", "--bin", "instructions"),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """Instructions a point, now and at the baseline; None where there is no count."""

    name: str
    now: float | None
    baseline: float | None

    @property
    def change(self) -> float | None:
        """0.1 is a tenth more than the baseline."""
        if self.now is None or not self.baseline:
            return None
        return self.now / self.baseline - 1

    @property
    def verdict(self) -> str:
        """What is wrong with it, if anything."""
        if self.now is None:
            return "no such stage: run `make baseline`"
        if self.change is None:
            return "no baseline: run `make baseline`"
        if self.change > CHANGE_MAX:
            return f"over +{CHANGE_MAX:.0%}"
        if self.change < -CHANGE_MAX:
            return "better: run `make baseline` to keep it"
        return ""

    @property
    def fails(self) -> bool:
        """Whether it is reason enough to stop."""
        return self.change is None or self.change > CHANGE_MAX


def compare(now: Mapping[str, float], baseline: Mapping[str, float]) -> list[Stage]:
    """Every stage of either, in the order of the counts."""
    return [Stage(name, now.get(name), baseline.get(name)) for name in dict.fromkeys((*now, *baseline))]


def count() -> dict[str, float]:
    """Instructions a point of every stage, as many stages at a time as there are processors."""
    program = _build()
    named = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        return dict(zip(named, executor.map(lambda stage: count_stage(program, stage), named), strict=True))


def _build() -> Path:
    # A processor's own instructions would make the counts its own.
    environment = {name: value for name, value in os.environ.items() if name not in ("RUSTFLAGS", "CARGO_BUILD_TARGET")}
    subprocess.run(BUILD, check=True, cwd=ROOT, env=environment)
    return Path(environment.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "instructions"


def count_stage(program: Path, stage: str) -> float:
    """Instructions a point of a stage that the program runs; RuntimeError when there is nothing to count."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind.out"
        command = [
            *("valgrind", "--quiet", "--tool=callgrind", f"--toggle-collect={COUNTED}"),
            *(f"--callgrind-out-file={out}", str(program), stage),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=STAGE_SECS_MAX)
        if ran.returncode != 0:
            raise RuntimeError(f"{stage}: valgrind ended with {ran.returncode}:\n{ran.stderr}")
        counted = re.search(r"^totals: (\d+)$", out.read_text(), re.MULTILINE)
    if counted is None or not int(counted[1]):
        raise RuntimeError(f"{stage}: nothing was counted; is {COUNTED} still a function of {program.name}?")
    return int(counted[1]) / int(ran.stdout)


def compiler() -> str:
    """The version of rustc, which decides about counts as much as the sources do."""
    return subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]


def show(stages: list[Stage], rustc: str, baseline_rustc: str) -> None:
    """Prints the table."""
    table = Table(title=f"Instructions a point · rustc {rustc}, baseline by {baseline_rustc}")
    for heading in ("stage", "now", "baseline", "change", ""):
        table.add_column(heading, justify="right" if heading in ("now", "baseline", "change") else "left")
    for stage in stages:
        counts = ("" if one is None else f"{one:,.1f}" for one in (stage.now, stage.baseline))
        table.add_row(stage.name, *counts, "" if stage.change is None else f"{stage.change:+.1%}", stage.verdict)
    Console(width=130).print(table)


def main() -> None:
    """Counts and compares, or counts and writes the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help=f"write {BASELINE.name}")
    update = parser.parse_args().update
    known: dict[str, Any] = json.loads(BASELINE.read_text())
    counts, rustc = count(), compiler()
    stages = compare(counts, known["instructions_a_point"])
    show(stages, rustc, known["rustc"])
    if update:
        rounded = {name: round(value, 2) for name, value in counts.items()}
        BASELINE.write_text(json.dumps({"rustc": rustc, "instructions_a_point": rounded}, indent=2) + "\n")
    elif any(stage.fails for stage in stages):
        sys.exit(1)


if __name__ == "__main__":
    main()
