"""Names and tags: what is taken, what is not, and what is said about it."""

import enum
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.agent.sdk.names import MetricMistake, check_name, check_tags, suggestion


@pytest.mark.parametrize("name", ["a", "api.requests", "http_2.x.9", "a" * 255])
def test_a_name_is_lower_case_words_joined_by_dots(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "a..b", ".a", "a.", "a-b", "a b", "ä", "a\n", "a" * 256, "a.B", None, 7, b"a"]
)
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(MetricMistake) as refused:
        check_name(name)
    assert refused.value.reason == "invalid_name"


@pytest.mark.parametrize(
    ("meant", "right"),
    [
        ("HTTPRequests-Total", "http_requests_total"),
        ("orderPlaced", "order_placed"),
        ("api//request time", "api.request_time"),
        ("2xx.count", "xx.count"),
        ("Api.Requests.", "api.requests"),
    ],
)
def test_a_mistake_says_what_was_probably_meant(meant: str, right: str) -> None:
    with pytest.raises(MetricMistake, match=re.escape(f"did you mean {right!r}?")):
        check_name(meant)


@given(st.text(max_size=600))
def test_a_suggestion_is_a_name(text: str) -> None:
    suggested = suggestion(text)
    assert suggested is None or check_name(suggested) == suggested


class Colour(str, enum.Enum):  # noqa: UP042  # whose str() is its name, unlike a StrEnum's
    RED = "red"


class Name(str, enum.Enum):  # noqa: UP042
    ORDERS = "orders.placed"


def test_a_name_is_its_content_whatever_its_class_calls_it() -> None:
    name = check_name(Name.ORDERS)
    assert (name, type(name)) == ("orders.placed", str)


def test_tags_are_texts_in_order_without_the_empty_ones() -> None:
    tags = {"z": 1, "b": Colour.RED, "c": None, "d": "", "a": True}
    assert check_tags(tags) == (("a", "True"), ("b", "red"), ("z", "1"))


@pytest.mark.parametrize(
    "tags",
    [{"": "x"}, {"k" * 129: "x"}, {"a": "x" * 1_025}, {"a": "x\n"}, {"a\x7f": "x"}, {"a": "\ud800"}, {1: "x"}],
)
def test_a_tag_that_the_wire_cannot_carry_is_refused(tags: dict[str, object]) -> None:
    with pytest.raises(MetricMistake, match="tag") as refused:
        check_tags(tags)
    assert refused.value.reason == "invalid_tag"


def test_more_tags_than_the_wire_takes_are_refused() -> None:
    assert len(check_tags({f"k{place}": "x" for place in range(64)})) == 64
    with pytest.raises(MetricMistake, match="65 tags: expected at most 64"):
        check_tags({f"k{place}": "x" for place in range(65)})
