"""The `grpc` section: where the gRPC service listens, and where it keeps what it is told."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from telemetry_collector.config.receivers import Receiver
from telemetry_collector.config.section import Address


class Grpc(Receiver):
    """The gRPC service; off until it has an address or a socket."""

    listen_addr: Address | None = Field(None, description="the address to listen on, as host:port, or null for none")
    tls: Literal["auto", "mutual", "server", "off"] = Field(
        "auto",
        description="of the address: mutual (clients show certificates), server (they need not), off, or auto: off on "
        "loopback, mutual elsewhere",
    )
    unix_socket: Path | None = Field(
        None, description="the path of a socket to listen on for this user and group, or null for none"
    )
    alert_rules_path: Path = Field(
        Path("/var/lib/horizon/alert-rules.json"), description="the file that alert rules are kept in"
    )

    @property
    def is_on(self) -> bool:
        """Whether there is anywhere to listen."""
        return self.listen_addr is not None or self.unix_socket is not None
