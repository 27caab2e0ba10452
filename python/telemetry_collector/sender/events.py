"""What happens to a sender, for logs and metrics. Counting is done already: see `SenderStats`."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Connected:
    """A collector has answered its first frame."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection that was good has ended; what it had not answered is sent again on the next."""

    endpoint: str
    reason: str
    unanswered: int


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """A collector could not be reached, or did not take us."""

    endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The collector refused points for good."""

    reason: str
    points: int
    example: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Points were given up on this side."""

    reason: str
    points: int


@dataclass(frozen=True, slots=True)
class HeartbeatRefused:
    """The collector did not take a heartbeat."""

    outcome: str
    example: str


SenderEvent = Connected | Disconnected | ConnectFailed | Refused | Dropped | HeartbeatRefused

OnEvent = Callable[[SenderEvent], None]


def ignore(event: SenderEvent) -> None:
    """For callers that look at the counters only."""
