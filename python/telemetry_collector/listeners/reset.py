"""Stateless reset (RFC 9000, 10.3): tells a peer at once that a connection of before a restart is gone.

Without it an agent waits for replies until it gives the connection up, ten seconds, each time a collector dies. A token
is made from a connection id and the collector's own private key, so a restarted collector makes the same one again, and
nobody else can.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final, final

TOKEN_BYTES: Final = 16

_LABEL: Final = b"telemetry-collector stateless reset 1"
# So small a reset could be told from other packets by its size; a smaller packet is answered with a smaller one still.
_RESET_BYTES: Final = 43
# A first byte that looks like that of a packet, five unpredictable bytes and the token: nothing shorter is a reset.
_RESET_BYTES_MIN: Final = 21


@final
class ResetTokens:
    """Tokens for the connection ids of one collector."""

    def __init__(self, secret: bytes) -> None:
        """`secret` is whatever outlives a restart, and is known to nobody else."""
        self.key = hashlib.sha256(_LABEL + secret).digest()
        """What tokens are made with: their HMAC-SHA256 key."""

    @classmethod
    def of_key_file(cls, path: Path) -> ResetTokens:
        """Those of the collector with this private key. OSError when it cannot be read."""
        return cls(path.read_bytes())

    def token(self, connection_id: bytes) -> bytes:
        """The token of a connection id."""
        return hmac.digest(self.key, connection_id, "sha256")[:TOKEN_BYTES]

    def answer(self, connection_id: bytes, received_bytes: int) -> bytes | None:
        """The reset for a packet that belongs to no connection; None when the packet was too small to be answered.

        Always smaller than what it answers, so that two sides without a connection cannot answer each other for ever,
        and nobody is sent more than somebody else has sent in his name.
        """
        size = min(_RESET_BYTES, received_bytes - 1)
        if size < _RESET_BYTES_MIN:
            return None
        noise = bytearray(secrets.token_bytes(size - TOKEN_BYTES))
        noise[0] = noise[0] & 0x3F | 0x40
        return bytes(noise) + self.token(connection_id)
