"""What is the same for every method: who calls, which status an error becomes, and the counter.

Requests and answers are bytes for gRPC, so that what cannot be read is INVALID_ARGUMENT and not gRPC's own INTERNAL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from telemetry_collector.alerts import TooManyRules
from telemetry_collector.api.grpc.events import GrpcEvents
from telemetry_collector.api.grpc.peers import Context, Peers
from telemetry_collector.listeners.requests.events import FAULT
from telemetry_collector.listeners.requests.peers import Peer, PeerDenied
from telemetry_collector.listeners.requests.reading import READ_SECS_MAX, Readings, address_of
from telemetry_collector.listeners.requests.shares import Shares
from telemetry_collector.query import (
    AnswerTooLarge,
    InvalidQuery,
    QueryBusy,
    QueryTimedOut,
    QueryTooLarge,
)

Code = grpc.StatusCode

CALLS_MAX: Final = 256
"""Calls under way, which clients share: one alone has half of them."""
REQUEST_BYTES_MAX: Final = 64 * 1024
"""Of a call with one message. Questions and rules at all their bounds are smaller; millions of empty fields would take
seconds and gigabytes to be read, whatever becomes of them."""
PROBLEM_CHARS_MAX: Final = 1_000
"""What a client is told is cut to so much."""

CODES: Final[dict[type[Exception], Any]] = {
    PeerDenied: Code.PERMISSION_DENIED,
    InvalidQuery: Code.INVALID_ARGUMENT,
    AnswerTooLarge: Code.OUT_OF_RANGE,
    QueryBusy: Code.RESOURCE_EXHAUSTED,
    QueryTooLarge: Code.RESOURCE_EXHAUSTED,
    QueryTimedOut: Code.DEADLINE_EXCEEDED,
    TooManyRules: Code.RESOURCE_EXHAUSTED,
}
"""Errors whose text is for the client. Every other one is INTERNAL, and told in the log alone."""

Request = TypeVar("Request", bound=Message)
Result = TypeVar("Result")


class Refusal(Exception):
    """A call is answered with a status other than OK."""

    def __init__(self, code: Any, message: str) -> None:
        self.code = code
        """A grpc.StatusCode; grpc has no types."""
        super().__init__(message)


Streaming = Callable[[AsyncIterator[bytes], Peer, Context], Awaitable[Result]]
"""A method that takes a stream of messages: it writes answers to the context, or returns one."""


class Calls:
    """Makes gRPC's handlers of methods."""

    def __init__(self, peers: Peers, events: GrpcEvents) -> None:
        self._peers = peers
        self._events = events
        self._shares = Shares(CALLS_MAX)
        # Whoever comes to read has its share of the calls already, and so finds a turn to wait for.
        self._readings = Readings(CALLS_MAX)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def settled(self) -> None:
        """Returns when no call is under way."""
        await self._idle.wait()

    def unary(
        self, method: str, request: type[Request], work: Callable[[Request], Awaitable[Message]]
    ) -> grpc.RpcMethodHandler:
        """A method of one request and one answer."""

        async def handle(messages: AsyncIterator[bytes], context: Context) -> bytes:
            async def answer(peer: Peer) -> bytes:
                try:
                    body = await self._readings.read(_client(peer, context), messages)
                except TimeoutError as error:
                    raise Refusal(Code.DEADLINE_EXCEEDED, f"no whole message within {READ_SECS_MAX:g} s") from error
                if body is None:
                    raise Refusal(Code.INVALID_ARGUMENT, "a call without a message")
                if len(body) > REQUEST_BYTES_MAX:
                    problem = f"a request of {len(body)} bytes; expected at most {REQUEST_BYTES_MAX}"
                    raise Refusal(Code.INVALID_ARGUMENT, problem)
                try:
                    asked = request.FromString(body)
                except DecodeError as error:
                    raise Refusal(Code.INVALID_ARGUMENT, f"the request is no {request.DESCRIPTOR.full_name}") from error
                return (await work(asked)).SerializeToString()

            return await self._answered(method, context, answer)

        # Said to take a stream, which on the wire is the same, so that its message is not read before it is its turn.
        return grpc.stream_unary_rpc_method_handler(handle)

    def collecting(self, method: str, work: Streaming[bytes]) -> grpc.RpcMethodHandler:
        """A method that takes a stream and answers once."""

        async def handle(messages: AsyncIterator[bytes], context: Context) -> bytes:
            return await self._answered(method, context, lambda peer: work(messages, peer, context))

        return grpc.stream_unary_rpc_method_handler(handle)

    def conversing(self, method: str, work: Streaming[None]) -> grpc.RpcMethodHandler:
        """A method that takes a stream and writes its answers to the context."""

        async def handle(messages: AsyncIterator[bytes], context: Context) -> None:
            await self._answered(method, context, lambda peer: work(messages, peer, context))

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _answered(self, method: str, context: Context, work: Callable[[Peer], Awaitable[Result]]) -> Result:
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._answer(method, context, work)
        finally:
            self._under_way -= 1
            if self._under_way == 0:
                self._idle.set()

    async def _answer(self, method: str, context: Context, work: Callable[[Peer], Awaitable[Result]]) -> Result:
        began = time.monotonic()
        identity = ""
        try:
            peer = self._peers.of(context)
            identity = peer.identity
            with self._share(_client(peer, context)):
                result = await work(peer)
        except asyncio.CancelledError:
            # The client has gone, or its deadline came.
            self._events.answered(method, Code.CANCELLED.name, time.monotonic() - began)
            raise
        except Exception as error:
            code, told = self._told(method, error)
            self._events.answered(method, code.name, time.monotonic() - began, told, identity)
            await context.abort(code, told)
            raise AssertionError("abort raises") from error
        # A stream's client that leaves looks like one that has finished.
        code = Code.CANCELLED if context.cancelled() else Code.OK
        self._events.answered(method, code.name, time.monotonic() - began)
        return result

    @contextmanager
    def _share(self, client: str) -> Iterator[None]:
        if not self._shares.take(client):
            problem = "too many calls are under way, or too many of this client; come back later"
            raise Refusal(Code.RESOURCE_EXHAUSTED, problem)
        try:
            yield
        finally:
            self._shares.give_back(client)

    def _told(self, method: str, error: Exception) -> tuple[Any, str]:
        """The status and the words for the client."""
        if isinstance(error, Refusal):
            return error.code, str(error)[:PROBLEM_CHARS_MAX]
        if type(error) in CODES:
            return CODES[type(error)], str(error)[:PROBLEM_CHARS_MAX]
        self._events.failed(method, error)
        return Code.INTERNAL, FAULT


def _client(peer: Peer, context: Context) -> str:
    """Who shares what there is only so much of."""
    return f"{peer.identity} {address_of(context.peer())}"
