"""The cardinality limit as agents and operators meet it: what is refused, what goes on, and what makes room again.

Through the core's own door, with batches of protobuf's encoder. Time is the test's: a batch is received when it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.protobuf import Frames, framed, pb

from telemetry_collector import _core
from telemetry_collector.model import Outcome, Reason

NOW_SECS = 1_800_000_000
IDLE_SECS = 60
LIMIT = 3
EPOCH = 7
DRAIN_SECS = 30.0


class Stand:
    """A collector's core with a small limit, its clock, and streams to it."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.directory = directory
        self.now_secs = NOW_SECS
        self._sequence = 0
        self._open(limit)

    def restart(self, limit: int = LIMIT) -> None:
        """Closes and opens, perhaps under another limit."""
        self.core.close()
        self._open(limit)

    def _open(self, limit: int) -> None:
        self.core = _core.Ingest(
            _core.IngestSettings(
                journal_dir=str(self.directory),
                journal_segment_bytes=1 << 20,
                max_cardinality=limit,
                series_idle_secs=IDLE_SECS,
            )
        )
        self._cursor = self.core.cursor("test")
        self._streams: dict[str, _core.Conversation] = {}

    def send(self, node: str = "node-1", **fields: Any) -> Any:
        """The answer to one batch of a node, on its one stream."""
        identity = f"spiffe://fleet/node/{node}"
        stream = self._streams.get(node) or self.core.conversation(identity, node, relay=False)
        self._streams[node] = stream
        self._sequence += 1
        batch = pb.MetricBatch(sequence=self._sequence, epoch=EPOCH, **fields)
        answer = stream.receive(framed(batch), self.now_secs * 1_000_000_000)
        assert self.core.drain(DRAIN_SECS), "the batch is committed within the time"
        (body,) = Frames().feed(answer + stream.replies())
        return pb.BatchAck.FromString(body)

    def send_names(self, *names: str, node: str = "node-1") -> Any:
        return self.send(node, metrics=gauges(names))

    def wait(self, secs: float) -> None:
        """Lets time pass, and the collector look after its series."""
        self.now_secs += int(secs)
        self.core.maintain(float(self.now_secs))

    @property
    def series(self) -> int:
        found = self.core.stats()["series"]
        assert isinstance(found, int)
        return found

    def stored(self) -> list[tuple[str, str, float]]:
        """(node, name, value) of the points committed and not read before."""
        rows: list[tuple[str, str, float]] = []
        while blocks := self._cursor.read(1_000_000):
            found = pa.record_batch(blocks.record_batch("us")).to_pylist()
            rows += [(row["node_id"], row["name"], row["value"]) for row in found]
        return rows


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    found = Stand(tmp_path)
    yield found
    found.core.close()


def gauges(names: Iterable[str], value: float = 1.0, **tags: str) -> list[Any]:
    pairs = [pb.Tag(key=key, value=text) for key, text in tags.items()]
    return [pb.Metric(name=name, type=pb.GAUGE, value=value, tags=pairs) for name in names]


def definitions(*names: str) -> list[Any]:
    return [pb.SeriesDefinition(id=place, name=name, type=pb.GAUGE) for place, name in enumerate(names)]


def columns(*places: int, value: float = 1.0) -> list[Any]:
    return [pb.PointColumns(series_ids=places, values=[value] * len(places))]


def refused(ack: Any) -> dict[Reason, int]:
    return {Reason(rejection.reason): rejection.points for rejection in ack.rejections}


def test_new_series_over_the_limit_are_refused_and_known_ones_go_on(stand: Stand) -> None:
    first = stand.send_names("a", "b", "c", "d", "e")
    assert (first.outcome, first.accepted_points, first.rejected_points) == (Outcome.PARTIAL, 3, 2)
    assert refused(first) == {Reason.CARDINALITY_LIMIT: 2}
    assert stand.send_names("c", "b", "a").outcome == Outcome.STORED
    assert stand.send_names("d", "e").outcome == Outcome.REJECTED
    assert stand.series == LIMIT
    assert Counter(name for _, name, _ in stand.stored()) == {"a": 2, "b": 2, "c": 2}


