"""What happens to a sender, for logs and metrics. Counting is done already: see `SenderStats`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from telemetry_collector.model import Outcome


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
class Answered:
    """A batch has got its final answer, once: it is not sent again, in this life of the agent or a later one.

    The exception is an answer that came less than a second or so before a crash: then the batch is sent once more under
    its name, and answered anew.
    """

    epoch: int
    sequence: int
    outcome: Outcome
    """STORED, PARTIAL, DUPLICATE or REJECTED."""
    accepted_points: int
    """Points that are on the collector's stable storage; of a DUPLICATE, the batch's."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The collector refused points for good."""

    reason: str
    points: int
    example: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Points were given up on this side. `sequence` is 0 where they are of several batches."""

    reason: str
    points: int
    epoch: int
    sequence: int
    sent: bool = field(default=False, compare=False)
    """A collector may have them: they were on their way, and never answered."""


@dataclass(frozen=True, slots=True)
class HeartbeatRefused:
    """The collector did not take a heartbeat."""

    outcome: str
    example: str


@dataclass(frozen=True, slots=True)
class SpoolOpened:
    """What an earlier life of the agent has left is going to be sent."""

    directory: str
    batches: int
    points: int
    renewal: str | None
    """Why the epoch is a new one: fresh, another_machine, another_identity."""
    damaged_bytes: int
    undecodable: int
    """Records that another program wrote."""


@dataclass(frozen=True, slots=True)
class SpoolFailed:
    """The spool cannot be written: so many batches more are sent from memory, and would not survive the process."""

    reason: str
    batches: int


SenderEvent = (
    Connected
    | Disconnected
    | ConnectFailed
    | Answered
    | Refused
    | Dropped
    | HeartbeatRefused
    | SpoolOpened
    | SpoolFailed
)

OnEvent = Callable[[SenderEvent], None]


def ignore(event: SenderEvent) -> None:
    """For callers that look at the counters only."""
