"""What a metric and its tags may be called, and what was probably meant by a name that is none."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
NAME_BYTES_MAX = 255
TAGS_MAX = 64
TAG_KEY_BYTES_MAX = 128
TAG_VALUE_BYTES_MAX = 1_024

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN_MAX = 80

NODE_TAG = "node_id"
"""The tag that certificates are checked against: a batch with another node in it is refused as a whole."""

Tags = tuple[tuple[str, str], ...]
"""Sorted by key."""

P = TypeVar("P")


class MetricMistake(ValueError):
    """A name, tag or value that cannot be recorded; raised in development only."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        """As the drop counter has it."""
        super().__init__(text)


def check_name(name: object) -> str:
    """The name, if it is one. MetricMistake says what would be right."""
    if isinstance(name, str) and len(name) <= NAME_BYTES_MAX and NAME.fullmatch(name):
        return _text(name)
    text = (
        f"metric name {_shown(name)}: expected lower-case words joined by dots, such as api.requests, "
        f"of at most {NAME_BYTES_MAX} characters"
    )
    suggested = suggestion(name) if isinstance(name, str) else None
    raise MetricMistake("invalid_name", f"{text}; did you mean {suggested!r}?" if suggested else text)


def suggestion(name: str) -> str | None:
    """The nearest valid name: `HTTPRequests-Total` becomes `http_requests_total`. None where nothing is left of it."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name[: 2 * NAME_BYTES_MAX])
    parts = re.split(r"[./:]+", words.lower())
    parts = [re.sub(r"[^a-z0-9]+", "_", part).strip("_") for part in parts]
    near = ".".join(part for part in parts if part)[:NAME_BYTES_MAX].lstrip("0123456789_.").rstrip(".")
    return near if NAME.fullmatch(near) else None


def check_tags(tags: Mapping[str, object]) -> Tags:
    """Tags as they are sent, without those that are None or empty. MetricMistake says which is wrong."""
    checked = []
    for key, value in tags.items():
        if value is None:
            continue
        text = _text(value)
        if not text:
            continue
        if not isinstance(key, str) or not _fits(key, TAG_KEY_BYTES_MAX):
            raise MetricMistake(
                "invalid_tag", f"tag {_shown(key)}: expected a key of 1 to {TAG_KEY_BYTES_MAX} bytes of text"
            )
        if not _fits(text, TAG_VALUE_BYTES_MAX):
            raise MetricMistake(
                "invalid_tag",
                f"tag {key} = {_shown(text)}: expected at most {TAG_VALUE_BYTES_MAX} bytes without control characters",
            )
        checked.append((_text(key), text))
    if len(checked) > TAGS_MAX:
        raise MetricMistake("invalid_tag", f"{len(checked)} tags: expected at most {TAGS_MAX}")
    return tuple(sorted(checked))


def in_batches(points: Sequence[P], tags_of: Callable[[P], Tags], points_max: int) -> Iterator[Sequence[P]]:
    """So many points at most in each. Those that name a node travel only with their like, so that none of the others is
    refused with them.
    """
    for of_a_node in (False, True):
        group = [point for point in points if any(key == NODE_TAG for key, _ in tags_of(point)) is of_a_node]
        for start in range(0, len(group), points_max):
            yield group[start : start + points_max]


def _text(value: object) -> str:
    # A string enum's str() is its name; what compares equal to it is its content.
    return str.__str__(value) if isinstance(value, str) else str(value)


def _fits(text: str, bytes_max: int) -> bool:
    try:
        return 0 < len(text.encode()) <= bytes_max and not _CONTROL.search(text)
    except UnicodeEncodeError:
        return False  # half of a surrogate pair


def _shown(value: object) -> str:
    shown = repr(value[: _SHOWN_MAX + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= _SHOWN_MAX else shown[:_SHOWN_MAX] + "…"
