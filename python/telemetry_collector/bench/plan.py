"""What was asked for, checked as a whole before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final, Literal

from telemetry_collector.config import Address
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.sender.settings import Form

Transport = Literal["aioquic", "quinn"]
Compression = Literal["none", "gzip", "zstd"]

WRITERS: Final = ("parquet", "influxdb")
"""Destinations that can be measured."""
STREAMS_MAX: Final = 4
"""Streams of a connection that carry batches."""
EPOCHS_OF_IDENTITY_MAX: Final = 16
"""As many a collector remembers of one identity; each stream here has one of its own."""
LATEST_AGENTS_MAX: Final = 100_000
POINTS_PREPARED_MAX: Final = 20_000_000


class PlanError(TelemetryCollectorError):
    """What was asked for cannot be done; the text names the option, its value and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collector that runs already, and what it takes to be let in."""

    address: Address
    certificate: Path
    key: Path
    authority: Path
    server_name: str | None = None
    dataset: Path | None = None
    """Its dataset, where this machine can read it: then what was stored is verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One measurement."""

    transport: Transport = "aioquic"
    """The listener of the collector that is started."""
    form: Form = "dense"
    compression: Compression = "zstd"
    agents: int = 100
    series: int = 100
    """Of each agent."""
    rate: float | None = None
    """Points a second of all agents together; 0: they connect and are idle; None: as many as are taken."""
    seconds: float = 10.0
    writers: tuple[str, ...] = ("parquet",)
    connections: int | None = None
    """None: one for each agent. Fewer are relays, that speak for several agents each."""
    batch_points: int = 1_000
    window: int = 32
    """Batches that a connection has unanswered at most, whatever the collector grants."""
    influxdb_url: str | None = None
    """A database that is there; None: one is started where it is needed."""
    pin: bool = False
    """The collector has one processor to itself, the load all others."""
    collector_cpu: int = 0
    """Which."""
    target: Target | None = None

    def __post_init__(self) -> None:
        """PlanError for what contradicts itself."""
        self._counts()
        unknown = [name for name in self.writers if name not in WRITERS]
        if unknown:
            raise PlanError(f"--writers {unknown[0]}: expected none, or some of {', '.join(WRITERS)}")
        if self.influxdb_url is not None and "influxdb" not in self.writers:
            raise PlanError(f"--influxdb-url {self.influxdb_url}: expected influxdb among --writers")
        for option, number in (("--rate", self.rate), ("--seconds", self.seconds)):
            if number is not None and not isfinite(number):
                raise PlanError(f"{option} {number}: expected a finite number")
        if self.influxdb_url is not None and not self.influxdb_url.startswith(("http://", "https://")):
            raise PlanError(
                f"--influxdb-url {self.influxdb_url}: expected an address that starts with http:// or https://"
            )
        if self.rate is not None and 0 < self.rate < self.batch_points / 60:
            raise PlanError(
                f"--rate {self.rate:g}: is less than a batch of {self.batch_points} points a minute; "
                "expected more, 0 for idle connections, or a smaller --batch-points"
            )
        if self.target is not None:
            self._target(self.target)

    def _counts(self) -> None:
        if not 1 <= self.agents <= LATEST_AGENTS_MAX:
            raise PlanError(f"--agents {self.agents}: expected 1 to {LATEST_AGENTS_MAX:,}")
        if not 1 <= self.series <= 1_000_000:
            raise PlanError(f"--series {self.series}: expected 1 to 1,000,000 for each agent")
        if not 1 <= self.batch_points <= 100_000:
            raise PlanError(f"--batch-points {self.batch_points}: expected 1 to 100,000")
        if not 1 <= self.connections_wanted <= self.agents:
            raise PlanError(f"--connections {self.connections}: expected 1 to the number of agents, {self.agents}")
        if not self.idle and self.points_prepared > POINTS_PREPARED_MAX:
            raise PlanError(
                f"--agents {self.agents} with --series {self.series}: batches of all agents are made before the run, "
                f"{self.points_prepared:,} points; expected at most {POINTS_PREPARED_MAX:,}, so fewer agents or series"
            )

    def _target(self, target: Target) -> None:
        if self.pin:
            raise PlanError("--pin: expected no --target, whose process is not the bench's to move")
        of_one = EPOCHS_OF_IDENTITY_MAX // STREAMS_MAX
        if self.connections_wanted > of_one:
            raise PlanError(
                f"--connections {self.connections_wanted}: expected at most {of_one} with --target, where all have the "
                f"same certificate {target.certificate}"
            )

    @property
    def connections_wanted(self) -> int:
        """Connections in all."""
        return self.agents if self.connections is None else self.connections

    @property
    def idle(self) -> bool:
        """Whether connections only are wanted."""
        return self.rate == 0

    @property
    def relayed(self) -> bool:
        """Whether a connection speaks for other nodes than its own."""
        return self.connections_wanted < self.agents

    @property
    def batches_of_agent(self) -> int:
        """Different batches that are prepared of each agent: at least as many as hold each of its series once."""
        spread = -(-PREPARED_BATCHES // self.agents)
        return max(-(-self.series // self.batch_points), spread)

    @property
    def points_prepared(self) -> int:
        """Points of all batches that are prepared."""
        return self.agents * self.batches_of_agent * self.batch_points


PREPARED_BATCHES: Final = 400
"""So many different batches are prepared at least: what is sent again and again should not be the same few bytes."""
