"""`python -m benches.peers [--build] [--seconds S] [--rounds N] [--only CASE…] [--json PATH]`.

Every case once a round, in turns; the medians are printed as a table for docs/benchmarks.md, which has the method.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benches.figures import processor, sync_ms
from benches.peers import programs
from benches.peers.cases import OURS, OURS_ACKNOWLEDGED_WHEN, PEERS, WRITERS
from benches.peers.result import Run, markdown
from benches.peers.run import LOAD_CPU, payloads_of, run_ours, run_peer


def titles() -> dict[str, str]:
    """What the table calls the cases."""
    kept = {"none": "journal alone", "parquet": "Parquet", "parquet,influxdb": "Parquet and VictoriaMetrics, lines"}
    assert set(kept) == set(WRITERS.values())
    ours = {name: f"ours, {transport} → {kept[writers]}" for name, (transport, writers) in OURS.items()}
    return {**{name: case.title for name, case in PEERS.items()}, **ours}


def measure(only: list[str], seconds: float, rounds: int, path: Path | None) -> list[Run]:
    """Runs every case that is wanted, and says how each went. What was measured so far is in the file at any time."""
    os.sched_setaffinity(0, {LOAD_CPU})
    encoded = {case.peer.title: payloads_of(case) for name, case in PEERS.items() if name in only}
    runs = []
    for number in range(1, rounds + 1):
        for name in only:
            if name in OURS:
                run = run_ours(name, seconds)
            else:
                run = run_peer(name, encoded[PEERS[name].peer.title], seconds)
            print(
                f"round {number} of {rounds}, {name}: {run.points_per_sec:,.0f} points/s, "
                f"{run.acknowledged:,} acknowledged, stored {run.stored}, {run.retried} put off",
                file=sys.stderr,
            )
            runs.append(run)
            if path is not None:
                path.write_text(json.dumps([asdict(run) for run in runs], indent=2))
    return runs


def main() -> None:
    """Builds where that is wanted, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="store_true", help=f"first build the peers into {programs.cache()}")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load, each run [20]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--only", nargs="+", choices=[*PEERS, *OURS], default=[*PEERS, *OURS], metavar="CASE")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    arguments = parser.parse_args()
    if arguments.build:
        programs.build()
    for program in (programs.telegraf(), programs.otelcol()):
        if not program.exists() and any(name in PEERS for name in arguments.only):
            parser.error(f"{program} is missing: --build makes it")
    machine = f"{processor()}, kernel {platform.release()}, one fdatasync {sync_ms():.2f} ms, load average "
    machine += " ".join(f"{average:.1f}" for average in os.getloadavg())
    runs = measure(arguments.only, arguments.seconds, arguments.rounds, arguments.json)
    when = {name: case.peer.acknowledged_when for name, case in PEERS.items()} | dict.fromkeys(
        OURS, OURS_ACKNOWLEDGED_WHEN
    )
    shown = titles()
    table = markdown(runs, when)
    for name, title in shown.items():
        table = table.replace(f"| {name} |", f"| {title} |")
    asked = subprocess.run(
        ["victoria-metrics", "-version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    database = asked.stdout.strip()
    print(f"{machine}\n{database}\n\n{table}")


if __name__ == "__main__":
    main()
