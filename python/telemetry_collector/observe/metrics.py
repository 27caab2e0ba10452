"""A registry of its own for each collector or agent, and metrics that are named alike.

Names are `telemetry_collector_<noun>_<unit>`, with `_total` on counters; labels take their values from a bounded set.
"""

import re
from collections.abc import Sequence
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

PREFIX: Final = "telemetry_collector_"

LATENCY_BUCKETS_SECS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From a commit on a quick disk to one that operators should be told about."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new_registry(version: str) -> CollectorRegistry:
    """A registry with the process' own metrics and the running version; nothing is shared with another one."""
    # A switch of the library's: without it every counter has a twin that tells when it was made.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    Gauge(f"{PREFIX}build_info", "1, with the running version", ("version",), registry=registry).labels(version).set(1)
    return registry


def counter(registry: CollectorRegistry, name: str, about: str, labels: Sequence[str] = ()) -> Counter:
    """A counter; `name` without prefix and `_total`."""
    return Counter(_full(name), about, labels, registry=registry)


def gauge(registry: CollectorRegistry, name: str, about: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge; `name` without prefix."""
    return Gauge(_full(name), about, labels, registry=registry)


def histogram(
    registry: CollectorRegistry,
    name: str,
    about: str,
    labels: Sequence[str] = (),
    *,
    buckets: Sequence[float] = LATENCY_BUCKETS_SECS,
) -> Histogram:
    """A histogram; `name` without prefix, its unit at its end."""
    return Histogram(_full(name), about, labels, registry=registry, buckets=buckets)


def _full(name: str) -> str:
    assert _NAME.fullmatch(name), f"{name!r} is no metric's name"
    assert not name.startswith(PREFIX), f"{name!r} has the prefix already"
    assert not name.endswith("_total"), f"{name!r}: _total comes by itself"
    return PREFIX + name
