"""The whole collector on one machine: a collector in a process of its own, and an agent here that sends real metrics.

Everything is the product itself, with its own certificates, QUIC and files; only the addresses are loopback's. Each run
has a directory of its own, so that every count in the summary can be checked against the files in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from telemetry_collector.api.workers.worker import IDENTITY
from telemetry_collector.config.api import VARIABLE, Api
from telemetry_collector.config.section import SOCKET_PATH_BYTES_MAX, Address
from telemetry_collector.demo.summary import AckLatency, Moment, Summary
from telemetry_collector.errors import TelemetryCollectorError

if TYPE_CHECKING:
    from telemetry_collector.agent import NodeAgent
    from telemetry_collector.security.authority import Files
    from telemetry_collector.sender import SenderStats

START_SECS_MAX = 30.0
STOP_SECS_MAX = 60.0
ANSWER_SECS_MAX = 5.0
DRAIN_SECS_MAX = 15.0
LISTEN_PORT = 5001
METRICS_PORT = 9091
GRPC_PORT = 9008
RECEIVER_PORTS = {"otlp_grpc": 4317, "otlp_http": 4318, "influx": 8086, "remote_write": 9201}
HEARTBEAT_SECS = 5.0
# Parts become visible this often, so that a short demo shows files while it runs.
FLUSH_INTERVAL_SECS = 2
SAMPLE_INTERVAL_SECS = 1.0
# Segments are preallocated, and every run leaves its own behind.
SEGMENT_BYTES = 4 * 1024 * 1024
JOURNAL_BYTES_MAX = 256 * 1024 * 1024
SPOOL_BYTES_MAX = 16 * 1024 * 1024


@final
class Demo:
    """One run: `start`, then `watch` until it is time, then `stop`."""

    def __init__(self, directory: Path, certs: Path, notify: Callable[[str], None]) -> None:
        """Files go into `directory`; `notify` is told, in words, what happens."""
        self._directory = directory
        self._certs = certs
        self._notify = notify
        self._process: asyncio.subprocess.Process | None = None
        self._agent: NodeAgent | None = None
        self._started = time.monotonic()
        self._listen_addr = ""
        self._metrics_port = 0
        self._receivers: dict[str, str] = {}
        self._api = Address("127.0.0.1", 0)
        self._grpc_addr = ""
        self._grpc_socket: Path | None = None

    async def start(self) -> None:
        """Makes certificates where there are none, starts the collector and then the agent."""
        from telemetry_collector import __version__
        from telemetry_collector.app.agent import SECTIONS, new_agent
        from telemetry_collector.config import load_agent
        from telemetry_collector.observe import logs
        from telemetry_collector.observe.metrics import new_registry
        from telemetry_collector.security.authority import set_up

        certificates = set_up(self._certs)
        self._listen_addr = f"127.0.0.1:{self._free_port(LISTEN_PORT, socket.SOCK_DGRAM)}"
        self._metrics_port = self._free_port(METRICS_PORT, socket.SOCK_STREAM)
        self._receivers = {
            name: f"127.0.0.1:{self._free_port(port, socket.SOCK_STREAM)}" for name, port in RECEIVER_PORTS.items()
        }
        self._api = self._api_address()
        self._grpc_addr = f"127.0.0.1:{self._free_port(GRPC_PORT, socket.SOCK_STREAM)}"
        self._make_directory()
        self._grpc_socket = self._socket_path()
        # The terminal belongs to the view; what the agent logs stands beside the collector's log.
        self._agent_log = (self._directory / "agent.log").open("w")
        logs.configure("info", "json", self._agent_log)
        document = self._directory / "collector.yaml"
        document.write_text(json.dumps(self._collector_config(certificates), indent=2) + "\n")
        log = (self._directory / "collector.log").open("wb")
        with contextlib.closing(log):
            # A session of its own: Ctrl-C in the terminal reaches the demo alone, which drains the agent first.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "telemetry_collector", "run", str(document), "--json",
                stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
                # It is in the document by now.
                env={name: value for name, value in os.environ.items() if name != VARIABLE},
            )  # fmt: skip
        await self._until_ready()
        self._notify(f"who beats and how busy it is: http://{self._api}/workers, and what there is to ask: /docs")
        config = load_agent(json.dumps(self._agent_config(certificates)), SECTIONS)
        self._agent = new_agent(config, new_registry(__version__))
        await self._agent.start()
        self._started = time.monotonic()

    def _make_directory(self) -> None:
        try:
            self._directory.mkdir(parents=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise TelemetryCollectorError(
                f"cannot make the directory {self._directory}: {reason}; expected --data-dir to name one that this "
                "user may write"
            ) from error

    async def moment(self) -> Moment:
        """The counts as they stand now."""
        collector = await _get_json(self._metrics_port, "/health") or {}
        return Moment(
            self.seconds,
            self._directory,
            self._listen_addr,
            self._receivers,
            self._grpc_addr,
            self._grpc_socket,
            self._metrics_port,
            str(self._api),
            self._agent_stats(),
            collector,
        )

    def _agent_stats(self) -> SenderStats:
        assert self._agent is not None, "the agent was started"
        return self._agent.stats.sender

    @property
    def seconds(self) -> float:
        """Since the agent started."""
        return time.monotonic() - self._started

    async def stop(self) -> Summary:
        """Drains the agent, then the collector, and counts the rows in the files."""
        seconds = self.seconds
        self._notify("draining the agent")
        assert self._agent is not None, "the agent was started"
        await self._agent.stop()
        sent = self._agent_stats()
        self._notify("draining the collector")
        stored = await self._stop_collector()
        files = sorted((self._directory / "parquet").glob("date=*/hour=*/*.parquet"))
        rows, worker_rows = await asyncio.to_thread(_count_rows, files)
        return Summary(
            points_read=sent.points_offered,
            points_sent=sent.points_sent,
            points_acknowledged=sent.points_acknowledged,
            points_by_requests=stored["points_by_requests"],
            points_stored=stored["writers"]["parquet"]["points_written"] - stored["worker_points"],
            points_refused=sent.points_refused,
            series=stored["series"],
            parquet_files=len(files),
            parquet_rows=rows,
            worker_rows=worker_rows,
            parquet_bytes=sum(path.stat().st_size for path in files),
            ack_ms=AckLatency(_milliseconds(sent.ack_p50_secs), _milliseconds(sent.ack_p99_secs)),
            seconds=round(seconds, 3),
            directory=str(self._directory),
        )

    async def abort(self) -> None:
        """Ends what was started, without counting. Idempotent."""
        if self._agent is not None:
            await self._agent.stop()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def _collector_config(self, certificates: Files) -> dict[str, Any]:
        return {
            "server": {"listen_addr": self._listen_addr},
            "security": {
                "tls_cert_path": str(certificates.server_certificate.resolve()),
                "tls_key_path": str(certificates.server_key.resolve()),
                "tls_ca_path": str(certificates.ca.resolve()),
            },
            "journal": {
                "dir": str(self._directory.resolve() / "journal"),
                "segment_bytes": SEGMENT_BYTES,
                "max_bytes": JOURNAL_BYTES_MAX,
            },
            "parquet": {
                "output_dir": str(self._directory.resolve() / "parquet"),
                "flush_interval_secs": FLUSH_INTERVAL_SECS,
            },
            **{
                signal: {
                    "output_dir": str(self._directory.resolve() / dataset),
                    "flush_interval_secs": FLUSH_INTERVAL_SECS,
                    "journal_max_bytes": JOURNAL_BYTES_MAX,
                }
                for signal, dataset in (("traces", "spans"), ("logs", "logs"))
            },
            "grpc": {
                "listen_addr": self._grpc_addr,
                "unix_socket": str(self._grpc_socket) if self._grpc_socket is not None else None,
                "alert_rules_path": str(self._directory.resolve() / "alert-rules.json"),
            },
            "receivers": {name: {"listen_addr": address} for name, address in self._receivers.items()},
            "api": {"http_addr": self._api.host, "http_port": self._api.port},
            "observability": {"metrics_addr": "127.0.0.1", "metrics_port": self._metrics_port},
        }

    def _agent_config(self, certificates: Files) -> dict[str, Any]:
        return {
            "agent": {
                "collectors": [self._listen_addr],
                "interval_secs": SAMPLE_INTERVAL_SECS,
                "heartbeat_secs": HEARTBEAT_SECS,
                "spool_dir": str(self._directory.resolve() / "spool"),
                "spool_bytes_max": SPOOL_BYTES_MAX,
                "drain_secs": DRAIN_SECS_MAX,
                # The view is drawn in this process: what that takes is none of the agent's own cost.
                "sampling": {"enabled": False},
            },
            "security": {
                "tls_cert_path": str(certificates.node_certificate.resolve()),
                "tls_key_path": str(certificates.node_key.resolve()),
                "tls_ca_path": str(certificates.ca.resolve()),
            },
        }

    def _api_address(self) -> Address:
        """Loopback and the usual port, unless the environment names others."""
        wanted = Api().of_environment()
        return Address(wanted.http_addr, self._free_port(wanted.http_port or 0, socket.SOCK_STREAM))

    def _socket_path(self) -> Path | None:
        """Where gRPC listens besides, if the directory's name leaves room for it."""
        path = self._directory.resolve() / "grpc.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
            return path
        self._notify(f"no unix socket for gRPC: {path} has more than {SOCKET_PATH_BYTES_MAX} bytes")
        return None

    def _free_port(self, wanted: int, kind: socket.SocketKind) -> int:
        """The usual port, or one that the system chooses where somebody has it already."""
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                # As servers do, who are not kept from it by connections that have ended.
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
                self._notify(f"port {wanted} is taken; using {port} instead")
                return port
            return wanted

    async def _until_ready(self) -> None:
        assert self._process is not None, "the collector was started"
        deadline = time.monotonic() + START_SECS_MAX
        while time.monotonic() < deadline:
            if self._process.returncode is not None:
                break
            if await _get_json(self._metrics_port, "/ready") is not None:
                return
            await asyncio.sleep(0.05)
        log = (self._directory / "collector.log").read_text(errors="replace")[-2000:]
        raise TelemetryCollectorError(f"the collector did not start; the end of its log says:\n{log}")

    async def _stop_collector(self) -> dict[str, Any]:
        assert self._process is not None, "the collector was started"
        assert self._process.stdout is not None, "and its output is a pipe"
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        output = await asyncio.wait_for(self._process.stdout.read(), STOP_SECS_MAX)
        code = await self._process.wait()
        if code != 0:
            raise TelemetryCollectorError(f"the collector ended with {code}; see {self._directory / 'collector.log'}")
        summary: dict[str, Any] = json.loads(output)
        return summary


def _milliseconds(secs: float) -> float | None:
    """The sender's 0 stands for "none yet"."""
    return round(secs * 1e3, 3) if secs else None


def _count_rows(files: list[Path]) -> tuple[int, int]:
    """Rows of what the agent sent, and of what its heartbeats said."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = workers = 0
    for path in files:
        identities = pq.ParquetFile(path).read(columns=["identity"])["identity"]
        own = pc.sum(pc.equal(identities, IDENTITY)).as_py() or 0
        rows += len(identities) - own
        workers += own
    return rows, workers


async def _get_json(port: int, path: str) -> dict[str, Any] | None:
    """What loopback answers with 200, as JSON; None otherwise."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=ANSWER_SECS_MAX)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            found: dict[str, Any] | None = await answer.json() if answer.status == 200 else None
            return found
    except (aiohttp.ClientError, TimeoutError):
        return None
