"""`telemetry-collector bench`: what a machine can take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from telemetry_collector.bench import Target
    from telemetry_collector.bench.plan import Compression, Transport
    from telemetry_collector.sender.settings import Form

_File = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(short_help="Measure what a collector takes on this machine.")
@click.option(
    "--transport",
    type=click.Choice(["aioquic", "quinn"]),
    default="aioquic",
    show_default=True,
    help="The collector's listener.",
)
@click.option(
    "--form",
    type=click.Choice(["dense", "columnar", "row"]),
    default="dense",
    show_default=True,
    help="How batches are encoded.",
)
@click.option(
    "--compression",
    type=click.Choice(["none", "gzip", "zstd"]),
    default="zstd",
    show_default=True,
    help="Of each frame.",
)
@click.option("--agents", type=int, default=100, show_default=True, help="Nodes that send.")
@click.option("--series", type=int, default=100, show_default=True, help="Series of each agent.")
@click.option(
    "--rate", type=click.FloatRange(min=0), help="Points a second of all agents; 0: idle.  [default: flat out]"
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True, help="Load.")
@click.option("--writers", default="parquet", show_default=True, help="none, parquet, influxdb or parquet,influxdb.")
@click.option("--influxdb-url", help="A database that is there. [default: a VictoriaMetrics is started]")
@click.option("--connections", type=int, help="Fewer than agents: relays, each for several.  [default: one an agent]")
@click.option("--batch-points", type=int, default=1_000, show_default=True, help="Points of a batch.")
@click.option(
    "--window", type=click.IntRange(1, 1_024), default=32, show_default=True, help="Unanswered batches of a connection."
)
@click.option("--pin", is_flag=True, help="Give the collector one processor and the load the others.")
@click.option("--collector-cpu", type=click.IntRange(min=0), default=0, show_default=True, help="Which, with --pin.")
@click.option("--target", metavar="HOST:PORT", help="Measure a collector that runs already.")
@click.option("--cert", type=_File, help="With --target: the certificate to show.")
@click.option("--key", type=_File, help="With --target: its key.")
@click.option("--ca", type=_File, help="With --target: the authority that the collector's certificate comes from.")
@click.option("--server-name", help="With --target: the name in the collector's certificate.  [default: HOST]")
@click.option("--dataset", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="With --target: its parquet.output_dir, to verify what is stored.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the result, as JSON, on standard output.")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Put the files here, and keep them.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=Path("data"), show_default=True,
              help="Otherwise they stand below this directory until the end.")  # fmt: skip
def bench(
    transport: Transport,
    form: Form,
    compression: Compression,
    agents: int,
    series: int,
    rate: float | None,
    seconds: float,
    writers: str,
    influxdb_url: str | None,
    connections: int | None,
    batch_points: int,
    window: int,
    pin: bool,
    collector_cpu: int,
    target: str | None,
    cert: Path | None,
    key: Path | None,
    ca: Path | None,
    server_name: str | None,
    dataset: Path | None,
    as_json: bool,
    keep: Path | None,
    data_dir: Path,
) -> None:
    """Send a fleet's metrics to a collector of its own on loopback, or to --target, as fast as they are taken or at a
    rate; then read what was stored and compare it with what was acknowledged, batch by batch and value by value.

    Prints throughput, the collector's processor time, bytes a point on the wire and at rest, latency of
    acknowledgements, and memory. docs/operations.md, "Sizing a machine", tells how to read them.

    Exits with 0 only when what is stored is exactly what was acknowledged.

    \b
    Examples:
      telemetry-collector bench                                 flat out, into Parquet
      telemetry-collector bench --rate 50000 --seconds 60       latency at 50,000 points/s
      telemetry-collector bench --agents 1000 --batch-points 100 --rate 100000
                                                                1,000 agents, a batch a second each
      telemetry-collector bench --agents 1000 --rate 0          idle connections: memory, handshakes
      telemetry-collector bench --agents 1000 --connections 4 --writers none --pin
                                                                what one processor accepts and journals
      telemetry-collector bench --target collector:5001 --cert node.pem --key node.key --ca ca.pem --agents 1
    """
    from telemetry_collector.bench import Plan, PlanError, run_bench

    try:
        aim = _aim(target, cert, key, ca, server_name, dataset)
        if aim is not None:
            connections = connections or min(agents, 4)
        plan = Plan(
            transport=transport,
            form=form,
            compression=compression,
            agents=agents,
            series=series,
            rate=rate,
            seconds=seconds,
            writers=() if writers == "none" else tuple(word.strip() for word in writers.split(",")),
            connections=connections,
            batch_points=batch_points,
            window=window,
            influxdb_url=influxdb_url,
            pin=pin,
            collector_cpu=collector_cpu,
            target=aim,
        )
    except PlanError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run_bench(plan, data_dir=data_dir, keep=keep, as_json_wanted=as_json))


def _aim(
    target: str | None,
    cert: Path | None,
    key: Path | None,
    ca: Path | None,
    server_name: str | None,
    dataset: Path | None,
) -> Target | None:
    """The collector that runs already and what is shown to it; None where the bench starts its own."""
    from telemetry_collector.bench import PlanError, Target
    from telemetry_collector.config import Address

    if target is None:
        if cert or key or ca or server_name or dataset:
            raise PlanError("--cert, --key, --ca, --server-name and --dataset: expected --target beside them")
        return None
    if cert is None or key is None or ca is None:
        raise PlanError(f"--target {target}: expected --cert, --key and --ca beside it")
    try:
        return Target(
            address=Address.parse(target),
            certificate=cert,
            key=key,
            authority=ca,
            server_name=server_name,
            dataset=dataset,
        )
    except ValueError as error:
        raise PlanError(f"--target {target}: {error}") from error
