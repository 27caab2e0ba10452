"""What a look at a service found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Reason(StrEnum):
    """Why a check failed: few words, because each is a series."""

    TIMEOUT = "timeout"
    NAME = "name"
    """The host's name leads nowhere."""
    CONNECT = "connect"
    TLS = "tls"
    PROTOCOL = "protocol"
    """What came is no answer."""
    STATUS = "status"
    BODY = "body"
    CERTIFICATE = "certificate"
    """It is good, but not for long enough."""
    EXIT = "exit"
    START = "start"
    """The command could not be started."""
    PROCESSES = "processes"
    """Too few or too many."""
    BUSY = "busy"
    """The look before this one has not ended, although it should have."""
    FAULT = "fault"
    """The check itself is at fault."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A value that only some kinds of check have."""

    name: str
    value: float
    unit: str


@dataclass(slots=True)
class Finding:
    """What is found on the way; filled in as a check goes along, so that a failure keeps what came before it."""

    measures: list[Measure] = field(default_factory=list)

    def measure(self, name: str, value: float, unit: str) -> None:
        """Notes a value. The last one of a name counts."""
        self.measures = [kept for kept in self.measures if kept.name != name]
        self.measures.append(Measure(name, value, unit))


class CheckFailed(Exception):
    """The service is not as it should be."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Check(Protocol):
    """One way to look at a service. Called on the monitors' loop, one look at a time, and cancelled at its timeout."""

    kind: str
    target: str
    """What is looked at, without secrets, for people and for the tag `target`."""

    async def look(self, finding: Finding) -> None:
        """Returns when all is well; CheckFailed when not."""


class State(StrEnum):
    """How a service is."""

    UP = "up"
    DOWN = "down"
    BLOCKED = "blocked"
    """It fails, and so does something that it depends on: not its own failure."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A look that has ended."""

    began: float
    """On the monotonic clock."""
    secs: float
    state: State
    reason: Reason | None
    detail: str
    measures: tuple[Measure, ...] = ()
    dependencies: Mapping[str, bool] = field(default_factory=dict)
    """Whether each was up when this was judged."""
