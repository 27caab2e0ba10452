"""`telemetry-collector agent`: sends this machine's metrics."""

import signal
import sys
from pathlib import Path

import click


@click.command(short_help="Send this machine's metrics to a collector.")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="When stopped, print what was done as JSON on standard output.")
def agent(config: Path | None, as_json: bool) -> None:
    """Send this machine's metrics to the first collector that answers, until SIGTERM or Ctrl-C.

    CONFIG is a YAML file, by default /etc/horizon/telemetry-agent.yaml, else ./agent.yaml, else built-in defaults,
    which are printed. Logs go to standard error.

    \b
    Examples:
      telemetry-collector agent
      telemetry-collector agent agent.yaml
    """
    # A reload that is asked for before anything runs must not end it: the files are read below.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from telemetry_collector.cli.documents import load_agent

    configuration = load_agent(config)
    from telemetry_collector.app.agent import run_agent

    sys.exit(run_agent(configuration, as_json=as_json))
