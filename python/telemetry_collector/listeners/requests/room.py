"""What requests take of memory, which clients share by the rule of `shares`.

Nobody waits here: who finds no room is told to come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from telemetry_collector.listeners.requests.shares import fits


@dataclass(slots=True)
class _Client:
    bytes: int = 0
    requests: int = 0
    holds: int = 0


@final
class Room:
    """Bytes of bodies that are read or taken, and requests that are taken, at a time."""

    def __init__(self, *, bytes_max: int, requests_max: int) -> None:
        """`bytes_max` of all bodies: twice the largest, at least, for a client that is alone to bring that."""
        self._bytes_max = bytes_max
        self._requests_max = requests_max
        self._all = _Client()
        # Those that hold something: no more than there are connections.
        self._clients: dict[str, _Client] = {}

    @contextmanager
    def hold(self, client: str) -> Iterator[Hold]:
        """What one request of a client takes, from its beginning to its answer: nothing yet."""
        own = self._clients.setdefault(client, _Client())
        own.holds += 1
        hold = Hold(self, own)
        try:
            yield hold
        finally:
            hold._end()
            own.holds -= 1
            if not own.holds:
                del self._clients[client]


@final
class Hold:
    """One request's part of the room."""

    __slots__ = ("_bytes", "_own", "_requests", "_room")

    def __init__(self, room: Room, own: _Client) -> None:
        self._room = room
        self._own = own
        self._bytes = 0
        self._requests = 0

    def fits(self, size: int) -> bool:
        """Whether so many bytes more would be given now."""
        room = self._room
        return fits(self._own.bytes, room._all.bytes, room._bytes_max, size)

    def grow(self, size: int) -> bool:
        """Takes so many bytes more; False when there is no room for them, and nothing has changed."""
        if not self.fits(size):
            return False
        self._bytes += size
        self._own.bytes += size
        self._room._all.bytes += size
        return True

    def begin(self) -> bool:
        """Takes a place among the requests that are taken; False when there is none for this client."""
        room = self._room
        if not fits(self._own.requests, room._all.requests, room._requests_max, 1):
            return False
        self._requests += 1
        self._own.requests += 1
        room._all.requests += 1
        return True

    def _end(self) -> None:
        for counted in (self._own, self._room._all):
            counted.bytes -= self._bytes
            counted.requests -= self._requests
