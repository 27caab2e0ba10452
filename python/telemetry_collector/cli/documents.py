"""Loading the document that a command was given, or the one it finds, or none."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from telemetry_collector.config import AgentConfig, Config


def load_collector(named: Path | None) -> "Config":
    """The collector's configuration; where there is no document, the built-in one, which is shown."""
    from telemetry_collector.config import WRITERS, DiscoveredSections, load, to_yaml
    from telemetry_collector.config.collector import BUILT_IN
    from telemetry_collector.config.search import COLLECTOR_PATHS, find

    writers = DiscoveredSections(WRITERS)
    path = find(named, COLLECTOR_PATHS)
    if path is None:
        found = load(BUILT_IN, writers, check_files=False)
        _tell_built_in(COLLECTOR_PATHS, to_yaml(found.sections))
    return load(path or BUILT_IN, writers)


def load_agent(named: Path | None) -> "AgentConfig":
    """The agent's configuration; where there is no document, the built-in one, which is shown."""
    from telemetry_collector import config
    from telemetry_collector.app.agent import SECTIONS
    from telemetry_collector.config.agent import BUILT_IN
    from telemetry_collector.config.search import AGENT_PATHS, find

    path = find(named, AGENT_PATHS)
    if path is None:
        found = config.load_agent(BUILT_IN, SECTIONS, check_files=False)
        _tell_built_in(AGENT_PATHS, config.to_yaml(found.document.sections))
    return config.load_agent(path or BUILT_IN, SECTIONS)


def _tell_built_in(paths: tuple[Path, ...], document: str) -> None:
    places = " nor ".join(str(path) if path.is_absolute() else f"./{path}" for path in paths)
    click.echo(f"There is neither {places}; these built-in defaults are used:\n\n{document}", err=True)
