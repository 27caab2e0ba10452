"""What OTLP answers, over HTTP and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, Literal

from aiohttp import web

from telemetry_collector import _core
from telemetry_collector.listeners.requests import protobuf
from telemetry_collector.listeners.requests.door import Taken
from telemetry_collector.listeners.requests.http import Asked, Refusal, retry_after

Signal = Literal["metrics", "traces", "logs"]

EXPORTS: Final[Mapping[Signal, str]] = {
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
"""gRPC's methods."""
PATHS: Final[Mapping[str, Signal]] = {"/v1/metrics": "metrics", "/v1/traces": "traces", "/v1/logs": "logs"}
"""HTTP's paths."""
_REJECTED: Final[Mapping[Signal, str]] = {
    "metrics": "rejectedDataPoints",
    "traces": "rejectedSpans",
    "logs": "rejectedLogRecords",
}

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

INVALID_ARGUMENT = 3
"""google.rpc.Code."""
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
UNAVAILABLE = 14

_STATUS = {"malformed": 400, "too_large": 413, "denied": 403, "retry_later": 429}
_CODES = {
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    413: RESOURCE_EXHAUSTED,
    429: RESOURCE_EXHAUSTED,
    503: UNAVAILABLE,
}
"""google.rpc.Code by HTTP's status; of every other one: INVALID_ARGUMENT."""


class OtlpHttp:
    """OTLP/HTTP, in protobuf and JSON; the answer is in what the request was in."""

    paths = tuple(PATHS)

    def __init__(self, ignored_attributes: tuple[str, ...], takes: Callable[[str], bool]) -> None:
        """`takes` tells whether a signal is stored here."""
        self._takes = takes
        self._forms = {
            (signal, content_type): form_of(signal, ignored_attributes, json=content_type == JSON)
            for signal in PATHS.values()
            for content_type in (PROTOBUF, JSON)
        }

    @property
    def others(self) -> Mapping[tuple[str, str], Callable[[web.Request], web.Response]]:
        """Nothing."""
        return {}

    def asked(self, request: web.Request) -> Asked:
        """By Content-Type and Content-Encoding."""
        signal = PATHS[request.path]
        if not self._takes(signal):
            raise Refusal(404, not_taken(signal))
        form = self._forms.get((signal, request.content_type))
        if form is None:
            raise Refusal(415, f"Content-Type {request.content_type}; expected {PROTOBUF} or {JSON}")
        return Asked(form, request.headers.get("Content-Encoding", ""))

    def answer(self, request: web.Request, taken: Taken) -> web.Response:
        """An Export…ServiceResponse, or a Status where none of the request was judged."""
        status = _STATUS.get(taken.outcome)
        if status is not None:
            return _error(request, status, taken.problem, retry_after(taken) if taken.outcome == "retry_later" else {})
        if request.content_type == JSON:
            return web.Response(body=export_response_json(taken, PATHS[request.path]), content_type=JSON)
        return web.Response(body=export_response(taken), content_type=PROTOBUF)

    def refusal(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """A Status."""
        return _error(request, refusal.status, refusal.problem, {})


def _error(request: web.BaseRequest, status: int, problem: str, headers: Mapping[str, str]) -> web.Response:
    """A google.rpc.Status, in JSON to who sent JSON."""
    code = _CODES.get(status, INVALID_ARGUMENT)
    if request.content_type == JSON:
        body, content_type = json.dumps({"code": code, "message": problem}).encode(), JSON
    else:
        body, content_type = protobuf.number(1, code) + protobuf.message(2, problem), PROTOBUF
    return web.Response(status=status, body=body, headers=headers, content_type=content_type)


def form_of(signal: Signal, ignored_attributes: tuple[str, ...], *, json: bool = False) -> _core.RequestForm:
    """How a signal's requests are read."""
    if signal == "metrics":
        return _core.RequestForm.otlp_metrics(list(ignored_attributes), json=json)
    return _core.RequestForm.otlp_traces(json=json) if signal == "traces" else _core.RequestForm.otlp_logs(json=json)


def not_taken(signal: Signal) -> str:
    """What a client is told whose signal is off."""
    return f"{signal} are not taken here: {signal}.output_dir in the collector's configuration turns them on"


def export_response(taken: Taken) -> bytes:
    """Export…ServiceResponse, alike for all signals; `partial_success` where something was refused."""
    if not taken.rejected:
        return b""
    return protobuf.message(1, protobuf.number(1, taken.rejected) + protobuf.message(2, taken.problem))


def export_response_json(taken: Taken, signal: Signal) -> bytes:
    """The same in JSON."""
    if not taken.rejected:
        return b"{}"
    partial = {_REJECTED[signal]: str(taken.rejected), "errorMessage": taken.problem}
    return json.dumps({"partialSuccess": partial}).encode()


def retry_details(taken: Taken) -> bytes:
    """A google.rpc.Status with RetryInfo: without it OTLP's clients take RESOURCE_EXHAUSTED as final."""
    seconds, ms = divmod(taken.retry_after_ms, 1_000)
    delay = protobuf.number(1, seconds) + protobuf.number(2, ms * 1_000_000)
    info = protobuf.message(1, "type.googleapis.com/google.rpc.RetryInfo") + protobuf.message(
        2, protobuf.message(1, delay)
    )
    return protobuf.number(1, RESOURCE_EXHAUSTED) + protobuf.message(2, taken.problem) + protobuf.message(3, info)
