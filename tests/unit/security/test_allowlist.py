"""Patterns of identities."""

import time

import pytest

from telemetry_collector.security.allowlist import AllowList


@pytest.mark.parametrize(
    ("pattern", "identity", "allowed"),
    [
        ("*", "spiffe://fleet/node-1", True),
        ("*", "", True),
        ("spiffe://fleet/*", "spiffe://fleet/a/b", True),
        ("spiffe://fleet/*", "spiffe://fleet2/a", False),
        ("spiffe://fleet/*", "x spiffe://fleet/a", False),
        ("node-1", "node-1", True),
        ("node-1", "node-10", False),
        ("node-1", "NODE-1", False),
        ("node.1", "node-1", False),
        ("node-?", "node-1", False),
        ("[a-z]", "a", False),
        ("*.example", "a\nb.example", True),
        ("n*d*1", "node-1", True),
    ],
)
def test_a_star_stands_for_any_text_and_all_else_for_itself(pattern: str, identity: str, allowed: bool) -> None:
    assert AllowList([pattern]).allows(identity) is allowed


def test_one_pattern_of_several_is_enough_and_none_lets_nobody_in() -> None:
    assert AllowList(["a", "b*"]).allows("bc")
    assert not AllowList([]).allows("a")
    assert not AllowList([], relays=["a"]).allows("a")


def test_relays_are_asked_for_apart() -> None:
    listed = AllowList(relays=["spiffe://fleet/relay-*"])
    assert listed.is_relay("spiffe://fleet/relay-1")
    assert not listed.is_relay("spiffe://fleet/node-1")
    assert not AllowList().is_relay("anybody")


def test_a_long_identity_is_matched_in_no_time() -> None:
    listed = AllowList(["*****a*****b"])
    before = time.process_time()
    assert not listed.allows("a" * 1_024)
    assert time.process_time() - before < 1
