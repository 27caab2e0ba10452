"""`telemetry-collector bench` as a user starts it: what it prints, and that it can say no."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from telemetry_collector.bench import Plan, run_bench
from telemetry_collector.bench.children import CollectorChild
from telemetry_collector.bench.site import Site
from telemetry_collector.loopback import free_port

PATIENCE_SECS = 60.0
KEYS = {
    *("points_per_s", "cpu_s_per_million", "wire_bytes_per_point", "stored_bytes_per_point", "ack_ms"),
    *("resident_mb", "acknowledged", "stored", "verified"),
}
"""What programs that run it rely on."""


def run(*options: str) -> tuple[int | None, str, str]:
    """Its exit code, standard output and standard error."""
    command = [sys.executable, "-m", "telemetry_collector", "bench", *options]
    process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECS, check=False)
    return process.returncode, process.stdout, process.stderr


def test_a_load_at_a_rate_is_stored_whole_and_told_as_json(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    code, output, errors = run(
        *("--agents", "3", "--series", "20", "--batch-points", "100", "--rate", "20000", "--seconds", "2"),
        *("--json", "--keep", str(directory)),
    )
    assert code == 0, errors
    told = json.loads(output)
    assert set(told) >= KEYS
    assert set(told["ack_ms"]) == {"p50", "p99", "p999"}
    assert told["acknowledged"] == told["stored"] == pytest.approx(40_000, rel=0.1)
    assert (told["verified"], told["findings"], told["refused"]) == (True, [], 0)
    figures = (told[name] for name in KEYS - {"ack_ms", "verified"})
    assert all(figure > 0 for figure in (*figures, *told["ack_ms"].values()))
    files = f"{directory}/parquet/date=*/hour=*/*.parquet"
    query = f"SELECT count(*), count(DISTINCT node_id), count(DISTINCT name) FROM '{files}'"  # a test's own path
    with duckdb.connect() as connection:
        assert connection.execute(query).fetchone() == (told["stored"], 3, 20)


def test_relays_flat_out_into_the_journal_alone(tmp_path: Path) -> None:
    code, output, errors = run(
        *("--agents", "6", "--connections", "2", "--writers", "none", "--seconds", "0.5", "--form", "row"),
        *("--data-dir", str(tmp_path)),
    )
    assert code == 0, errors
    assert "verified: what was acknowledged is stored" in output
    assert list(tmp_path.iterdir()) == [], "where all was well, no files stay"


def test_a_database_of_its_own_is_asked_how_much_it_took(tmp_path: Path) -> None:
    code, output, errors = run(
        *("--agents", "2", "--series", "10", "--batch-points", "50", "--rate", "4000", "--seconds", "0.5", "--json"),
        *("--writers", "parquet,influxdb", "--data-dir", str(tmp_path)),
    )
    assert code == 0, errors
    told = json.loads(output)
    assert told["acknowledged"] == told["stored"] == told["delivered_database"] > 0


def test_idle_connections_are_counted_and_nothing_is_stored(tmp_path: Path) -> None:
    code, output, errors = run(
        *("--agents", "20", "--rate", "0", "--seconds", "0.5", "--json"), *("--data-dir", str(tmp_path))
    )
    assert code == 0, errors
    told = json.loads(output)
    assert (told["acknowledged"], told["stored"], told["verified"], told["connections"]) == (0, 0, True, 20)
    assert told["handshakes_per_s"] > 0


def without_a_part(dataset: Path) -> None:
    next(dataset.glob("date=*/hour=*/*.parquet")).unlink()


def with_a_part_twice(dataset: Path) -> None:
    part = next(dataset.glob("date=*/hour=*/*.parquet"))
    name, end = part.stem.rsplit("-", 1)
    part.with_name(f"{name}-{int(end, 16) + 1:016x}.parquet").write_bytes(part.read_bytes())


@pytest.mark.parametrize("spoil", [without_a_part, with_a_part_twice])
def test_a_dataset_that_is_not_what_was_acknowledged_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None]
) -> None:
    plan = Plan(agents=2, series=10, batch_points=50, rate=5_000, seconds=0.5)
    code = run_bench(plan, data_dir=tmp_path, keep=None, as_json_wanted=True, at_rest=spoil)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == 1
    assert told["verified"] is False
    assert told["findings"]
    assert Path(told["directory"]).is_dir(), "the files stay for whoever wants to know"


def test_what_cannot_be_asked_for_is_told_at_once(tmp_path: Path) -> None:
    code, output, errors = run("--agents", "2", "--connections", "3", "--data-dir", str(tmp_path))
    assert (code, output) == (2, "")
    assert "--connections 3: expected 1 to the number of agents, 2\n" in errors
    assert list(tmp_path.iterdir()) == []


async def test_somebody_elses_collector_is_verified_where_its_dataset_can_be_read(tmp_path: Path) -> None:
    site = await asyncio.to_thread(Site, tmp_path / "theirs", Plan(agents=1))
    (own,) = site.credentials()
    port, metrics_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    site.configure(port, metrics_port, None)
    collector = CollectorChild(site.document, metrics_port, site.collector_log)
    await collector.start()
    try:
        target = ["--target", f"127.0.0.1:{port}", "--cert", str(own.certificate), "--key", str(own.key)]
        options = [*target, "--ca", str(site.authority), "--agents", "1", "--seconds", "0.3", "--json"]
        code, output, errors = await asyncio.to_thread(run, *options, "--data-dir", str(tmp_path))
        told = json.loads(output)
        assert (code, told["verified"]) == (1, None), errors
        assert told["acknowledged"] > 0
        assert [told[name] for name in ("stored", "resident_mb", "cpu_s_per_million", "stored_bytes_per_point")] == (
            [None] * 4
        )
        code, output, errors = await asyncio.to_thread(run, *options, "--dataset", str(site.dataset))
        assert code == 0, errors + output
        assert json.loads(output)["verified"] is True
        (tmp_path / "other").mkdir()
        code, output, errors = await asyncio.to_thread(run, *options, "--dataset", str(tmp_path / "other"))
        assert code != 0
        assert "no collector has written there" in errors
    finally:
        await collector.abort()
