"""From a service's calls to rows in the dataset, straight and through an agent, whatever is restarted meanwhile."""

from collections import Counter
from pathlib import Path

import pytest
from tests.integration.sdk.conftest import NODE, Site

from telemetry_collector.agent.sdk import MetricCollector
from telemetry_collector.agent.sdk.flusher import Flusher
from telemetry_collector.sender import Sender


@pytest.mark.parametrize("route", ["straight", "through_agent"])
def test_what_is_recorded_is_stored(site: Site, route: str) -> None:
    collector = site.collector()
    if route == "through_agent":
        site.agent(collector.listen_addr)
        to = site.through_agent()
    else:
        to = site.straight(collector.listen_addr)  # type: ignore[assignment]
    with MetricCollector("checkout", to=to, version="1.2", tags={"tier": "web"}) as metrics:
        metrics.increment("orders.placed", 2, {"country": "NL"})
        metrics.increment("orders.placed", 3, {"country": "NL"})
        metrics.gauge("queue.depth", 5)
        metrics.gauge("queue.depth", 7.5)
        for secs in (0.002, 0.004, 3.0):
            metrics.timing("job.run", secs)
        assert metrics.flush(20), metrics.stats
        assert (metrics.stats.points_stored, metrics.stats.dropped) == (3, {})
    stored = {
        row[0]: row[1:]
        for row in site.rows(
            "name, type, value, delta, unit, service, version, node_id, tags, region, histogram",
            "name NOT LIKE 'agent.%' AND identity <> 'telemetry-collector'",
        )
    }
    assert set(stored) == {"orders.placed", "queue.depth", "job.run"}
    region = "eu" if route == "through_agent" else None
    kind, value, delta, unit, service, version, node, tags, zone, _ = stored["orders.placed"]
    assert (kind, value, delta, unit) == ("counter", 5.0, True, "")
    assert (service, version, node, zone) == ("checkout", "1.2", NODE, region)
    own = {"tier": "web", "country": "NL"}
    assert tags == (own | {"rack": "r1"} if route == "through_agent" else own)
    assert stored["queue.depth"][:3] == ("gauge", 7.5, False)
    kind, value, delta, unit, *_, histogram = stored["job.run"]
    assert (kind, value, delta, unit) == ("histogram", None, True, "s")
    assert histogram["count"] == 3
    assert histogram["sum"] == pytest.approx(3.006)
    assert (histogram["min"], histogram["max"]) == (0.002, 3.0)
    assert dict(zip(histogram["bounds"], histogram["counts"], strict=False))[5.0] == 1
    assert sum(histogram["counts"]) == 3


def test_an_agent_that_restarts_costs_nothing(site: Site, tmp_path: Path) -> None:
    collector = site.collector()
    agent = site.agent(collector.listen_addr)
    with MetricCollector(to=site.through_agent()) as metrics:
        metrics.increment("orders.placed", 1)
        assert metrics.flush(20)
        site.stop_agent(agent)
        assert not site.socket.exists()
        metrics.increment("orders.placed", 10)
        assert not metrics.flush(0.3), "nobody can have it"
        metrics.increment("orders.placed", 100)
        again = site.agent(collector.listen_addr)
        assert metrics.flush(20), metrics.stats
        assert again.stats.sender.points_dropped == 0
    rows = site.rows("sum(value), service, version, node_id", "name = 'orders.placed' GROUP BY ALL")
    assert rows == [(111, None, None, NODE)], "what the agent is, its service is not"


def test_an_agent_keeps_for_an_absent_collector(site: Site) -> None:
    collector = site.collector()
    address = collector.listen_addr
    agent = site.agent(address)
    site.stop_collector(collector)
    with MetricCollector("checkout", to=site.through_agent()) as metrics:
        metrics.increment("orders.placed", 5)
        assert metrics.flush(20), "stored is what is in the agent's spool"
    site.stop_agent(agent)
    site.collector(int(address.rpartition(":")[2]))
    site.agent(address)
    ((total,),) = site.rows("sum(value)", "name = 'orders.placed'")
    assert total == 5


