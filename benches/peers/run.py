"""One run of one case: the collector on one processor, the load and the database on another."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benches.collector import database
from benches.peers.cases import OUR_FORM, OURS, PEERS, WRITERS, Case
from benches.peers.load import CONNECTIONS, Load, closed_loop, until_listening
from benches.peers.result import Run
from telemetry_collector.bench.reference import Fleet
from telemetry_collector.loopback import free_port

COLLECTOR_CPU = 0
LOAD_CPU = 1
NODES = 1_000
NODE_SERIES = 100
BATCH_POINTS = 1_000
START_SECS_MAX = 30.0
STALL_SECS = 15.0
"""A destination that got nothing for so long gets nothing more: the rest is lost."""
POLL_SECS = 0.05


def payloads_of(case: Case) -> list[bytes]:
    """A batch of every node."""
    fleet = Fleet(NODES, NODE_SERIES, BATCH_POINTS, start_ms=int(time.time() * 1_000) - 60_000)
    return [case.peer.encode(fleet.readings(number)) for number in range(NODES)]


def run_peer(name: str, payloads: Sequence[bytes], seconds: float) -> Run:
    """Sends to a peer until the time is up, and waits until it has delivered."""
    case = PEERS[name]
    with tempfile.TemporaryDirectory(prefix="peers-") as temporary:
        directory = Path(temporary)
        (directory / "files").mkdir()
        with _database_if(case.database, directory) as url:
            port = free_port(socket.SOCK_STREAM)
            command = case.peer.command(directory, port, case.files, url)
            log = directory / "peer.log"
            with log.open("wb") as output:
                pinned = ["taskset", "--cpu-list", str(COLLECTOR_CPU), *map(str, command)]
                process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            try:
                until_listening(port, START_SECS_MAX)
                times = psutil.Process(process.pid).cpu_times()
                before = times.user + times.system
                load = closed_loop(lambda: case.peer.connect(port), payloads, seconds)
                acknowledged = load.batches * BATCH_POINTS
                written = _written(url, acknowledged) if url else None
                resident_mb = _resident_mb(process.pid)
            except BaseException:
                sys.stderr.write(log.read_text(errors="replace")[-2_000:])
                raise
            finally:
                process.send_signal(signal.SIGTERM)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
        files = [path for path in (directory / "files").iterdir() if path.is_file()]
        stored, ends = [], [load.ended]
        if written:
            stored.append(written[0])
            ends.append(written[1])
        if case.files:
            stored.append(case.peer.rows(directory / "files"))
            ends.extend(path.stat().st_mtime for path in files)
        return Run(
            case=name,
            acknowledged=acknowledged,
            stored=tuple(stored),
            seconds=max(ends) - load.began,
            cpu_seconds=usage.ru_utime + usage.ru_stime - before,
            resident_mb=resident_mb,
            p50_ms=_quantile(load, 0.5),
            p99_ms=_quantile(load, 0.99),
            file_bytes=sum(path.stat().st_size for path in files) if case.files else None,
            retried=load.retried,
        )


@contextmanager
def _database_if(wanted: bool, directory: Path) -> Iterator[str | None]:
    if not wanted:
        yield None
        return
    with database(directory) as url:
        yield url


def _written(url: str, acknowledged: int) -> tuple[int, float]:
    """Rows that the database took, and when it had the last of them."""
    return drained(lambda: _rows(url), acknowledged, time.time, time.sleep)


def drained(
    rows: Callable[[], int], acknowledged: int, clock: Callable[[], float], sleep: Callable[[float], None]
) -> tuple[int, float]:
    """Asks for rows until all that was acknowledged is there or nothing more comes; how many, and when the last did."""
    found, last = -1, clock()
    while True:
        now_found = rows()
        if now_found > found:
            found, last = now_found, clock()
        if found >= acknowledged or clock() - last > STALL_SECS:
            return found, last
        sleep(POLL_SECS)


def _rows(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # loopback only
        samples = answer.read().decode().splitlines()
    return sum(int(line.rpartition(" ")[2]) for line in samples if line.startswith("vm_rows_inserted_total"))


def _resident_mb(pid: int) -> float:
    """The most that it had. What wait4 tells begins with the memory of the process that started it."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 / 1e6 for line in status if line.startswith("VmHWM:"))


def _quantile(load: Load, quantile: float) -> float:
    return load.latencies_ms[min(int(quantile * len(load.latencies_ms)), len(load.latencies_ms) - 1)]


def run_ours(name: str, seconds: float) -> Run:
    """The same through `telemetry-collector bench`, whose own check of what is stored has to hold."""
    transport, writers = OURS[name]
    with tempfile.TemporaryDirectory(prefix="peers-") as directory:
        command = [
            *(
                "taskset",
                "--cpu-list",
                f"{COLLECTOR_CPU},{LOAD_CPU}",
                sys.executable,
                "-m",
                "telemetry_collector",
                "bench",
            ),
            *("--json", "--data-dir", directory, "--pin", "--collector-cpu", str(COLLECTOR_CPU)),
            *("--transport", transport, "--form", OUR_FORM, "--writers", writers, "--seconds", str(seconds)),
            *("--agents", str(NODES), "--series", str(NODE_SERIES), "--batch-points", str(BATCH_POINTS)),
            *("--connections", str(CONNECTIONS)),
        ]
        ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
    return from_bench(name, json.loads(ran.stdout))


def from_bench(name: str, found: dict[str, object]) -> Run:
    """The run that the JSON of `telemetry-collector bench` tells of."""
    ack = found["ack_ms"]
    assert isinstance(ack, dict)

    def number(key: str) -> float:
        value = found[key]
        assert isinstance(value, int | float)
        return value

    acknowledged = int(number("acknowledged"))
    stored = [int(number("stored"))]
    if found.get("delivered_database") is not None:
        stored.append(int(number("delivered_database")))
    in_files = OURS[name][1] != WRITERS["journal"]
    return Run(
        case=name,
        acknowledged=acknowledged,
        stored=tuple(stored),
        seconds=acknowledged / number("points_per_s"),
        cpu_seconds=number("cpu_s_per_million") * acknowledged / 1e6,
        resident_mb=number("resident_mb"),
        p50_ms=float(ack["p50"]),
        p99_ms=float(ack["p99"]),
        file_bytes=round(number("stored_bytes_per_point") * acknowledged) if in_files else None,
        retried=int(number("retried")),
    )
