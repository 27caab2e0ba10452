"""`telemetry-collector run`: the service."""

import signal
import sys
from pathlib import Path

import click


@click.command(short_help="Run the collector (what happens without a command).")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="When stopped, print what was done as JSON on standard output.")
@click.option("--fault-fd", type=int, hidden=True, help="A socket of torture's: its commands make the disk fail.")
def run(config: Path | None, as_json: bool, fault_fd: int | None) -> None:
    """Run the collector until SIGTERM or Ctrl-C, then finish what is in flight and stop.

    CONFIG is a YAML file, by default /etc/horizon/telemetry-collector.yaml, else ./config.yaml, else built-in defaults,
    which are printed. Logs go to standard error.

    \b
    Examples:
      telemetry-collector run
      telemetry-collector run config.yaml
    """
    # A reload that is asked for before anything runs must not end it: the files are read below.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from telemetry_collector.cli.documents import load_collector

    configuration = load_collector(config)
    from telemetry_collector.app.process import run_collector

    sys.exit(run_collector(configuration, as_json=as_json, fault_fd=fault_fd))
