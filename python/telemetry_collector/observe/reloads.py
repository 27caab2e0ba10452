"""Reloads of the configuration, in the log and in the metrics that Prometheus' users look for by these names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from prometheus_client import CollectorRegistry

from telemetry_collector.clock import Clock
from telemetry_collector.errors import ConfigError
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import counter, gauge

log = logger(__name__)


@final
class ReloadEvents:
    """One instance a process. The configuration that it starts with counts as loaded."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._reloads = counter(registry, "config_reloads", "Reloads of the configuration, by result", ("result",))
        for result in ("success", "failure"):
            self._reloads.labels(result)
        self._successful = gauge(
            registry, "config_last_reload_successful", "1 when the last reload was taken, 0 when it had a mistake"
        )
        self._taken = gauge(
            registry, "config_last_reload_success_timestamp_seconds", "When a configuration was last taken"
        )
        self._in_force()

    def succeeded(self, changed: Sequence[str], restart_needed: Sequence[str]) -> None:
        """A configuration was taken; `changed` is in force, `restart_needed` is not before the next start."""
        self._reloads.labels("success").inc()
        self._in_force()
        if restart_needed:
            log.warning("restart_needed", keys=list(restart_needed), effect="takes effect at the next restart")
        log.info("config_reloaded", changed=list(changed), restart_needed=list(restart_needed))

    def failed(self, error: Exception) -> None:
        """A configuration, or a file that it names, has mistakes."""
        self._reloads.labels("failure").inc()
        self._successful.set(0)
        if isinstance(error, ConfigError):
            for mistake in error.mistakes:
                log.error(
                    "config_mistake",
                    source=error.source,
                    line=mistake.line,
                    key=mistake.key,
                    value=mistake.value,
                    problem=mistake.problem,
                    expected=mistake.expected,
                )
        log.error("config_not_reloaded", error=str(error), effect="what was in force before stays in force")

    def _in_force(self) -> None:
        self._successful.set(1)
        self._taken.set(self._clock.unix_secs())