def test_the_answer_says_so_in_words_with_a_metric(stand: Stand) -> None:
    (rejection,) = stand.send_names("a", "b", "c", "d").rejections
    assert rejection.example == "d: Cardinality limit exceeded"


def test_refused_points_are_counted_by_their_reason(stand: Stand) -> None:
    stand.send_names(*"abcdef")
    stand.send_names("g")
    stats = stand.core.stats()
    assert stats["points_refused"]["cardinality_limit"] == 4
    assert sum(stats["points_refused"].values()) == 4
    assert (stats["series"], stats["series_max"]) == (LIMIT, LIMIT)


def test_a_series_is_its_name_and_effective_tags_and_nothing_else(stand: Stand) -> None:
    zone, rack = pb.Tag(key="zone", value="z"), pb.Tag(key="rack", value="r")
    stand.send(metrics=gauges(["a"], zone="z", rack="r"))
    stand.send(metrics=gauges(["a"], rack="r"), common_tags=[zone])
    stand.send(metrics=[pb.Metric(name="a", type=pb.COUNTER, unit="s", value=1, tags=[rack])], common_tags=[zone])
    assert stand.series == 1
    assert stand.core.stats()["series_changed"] == 1, "its type and unit changed, once"
    stand.send(metrics=gauges(["a"], zone="y", rack="r"))
    stand.send_names("a", node="node-2")
    assert stand.series == 3


def test_histograms_and_summaries_are_one_series_each(stand: Stand) -> None:
    histogram = pb.Histogram(count=3, sum=3, upper_bounds=[1, 2], bucket_counts=[1, 1, 1])
    summary = pb.Summary(count=1, sum=1, quantiles=[pb.Quantile(quantile=q, value=1) for q in (0.5, 0.9, 0.99)])
    ack = stand.send(
        metrics=[
            pb.Metric(name="h", type=pb.HISTOGRAM, histogram=histogram),
            pb.Metric(name="s", type=pb.SUMMARY, summary=summary),
        ]
    )
    assert ack.outcome == Outcome.STORED
    assert stand.series == 2


def test_a_point_refused_for_itself_makes_no_series(stand: Stand) -> None:
    ack = stand.send(metrics=[*gauges(["a"], value=float("nan")), *gauges(["b", "c", "d"])])
    assert refused(ack) == {Reason.INVALID_VALUE: 1}
    assert stand.series == LIMIT


def test_idle_series_expire_and_make_room_while_busy_ones_stay(stand: Stand) -> None:
    stand.send_names("a", "b", "c")
    stand.wait(IDLE_SECS - 1)
    stand.send_names("a")
    assert stand.series == LIMIT, "idle for less than the time"
    stand.wait(2)
    assert stand.series == 1
    assert stand.core.stats()["series_expired"] == 2
    assert refused(stand.send_names("d", "e", "f")) == {Reason.CARDINALITY_LIMIT: 1}
    assert stand.send_names("a", "d", "e").outcome == Outcome.STORED


def test_an_id_defined_before_its_series_expired_is_admitted_anew_or_refused(stand: Stand) -> None:
    stand.send(series=definitions("a", "b", "c"), points=columns(0, 1, 2))
    stand.wait(IDLE_SECS + 1)
    stand.send_names("x", "y")
    ack = stand.send(points=columns(0, 1, 2, value=5.0))
    assert (ack.accepted_points, refused(ack)) == (1, {Reason.CARDINALITY_LIMIT: 2})
    assert [row for row in stand.stored() if row[2] == 5.0] == [("node-1", "a", 5.0)]


def test_an_expired_series_place_is_never_taken_for_the_one_that_has_it_now(stand: Stand) -> None:
    """Series that expired leave their places to others; ids that name the former do not reach the latter."""
    stand.send(series=definitions("a", "b", "c"), points=columns(0, 1, 2))
    for generation in range(20):
        stand.wait(IDLE_SECS + 1)
        stand.send_names(*(f"other-{generation}-{place}" for place in range(LIMIT)))
        assert refused(stand.send(points=columns(0, 1, 2, value=9.0))) == {Reason.CARDINALITY_LIMIT: 3}
    assert not [row for row in stand.stored() if row[2] == 9.0]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ids"), st.sampled_from(["node-1", "node-2"]), st.sets(st.integers(0, 5), min_size=1)),
        st.tuples(st.just("rows"), st.sampled_from(["node-1", "node-2"]), st.sets(st.integers(0, 5), min_size=1)),
        st.tuples(st.just("wait"), st.sampled_from([5, 40, 61])),
        st.tuples(st.just("restart")),
    ),
    max_size=25,
)


