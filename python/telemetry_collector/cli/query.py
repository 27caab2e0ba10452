"""`telemetry-collector query`: aggregates of what is stored, from the files themselves."""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from telemetry_collector.cli.places import Directory, dataset_directory

if TYPE_CHECKING:
    from telemetry_collector.query import Answer, EngineSettings, Query, TagMatcher

SECOND_NS = 1_000_000_000
UNITS_SECS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
AGGREGATES = (
    *("avg", "min", "max", "sum", "count", "last", "quantile", "rate"),
    *("histogram_count", "histogram_sum", "histogram_avg", "histogram_quantile"),
)

WORDS = {
    "selection.name": "NAME",
    "selection.matchers": "--where",
    "start_unix_ns": "--until",
    "end_unix_ns": "--last",
    "step_ns": "--step",
    "quantiles": "--quantile",
    "group_by": "--by",
}
"""What stands on the command line for a question's fields."""


def _duration_ns(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A number and a unit, 90s, 15m, 1h, 7d, as nanoseconds."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([smhd])", value)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"{value!r} is no duration; expected one such as 90s, 15m, 1h or 7d")
    return int(found[1]) * UNITS_SECS[found[2]] * SECOND_NS


@click.command(short_help="Aggregate what is stored.")
@click.argument("place", metavar="DIR|CONFIG", type=Directory)
@click.argument("name")
@click.option("--aggregate", type=click.Choice(AGGREGATES), default="avg", show_default=True, help="What to show.")
@click.option("--quantile", "quantiles", type=float, multiple=True, help="0 to 1; with a quantile aggregate.")
@click.option("--where", "conditions", multiple=True, metavar="COND", help="key=value, key!=value, key=~RE2, key!~RE2.")
@click.option("--by", "group_by", multiple=True, metavar="TAG", help="Keep series apart by this tag.")
@click.option(
    "--last", callback=_duration_ns, metavar="DURATION", default="1h", show_default=True, help="Length of the range."
)
@click.option("--until", type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]), help="Its end, UTC.  [default: now]")
@click.option(
    "--step",
    callback=_duration_ns,
    metavar="DURATION",
    default=None,
    help="A value for each so long, rather than one for all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def query(
    place: Path,
    name: str,
    aggregate: str,
    quantiles: tuple[float, ...],
    conditions: tuple[str, ...],
    group_by: tuple[str, ...],
    last: int,
    until: datetime | None,
    step: int | None,
    as_json: bool,
) -> None:
    """Aggregate the points of a metric, straight from the Parquet files; the collector may go on writing.

    DIR is a dataset's directory, CONFIG the configuration of its collector. In NAME, * stands for any text.

    \b
    Examples:
      telemetry-collector query config.yaml system.cpu.usage --by node_id --step 5m
      telemetry-collector query data/parquet 'system.*' --aggregate max --where 'node_id=~gpu-.*'
      telemetry-collector query config.yaml api.request --aggregate histogram_quantile --quantile 0.99
    """
    from telemetry_collector.query import Aggregation, InvalidQuery, Query, Selection

    end = int(until.replace(tzinfo=UTC).timestamp()) * SECOND_NS if until is not None else time.time_ns()
    try:
        asked = Query(
            Selection(name, tuple(map(_matcher, conditions))),
            max(end - last, 0),
            end,
            Aggregation(aggregate),
            step or 0,
            quantiles,
            group_by,
        )
        answer = asyncio.run(_answer(_settings(place), asked))
    except InvalidQuery as error:
        words = next(words for field, words in WORDS.items() if error.field.startswith(field))
        raise click.BadParameter(error.problem, param_hint=words) from error
    if as_json:
        click.echo(json.dumps(_as_json(asked, answer)))
    else:
        _show(asked, answer)
    sys.exit(0)


def _settings(place: Path) -> EngineSettings:
    from telemetry_collector.app.answering import settings_of
    from telemetry_collector.config import WRITERS, DiscoveredSections, load

    config = load("" if place.is_dir() else place, DiscoveredSections(WRITERS), check_files=False)
    return settings_of(config, dataset_directory(place).resolve())


async def _answer(settings: EngineSettings, asked: Query) -> Answer:
    from telemetry_collector.query import Engine

    engine = Engine(settings)
    try:
        return await engine.ask(asked)
    finally:
        await engine.stop()


def _matcher(condition: str) -> TagMatcher:
    from telemetry_collector.query import Operator, TagMatcher

    found = re.fullmatch(r"([^=!~]+)(=~|!~|!=|=)(.*)", condition, re.DOTALL)
    if found is None:
        raise click.BadParameter(f"{condition!r} is no condition; expected key=value, key!=value, key=~RE2 or key!~RE2")
    return TagMatcher(found[1], Operator(found[2]), found[3])


def _as_json(asked: Query, answer: Answer) -> dict[str, Any]:
    return {
        "start_unix_ns": asked.start_ns,
        "end_unix_ns": asked.end_ns,
        "step_ns": asked.window_ns,
        "series": [
            {
                "name": series.name,
                "tags": dict(series.tags),
                "points": [
                    # A sum may be beyond what a number can be, and JSON has no infinity.
                    {"start_unix_ns": one.start_ns, "values": [v if math.isfinite(v) else None for v in one.values]}
                    for one in series.values
                ],
            }
            for series in answer
        ],
    }


def _show(asked: Query, answer: Answer) -> None:
    from telemetry_collector.cli.tables import moment, say, show

    results = [f"p{100 * quantile:g}" for quantile in asked.quantiles] or [asked.aggregation.value]
    show(
        f"{moment(asked.start_ns // SECOND_NS)} to {moment(asked.end_ns // SECOND_NS)}",
        ("name", *asked.group_by, "from (UTC)", *results),
        (
            (
                series.name,
                *(dict(series.tags).get(key) for key in asked.group_by),
                moment(one.start_ns // SECOND_NS),
                *(f"{value:.6g}" for value in one.values),
            )
            for series in answer
            for one in series.values
        ),
    )
    if not answer:
        say("no points")
