"""What is done to the processes, the disks and the network, and when: a schedule that a seed decides.

Two tracks run beside each other. One kills and restarts processes, one after the other, each time waiting until
acknowledgements flow again. The other makes trouble around them: disks, files, destinations, the network. So processes
die in the middle of every kind of trouble.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from telemetry_collector.torture.link import CLEAR, Link


class Blow(StrEnum):
    """What ends processes."""

    KILL_COLLECTOR = "kill_collector"
    KILL_AGENT = "kill_agent"
    KILL_BOTH = "kill_both"
    POWER_LOSS = "power_loss"
    """The collector is killed, and of what it had not synchronized chance decides, sector by sector."""
    AGENT_POWER_LOSS = "agent_power_loss"
    """The same of an agent and its spool."""
    RESTART_COLLECTOR = "restart_collector"
    RESTART_AGENT = "restart_agent"

    @property
    def kills(self) -> int:
        """Processes that it ends with SIGKILL."""
        return {Blow.KILL_BOTH: 2, Blow.RESTART_COLLECTOR: 0, Blow.RESTART_AGENT: 0}.get(self, 1)

    @property
    def hits_collector(self) -> bool:
        """Whether it ends a collector."""
        return self not in (Blow.KILL_AGENT, Blow.RESTART_AGENT, Blow.AGENT_POWER_LOSS)

    @property
    def hits_agent(self) -> bool:
        """Whether it ends an agent."""
        return self in (Blow.KILL_AGENT, Blow.RESTART_AGENT, Blow.AGENT_POWER_LOSS, Blow.KILL_BOTH)


class Trouble(StrEnum):
    """What makes life hard for processes that go on."""

    DISK_FULL = "disk_full"
    """The journal's disk has no more room."""
    IO_ERRORS = "io_errors"
    """Operations on the journal's disk fail; writes that fail are torn."""
    FILES_TOO_LARGE = "files_too_large"
    """The system lets no file of the process grow, Parquet's and the journal's alike."""
    DESTINATION_DOWN = "destination_down"
    """The database refuses connections, hangs, or answers with errors."""
    NETWORK = "network"
    """Datagrams are lost, doubled, late and out of order, or none passes at all."""
    PAUSE = "pause"
    """The collector is stopped (SIGSTOP) and goes on: a machine that was suspended."""
    RELOAD = "reload"
    """SIGHUP."""


_BLOWS = {
    Blow.KILL_COLLECTOR: 6,
    Blow.KILL_AGENT: 4,
    Blow.KILL_BOTH: 2,
    Blow.POWER_LOSS: 4,
    Blow.AGENT_POWER_LOSS: 2,
    Blow.RESTART_COLLECTOR: 1,
    Blow.RESTART_AGENT: 1,
}
_TROUBLES = {
    Trouble.DISK_FULL: 3,
    Trouble.IO_ERRORS: 4,
    Trouble.FILES_TOO_LARGE: 2,
    Trouble.DESTINATION_DOWN: 3,
    Trouble.NETWORK: 6,
    Trouble.PAUSE: 1,
    Trouble.RELOAD: 1,
}


@dataclass(frozen=True, slots=True)
class Strike:
    """One blow."""

    blow: Blow
    collector: int
    agent: int
    after_secs: float
    """Since acknowledgements flowed again after the one before."""
    down_secs: float
    """How long what was ended stays so."""


@dataclass(frozen=True, slots=True)
class Spell:
    """One trouble."""

    trouble: Trouble
    collector: int
    after_secs: float
    """Since the end of the one before."""
    hold_secs: float
    link: Link = CLEAR
    """For NETWORK: what the network is like meanwhile."""
    choice: int = 0
    """Which of a trouble's several forms: a number that its doer takes modulo the number of forms."""


def strikes(seed: int, collectors: int, agents: int) -> Iterator[Strike]:
    """Blows without end."""
    random = Random(f"strikes {seed}")
    while True:
        yield Strike(
            blow=random.choices(list(_BLOWS), list(_BLOWS.values()))[0],
            collector=random.randrange(collectors),
            agent=random.randrange(agents),
            after_secs=random.choice((0.0, random.uniform(0.0, 0.5), random.uniform(0.5, 2.0))),
            down_secs=random.choice((0.0, random.uniform(0.0, 1.0))),
        )


def spells(seed: int, collectors: int) -> Iterator[Spell]:
    """Troubles without end."""
    random = Random(f"spells {seed}")
    while True:
        yield Spell(
            trouble=random.choices(list(_TROUBLES), list(_TROUBLES.values()))[0],
            collector=random.randrange(collectors),
            after_secs=random.uniform(0.0, 2.0),
            hold_secs=random.uniform(0.5, 4.0),
            link=_weather(random),
            choice=random.randrange(1 << 16),
        )


def _weather(random: Random) -> Link:
    if random.random() < 0.2:
        return Link(loss=1.0)
    return Link(
        loss=random.choice((0.0, 0.01, 0.05, 0.2)),
        doubled=random.choice((0.0, 0.0, 0.05)),
        delay_secs=random.choice((0.0, 0.005, 0.05)),
        jitter_secs=random.choice((0.0, 0.005, 0.05)),
    )
