"""`telemetry-collector workers` and `status`: who the workers are and how they are, asked of a running collector."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from telemetry_collector.config import Address

WATCH_SECS = 2.0
STATUS_INACTIVE = 3
STATUS_UNKNOWN = 4


def _addressed(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--addr",
        metavar="HOST:PORT",
        help="Where the collector's API listens: what its api.http_addr and api.http_port say. By default what "
        "HTTP_PORT says here, else 127.0.0.1:8080.",
    )(command)


@click.command(short_help="Show the workers and how they are.")
@_addressed
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, by their names, as the API has them.")
@click.option("--watch", is_flag=True, help="Show them anew every two seconds, until Ctrl-C; with --json, a line each.")
def workers(addr: str | None, as_json: bool, watch: bool) -> None:
    """Show every worker that a running collector knows: what it uses, what runs on it, and when it was last heard of.

    Asks the collector's API. A worker is inactive when nothing was heard of it for 30 seconds.

    \b
    Examples:
      telemetry-collector workers
      telemetry-collector workers --watch
      telemetry-collector workers --json --addr collector-1:8080
    """
    from telemetry_collector.api import client

    address = _address(addr)
    if not watch:
        found = client.workers(address)
        if as_json:
            click.echo(json.dumps(found))
        else:
            _show(found)
        return
    try:
        _watch(lambda: client.workers(address), as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(0)


@click.command(short_help="Show one worker; whether it is active.")
@click.argument("worker_id", metavar="WORKER")
@_addressed
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, as the API has it.")
def status(worker_id: str, addr: str | None, as_json: bool) -> None:
    """Show one worker of a running collector, and tell by the exit code whether it is active.

    \b
    Exit codes:
      0  it is active: heard of within the last 30 seconds
      3  it is known, and inactive
      4  the collector knows no such worker
      1  the collector's API cannot be reached; the text says where it was looked for

    \b
    Examples:
      telemetry-collector status worker-1
      telemetry-collector status worker-1 --json --addr collector-1:8080
    """
    from telemetry_collector.api import client

    address = _address(addr)
    found = client.worker(address, worker_id)
    if found is None:
        click.echo(f"no worker is called {worker_id!r} at http://{address}", err=True)
        sys.exit(STATUS_UNKNOWN)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for key, value in zip(_COLUMNS, _row(found), strict=True):
            click.echo(f"{key:<10} {value}")
        for task in found["running_tasks"]:
            click.echo(
                f"{'task':<10} {_plain(task['task_id'])} {_plain(task['name'])} {_plain(task['status'])}".rstrip()
            )
    sys.exit(0 if found["is_active"] else STATUS_INACTIVE)


_COLUMNS = ("worker", "state", "cpu", "memory", "gpu", "tasks", "last heard")


def _row(worker: dict[str, Any]) -> tuple[str, ...]:
    ago = max(time.time() - worker["last_update"], 0.0)
    return (
        _plain(worker["worker_id"]),
        "active" if worker["is_active"] else "inactive",
        *(_share(worker[key]) for key in ("cpu_usage", "memory_usage", "gpu_usage")),
        str(len(worker["running_tasks"])),
        _ago(ago),
    )


def _share(usage: float) -> str:
    return "–" if usage < 0 else f"{usage:.0%}"


def _ago(secs: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if secs >= length:
            return f"{secs / length:.1f} {unit} ago"
    return f"{secs:.1f} s ago"


def _plain(text: str) -> str:
    """A worker's words may hold what a terminal takes for commands."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _show(found: dict[str, dict[str, Any]]) -> None:
    from telemetry_collector.cli.tables import ROWS_MAX, say, show

    ordered = _ordered(found)
    show("workers", _COLUMNS, map(_row, ordered[: ROWS_MAX + 1]))
    say(_count(found))


def _ordered(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The inactive ones first, for whoever looks at this looks for them."""
    return sorted(found.values(), key=lambda worker: (worker["is_active"], worker["worker_id"]))


def _count(found: dict[str, dict[str, Any]]) -> str:
    active = sum(worker["is_active"] for worker in found.values())
    if not found:
        return "no worker has been heard of"
    return f"{len(found):,} worker{'s' if len(found) > 1 else ''}, {active:,} active"


def _watch(ask: Callable[[], dict[str, dict[str, Any]]], *, as_json: bool) -> None:
    looks = _looks(ask)
    if as_json:
        for found, problem in looks:
            click.echo(problem or json.dumps(found), err=bool(problem))
        return
    from rich.live import Live

    with Live(_table(*next(looks)), auto_refresh=False) as live:
        for found, problem in looks:
            live.update(_table(found, problem), refresh=True)


def _looks(ask: Callable[[], dict[str, dict[str, Any]]]) -> Iterator[tuple[dict[str, dict[str, Any]], str]]:
    """What was known last, every two seconds, and what keeps it from being known now.

    The first question may fail; later ones find a collector that is started anew, sooner or later.
    """
    from telemetry_collector.errors import AddressError

    found, problem = ask(), ""
    while True:
        yield found, problem
        time.sleep(WATCH_SECS)
        try:
            found, problem = ask(), ""
        except AddressError as error:
            problem = str(error)


def _table(found: dict[str, dict[str, Any]], problem: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    from telemetry_collector.cli.tables import ROWS_MAX

    table = Table(
        title=f"{_count(found)}  (Ctrl-C ends)", title_justify="left", caption=Text(problem) if problem else None
    )
    for column in _COLUMNS:
        table.add_column(column)
    for worker in _ordered(found)[:ROWS_MAX]:
        table.add_row(*map(Text, _row(worker)))
    return table


def _address(named: str | None) -> Address:
    from telemetry_collector.config import Address
    from telemetry_collector.config.api import Api

    if named is not None:
        try:
            return Address.parse(named)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--addr") from error
    api = Api().of_environment()
    assert api.http_port is not None, "it has a default, and the environment can only name another"
    # What listens on every address listens on this machine's own, too.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.http_addr, api.http_addr)
    return Address(host, api.http_port)
