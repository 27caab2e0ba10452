"""What a person sees of the demo: a live table in a terminal, a line a second elsewhere, and the summary."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self, final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from telemetry_collector.demo.summary import Moment, Summary


@final
class DemoView:
    """Shows a running moment. `quiet` says nothing on standard output, which then belongs to the JSON."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(file=sys.stderr if quiet else sys.stdout)
        self._live: Live | None = None if quiet or not self._console.is_terminal else Live(console=self._console)
        self._quiet = quiet

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One line about what happens."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, moment: Moment) -> None:
        """The counts of this moment."""
        if self._live is not None:
            self._live.update(_table(moment), refresh=True)
        elif not self._quiet:
            sent = moment.agent
            parquet = moment.collector.get("writers", {}).get("parquet", {})
            self.say(
                f"{moment.seconds:6.1f} s  sent {sent.points_sent}  acknowledged {sent.points_acknowledged}  "
                f"in Parquet {parquet.get('points_written', 0)}  refused {sent.points_refused}  "
                f"series {moment.collector.get('series', 0)}"
            )


def _table(moment: Moment) -> Table:
    sent = moment.agent
    table = Table(title=f"telemetry-collector demo, {moment.seconds:.0f} s  (Ctrl-C drains and prints the summary)")
    for column in ("stage", "where", "points", "notes"):
        table.add_column(column, justify="right" if column == "points" else "left")
    latency = f"acknowledged in {sent.ack_p50_secs * 1e3:.1f} ms (p50)" if sent.ack_p50_secs else ""
    table.add_row("agent sent", f"quic://{moment.listen_addr}, mutual TLS", f"{sent.points_sent:,}", "")
    table.add_row("agent acknowledged", "", f"{sent.points_acknowledged:,}", latency)
    table.add_row(
        "journalled", str(moment.directory / "journal"), f"{moment.collector.get('points_committed', 0):,}",
        f"{moment.collector.get('series', 0):,} series, {moment.collector.get('connections', 0)} connection(s)",
    )  # fmt: skip
    for name, writer in moment.collector.get("writers", {}).items():
        note = writer.get("failing") or ("visible to readers" if name == "parquet" else "")
        table.add_row(f"written by {name}", str(moment.directory / name), f"{writer['points_written']:,}", note)
    for name, address in moment.receivers.items():
        table.add_row(f"taken as {name}", address, "", "")
    socket = f"and {moment.grpc_socket.name} beside the journal" if moment.grpc_socket is not None else ""
    table.add_row("asked over gRPC", moment.grpc_addr, "", socket)
    table.add_row("refused", "", f"{sent.points_refused:,}", "")
    table.add_row("metrics", f"http://127.0.0.1:{moment.metrics_port}/metrics", "", "")
    table.add_row("workers", f"http://{moment.api}/workers", "", f"what there is to ask: http://{moment.api}/docs")
    return table


def render_summary(summary: Summary) -> str:
    """The counts at the end, as text."""
    ack = summary.ack_ms
    latency = "none" if ack.p50 is None else f"p50 {ack.p50:.1f} ms, p99 {ack.p99:.1f} ms"
    verdict = (
        "every acknowledged point is in the files, once"
        if summary.consistent
        else "NOT ALL IS WELL: collector.log and agent.log say why"
    )
    return "\n".join(
        (
            f"ran {summary.seconds:.1f} s in {summary.directory}",
            f"  points sent          {summary.points_sent:>12,}",
            f"  points acknowledged  {summary.points_acknowledged:>12,}   ({latency})",
            f"  points stored        {summary.points_stored:>12,}",
            f"  points refused       {summary.points_refused:>12,}",
            f"  series               {summary.series:>12,}",
            f"  rows in Parquet      {summary.parquet_rows:>12,}   in {summary.parquet_files} file(s),"
            f" {summary.parquet_bytes:,} bytes, beside {summary.worker_rows} of heartbeats",
            f"{verdict}",
            *_invitation(summary),
        )
    )


def _invitation(summary: Summary) -> tuple[str, ...]:
    if not summary.parquet_files:
        return ()
    files = f"{summary.directory}/parquet/date=*/hour=*/*.parquet"
    return (
        "look at them, for example in DuckDB:",
        f"  SELECT name, count(*), avg(value) FROM '{files}' GROUP BY name;",
    )
