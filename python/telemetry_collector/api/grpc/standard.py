"""Calls to standard health and reflection: their bounds, their counter, and what of them cannot be read.

Their packages know no bounds and leave reading to gRPC, which takes what it cannot read for a fault of the server: the
client hears UNKNOWN, and the log gets a traceback for each such call, as many as anybody likes to send.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from telemetry_collector.api.grpc.events import GrpcEvents
from telemetry_collector.api.grpc.peers import Context
from telemetry_collector.listeners.requests.reading import address_of
from telemetry_collector.listeners.requests.shares import Shares

CALLS_MAX: Final = 256
"""Such calls under way, which addresses share: one alone has half of them. Most are streams that watch, for ever."""
UNREADABLE: Final = "the request cannot be read as this method's message"
TOO_MANY: Final = "too many calls are under way, or too many of this address; come back later"

Code = grpc.StatusCode
_CODES: Final[dict[Any, Any]] = {code.value[0]: code for code in Code}


class StandardCalls(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Bounds and counts them, and answers INVALID_ARGUMENT to what cannot be read.

    Methods that read for themselves see to all of that, and are left alone.
    """

    def __init__(self, events: GrpcEvents) -> None:
        self._events = events
        self._shares = Shares(CALLS_MAX)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> grpc.RpcMethodHandler:
        """The method's handler, with bounds, and reading with care."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        method = handler_call_details.method.rpartition("/")[2]
        read = handler.request_deserializer
        # There are no others: Check and List, Watch, ServerReflectionInfo.
        if handler.request_streaming:
            answered = self._streaming(method, handler.stream_stream, read)
            return handler._replace(request_deserializer=None, stream_stream=answered)
        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        answered = self._single(method, getattr(handler, kind), read)
        return handler._replace(request_deserializer=None, **{kind: answered})

    def _single(
        self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]], parse: Callable[[bytes], Any]
    ) -> Callable[..., Any]:
        async def answer(body: bytes, context: Context) -> Any:
            with self._call(method, context) as admitted:
                if not admitted:
                    await context.abort(Code.RESOURCE_EXHAUSTED, TOO_MANY)
                return await behaviour(await _read(body, parse, context), context)

        return answer

    def _streaming(
        self,
        method: str,
        behaviour: Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]],
        parse: Callable[[bytes], Any],
    ) -> Callable[..., AsyncIterator[Any]]:
        async def answer(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async def messages() -> AsyncIterator[Any]:
                async for body in bodies:
                    yield await _read(body, parse, context)

            with self._call(method, context) as admitted:
                if not admitted:
                    await context.abort(Code.RESOURCE_EXHAUSTED, TOO_MANY)
                async for one in behaviour(messages(), context):
                    yield one

        return answer

    @contextmanager
    def _call(self, method: str, context: Context) -> Iterator[bool]:
        """One call from its beginning to its end; whether its address may have it."""
        began = time.monotonic()
        # No certificate is asked of who asks for health, so it is addresses that share.
        client = address_of(context.peer())
        admitted = self._shares.take(client)
        otherwise = Code.OK
        try:
            yield admitted
        except (asyncio.CancelledError, GeneratorExit):
            otherwise = Code.CANCELLED
            raise
        except Exception:
            otherwise = Code.UNKNOWN
            raise
        finally:
            if admitted:
                self._shares.give_back(client)
            # As it was set, if it was: with a number or a code, by who did.
            code = _CODES.get(context.code(), context.code()) or otherwise
            if code is Code.OK:
                code = Code.CANCELLED if context.cancelled() else otherwise
            self._events.answered(method, code.name, time.monotonic() - began, str(context.details() or ""), client)


async def _read(body: bytes, parse: Callable[[bytes], Any], context: Context) -> Any:
    try:
        return parse(body)
    except DecodeError:
        await context.abort(Code.INVALID_ARGUMENT, UNREADABLE)
        raise
