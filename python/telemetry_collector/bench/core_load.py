"""A load in the core, over quinn: no batch passes through Python. It needs a build of the core with quinn."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Final, final

from telemetry_collector import _core
from telemetry_collector.bench.frames import Lane, framed
from telemetry_collector.bench.load import Counters, LaneAnswers
from telemetry_collector.bench.plan import Plan
from telemetry_collector.config import Address
from telemetry_collector.errors import AddressError
from telemetry_collector.sender import TransportSettings
from telemetry_collector.sender.over_quinn import credentials

CONNECT_SECS_MAX: Final = 60.0
DRAIN_SECS_MAX: Final = 60.0
LOOK_SECS: Final = 0.02
_NEVER_SENT: Final = framed(b"\x08\x01")
"""An idle agent's: the core wants one."""
_UNANSWERED: Final = 0xFFFF_FFFF


@final
class CoreLoad:
    """See `Load`. Each lane has a connection of its own."""

    name = "quinn"

    def __init__(
        self, plan: Plan, lanes: Sequence[Lane], endpoint: Address, transport: Callable[[int], TransportSettings]
    ) -> None:
        """`transport` tells how a connection reaches the endpoint, by its number."""
        self._plan = plan
        self._lanes = lanes
        self._endpoint = endpoint
        self._transport = transport
        self._load: _core.QuicLoad | None = None
        self._final: Counters | None = None

    @property
    def counters(self) -> Counters:
        """See `Load`."""
        if self._final is not None:
            return self._final
        if self._load is None:
            return Counters()
        found = self._load.poll()
        refused = found["batches_refused"]
        return Counters(
            connections=found["connected"],
            batches_sent=found["batches_sent"],
            frame_bytes_sent=found["frame_bytes_sent"],
            points_sent=found["batches_sent"] * self._plan.batch_points,
            batches_acknowledged=found["batches_acknowledged"],
            points_acknowledged=found["points_acknowledged"],
            points_refused=found["points_refused"],
            batches_retried=found["batches_retried"],
            refusals={"rejected": refused} if refused else {},
            lost=self._load.faults,
        )

    async def connect(self) -> float:
        """See `Load`."""
        rate, count = self._plan.rate, len(self._lanes)
        agents = await asyncio.to_thread(self._agents)
        settings = self._transport(0)
        began = time.monotonic()
        self._load = load = _core.QuicLoad(
            self._endpoint.host,
            self._endpoint.port,
            server_name=settings.server_name or self._endpoint.host,
            agents=agents,
            batches_per_sec=rate / self._plan.batch_points / count if rate else None,
            inflight_max=self._plan.window,
            datagram_bytes_max=settings.max_datagram_size,
            connect_timeout_secs=CONNECT_SECS_MAX,
        )
        while (found := load.poll())["connected"] < count:
            if found["lost"] or time.monotonic() - began > CONNECT_SECS_MAX:
                reason = next(iter(load.faults), f"only {found['connected']} of {count} within {CONNECT_SECS_MAX:g} s")
                raise AddressError(f"cannot connect to the collector {self._endpoint}: {reason}")
            await asyncio.sleep(LOOK_SECS)
        return time.monotonic() - began

    def _agents(self) -> list[tuple[_core.QuicCredentials, int, Sequence[bytes], Sequence[bytes]]]:
        return [
            (
                _credentials(self._transport(lane.connection)),
                lane.epoch,
                [framed(prepared.first) for prepared in lane.batches],
                [framed(prepared.again) for prepared in lane.batches] or [_NEVER_SENT],
            )
            for lane in self._lanes
        ]

    async def run(self, seconds: float) -> None:
        """See `Load`."""
        assert self._load is not None, "it was connected"
        if self._plan.idle:
            await asyncio.sleep(seconds)
        else:
            self._load.begin()
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._load.stop, DRAIN_SECS_MAX)
        # Connections that end from now on are not lost.
        self._final = self.counters

    async def close(self) -> None:
        """See `Load`."""
        if self._load is not None:
            await asyncio.to_thread(self._load.stop, 0.0)

    def answers(self) -> list[LaneAnswers]:
        """See `Load`."""
        assert self._load is not None, "it was connected"
        return [
            _answers(lane, array("I", told)) for lane, told in zip(self._lanes, self._load.acknowledged(), strict=True)
        ]

    def ack_ms(self, quantile: float) -> float | None:
        """See `Load`."""
        secs = self._load.latency_secs(quantile) if self._load is not None else 0.0
        return secs * 1e3 if secs else None


def _answers(lane: Lane, points: array[int]) -> LaneAnswers:
    exceptions, unanswered = {}, set()
    for sequence, stored in enumerate(points, start=1):
        if stored == _UNANSWERED:
            unanswered.add(sequence)
        elif stored != lane.prepared(sequence).content.points:
            exceptions[sequence] = stored
    return LaneAnswers(len(points), exceptions, frozenset(unanswered))


def _credentials(settings: TransportSettings) -> _core.QuicCredentials:
    return credentials(settings.cert_path, settings.key_path, settings.ca_path)
