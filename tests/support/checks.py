"""Checks under test: a configuration of some, one look of one, what it measured, whether a process lives."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import psutil

from telemetry_collector.agent.monitors import MonitorsConfig
from telemetry_collector.agent.monitors.outcome import Outcome
from telemetry_collector.agent.monitors.thread import make

PATIENCE = {"interval_secs": 60, "timeout_secs": 20}


def config(**kinds: list[dict[str, Any]]) -> MonitorsConfig:
    named = {
        kind: [{"name": f"{kind}{place}", **each} for place, each in enumerate(listed)]
        for kind, listed in kinds.items()
    }
    return MonitorsConfig.model_validate_json(json.dumps(named))


async def look(kind: str, **settings: object) -> Outcome:
    """One look by one check."""
    (watch,) = make(config(**{kind: [{**PATIENCE, **settings}]}), lambda *_: None)
    return await watch.outcome_since(asyncio.get_running_loop().time())


def measures(outcome: Outcome) -> Mapping[str, float]:
    return {measure.name: measure.value for measure in outcome.measures}


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
