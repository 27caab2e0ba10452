"""The node agent as a process: the agent itself, its metrics and its signals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, final

import uvloop
from prometheus_client import CollectorRegistry

from telemetry_collector import __version__
from telemetry_collector.agent import NodeAgent, NodeAgentConfig
from telemetry_collector.app import service
from telemetry_collector.app.reload import Reloader
from telemetry_collector.app.trust import Validity
from telemetry_collector.clock import SystemClock
from telemetry_collector.config import AgentConfig, Section, load_agent
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.observe import logs
from telemetry_collector.observe.endpoint import MetricsEndpoint
from telemetry_collector.observe.metrics import new_registry
from telemetry_collector.observe.reloads import ReloadEvents
from telemetry_collector.observe.systemd import ServiceManager

log = logs.logger(__name__)

SECTIONS: Mapping[str, type[Section]] = {"agent": NodeAgentConfig}
"""The agent's own configuration sections, by name."""

RELOAD_SECS_MAX = 1.0
"""How long stopping waits for a reload that is under way."""

LIVE = frozenset(
    {
        *("agent.interval_secs", "agent.heartbeat_secs", "agent.batch_points_max", "agent.drain_secs"),
        "agent.readings_per_batch",
        *("agent.region", "agent.zone", "agent.service", "agent.version", "agent.tags"),
        *("agent.sources", "agent.per_cpu", "agent.processes_top", "agent.disk_exclude", "agent.network_exclude"),
        *("agent.monitors", "agent.network", "agent.sampling", "agent.resources"),
        *("observability.log_level", "observability.log_format"),
    }
)
"""Keys that take effect while it runs. Certificates do under the same names, for each connection reads them anew."""


def new_agent(config: AgentConfig, registry: CollectorRegistry) -> NodeAgent:
    """The node agent of a configuration, not started. CertificateError when its certificate names no node."""
    return NodeAgent(config.section(NodeAgentConfig, "agent"), config.security, registry)


@final
class AgentService:
    """A node agent by the configuration in force; see `reload.Service`."""

    def __init__(self, config: AgentConfig, registry: CollectorRegistry) -> None:
        self.config = config
        self.agent = new_agent(config, registry)
        self._validity = Validity(registry, SystemClock())
        self._validity.look(config.security)

    def load(self, *, check_files: bool) -> AgentConfig:
        """What the document says now. ConfigError has all of its mistakes."""
        return load_agent(self.config.origin, SECTIONS, check_files=check_files)

    def is_live(self, key: str) -> bool:
        """Whether a change of this key takes effect while it runs."""
        return key in LIVE

    async def apply(self, new: AgentConfig, restart_needed: Collection[str]) -> None:
        """Brings a configuration into force but for the keys that need a restart."""
        old, new = self.config, new.keeping(restart_needed, self.config)
        self._validity.look(new.security)
        if new.observability != old.observability:
            logs.configure(new.observability.log_level, new.observability.log_format)
        section = new.section(NodeAgentConfig, "agent")
        if section != old.section(NodeAgentConfig, "agent"):
            await self.agent.reconfigure(section)
        self.config = new

    async def read_trust(self) -> None:
        """Tells how long they are good; each connection reads the files anew."""
        self._validity.look(self.config.security)


def run_agent(config: AgentConfig, *, as_json: bool = False) -> int:
    """Runs the node agent until SIGTERM or SIGINT; prints what was done. The process' exit code."""
    logs.configure(config.observability.log_level, config.observability.log_format)
    try:
        return uvloop.run(_serve(config, as_json=as_json))
    except TelemetryCollectorError as error:
        log.error("agent_failed", error=str(error))
        return 1


async def _serve(config: AgentConfig, *, as_json: bool) -> int:
    manager = ServiceManager()
    stopping, reload_asked = service.stop_signals(), service.reload_signal()
    registry, clock = new_registry(__version__), SystemClock()
    running = AgentService(config, registry)
    reloader = Reloader(running, ReloadEvents(registry, clock), clock)
    agent = running.agent

    def report() -> Mapping[str, Any]:
        stats = agent.stats.sender
        return {"ok": True, "connected_to": stats.connected_to, "points_pending": stats.points_pending}

    def ready() -> Mapping[str, Any]:
        return {"ok": agent.stats.sender.connected_to is not None}

    observability = config.observability
    async with contextlib.AsyncExitStack() as stack:
        endpoint = MetricsEndpoint(observability.metrics_addr, observability.metrics_port, registry, report, ready)
        await endpoint.start()
        stack.push_async_callback(endpoint.stop)
        stack.push_async_callback(agent.stop)
        await agent.start()
        manager.ready("sending this machine's metrics")
        reloading = [
            asyncio.create_task(reloader.watch(), name="agent-watch"),
            asyncio.create_task(service.reload_when(reload_asked, reloader.reload, manager), name="agent-reload"),
        ]
        await _until_stopped_or_broken(agent, stopping, manager)
        for task in reloading:
            task.cancel()
        await reloader.stop(RELOAD_SECS_MAX)
        manager.stopping("waiting for acknowledgements")
    service.print_summary(_summary(agent), as_json=as_json)
    service.ignore_signals()
    return 0


async def _until_stopped_or_broken(agent: NodeAgent, stopping: asyncio.Event, manager: ServiceManager) -> None:
    """Waits for the signal to stop; an error that ends the agent comes out here."""
    waiting = {asyncio.create_task(service.until(stopping, manager)), asyncio.create_task(agent.wait())}
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


def _summary(agent: NodeAgent) -> dict[str, Any]:
    stats = agent.stats
    values = ((field.name, getattr(stats.sender, field.name)) for field in fields(stats.sender))
    sender = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values}
    return {"node": stats.node, "samples": stats.samples, "samples_missed": stats.samples_missed, **sender}
