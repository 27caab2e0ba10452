"""`telemetry-collector check`: every mistake of a configuration at once."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telemetry_collector.config import Section


@click.command(short_help="Find every mistake in a configuration.")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--agent", "of_agent", is_flag=True, help="CONFIG is an agent's.")
@click.option("--show", is_flag=True, help="Print what the configuration comes to, defaults included, as YAML.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(config: Path | None, of_agent: bool, show: bool, as_json: bool) -> None:
    """Check a configuration, its variables and its certificate files, and print every mistake with its line, key, value
    and what would be right. Exits with 1 when there is one. Certificates that have run out, or soon will, are warnings.

    CONFIG is found like that of `run` (or `agent`) when it is not given. Secrets are never printed.

    \b
    Examples:
      telemetry-collector check config.yaml
      telemetry-collector check --show config.yaml
      telemetry-collector check --agent agent.yaml
    """
    from telemetry_collector.config import to_yaml
    from telemetry_collector.errors import ConfigError

    try:
        source, sections = _load(config, of_agent)
    except ConfigError as error:
        if as_json:
            mistakes = [asdict(mistake) for mistake in error.mistakes]
            click.echo(json.dumps({"ok": False, "source": error.source, "mistakes": mistakes}))
        else:
            click.echo(str(error))
        sys.exit(1)
    warnings = _warnings(sections.get("security"))
    if as_json:
        values = {name: section.model_dump(mode="json") for name, section in sections.items()}
        told = {"ok": True, "source": source, "mistakes": [], "warnings": warnings}
        click.echo(json.dumps({**told, **({"config": values} if show else {})}))
        return
    if show:
        click.echo(to_yaml(sections), nl=False)
    else:
        click.echo(f"{source}: no mistakes; its sections are {', '.join(sections)}")
    for warning in warnings:
        click.echo(f"{source}: warning: {warning}", err=show)


def _warnings(security: "Section | None") -> list[str]:
    """What keeps nothing from starting, and will not do all the same."""
    from telemetry_collector.config import Tls
    from telemetry_collector.errors import CertificateError
    from telemetry_collector.security.validity import concerns, ends

    assert isinstance(security, Tls), "every document has the section, by its defaults if by nothing else"
    try:
        return [str(concern) for concern in concerns(security, ends(security), datetime.now(UTC))]
    except CertificateError as error:
        return [str(error)]


def _load(config: Path | None, of_agent: bool) -> "tuple[str, Mapping[str, Section]]":
    from telemetry_collector.cli.documents import load_agent, load_collector

    if of_agent:
        agent = load_agent(config)
        return agent.source, agent.document.sections
    from telemetry_collector.app.listening import require_transport

    collector = load_collector(config)
    require_transport(collector)
    return collector.source, collector.sections
