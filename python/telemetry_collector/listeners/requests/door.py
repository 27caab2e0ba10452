"""The way from a request to the consumer, the same for every protocol: room, counters, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from telemetry_collector import _core
from telemetry_collector.listeners.requests.events import FAULT, Outcome, RequestEvents
from telemetry_collector.listeners.requests.peers import Peer
from telemetry_collector.listeners.requests.room import Hold, Room

REQUESTS_MAX = 512
"""Requests under way over all receivers; one more is told to come back."""
BUSY_RETRY_MS = 100
"""When to come back to a door that is full."""
LEFT_SECS_MAX = 10.0
"""How long a request whose client has left keeps its room until its commit is known and counted."""
PROBLEM_CHARS_MAX = 1_000
"""What a sender is told about points that were refused is cut to so much."""


class RequestConsumer(Protocol):
    """What requests are handed to."""

    async def take(
        self, form: _core.RequestForm, body: bytes, encoding: str, *, identity: str, node: str, relay: bool
    ) -> _core.Request:
        """Takes a request and returns it when its commits are known. RequestError refuses it whole."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request."""

    outcome: Outcome
    accepted: int = 0
    """Points on stable storage."""
    rejected: int = 0
    """Points refused for good, with lines that could not be read."""
    problem: str = ""
    """Why, in words for the sender."""
    retry_after_ms: int = 0
    """With `retry_later`: when it is to be sent again, all of it."""


class Door:
    """One for all receivers, since what it bounds is theirs together."""

    def __init__(
        self,
        consumers: Mapping[str, RequestConsumer],
        events: RequestEvents,
        *,
        request_bytes_max: int,
        bytes_max: int,
    ) -> None:
        """`consumers` by their forms' signal.

        `request_bytes_max` bounds a body, `bytes_max` all that are in memory at a time.
        """
        self._consumers = consumers
        self.events = events
        self.request_bytes_max = request_bytes_max
        self._room = Room(bytes_max=max(bytes_max, 2 * request_bytes_max), requests_max=REQUESTS_MAX)

    def takes(self, signal: str) -> bool:
        """Whether anybody takes this signal's requests."""
        return signal in self._consumers

    def hold(self, client: str) -> AbstractContextManager[Hold]:
        """What a request of this client takes of the room while it is read and taken."""
        return self._room.hold(client)

    async def take(self, receiver: str, form: _core.RequestForm, body: bytes, encoding: str, peer: Peer) -> Taken:
        """Hands a request on and waits until it is on stable storage.

        A client that leaves meanwhile changes nothing of that: what is stored is counted before the caller is let go.
        """
        taking = asyncio.create_task(self._take(receiver, form, body, encoding, peer))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # However long it takes, and though the wait for it is cancelled as well: nobody else hears of its end.
            taking.add_done_callback(lambda taking: self._ended_alone(receiver, taking))
            await asyncio.wait((taking,), timeout=LEFT_SECS_MAX)
            raise

    def _ended_alone(self, receiver: str, taking: asyncio.Task[Taken]) -> None:
        if not taking.cancelled() and (error := taking.exception()) is not None:
            self.events.failed(receiver, error)
            self.events.answered(receiver, "failed")

    async def _take(self, receiver: str, form: _core.RequestForm, body: bytes, encoding: str, peer: Peer) -> Taken:
        events = self.events
        events.received(receiver, len(body))
        try:
            request = await self._consumers[form.signal].take(
                form, body, encoding, identity=peer.identity, node=peer.node, relay=peer.relay
            )
        except _core.RequestTooLargeError as error:
            return self._answered(receiver, peer, Taken("too_large", problem=str(error)))
        except _core.RequestError as error:
            return self._answered(receiver, peer, Taken("malformed", problem=str(error)))
        for kind, count in request.left_out:
            events.left_out(receiver, kind, count)
        events.accepted(receiver, form.signal, request.accepted_points)
        taken, missing = _taken(request)
        if missing:
            events.unaccounted(receiver, missing)
        return self._answered(receiver, peer, taken)

    def busy(self, receiver: str) -> Taken:
        """The answer to who finds no room."""
        taken = Taken("retry_later", problem="too much is under way", retry_after_ms=BUSY_RETRY_MS)
        self.events.answered(receiver, taken.outcome)
        return taken

    def _answered(self, receiver: str, peer: Peer, taken: Taken) -> Taken:
        self.events.answered(receiver, taken.outcome, taken.problem, peer.identity)
        return taken


def _taken(request: _core.Request) -> tuple[Taken, int]:
    """What became of a request, and how many of its points nothing became of: a defect of ours.

    They count as refused. To have them sent again would store the others again, and as often as they are sent.
    """
    if request.retry_after_ms is not None:
        return Taken("retry_later", problem="the collector has no room", retry_after_ms=request.retry_after_ms), 0
    bad_lines = dict(request.left_out).get("bad_line", 0)
    missing = abs(request.points - request.accepted_points - request.rejected_points)
    rejected = request.rejected_points + bad_lines + missing
    if not rejected:
        return Taken("stored", request.accepted_points), 0
    reasons = [f"{points} x {reason} ({example})" for reason, points, example in request.rejections]
    if bad_lines:
        reasons.insert(0, f"{bad_lines} x malformed ({request.first_fault})")
    if missing:
        reasons.insert(0, f"{missing} x lost by {FAULT}")
    outcome: Outcome = "partial" if request.accepted_points else "rejected"
    return Taken(outcome, request.accepted_points, rejected, "; ".join(reasons)[:PROBLEM_CHARS_MAX]), missing
