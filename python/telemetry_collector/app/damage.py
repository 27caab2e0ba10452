"""Damage to a journal that its opening did not meet: a record behind the newest checkpoint is first read by a writer.

The core sets it aside, counts it and reads on. What is lost with it was acknowledged, so somebody has to hear of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, final

from telemetry_collector.observe.logs import logger

log = logger(__name__)


class Counting(Protocol):
    """The part of a core that is looked at."""

    def stats(self) -> Mapping[str, Any]:
        """Counters by name; `journal_quarantined` is among them."""


@final
class Damage:
    """Compares what one journal has set aside with what was told of it."""

    def __init__(self, core: Counting, journal: str) -> None:
        """`journal` names it in the log. What its opening found has been told with it."""
        self._core = core
        self._journal = journal
        self._told: int = core.stats()["journal_quarantined"]

    def look(self) -> None:
        """Tells what is new."""
        found: int = self._core.stats()["journal_quarantined"]
        if found > self._told:
            log.error(
                "journal_damaged",
                journal=self._journal,
                ranges=found - self._told,
                note="the disk gave back something else than was written, and what destinations had not yet taken "
                "is lost; `telemetry-collector journal inspect` says where",
            )
            self._told = found
