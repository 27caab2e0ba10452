"""A load over the sender's connections: those of real agents, with a session that keeps no more than a load needs."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast, final

from telemetry_collector.bench.frames import Lane
from telemetry_collector.bench.load import Counters, LaneAnswers
from telemetry_collector.bench.plan import Plan, PlanError
from telemetry_collector.bench.session import LoadSession, Schedule
from telemetry_collector.config import Address
from telemetry_collector.sender import TransportSettings
from telemetry_collector.sender.connection import Connection
from telemetry_collector.sender.dialling import dial
from telemetry_collector.sender.session import Session

CONNECTING_AT_A_TIME: Final = 32
CONNECT_SECS_MAX: Final = 30.0
DRAIN_SECS_MAX: Final = 60.0
LOST_EXAMPLES_MAX: Final = 10
OTHER_FILES: Final = 128
"""Files that a process has open besides its sockets, at most."""
LOOK_SECS: Final = 0.02


@final
class SenderLoad:
    """See `Load`."""

    def __init__(
        self, plan: Plan, lanes: Sequence[Lane], endpoint: Address, transport: Callable[[int], TransportSettings]
    ) -> None:
        """`transport` tells how a connection reaches the endpoint, by its number."""
        self.counters = Counters()
        self.name: str = getattr(transport(0), "transport", "aioquic")
        self._endpoint = endpoint
        self._transport = transport
        count = plan.connections_wanted
        interval = plan.batch_points * count / plan.rate if plan.rate else None
        by_connection: list[list[Lane]] = [[] for _ in range(count)]
        for lane in lanes:
            by_connection[lane.connection].append(lane)
        self._sessions = [
            LoadSession(own, plan, Schedule(interval, (interval or 0.0) * number / count), self.counters)
            for number, own in enumerate(by_connection)
        ]
        self._connections: list[Connection] = []
        self._idle = plan.idle
        self._over = False
        """Connections may end."""

    async def connect(self) -> float:
        """See `Load`."""
        _room_for_sockets(len(self._sessions))
        gate = asyncio.Semaphore(CONNECTING_AT_A_TIME)
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def connect(number: int) -> None:
            async with gate:
                # The connection asks no more of its session than what ours has.
                session = cast(Session, self._sessions[number])
                connection = await dial(self._endpoint, lambda: session, self._transport(number))
                connection.lost.add_done_callback(self._lost)
                self._connections.append(connection)
                self.counters.connections += 1

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(len(self._sessions)):
                    group.create_task(connect(number))
        except ExceptionGroup as failed:
            # One says enough: what keeps one out keeps all out.
            raise failed.exceptions[0] from failed
        return loop.time() - began

    async def run(self, seconds: float) -> None:
        """See `Load`."""
        try:
            await (asyncio.sleep(seconds) if self._idle else self._send(seconds))
        finally:
            self._over = True

    async def _send(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in self._sessions:
            session.schedule.start(now, seconds)
        for connection in self._connections:
            connection.pump()
        deadline = now + seconds + DRAIN_SECS_MAX
        while loop.time() < deadline:
            alive = [connection for connection in self._connections if not connection.lost.done()]
            if all(cast(LoadSession, connection.session).done(loop.time()) for connection in alive):
                return
            await asyncio.sleep(LOOK_SECS)

    async def close(self) -> None:
        """See `Load`."""
        self._over = True
        for connection in self._connections:
            connection.shut()
        self._connections.clear()

    def answers(self) -> list[LaneAnswers]:
        """See `Load`."""
        return [answers for session in self._sessions for answers in session.answers()]

    def ack_ms(self, quantile: float) -> float | None:
        """See `Load`."""
        ordered = sorted(secs for session in self._sessions for secs in session.latencies_secs)
        return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)] * 1e3 if ordered else None

    def _lost(self, why: asyncio.Future[str]) -> None:
        if not self._over and not why.cancelled():
            self.counters.connections -= 1
            if len(self.counters.lost) < LOST_EXAMPLES_MAX:
                self.counters.lost.append(why.result())


def _room_for_sockets(count: int) -> None:
    """A connection may take a socket. PlanError where the system does not let a process have so many."""
    wanted = count + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise PlanError(
            f"--connections {count}: this process may open {hard} files; expected fewer, or a higher `ulimit -n`"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def transport_settings(
    address: Address, certificate: Path, key: Path, authority: Path, server_name: str | None
) -> TransportSettings:
    """How one connection shows who it is."""
    return TransportSettings(
        endpoints=(address,),
        cert_path=certificate,
        key_path=key,
        ca_path=authority,
        server_name=server_name,
        connect_timeout_secs=CONNECT_SECS_MAX,
    )
