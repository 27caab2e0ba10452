"""Who calls: a client that proved a certificate, or somebody on this machine."""

from __future__ import annotations

from typing import Any

from telemetry_collector.listeners.requests.grpc import certificates_in
from telemetry_collector.listeners.requests.peers import Peer, PeerDenied, Trust, anonymous

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
        shown = context.auth_context().get("x509_pem_cert")
        if not shown:
            raise PeerDenied("no certificate was shown")
        chain = context.auth_context().get("x509_pem_cert_chain") or (b"",)
        # Whether the client's own stands in the chain as well depends on which side asks.
        behind = [one for one in certificates_in(chain[0]) if one.strip() != shown[0].strip()]
        return self._trust.peer_of(shown[0], behind)
