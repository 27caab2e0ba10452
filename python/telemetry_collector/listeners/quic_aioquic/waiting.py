"""Newcomers that wait for a handshake's place, in the order in which they came.

A fleet comes back at once, and its handshakes take seconds. Who is turned away meanwhile comes again by a timer of its
own, a second later and then two, while the processor has nothing to do. So who has proven its address with a token
waits here instead, and the next begins as soon as another is through. Nobody else does: a forged address takes no room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from telemetry_collector.listeners.quic_aioquic.datagrams import Path

WAITING_MAX = 4_096
"""Newcomers that wait: more than is served before they have waited for too long."""

WAITING_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of their datagrams."""

HELLO_DATAGRAMS_MAX = 3
"""Datagrams kept of one: its first flight takes two at most, and one may come again."""

REPEATED_DATAGRAMS_MAX = 8
"""Datagrams beyond those that are no flood yet: a client that hears nothing sends its flight again, and again."""


@dataclass(slots=True, eq=False)
class Newcomer:
    """One that may begin its handshake."""

    original_id: bytes
    """What it called us in its very first datagram."""
    retry_id: bytes | None
    """What we called ourselves when we sent it away for a token."""
    handshake_ended: Callable[[], None]
    """To be called when its handshake is over, however it went."""
    since: float
    datagrams: list[tuple[bytes, Path]]
    """What has come of it so far, not handled yet."""
    repeated: int = 0
    """Datagrams that came besides, and were not kept."""


class WaitingRoom:
    """Who waits, by what we called ourselves."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, Newcomer] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, retry_id: bytes) -> bool:
        return retry_id in self._waiting

    @property
    def full(self) -> bool:
        """Whether nobody can enter."""
        return len(self._waiting) >= WAITING_MAX or self._bytes >= WAITING_BYTES_MAX

    def enter(self, retry_id: bytes, newcomer: Newcomer) -> None:
        """It waits from now on, behind all others. The room is not full."""
        self._waiting[retry_id] = newcomer
        self._bytes += _size(newcomer)

    def add(self, retry_id: bytes, data: bytes, path: Path) -> bool:
        """Another datagram of one that waits: kept if it can be new. False for more of them than a client sends."""
        newcomer = self._waiting[retry_id]
        if len(newcomer.datagrams) < HELLO_DATAGRAMS_MAX and self._bytes < WAITING_BYTES_MAX:
            newcomer.datagrams.append((data, path))
            self._bytes += len(data)
            return True
        newcomer.repeated += 1
        return newcomer.repeated <= REPEATED_DATAGRAMS_MAX

    def leave(self) -> Newcomer | None:
        """Who came first waits no longer; None when nobody does."""
        if not self._waiting:
            return None
        newcomer = self._waiting.pop(next(iter(self._waiting)))
        self._bytes -= _size(newcomer)
        return newcomer


def _size(newcomer: Newcomer) -> int:
    return sum(len(data) for data, _ in newcomer.datagrams)
