"""The node agent as a process: the agent itself, its metrics and its signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from telemetry_collector import __version__
from telemetry_collector.agent import NodeAgent, NodeAgentConfig
from telemetry_collector.app import service
from telemetry_collector.config import AgentConfig, Section
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.observe import logs
from telemetry_collector.observe.endpoint import MetricsEndpoint
from telemetry_collector.observe.metrics import new_registry
from telemetry_collector.observe.systemd import ServiceManager

log = logs.logger(__name__)

SECTIONS: Mapping[str, type[Section]] = {"agent": NodeAgentConfig}
"""The agent's own configuration sections, by name."""


def new_agent(config: AgentConfig, registry: CollectorRegistry) -> NodeAgent:
    """The node agent of a configuration, not started. CertificateError when its certificate names no node."""
    return NodeAgent(config.section(NodeAgentConfig, "agent"), config.security, registry)


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
    stopping = service.stop_signals()
    registry = new_registry(__version__)
    agent = new_agent(config, registry)

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
        # Certificates are read anew for each connection, so there is nothing to do; dying of it would be worse.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, log.info, "nothing_to_reload")
        manager.ready("sending this machine's metrics")
        await _until_stopped_or_broken(agent, stopping, manager)
        manager.stopping("waiting for acknowledgements")
    service.print_summary(_summary(agent), as_json=as_json)
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
