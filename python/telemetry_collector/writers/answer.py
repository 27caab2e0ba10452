"""What an HTTP answer to a write means, by its status; the server's words are for the log only.

    204, 201 without a body    accepted
    400, 422, 201 with a body  refused, in whole or in part: the lines at fault never will be accepted
    409                        refused: they are older than what is there, or another value of what is there already
    413                        too large: the same lines may pass in smaller bodies
    408, 425, 429, 5xx, none   retry, after Retry-After where the server says so
    everything else            mend: a token, a bucket's name or an address is wrong; retried until someone mends it

So a typing mistake in the configuration costs time, but no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

_WORDS_BYTES_MAX: Final = 1024


class Verdict(Enum):
    """What to do next with the lines that were sent."""

    ACCEPTED = auto()
    REFUSED = auto()
    TOO_LARGE = auto()
    RETRY = auto()
    MEND = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's outcome."""

    verdict: Verdict
    reason: str
    """A label for counters: one of a few words, whatever the server says."""
    words: str
    """What the server said, cut to a bounded length."""
    retry_after_secs: float | None = None
    points_refused: int = 0
    """Of those that it accepted, where the server says so: points that it never will take."""

    @classmethod
    def of_status(cls, status: int, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Judges an answer."""
        verdict, reason = _judge(status, bool(body.strip()))
        words = body[:_WORDS_BYTES_MAX].decode(errors="replace").strip() or _phrase(status)
        if 300 <= status < 400:
            words = f"redirects to {headers.get('Location', 'nowhere')}"
        return cls(verdict, reason, f"{status} {words}", _seconds(headers.get("Retry-After")))


def _judge(status: int, has_body: bool) -> tuple[Verdict, str]:
    match status:
        case 204:
            return Verdict.ACCEPTED, "accepted"
        case 201:
            return (Verdict.REFUSED, "partial_write") if has_body else (Verdict.ACCEPTED, "accepted")
        case 400 | 422:
            return Verdict.REFUSED, "bad_request" if status == 400 else "unprocessable"
        case 409:
            return Verdict.REFUSED, "conflict"
        case 413:
            return Verdict.TOO_LARGE, "too_large"
        case 429:
            return Verdict.RETRY, "throttled"
        case 408 | 425:
            return Verdict.RETRY, "timeout"
        case 401 | 403:
            return Verdict.MEND, "unauthorized"
        case 404:
            return Verdict.MEND, "not_found"
    return (Verdict.RETRY, "unavailable") if status >= 500 else (Verdict.MEND, "unexpected_answer")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "without a word"


def _seconds(retry_after: str | None) -> float | None:
    """The header's seconds; None for none and for its other form, a date, which the usual backoff serves as well."""
    return float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None
