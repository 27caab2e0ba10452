"""What a running collector does every now and then, one thing after the other, each whatever becomes of the others."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from telemetry_collector._core import JournalError
from telemetry_collector.observe.logs import logger

log = logger(__name__)

Step: TypeAlias = Callable[[], Awaitable[object]]


async def tend(steps: Iterable[Step]) -> None:
    """Takes every step. One that fails is logged and taken again with the next round: on a full disk, what comes behind
    it may be what makes room."""
    for step in steps:
        try:
            await step()
        except (JournalError, OSError) as error:
            # Nothing is lost: the journal keeps more than it needs to.
            log.error("journal_maintenance_failed", error=str(error))
        except Exception:
            # A defect must not end all: without checkpoints and trimming the journal fills.
            log.exception("journal_maintenance_defect")