@given(actions=ACTIONS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_points_are_stored_under_their_own_names_within_the_limit(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[Any, ...]]
) -> None:
    """Against a model: which series are active, and who may have a new one."""
    stand = Stand(tmp_path_factory.mktemp("journal"))
    names = [f"m{place}" for place in range(6)]
    active: dict[tuple[str, str], int] = {}
    wanted: list[tuple[str, str, float]] = []
    defined: set[str] = set()
    value = 0.0
    for action in actions:
        if action[0] == "wait":
            stand.wait(action[1])
            active = {series: seen for series, seen in active.items() if stand.now_secs - seen < IDLE_SECS}
        elif action[0] == "restart":
            stand.restart()
            defined.clear()
        else:
            kind, node, places = action[0], action[1], sorted(action[2])
            value += 1.0
            if kind == "ids":
                fresh = [] if node in defined else definitions(*names)
                defined.add(node)
                ack = stand.send(node, series=fresh, points=columns(*places, value=value))
            else:
                ack = stand.send(node, metrics=gauges([names[place] for place in places], value))
            accepted = []
            for place in places:
                series = (node, names[place])
                if series in active or len(active) < LIMIT:
                    active[series] = stand.now_secs
                    accepted.append((*series, value))
            assert (ack.accepted_points, ack.rejected_points) == (len(accepted), len(places) - len(accepted))
            wanted += accepted
        assert stand.series == len(active)
        assert len(active) <= LIMIT
    stand.restart()
    found = stand.stored()
    stand.core.close()
    assert found == wanted


def test_worst_offenders_are_named_with_their_identity_worst_first(stand: Stand) -> None:
    stand.send_names("a", "b", "c")
    for place in range(30):
        stand.send(metrics=gauges(["request.count"], session=f"{place}"), node="node-2")
    stand.send_names("d", "d", "e")
    assert stand.core.offenders() == [
        ("spiffe://fleet/node/node-2", "request.count", 30),
        ("spiffe://fleet/node/node-1", "d", 2),
        ("spiffe://fleet/node/node-1", "e", 1),
    ]


def test_offenders_are_bounded_and_the_worst_stays_among_them(stand: Stand) -> None:
    stand.send_names("a", "b", "c")
    for part in range(4):
        stand.send_names(*(f"once-{part}-{place}" for place in range(100)))
        stand.send_names(*["often"] * 100)
    offenders = stand.core.offenders()
    assert len(offenders) <= 128
    assert offenders[0][:2] == ("spiffe://fleet/node/node-1", "often")
    assert offenders[0][2] >= 400


def test_active_series_are_known_after_a_restart_even_under_a_lower_limit(stand: Stand) -> None:
    stand.send_names("a", "b", "c")
    stand.restart(limit=2)
    assert stand.series == 3
    assert stand.send_names("a", "b", "c").outcome == Outcome.STORED
    assert refused(stand.send_names("d")) == {Reason.CARDINALITY_LIMIT: 1}


def test_idle_time_counts_through_a_restart(stand: Stand) -> None:
    stand.send_names("a", "b", "c")
    stand.now_secs += IDLE_SECS // 2
    stand.send_names("a")
    stand.restart()
    stand.wait(IDLE_SECS // 2 + 1)
    assert stand.series == 1
    assert stand.send_names("a", "d", "e").outcome == Outcome.STORED


def test_a_refused_series_is_taken_when_the_batch_is_sent_again_and_there_is_room(stand: Stand) -> None:
    stand.send_names("a", "b", "c")
    assert stand.send_names("d").outcome == Outcome.REJECTED
    stand.wait(IDLE_SECS + 1)
    assert stand.send_names("d").outcome == Outcome.STORED
