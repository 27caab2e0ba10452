"""Retry: a newcomer proves its address by coming back with a token that was sent there (RFC 9000, 8.1.2).

A token is bound to address and port, to the connection ids and to 30 seconds, and sealed with a key that no other
process has. Nothing is kept for it. One costs about 20 microseconds, the packet around it included; a first flight of
TLS about a millisecond.
"""

from __future__ import annotations

import os

from aioquic.quic.packet import QuicHeader, encode_quic_retry
from aioquic.quic.retry import QuicRetryTokenHandler

from telemetry_collector.listeners.quic_aioquic.datagrams import Path

KEY_SECS = 3_600.0
"""A key is used for so long, and the one before it is still good for as long again. Its nonces are random, so it must
not seal more than a few thousand million tokens."""


class RetryTokens:
    """Makes tokens and checks them."""

    def __init__(self, connection_id_bytes: int) -> None:
        self._connection_id_bytes = connection_id_bytes
        self._sealed_with = QuicRetryTokenHandler()
        self._before = QuicRetryTokenHandler()
        self._since = 0.0

    def answer(self, header: QuicHeader, path: Path, now: float) -> bytes:
        """The Retry packet that sends a newcomer away with a token."""
        if now - self._since > KEY_SECS:
            self._before, self._sealed_with, self._since = self._sealed_with, QuicRetryTokenHandler(), now
        assert header.version is not None, "an Initial has one"
        source_cid = os.urandom(self._connection_id_bytes)
        return encode_quic_retry(
            version=header.version,
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=self._sealed_with.create_token(
                address=path.peer,
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=source_cid,
                now=now,
            ),
        )

    def original_destination(self, header: QuicHeader, path: Path, now: float) -> bytes | None:
        """The connection id that a newcomer chose at first, from its token; None for a token that is not good."""
        for handler in (self._sealed_with, self._before):
            try:
                return handler.validate_token(
                    address=path.peer, destination_cid=header.destination_cid, token=header.token, now=now
                )
            except ValueError:
                # Of another key, address or connection, or too old: aioquic has one error for all.
                continue
        return None
