"""Who calls: a client that proved a certificate, or somebody on this machine."""

from __future__ import annotations

from typing import Any

from telemetry_collector.listeners.requests.grpc import caller
from telemetry_collector.listeners.requests.peers import Peer, Trust, anonymous

Context = Any
"""A grpc.aio.ServicerContext; grpc has no types."""

NAME = "grpc"
"""The identity of clients without a certificate: they share one quota."""


class Peers:
    """Tells who calls."""

    def __init__(self, trust: Trust | None) -> None:
        """`trust` judges certificates; None: clients show none. Over the socket nobody shows one."""
        self._trust = trust
        self._anonymous = anonymous(NAME)

    def of(self, context: Context) -> Peer:
        """PeerDenied says why this one may not call."""
        if self._trust is None or context.peer().startswith("unix:"):
            return self._anonymous
        return caller(context, self._trust)
