"""What cannot be read of calls to standard health and reflection.

Their packages leave reading to gRPC, which takes what it cannot read for a fault of the server: the client hears
UNKNOWN, and the log gets a traceback for each such call, as many as anybody likes to send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from telemetry_collector.api.grpc.peers import Context

UNREADABLE: Final = "the request cannot be read as this method's message"


class Readable(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Answers INVALID_ARGUMENT instead. Methods that read for themselves are left alone."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> grpc.RpcMethodHandler:
        """The method's handler, reading with care."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        read = handler.request_deserializer
        # There are no others: Check and List, Watch, ServerReflectionInfo.
        if handler.request_streaming:
            return handler._replace(request_deserializer=None, stream_stream=_streaming(handler.stream_stream, read))
        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        return handler._replace(request_deserializer=None, **{kind: _single(getattr(handler, kind), read)})


def _single(behaviour: Callable[[Any, Context], Awaitable[Any]], parse: Callable[[bytes], Any]) -> Callable[..., Any]:
    async def read(body: bytes, context: Context) -> Any:
        return await behaviour(await _read(body, parse, context), context)

    return read


def _streaming(
    behaviour: Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]], parse: Callable[[bytes], Any]
) -> Callable[..., AsyncIterator[Any]]:
    async def read(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        async def messages() -> AsyncIterator[Any]:
            async for body in bodies:
                yield await _read(body, parse, context)

        async for answer in behaviour(messages(), context):
            yield answer

    return read


async def _read(body: bytes, parse: Callable[[bytes], Any], context: Context) -> Any:
    try:
        return parse(body)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
        raise
