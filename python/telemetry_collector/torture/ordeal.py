"""One run: collectors behind a bad network, agents, a database each, and everything that is done to them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final, final

from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.store.verify import verify
from telemetry_collector.torture import audit
from telemetry_collector.torture.children import FILE_BYTES_MAX, AgentChild, Child, CollectorChild, end_orphans
from telemetry_collector.torture.diary import DiaryReader
from telemetry_collector.torture.link import CLEAR
from telemetry_collector.torture.plan import Blow, Spell, Strike, Trouble, spells, strikes
from telemetry_collector.torture.relay import Relay
from telemetry_collector.torture.result import Result
from telemetry_collector.torture.sink import OUTAGES, Mood, Sink
from telemetry_collector.torture.site import TRANSPORTS, Seat, Site
from telemetry_collector.torture.watcher import Watcher

COLLECTORS: Final = 2
AGENTS: Final = 3
RECOVERY_SECS_MAX: Final = 60.0
"""Whoever takes longer is stuck."""
DRAIN_SECS_MAX: Final = 180.0
ROOM_BYTES_MAX: Final = 4_096
"""A full disk has less than so much left."""
_LOOK_SECS: Final = 0.02

# What fails in an IO_ERRORS spell: operation, prefix of the files, how often, error.
_IO_ERRORS: Final = (
    ("sync_data", "segment-", 1, errno.EIO),
    ("sync_data", "segment-", 5, errno.EIO),
    ("write", "segment-", 1, errno.EIO),
    ("write", "segment-", 3, errno.ENOSPC),
    ("sync_data", "", 3, errno.EIO),
    ("create", "", 4, errno.ENOSPC),
    ("create", "cursor-", 3, errno.EIO),
    ("rename", "cursor-", 3, errno.EIO),
    ("rename", "checkpoint-", 2, errno.EIO),
    ("rename", "segment-", 2, errno.EIO),
    ("sync_dir", "", 3, errno.EIO),
    ("remove", "", 3, errno.EIO),
    ("read", "segment-", 1, errno.EIO),
)


@final
class Ordeal:
    """`run` is all of it."""

    def __init__(
        self, directory: Path, seed: int, notify: Callable[[str], None], transports: Sequence[str] = TRANSPORTS
    ) -> None:
        """`transports` are what collectors listen with, in turns."""
        self.result = Result(seed=seed, directory=str(directory))
        self._site = Site(directory)
        self._seed = seed
        self._notify = notify
        self._transports = transports
        self._random = Random(f"network {seed}")
        self._sinks = [Sink() for _ in range(COLLECTORS)]
        self._relays: list[Relay] = []
        self._collectors: list[CollectorChild] = []
        self._agents: list[AgentChild] = []
        self._diaries = [DiaryReader(self._site.diary(number)) for number in range(AGENTS)]
        self._striking: asyncio.Task[None] | None = None
        #: The collector whose disk is in trouble.
        self._ailing: CollectorChild | None = None
        self._watcher = Watcher([self._site.dataset(number) for number in range(COLLECTORS)])

    async def run(self, seconds: float, kills_max: int | None, stopping: asyncio.Event) -> Result:
        """Tortures for so long, or until so many kills or `stopping`; then lets everything come to rest, and counts."""
        began = time.monotonic()
        try:
            await self._start()
            await self._torture(seconds, kills_max, stopping)
            self._notify("everything is left in peace: draining")
            await self._rest()
        finally:
            end_orphans(self._children)
            await self._watcher.stop()
            for relay in self._relays:
                await relay.stop()
            for sink in self._sinks:
                await sink.stop()
        self._notify("comparing what agents were told with what is stored")
        await asyncio.to_thread(self._count)
        self.result.seconds = time.monotonic() - began
        return self.result

    @property
    def _children(self) -> list[Child]:
        return [*self._collectors, *self._agents]

    async def _start(self) -> None:
        for number, sink in enumerate(self._sinks):
            await sink.start()
            listen_port, metrics_port = self._site.ports()
            relay = Relay(("127.0.0.1", listen_port), self._random)
            await relay.start()
            self._relays.append(relay)
            seat = Seat(listen_port, metrics_port, sink.url, self._transports[number % len(self._transports)])
            self._collectors.append(self._site.collector(number, seat, self._seed))
        ports = [relay.port for relay in self._relays]
        for number in range(AGENTS):
            # Each collector is somebody's first choice.
            first = number % COLLECTORS
            self._agents.append(self._site.agent(number, (*ports[first:], *ports[:first]), self._seed))
        for collector in self._collectors:
            await collector.start()
        for collector in self._collectors:
            await collector.until_ready()
        for agent in self._agents:
            await agent.start()
        self._watcher.start()
        await self._answered_since(time.time(), "the start")

    async def _torture(self, seconds: float, kills_max: int | None, stopping: asyncio.Event) -> None:
        striking = asyncio.create_task(self._strike_for_ever(kills_max))
        troubling = asyncio.create_task(self._trouble_for_ever())
        ending = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait(
                {striking, troubling, ending}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            for task in (striking, troubling, ending):
                task.cancel()
            await asyncio.gather(striking, troubling, ending, return_exceptions=True)
            if self._striking is not None:
                # Whole or not at all: what was ended is started again even when torture is over meanwhile.
                await asyncio.wait({self._striking})

    # ---- what is done

    async def _strike_for_ever(self, kills_max: int | None) -> None:
        for strike in strikes(self._seed, COLLECTORS, AGENTS):
            await asyncio.sleep(strike.after_secs)
            began, began_unix = time.monotonic(), time.time()
            self._striking = asyncio.create_task(self._strike(strike))
            try:
                await asyncio.shield(self._striking)
            except TelemetryCollectorError as error:
                self.result.findings.append(f"after {strike.blow}: {error}")
                return
            self.result.kills += strike.blow.kills
            self.result.faults[strike.blow] += 1
            if await self._answered_since(began_unix, strike.blow):
                self.result.recoveries_secs.append(time.monotonic() - began)
                self._notify(
                    f"{strike.blow} of collector {strike.collector}, agent {strike.agent}: at work again after "
                    f"{self.result.recoveries_secs[-1]:.2f} s"
                )
            if kills_max is not None and self.result.kills >= kills_max:
                return

    async def _strike(self, strike: Strike) -> None:
        collector, agent = self._collectors[strike.collector], self._agents[strike.agent]
        match strike.blow:
            case Blow.POWER_LOSS:
                await collector.lose_power()
            case Blow.AGENT_POWER_LOSS:
                await agent.lose_power()
            case Blow.RESTART_COLLECTOR:
                await self._terminate(collector)
            case Blow.RESTART_AGENT:
                await self._listening(strike.agent)
                await self._terminate(agent)
            case _:
                hit = [collector] * strike.blow.hits_collector + [agent] * strike.blow.hits_agent
                await asyncio.gather(*(child.kill() for child in hit))
        await asyncio.sleep(strike.down_secs)
        if strike.blow.hits_agent:
            await agent.start()
        if strike.blow.hits_collector:
            await collector.start()
            await collector.until_ready()

    async def _terminate(self, child: Child) -> None:
        # One that is stopped (PAUSE) could not even begin to stop in order.
        child.signal(signal.SIGCONT)
        ailing = child is self._ailing
        code = await child.terminate()
        # A collector whose disk takes no last checkpoint says so by its code, and replays more at its next start.
        if code != 0 and not (ailing and code == 1):
            self.result.findings.append(f"{child.name} ended with {code} after SIGTERM")

    async def _listening(self, number: int) -> None:
        """Waits until an agent has come to life: a signal before that ends it, whatever it was to mean."""
        agent, deadline = self._agents[number], time.monotonic() + RECOVERY_SECS_MAX
        while self._diaries[number].read().life < agent.life and agent.running and time.monotonic() < deadline:  # noqa: ASYNC110  # a file tells
            await asyncio.sleep(_LOOK_SECS)

    async def _trouble_for_ever(self) -> None:
        for spell in spells(self._seed, COLLECTORS):
            await asyncio.sleep(spell.after_secs)
            self.result.faults[spell.trouble] += 1
            self._notify(f"{spell.trouble} for {spell.hold_secs:.1f} s at collector {spell.collector}")
            try:
                await self._begin(spell)
                await asyncio.sleep(spell.hold_secs)
            finally:
                await asyncio.shield(self._relieve(spell.collector))

    async def _begin(self, spell: Spell) -> None:
        collector = self._collectors[spell.collector]
        if spell.trouble in (Trouble.DISK_FULL, Trouble.IO_ERRORS, Trouble.FILES_TOO_LARGE):
            self._ailing = collector
        match spell.trouble:
            case Trouble.DISK_FULL:
                await collector.command(do="limit", room_bytes=spell.choice % ROOM_BYTES_MAX)
            case Trouble.IO_ERRORS:
                operation, prefix, times, number = _IO_ERRORS[spell.choice % len(_IO_ERRORS)]
                await collector.command(do="fail", operation=operation, prefix=prefix, times=times, errno=number)
            case Trouble.FILES_TOO_LARGE:
                collector.limit_files(FILE_BYTES_MAX)
            case Trouble.DESTINATION_DOWN:
                self._sinks[spell.collector].mood = OUTAGES[spell.choice % len(OUTAGES)]
            case Trouble.NETWORK:
                for relay in self._relays[spell.choice % 2 * spell.collector :]:
                    relay.link = spell.link
            case Trouble.PAUSE:
                collector.signal(signal.SIGSTOP)
            case Trouble.RELOAD:
                # Before it is ready the signal means to a process what it always meant: the end.
                if await collector.ready():
                    collector.signal(signal.SIGHUP)

    async def _relieve(self, number: int) -> None:
        """Ends whatever trouble a collector is in."""
        collector = self._collectors[number]
        self._ailing = None
        collector.signal(signal.SIGCONT)
        collector.limit_files(None)
        self._sinks[number].mood = Mood.TAKES
        for relay in self._relays:
            relay.link = CLEAR
        await collector.command(do="heal")
        await collector.command(do="limit", room_bytes=None)

    # ---- how they fare

    async def _answered_since(self, unix_secs: float, what: str) -> bool:
        """Waits until every agent was answered anew; a finding when that takes too long."""
        deadline = time.monotonic() + RECOVERY_SECS_MAX
        while time.monotonic() < deadline:
            accounts = await asyncio.to_thread(lambda: [diary.read() for diary in self._diaries])
            late = [number for number, account in enumerate(accounts) if account.answered_unix_secs <= unix_secs]
            if not late:
                return True
            await asyncio.sleep(_LOOK_SECS)
        self.result.findings.append(f"agents {late} were not answered for {RECOVERY_SECS_MAX:.0f} s after {what}")
        return False

    async def _rest(self) -> None:
        """No trouble, everybody up, everything sent and written; then everybody stops in order."""
        for number in range(COLLECTORS):
            await self._relieve(number)
        for child in (*self._collectors, *self._agents):
            if not child.running:
                await child.start()
        for collector in self._collectors:
            try:
                await collector.until_ready()
            except TelemetryCollectorError as error:
                self.result.findings.append(str(error))
        for number, agent in enumerate(self._agents):
            await self._listening(number)
            agent.signal(signal.SIGUSR1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECS_MAX):
                while any(diary.read().pending != 0 for diary in self._diaries):  # noqa: ASYNC110  # a file tells
                    await asyncio.sleep(_LOOK_SECS)
        for child in (*self._agents, *self._collectors):
            await self._terminate(child)

    def _count(self) -> None:
        result = self.result
        accounts = {self._site.identity(number): diary.read() for number, diary in enumerate(self._diaries)}
        roots = [self._site.dataset(number) for number in range(COLLECTORS)]
        datasets = [audit.read(root) for root in roots]
        result.audit = audit.compare(accounts, datasets, verify(roots).across_batches)
        result.unwritten = sum(
            sink.seen.missing(stored.values) for sink, stored in zip(self._sinks, datasets, strict=True)
        )
        result.undelivered = sum(account.pending or 0 for account in accounts.values())
        result.reads = self._watcher.files_read
        result.findings += self._watcher.findings
        for child in self._children:
            result.findings += child.deaths
            result.findings += child.defects()
