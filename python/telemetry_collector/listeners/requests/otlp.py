"""What OTLP answers, over HTTP and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from aiohttp import web

from telemetry_collector import _core
from telemetry_collector.listeners.requests import protobuf
from telemetry_collector.listeners.requests.door import Taken
from telemetry_collector.listeners.requests.http import Asked, Refusal, retry_after

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

INVALID_ARGUMENT = 3
"""google.rpc.Code."""
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8

_STATUS = {"malformed": 400, "too_large": 413, "denied": 403, "retry_later": 429}
_CODES = {"too_large": RESOURCE_EXHAUSTED, "denied": PERMISSION_DENIED, "retry_later": RESOURCE_EXHAUSTED}


class OtlpHttp:
    """OTLP/HTTP, in protobuf and JSON; the answer is in what the request was in."""

    paths = ("/v1/metrics",)

    def __init__(self, ignored_attributes: tuple[str, ...]) -> None:
        self._forms = {
            PROTOBUF: _core.RequestForm.otlp_metrics(list(ignored_attributes)),
            JSON: _core.RequestForm.otlp_metrics(list(ignored_attributes), json=True),
        }

    @property
    def others(self) -> Mapping[tuple[str, str], Callable[[web.Request], web.Response]]:
        """Nothing."""
        return {}

    def asked(self, request: web.Request) -> Asked:
        """By Content-Type and Content-Encoding."""
        form = self._forms.get(request.content_type)
        if form is None:
            raise Refusal(415, f"Content-Type {request.content_type}; expected {PROTOBUF} or {JSON}")
        return Asked(form, request.headers.get("Content-Encoding", ""))

    def answer(self, request: web.Request, taken: Taken) -> web.Response:
        """An ExportMetricsServiceResponse, or a Status where none of the request was judged."""
        as_json = request.content_type == JSON
        status = _STATUS.get(taken.outcome, 200)
        headers = retry_after(taken) if taken.outcome == "retry_later" else {}
        if status == 200:
            body = export_response_json(taken) if as_json else export_response(taken)
        else:
            code = _CODES.get(taken.outcome, INVALID_ARGUMENT)
            told = {"code": code, "message": taken.problem}
            status_message = protobuf.number(1, code) + protobuf.message(2, taken.problem)
            body = json.dumps(told).encode() if as_json else status_message
        return web.Response(status=status, body=body, headers=headers, content_type=JSON if as_json else PROTOBUF)


def export_response(taken: Taken) -> bytes:
    """ExportMetricsServiceResponse; `partial_success` where points were refused."""
    if not taken.rejected:
        return b""
    return protobuf.message(1, protobuf.number(1, taken.rejected) + protobuf.message(2, taken.problem))


def export_response_json(taken: Taken) -> bytes:
    """The same in JSON."""
    if not taken.rejected:
        return b"{}"
    partial = {"rejectedDataPoints": str(taken.rejected), "errorMessage": taken.problem}
    return json.dumps({"partialSuccess": partial}).encode()


def retry_details(taken: Taken) -> bytes:
    """A google.rpc.Status with RetryInfo: without it OTLP's clients take RESOURCE_EXHAUSTED as final."""
    seconds, ms = divmod(taken.retry_after_ms, 1_000)
    delay = protobuf.number(1, seconds) + protobuf.number(2, ms * 1_000_000)
    info = protobuf.message(1, "type.googleapis.com/google.rpc.RetryInfo") + protobuf.message(
        2, protobuf.message(1, delay)
    )
    return protobuf.number(1, RESOURCE_EXHAUSTED) + protobuf.message(2, taken.problem) + protobuf.message(3, info)
