"""Prometheus' remote write, version 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from telemetry_collector import _core
from telemetry_collector.listeners.requests.door import Taken
from telemetry_collector.listeners.requests.http import Asked, Refusal, retry_after
from telemetry_collector.listeners.requests.peers import PeerDenied
from telemetry_collector.listeners.requests.token import brings_token

# By its specification only 5xx is sent again: of 429, Prometheus drops what it sent unless told otherwise.
_STATUS = {"malformed": 400, "partial": 400, "rejected": 400, "too_large": 413, "denied": 401, "retry_later": 503}


class RemoteWriteHttp:
    """Snappy-compressed WriteRequests."""

    paths = ("/api/v1/write",)

    def __init__(self, rename_tags: Mapping[str, str], token: str | None) -> None:
        self._form = _core.RequestForm.remote_write(list(rename_tags.items()))
        self._token = token

    @property
    def others(self) -> Mapping[tuple[str, str], Callable[[web.Request], web.Response]]:
        """Nothing."""
        return {}

    def asked(self, request: web.Request) -> Asked:
        """Only version 1's message is known."""
        if self._token is not None and not brings_token(request, self._token):
            raise PeerDenied("the token is missing or another than receivers.remote_write.token")
        content_type = request.headers.get("Content-Type", "")
        if "io.prometheus.write.v2" in content_type:
            raise Refusal(415, "remote write 2.0 is not known here; expected prometheus.WriteRequest (1.0)")
        return Asked(self._form, request.headers.get("Content-Encoding", "snappy"))

    def answer(self, _request: web.Request, taken: Taken) -> web.Response:
        """204, or the fault as text, which Prometheus logs."""
        if taken.outcome == "stored":
            return web.Response(status=204)
        headers = retry_after(taken) if taken.outcome == "retry_later" else {}
        return web.Response(status=_STATUS[taken.outcome], text=taken.problem + "\n", headers=headers)

    def refusal(self, _request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """Text as well."""
        return web.Response(status=refusal.status, text=refusal.problem + "\n")
