"""A request and its answer, as those who answer see them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request."""

    method: str
    path: str
    """As it was sent, with its escapes and without a query."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By their names in small letters; of several with one name the last."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """Besides those that every answer has."""


Handler = Callable[[Request], Answer]
"""Answers from memory: it may not block."""


def error_body(status: int, words: str) -> bytes:
    """What a client is told of an error."""
    return json.dumps({"error": words, "status": status}).encode() + b"\n"


def error(status: int, words: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The same as an answer."""
    return Answer(error_body(status, words), status, headers=headers or {})
