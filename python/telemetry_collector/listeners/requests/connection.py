"""One connection of a receiver over HTTP: what its clients hear where no handler has their request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import _ErrInfo

from telemetry_collector.observe.http_connection import SERVER, WORDS_MAX
from telemetry_collector.observe.logs import logger

log = logger(__name__)

Missed = Callable[[web.BaseRequest, int, str, Exception | None], web.Response]
"""Counts and answers what has come to no handler: its status and words, and the error where it is a fault of ours."""


class Connection(web.RequestHandler):
    """aiohttp's, but that every error is counted and told in the protocol's words, a broken body at once, and whoever
    counts connections hears when this one has ended.

    aiohttp's own writes a line to the log for each request that breaks HTTP's rules, and lets whoever reads a body wait
    when its framing breaks.
    """

    __slots__ = ("_ended", "_missed")

    def __init__(self, server: web.Server, *, missed: Missed, ended: Callable[[], None], **settings: Any) -> None:
        """`settings` are aiohttp's."""
        super().__init__(server, **settings)
        self._missed = missed
        self._ended = ended

    def connection_lost(self, exc: BaseException | None) -> None:
        """The last that is heard of it."""
        self._ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hands bytes on; aiohttp answers 400 only behind whatever becomes of a body that is being read."""
        super().data_received(data)
        request = self._current_request
        if request is None or not self._messages or not isinstance(self._messages[-1][0], _ErrInfo):
            return
        content = request.content
        if not content.is_eof():
            content.set_exception(web.RequestPayloadError("chunks that are none"))
            # Nothing more of it is waited for, either, when the answer has left.
            content.feed_eof()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what breaks HTTP's rules, after which the connection ends."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        status, problem = fault_of(request, exc) or (
            status,
            text_of(message or "the request breaks HTTP's rules")[:WORDS_MAX],
        )
        is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        error = exc if isinstance(exc, Exception) else RuntimeError(problem)
        answer = self._missed(request, status, problem, error if is_ours else None)
        answer.force_close()
        return answer

    def log_exception(self, *_args: Any, exc_info: BaseException | None = None, **_more: Any) -> None:
        """A line for a fault of ours; what is left of a body when its answer has gone may break, which is no news."""
        if not isinstance(exc_info, web.RequestPayloadError):
            log.error("connection_failed", exc_info=exc_info)

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Sends an answer; one of aiohttp's own is told in the protocol's words."""
        if isinstance(resp, web.HTTPException):
            allowed = resp.headers.get("Allow")
            words = f"{text_of(request.method)} {text_of(request.path)}"[:WORDS_MAX]
            resp = self._missed(request, resp.status, f"{words}: {resp.reason.lower()}", None)
            if allowed is not None:
                resp.headers["Allow"] = allowed
        if not resp.prepared:
            resp.headers["Server"] = SERVER
        return super().finish_response(request, resp, start_time)


def fault_of(request: web.BaseRequest, error: BaseException | None) -> tuple[int, str] | None:
    """What the client did wrong, status and words, where aiohttp takes that for a fault of ours."""
    if isinstance(error, UnicodeEncodeError) and not request.headers.get("Expect", "").isascii():
        # It puts the header into its answer, and cannot when that is no text.
        return 417, "the header Expect is no text; expected 100-continue"
    return None


def text_of(word: str) -> str:
    """A word of a request as text: it may hold bytes that are none, which nothing else takes."""
    return word if word.isascii() else word.encode("ascii", "backslashreplace").decode()
