"""What a burst of probes found."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why a peer could not be probed."""

    NAME = "name"
    """Its name leads nowhere."""
    UNREACHABLE = "unreachable"
    """The system says that nobody listens there, or that there is no way."""
    TIMEOUT = "timeout"
    """The handshake was not done in time."""
    CERTIFICATE = "certificate"
    """We do not trust it."""
    REFUSED = "refused"
    """It closed the connection, because it does not trust us or has no room."""
    SILENT = "silent"
    """The handshake was done and no probe came back."""
    FAULT = "fault"
    """Our own files or our own mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One burst to one peer."""

    node: str | None = None
    """The node that the peer's certificate names; None when it was not seen or is not trusted."""
    handshake_secs: float | None = None
    """From the first datagram, the proof of our address included; None when it was not done."""
    sent: int = 0
    round_trips: Sequence[float] = ()
    """Of each probe that came back, in seconds, in order of their return."""
    failure: Failure | None = None
    detail: str = ""

    @property
    def reachable(self) -> bool:
        """Something came back."""
        return self.failure is None and bool(self.round_trips)

    @property
    def loss(self) -> float:
        """The part of the probes that did not come back; 1 when none could be sent."""
        return 1.0 - len(self.round_trips) / self.sent if self.sent else 1.0

    def quantile(self, share: float) -> float:
        """The round trip that so large a share of those that came back did not exceed (nearest rank)."""
        ordered = sorted(self.round_trips)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    @property
    def mean(self) -> float:
        """Of the round trips that came back."""
        return sum(self.round_trips) / len(self.round_trips)
