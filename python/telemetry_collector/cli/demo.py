"""`telemetry-collector demo`: a collector and an agent on this machine."""

import sys
from pathlib import Path

import click


@click.command(short_help="See a collector and an agent at work on this machine.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop by itself after so long.")
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the summary, as JSON.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="Each run keeps its files in a directory of its own below this one.",
)
@click.option(
    "--certs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("certs"),
    show_default=True,
    help="Certificates; made where there are none.",
)
def demo(seconds: float | None, as_json: bool, data_dir: Path, certs_dir: Path) -> None:
    """Start a collector and an agent that sends this machine's real metrics to it over QUIC with mutual TLS, and show
    what arrives and what is stored where. Ctrl-C drains both and prints a summary with exact counts.

    Exits with 1 when a point that was acknowledged is not in the files.

    \b
    Examples:
      telemetry-collector demo
      telemetry-collector demo --seconds 20 --json
    """
    from telemetry_collector.demo import run_demo

    sys.exit(run_demo(seconds, as_json=as_json, data_dir=data_dir, certs_dir=certs_dir))
