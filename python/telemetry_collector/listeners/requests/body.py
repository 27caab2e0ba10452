"""Reads a request's body over HTTP: room is taken as its bytes come, and a client that trickles is ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import StreamReader

from telemetry_collector.listeners.requests.room import Hold


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a body has to come."""

    secs_max: float = 30.0
    """From a request's headers to the end of its body."""
    turn_secs: float = 5.0
    """In each turn of so many seconds at least `turn_bytes_min` come, or the rest of the body does."""
    turn_bytes_min: int = 16 * 1024


PACE: Final = Pace()


class BodyTooSlow(Exception):
    """The message is for the client."""


class BodyTooLarge(Exception):
    """More bytes than a body may have."""


class NoRoomForBody(Exception):
    """The room was full before the body was whole."""


async def read_body(content: StreamReader, hold: Hold, bytes_max: int, pace: Pace = PACE) -> bytes:
    """The whole body, whose bytes `hold` has then.

    BodyTooSlow, BodyTooLarge, NoRoomForBody; aiohttp's errors where the client leaves or breaks HTTP's rules.
    """
    now = asyncio.get_running_loop().time
    end = now() + pace.secs_max
    turn_end, of_turn, size = now() + pace.turn_secs, 0, 0
    chunks: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout_at(min(turn_end, end)):
                chunk = await content.readany()
        except TimeoutError:
            chunk = None
        except RuntimeError as error:
            # What aiohttp says of a client that had left before the waiting began.
            raise ConnectionResetError(str(error)) from error
        if chunk == b"":
            return b"".join(chunks) if len(chunks) != 1 else chunks[0]
        if chunk is not None:
            size += len(chunk)
            of_turn += len(chunk)
            if size > bytes_max:
                raise BodyTooLarge
            if not hold.grow(len(chunk)):
                raise NoRoomForBody
            chunks.append(chunk)
        if now() >= end:
            raise BodyTooSlow(f"no whole body within {pace.secs_max:g} s")
        if now() >= turn_end:
            if of_turn < pace.turn_bytes_min:
                raise BodyTooSlow(f"{of_turn} bytes of a body in {pace.turn_secs:g} s; expected {pace.turn_bytes_min}")
            turn_end, of_turn = now() + pace.turn_secs, 0
