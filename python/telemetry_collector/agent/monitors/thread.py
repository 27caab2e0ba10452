"""The thread that all checks run in, and the making of them."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from telemetry_collector.agent.background import ConfiguredBackground, Main
from telemetry_collector.agent.monitors.board import TARGET_CHARS_MAX, Board, ChecksSource, Entry
from telemetry_collector.agent.monitors.calls import Calls
from telemetry_collector.agent.monitors.command import CommandCheck
from telemetry_collector.agent.monitors.config import (
    CheckConfig,
    CommandCheckConfig,
    HttpCheckConfig,
    MonitorsConfig,
    ProcessCheckConfig,
    TcpCheckConfig,
)
from telemetry_collector.agent.monitors.http import Contexts, HttpCheck
from telemetry_collector.agent.monitors.outcome import Check, Outcome, State
from telemetry_collector.agent.monitors.process import ProcessCheck
from telemetry_collector.agent.monitors.tcp import TcpCheck
from telemetry_collector.agent.monitors.watch import OnOutcome, Watch
from telemetry_collector.clock import Clock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger

log = logger(__name__)

NAMES_AT_ONCE_MAX = 8
"""Questions to the system's resolver that are under way at a time."""

SCANS_AT_ONCE_MAX = 2
"""Looks at all processes that are under way at a time."""

FAILED = Event(
    "agent_checks_failed", "Times that a service's check became down or blocked", labels=("state",), level="warning"
)
RECOVERED = Event("agent_checks_recovered", "Times that a service's check became up again")


class MonitorThread(ConfiguredBackground[MonitorsConfig]):
    """Runs the checks of a configuration. Without checks there is no thread."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        super().__init__("monitors", MonitorsConfig())
        self._board = Board()
        self._events = Events(registry, log, clock)
        self._events.declare(FAILED, RECOVERED)

    @property
    def source(self) -> ChecksSource:
        """What the checks found, for a sampler."""
        return ChecksSource(self._board)

    def _main(self, config: MonitorsConfig) -> Main | None:
        self._board.clear()
        return (lambda: self._watch(config)) if config.checks else None

    async def _watch(self, config: MonitorsConfig) -> None:
        watches = make(config, self._note)
        self._board.put_up([_entry(watch) for watch in watches])
        async with asyncio.TaskGroup() as group:
            for watch in watches:
                group.create_task(watch.run(), name=f"check-{watch.config.name}")

    def _note(self, watch: Watch, before: Outcome | None, now: Outcome) -> None:
        name = watch.config.name
        self._board.note(name, now)
        was = before.state if before else State.UP
        if now.state is was:
            return
        if now.state is State.UP:
            self._events.happened(RECOVERED, check=name, was=str(was))
        else:
            reason = str(now.reason)
            self._events.happened(
                FAILED, check=name, state=str(now.state), was=str(was), reason=reason, problem=now.detail
            )


def make(config: MonitorsConfig, on_outcome: OnOutcome) -> Sequence[Watch]:
    """A watch for each check, on the running loop."""
    places = asyncio.Semaphore(config.at_once_max)
    names, scans = Calls(NAMES_AT_ONCE_MAX, "check-name"), Calls(SCANS_AT_ONCE_MAX, "check-processes")
    contexts = Contexts()
    configs = {check.name: check for check in config.checks}
    made: dict[str, Watch] = {}

    def watch(name: str) -> Watch:
        if name not in made:
            each = configs[name]
            dependencies = [watch(dependency) for dependency in each.depends_on]
            check = _check(each, names, scans, contexts)
            made[name] = Watch(each, check, dependencies, places=places, on_outcome=on_outcome)
        return made[name]

    return [watch(name) for name in configs]


def _entry(watch: Watch) -> Entry:
    config, check = watch.config, watch.check
    return Entry(config.name, config.service or config.name, check.kind, check.target[:TARGET_CHARS_MAX])


def _check(config: CheckConfig, names: Calls, scans: Calls, contexts: Contexts) -> Check:
    match config:
        case HttpCheckConfig():
            return HttpCheck(config, names, contexts)
        case TcpCheckConfig():
            return TcpCheck(config, names)
        case ProcessCheckConfig():
            return ProcessCheck(config, scans)
        case CommandCheckConfig():
            return CommandCheck(config)
    raise AssertionError(f"{type(config).__name__} is a kind of check that nobody makes")
