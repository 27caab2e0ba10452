"""Where a document is looked for when the user names none."""

from collections.abc import Sequence
from pathlib import Path

COLLECTOR_PATHS = (Path("/etc/horizon/telemetry-collector.yaml"), Path("config.yaml"))
"""The collector's document: the first that exists."""

AGENT_PATHS = (Path("/etc/horizon/telemetry-agent.yaml"), Path("agent.yaml"))
"""The agent's document: the first that exists."""


def find(named: Path | None, paths: Sequence[Path]) -> Path | None:
    """What the user named, whether it exists or not; else the first of the paths that does; None when none does."""
    if named is not None:
        return named
    return next((path for path in paths if path.is_file()), None)