def test_a_large_window_does_not_wait_for_its_time_and_a_small_one_not_for_its_size(site: Site) -> None:
    collector = site.collector()
    to = site.straight(collector.listen_addr)
    with MetricCollector(to=to, flush_secs=3_600, flush_points=3) as metrics:
        for place in range(3):
            metrics.increment(f"large.x{place}")
        site.until(lambda: metrics.stats.points_stored == 3)
    with MetricCollector(to=to, flush_secs=0.01) as metrics:
        metrics.timing("small", 0.5)
        site.until(lambda: metrics.stats.points_stored == 1)
        assert metrics.stats.dropped == {}, "a window may be of histograms alone"


def test_an_outage_costs_resolution_and_no_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Counter[str]()
    flush = Flusher._flush_if_there_is_room

    def counted(flusher: Flusher, sender: Sender) -> None:
        flush(flusher, sender)
        turns["had"] += 1

    monkeypatch.setattr(Flusher, "_flush_if_there_is_room", counted)
    with MetricCollector(to=site.through_agent(), flush_secs=0.01, points_max=4) as metrics:
        metrics.increment("Not.A.Name")
        for _ in range(10):
            for place in range(3):
                metrics.increment("orders.placed", 20, {"place": place})
            had = turns["had"]
            site.until(lambda had=had: turns["had"] >= had + 2)  # type: ignore[misc]
        assert metrics.stats.points_pending <= 4, "flushes wait until there is room"
        assert metrics.stats.points_waiting == 3
        collector = site.collector()
        site.agent(collector.listen_addr)
        assert metrics.flush(20), metrics.stats
        assert metrics.stats.dropped == {"invalid_name": 1}
    assert dict(site.rows("tags['place'], sum(value)", "name = 'orders.placed' GROUP BY ALL")) == {
        "0": 200,
        "1": 200,
        "2": 200,
    }
    assert site.rows("value, tags['reason']", "name = 'sdk.points.dropped'") == [(1, "invalid_name")]


@pytest.mark.parametrize("route", ["straight", "through_agent"])
def test_a_point_that_is_refused_takes_no_other_along(site: Site, route: str) -> None:
    collector = site.collector()
    agent = site.agent(collector.listen_addr)
    to = site.straight(collector.listen_addr) if route == "straight" else site.through_agent()
    with MetricCollector("checkout", to=to) as metrics:
        # With the tag of all points these are one too many.
        tags = {f"key{place}": "x" for place in range(64)}
        for _ in range(2):
            metrics.increment("too.much", 1, tags)
            metrics.increment("orders.placed")
        assert not metrics.flush(20), "not all of it is stored"
        assert metrics.stats.dropped == {"refused_invalid_tag": 1}
    assert agent.stats.sender.points_refused == 0
    assert site.rows("name, value", "name IN ('too.much', 'orders.placed')") == [("orders.placed", 2)]


@pytest.mark.parametrize("route", ["straight", "through_agent"])
def test_a_point_that_names_another_node_takes_no_other_along(site: Site, route: str) -> None:
    collector = site.collector()
    site.agent(collector.listen_addr)
    to = site.straight(collector.listen_addr) if route == "straight" else site.through_agent()
    with MetricCollector("checkout", to=to) as metrics:
        metrics.increment("peer.calls", 1, {"node_id": "gpu-8"})
        metrics.increment("orders.placed")
        assert not metrics.flush(20), "not all of it is stored"
        assert metrics.stats.dropped == {"refused_identity_mismatch": 1}
    assert site.rows("name, value", "name IN ('peer.calls', 'orders.placed')") == [("orders.placed", 1)]


def test_a_sum_beyond_all_doubles_takes_no_other_along(site: Site) -> None:
    collector = site.collector()
    with MetricCollector(to=site.straight(collector.listen_addr), strict=True) as metrics:
        for value in (10**308, 1.5e308, 0.5):
            metrics.increment("too.much", value)
            metrics.histogram("too.large", value)
            metrics.increment("orders.placed")
        assert not metrics.flush(20), "not all of it is stored"
        metrics.increment("too.much", 7)
        assert metrics.flush(20)
        assert metrics.stats.dropped == {"overflow": 2}
    assert sorted(site.rows("name, sum(value), any_value(tags['reason'])", "service IS NULL GROUP BY name")) == [
        ("orders.placed", 3, None),
        ("sdk.points.dropped", 2, "overflow"),
        ("too.much", 7, None),
    ]
