"""How connections end, in words for counters and logs, and how the peer is told for sure."""

from __future__ import annotations

from dataclasses import dataclass

from aioquic.quic.connection import NetworkAddress
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription

from telemetry_collector.model import CloseCode


@dataclass(frozen=True, slots=True)
class Ending:
    """An ended connection."""

    code: str
    """A close code, a TLS alert or an error of the transport by name; one of few, so that it can be a label."""

    side: str
    """Who ended it: collector, agent or network."""

    reason: str
    """What was said about it."""


DROPPED = Ending("dropped", "collector", "freed without a word")


def describe(closing: ConnectionTerminated, *, here: bool, lost: bool) -> Ending:
    """`here`: this side closed it; `lost`: nobody did, the path went silent."""
    if lost:
        return Ending("lost", "network", closing.reason_phrase)
    return Ending(_code(closing), "collector" if here else "agent", closing.reason_phrase)


def _code(closing: ConnectionTerminated) -> str:
    code = closing.error_code
    try:
        if closing.frame_type is None:
            return CloseCode(code).label
        if QuicErrorCode.CRYPTO_ERROR <= code < QuicErrorCode.CRYPTO_ERROR + 256:
            return AlertDescription(code - QuicErrorCode.CRYPTO_ERROR).name
        return QuicErrorCode(code).name.lower()
    except ValueError:
        return "unknown"


class Farewell:
    """Says the last datagrams again when the peer keeps sending: they may be lost, and their code matters.

    After the first, second, fourth, eighth … datagram that came too late: two ends that both closed fall silent.
    """

    def __init__(self) -> None:
        self._datagrams: list[tuple[bytes, NetworkAddress]] = []
        self._late = 0
        self._again = False

    def missed(self) -> None:
        """A datagram arrived although the connection is closed."""
        self._late += 1
        self._again = self._again or self._late & (self._late - 1) == 0

    def say(self, datagrams: list[tuple[bytes, NetworkAddress]]) -> list[tuple[bytes, NetworkAddress]]:
        """What to send now, given what the transport wants to send."""
        if datagrams:
            self._datagrams = datagrams
        elif not self._again:
            return []
        self._again = False
        return self._datagrams
