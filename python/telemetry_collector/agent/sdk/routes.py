"""Where a service's metrics go. Nothing is loaded before the first point is recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry_collector.sender import Sender
    from telemetry_collector.sender.events import SenderEvent

# What `Address` takes, which would load all of the configuration.
_HOST = re.compile(r"[^\s:/\[\]@]+|\[[0-9A-Fa-f:.]+\]")
_PORT = re.compile(r"[0-9]{1,5}")

AGENT_SOCKET = Path("/run/horizon/agent.sock")
"""Where a packaged agent listens that was told to."""


@dataclass(frozen=True, slots=True)
class AgentSocket:
    """Through the agent of this machine, whose configuration names the socket (`agent.socket`).

    It is there even when no collector is, keeps what it takes on disk, and adds the machine's tags.
    """

    path: Path | str = AGENT_SOCKET

    def new_sender(self, *, points_max: int, on_event: Callable[[SenderEvent], None]) -> Sender:
        """A sender over the socket, not started."""
        from telemetry_collector.sender import DeliverySettings, OutboxSettings, Sender, SocketSettings

        return Sender(
            SocketSettings(Path(self.path)),
            delivery=DeliverySettings(form="row", compression="none", streams_max=1),
            outbox=OutboxSettings(points_max=points_max),
            on_event=on_event,
        )

    def __str__(self) -> str:
        return f"the agent at {self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collectors:
    """Straight to a collector: the first of `addresses` (host:port) that works.

    The service's own certificate names the node that the points are of. ValueError for an address that is none.
    """

    addresses: Sequence[str] | str
    cert_path: Path | str
    key_path: Path | str
    ca_path: Path | str
    """The authorities that collectors' certificates must come from."""
    server_name: str | None = None
    """The name in them, where it is not the host that they are reached under."""

    def __post_init__(self) -> None:
        if not self._addresses:
            raise ValueError("addresses: expected one host:port at least")
        for address in self._addresses:
            host, _, port = str(address).rpartition(":")
            if not _HOST.fullmatch(host) or not _PORT.fullmatch(port) or not 0 < int(port) < 65_536:
                raise ValueError(
                    f"addresses: {address!r}: expected host:port, such as collector-a.example.org:5001 or [::1]:5001"
                )

    @property
    def _addresses(self) -> Sequence[str]:
        return [self.addresses] if isinstance(self.addresses, str) else self.addresses

    def new_sender(self, *, points_max: int, on_event: Callable[[SenderEvent], None]) -> Sender:
        """A sender over QUIC, not started."""
        # The resolver would load the one, and the first connection the other, when a fork may be in the middle of it.
        import encodings.idna  # noqa: F401

        from telemetry_collector.sender import Address, DeliverySettings, OutboxSettings, Sender, TransportSettings
        from telemetry_collector.sender.settings import has_quinn

        if has_quinn():
            import telemetry_collector.sender.over_quinn  # noqa: F401

        return Sender(
            TransportSettings(
                endpoints=tuple(Address.parse(address) for address in self._addresses),
                cert_path=Path(self.cert_path),
                key_path=Path(self.key_path),
                ca_path=Path(self.ca_path),
                server_name=self.server_name,
            ),
            delivery=DeliverySettings(streams_max=1),
            outbox=OutboxSettings(points_max=points_max),
            on_event=on_event,
        )

    def __str__(self) -> str:
        return f"the collector at {' or '.join(self._addresses)}"


Route = AgentSocket | Collectors
