"""`telemetry-collector torture`: the proof that nothing acknowledged is lost."""

import sys
from pathlib import Path

import click


@click.command(short_help="Prove on this machine that nothing acknowledged is lost or stored twice.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True, help="For how long."
)
@click.option("--kills", type=click.IntRange(min=1), help="Stop after so many kills, if that is sooner.")
@click.option("--seed", type=click.IntRange(min=0), help="Decides what is done when; chosen and printed otherwise.")
@click.option(
    "--transport",
    type=click.Choice(["aioquic", "quinn"]),
    help="What every collector listens with. Otherwise one of each, so that agents also change from one to the other.",
)
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the result, as JSON, on standard output.")
@click.option("--verbose", is_flag=True, help="Tell of everything that is done.")
@click.option("--keep", is_flag=True, help="Keep the files of a run in which all was well, too.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="Each run keeps its files in a directory of its own below this one.",
)
def torture(
    minutes: float,
    kills: int | None,
    seed: int | None,
    transport: str | None,
    as_json: bool,
    verbose: bool,
    keep: bool,
    data_dir: Path,
) -> None:
    """Run collectors and agents on loopback under a schedule of kill -9, restarts, power losses, full disks, torn
    writes, I/O errors, outages of a database, lost, late and doubled datagrams; then compare what agents were told with
    what the datasets hold.

    Exits with 1 when a batch that was acknowledged is lost or stored twice, a file cannot be read, or anything else is
    not as it should be. docs/reliability.md explains what is promised and how it is proven.

    \b
    Examples:
      telemetry-collector torture
      telemetry-collector torture --minutes 60 --json
      telemetry-collector torture --kills 20 --seed 7 --verbose
    """
    from telemetry_collector.torture import run_torture

    sys.exit(
        run_torture(
            minutes=minutes,
            kills=kills,
            seed=seed,
            transport=transport,
            data_dir=data_dir,
            keep=keep,
            json_wanted=as_json,
            verbose=verbose,
        )
    )
