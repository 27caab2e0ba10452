"""What differs between two configurations is named by key, never by value."""

from telemetry_collector.config import Limits, Observability, Secret, Section, Server
from telemetry_collector.config.changes import changes, keeping


class Destination(Section):
    """A writer's section."""

    token: Secret
    batch_lines: int = 1


class Other(Section):
    """A section of another writer under a name that was another's."""


def test_nothing_differs_between_equal_configurations() -> None:
    assert changes({"server": Server(), "limits": Limits()}, {"limits": Limits(), "server": Server()}) == ()


def test_each_key_that_differs_is_named_in_the_order_of_the_new_one() -> None:
    old = {"server": Server(), "limits": Limits(), "d": Destination(token=Secret("a"))}
    new = {
        "limits": Limits(max_batch_size=7, max_cardinality=7),
        "server": Server(max_connections=7),
        "d": Destination(token=Secret("b")),
    }
    assert changes(old, new) == ("limits.max_cardinality", "limits.max_batch_size", "server.max_connections", "d.token")


def test_a_section_that_only_one_has_or_that_is_of_another_kind_is_named_as_a_whole() -> None:
    destination = Destination(token=Secret("a"))
    old = {"server": Server(), "gone": destination, "kind": destination}
    assert changes(old, {"new": destination, "server": Server(), "kind": Other()}) == ("new", "kind", "gone")


def test_the_old_values_of_some_keys_are_kept_and_no_others() -> None:
    old = {"limits": Limits(max_batch_size=7, max_cardinality=7), "observability": Observability(metrics_port=1)}
    new = {"limits": Limits(max_batch_size=8, max_cardinality=8), "observability": Observability(metrics_port=2)}
    kept = keeping(["limits.max_batch_size"], old, new)
    assert kept == {"limits": Limits(max_batch_size=7, max_cardinality=8), "observability": new["observability"]}
