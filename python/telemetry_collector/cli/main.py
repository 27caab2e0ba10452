"""The `telemetry-collector` command.

Exit codes: 0 done or stopped in order; 1 something is wrong with the configuration, a certificate, an address or the
data, and the text says what; 2 the command line was not understood; 130 interrupted before it was done.
"""

import difflib
import errno
import importlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from telemetry_collector import __version__

COMMANDS = {
    "run": "telemetry_collector.cli.run:run",
    "check": "telemetry_collector.cli.check:check",
    "agent": "telemetry_collector.cli.agent:agent",
    "demo": "telemetry_collector.cli.demo:demo",
    "certs": "telemetry_collector.cli.certs:certs",
    "torture": "telemetry_collector.cli.torture:torture",
    "bench": "telemetry_collector.cli.bench:bench",
    "journal": "telemetry_collector.cli.journal:journal",
    "dataset": "telemetry_collector.cli.dataset:dataset",
    "workers": "telemetry_collector.cli.workers:workers",
    "status": "telemetry_collector.cli.workers:status",
    "query": "telemetry_collector.cli.query:query",
}
"""Commands in the order of the help, and where each is."""


INTERRUPTED = 128 + signal.SIGINT
"""The exit code of what a shell's Ctrl-C ended; commands that handle it themselves end in order."""


class _Commands(click.Group):
    """Loads a command when it is asked for. What is no command is `run`'s configuration."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            args = ["run"]
        elif args[0] not in COMMANDS and not args[0].startswith("-"):
            self._must_be_file(ctx, args[0])
            args = ["run", *args]
        # Help and version are printed from here.
        with _told():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _told():
            return super().invoke(ctx)

    def _must_be_file(self, ctx: click.Context, word: str) -> None:
        if "/" in word or "." in word or Path(word).exists():
            return
        near = difflib.get_close_matches(word, COMMANDS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"commands are {', '.join(COMMANDS)}"
        raise click.UsageError(f"{word!r} is neither a command nor a file; {advice}", ctx)


@contextmanager
def _told() -> Iterator[None]:
    """Ends the process with a line on standard error for what a user can mend, and for Ctrl-C."""
    try:
        yield
    except Exception as error:
        if not _is_for_user(error):
            raise
        click.echo(f"telemetry-collector: {_words(error)}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("telemetry-collector: interrupted", err=True)
        sys.exit(INTERRUPTED)


def _is_for_user(error: Exception) -> bool:
    """Whether an error's text is all that a user needs; a defect of ours keeps its traceback."""
    if isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
        return False
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return True
    from telemetry_collector.errors import CoreError, TelemetryCollectorError

    return isinstance(error, TelemetryCollectorError | CoreError)


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot write {error.filename or 'what is to be printed'}: {(error.strerror or str(error)).lower()}"
    return str(error)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
\b
Examples:
  telemetry-collector demo                    see it work on this machine
  telemetry-collector certs init              make certificates under ./certs
  telemetry-collector check config.yaml       find every mistake before a start
  telemetry-collector config.yaml             run the collector
  telemetry-collector agent agent.yaml        send this machine's metrics
  telemetry-collector torture                 prove that nothing acknowledged is lost
  telemetry-collector bench                   see what this machine can take
  telemetry-collector journal inspect DIR     see what a journal holds
  telemetry-collector dataset verify DIR      check that files are whole and nothing is there twice
  telemetry-collector workers                 see the workers of a running collector
  telemetry-collector status worker-1         see one of them, and whether it is active
  telemetry-collector query DIR NAME          aggregate what is stored

\b
Exit codes:
  0    done, or stopped in order
  1    something is wrong with configuration, certificates, addresses or data; the text says what
  2    the command line was not understood
  130  interrupted before it was done
""",
)
@click.version_option(__version__, prog_name="telemetry-collector", message="%(prog)s %(version)s")
def cli() -> None:
    """Collects a fleet's metrics over QUIC with mutual TLS, and loses nothing that it acknowledged.

    Without a command it runs the collector: `telemetry-collector [CONFIG]` is `telemetry-collector run [CONFIG]`.
    """


def main() -> None:
    """Entry point of the command."""
    cli()
