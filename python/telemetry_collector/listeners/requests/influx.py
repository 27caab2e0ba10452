"""InfluxDB's write endpoints, of version 1 (`/write`) and 2 (`/api/v2/write`), and what its clients ask before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from telemetry_collector import _core
from telemetry_collector.listeners.requests.door import Taken
from telemetry_collector.listeners.requests.http import Asked, Refusal, retry_after
from telemetry_collector.listeners.requests.peers import PeerDenied
from telemetry_collector.listeners.requests.token import brings_token

V2 = "/api/v2/write"
PRECISIONS_KEPT_MAX = 16

# Version 1's clients take only 5xx as "again", version 2's know 429.
_STATUS = {"malformed": 400, "partial": 400, "rejected": 400, "too_large": 413, "denied": 401}
_CODES = {
    401: "unauthorized",
    413: "request too large",
    429: "too many requests",
    503: "unavailable",
}
"""Version 2's; of every other status: invalid."""


class InfluxHttp:
    """Line protocol over HTTP. Databases, buckets and organisations are not looked at: all is written to one place."""

    paths = ("/write", V2)

    def __init__(self, rename_tags: Mapping[str, str], token: str | None) -> None:
        self._renames = list(rename_tags.items())
        self._token = token
        self._forms: dict[str, _core.RequestForm] = {}

    @property
    def others(self) -> Mapping[tuple[str, str], Callable[[web.Request], web.Response]]:
        """The probes of clients, and the database that Telegraf makes before it writes."""
        return {("*", "/ping"): _ping, ("GET", "/health"): _health, ("*", "/query"): _query}

    def asked(self, request: web.Request) -> Asked:
        """By the parameter `precision`."""
        if self._token is not None and not brings_token(request, self._token):
            raise PeerDenied("the token is missing or another than receivers.influx.token")
        precision = request.query.get("precision", "")
        form = self._forms.get(precision)
        if form is None:
            try:
                form = _core.RequestForm.line_protocol(precision, self._renames)
            except ValueError as error:
                raise Refusal(400, str(error)) from error
            self._forms[precision] = form
            assert len(self._forms) <= PRECISIONS_KEPT_MAX, "there are few precisions"
        return Asked(form, request.headers.get("Content-Encoding", ""))

    def answer(self, request: web.Request, taken: Taken) -> web.Response:
        """204, or the error in the words of the version that was asked."""
        if taken.outcome == "stored":
            return web.Response(status=204)
        headers = {}
        if taken.outcome == "retry_later":
            status = 429 if request.path == V2 else 503
            headers = retry_after(taken)
        else:
            status = _STATUS[taken.outcome]
        problem = taken.problem
        # Clients of version 1 go by these words; what is answered otherwise, older ones send again for ever.
        if taken.outcome in ("partial", "rejected"):
            problem = f"partial write: {problem} dropped={taken.rejected}"
        elif taken.outcome == "malformed":
            problem = f"unable to parse: {problem}"
        return _error(request, status, problem, headers)

    def refusal(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        """In the same words."""
        return _error(request, refusal.status, refusal.problem, {})


def _error(request: web.BaseRequest, status: int, problem: str, headers: Mapping[str, str]) -> web.Response:
    is_v2 = request.path == V2
    body = {"code": _CODES.get(status, "invalid"), "message": problem} if is_v2 else {"error": problem}
    return web.json_response(body, status=status, headers=headers)


def _ping(_request: web.Request) -> web.Response:
    return web.Response(status=204, headers={"X-Influxdb-Version": "telemetry-collector"})


def _health(_request: web.Request) -> web.Response:
    return web.json_response({"name": "telemetry-collector", "message": "ready for writes", "status": "pass"})


def _query(_request: web.Request) -> web.Response:
    return web.json_response({"results": [{"statement_id": 0}]})
