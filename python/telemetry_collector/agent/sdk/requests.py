"""What the middlewares record of a request: `api.request`, a histogram of seconds, by method, route and status.

The route is the framework's template (`/users/{id}`), never the path as it came: every user's path would be a series.
"""

from collections.abc import Mapping
from typing import Final

from telemetry_collector.agent.sdk.collector import Recorder

REQUEST: Final = "api.request"

UNROUTED: Final = "unrouted"
"""The route of requests that no framework told the template of, such as those that fit none."""

CLIENT_CLOSED: Final = 499
"""The status of a request that was given up before its response began, as nginx has it."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
"""Methods that are told apart; a client may send any word."""


def record(metrics: Recorder, secs: float, *, method: object, route: str | None, status: int) -> None:
    """Records one request that has ended."""
    tags: Mapping[str, str] = {
        "method": method if isinstance(method, str) and method in METHODS else "other",
        "route": route or UNROUTED,
        "status": str(status),
        "status_class": f"{status // 100}xx",
    }
    metrics.timing(REQUEST, secs, tags)
