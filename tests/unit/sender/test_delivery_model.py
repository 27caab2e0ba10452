"""Any interleaving of sending, losing, retrying, refusing and splitting: every point ends in exactly one place."""

from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.collector import points_in, rejected, retry_later, usual
from tests.support.protobuf import pb
from tests.support.wire_link import WireLink

from telemetry_collector.model import MetricType, Outcome, Reason
from telemetry_collector.sender import DeliverySettings, Point, batch_of


def partial(batch: Any) -> Any:
    points = points_in(batch)
    ack = pb.BatchAck(sequence=batch.sequence, outcome=Outcome.PARTIAL, accepted_points=points // 2, credit=3)
    ack.rejected_points = points - points // 2
    ack.rejections.add(reason=Reason.INVALID_VALUE, points=ack.rejected_points, example="x")
    return ack


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "store": usual,
    "retry": lambda batch: retry_later(batch, 50),
    "hold": lambda batch: retry_later(batch, 50) if batch.sequence <= 2 else None,
    "too_large": lambda batch: rejected(batch, Reason.BATCH_TOO_LARGE) if points_in(batch) > 4 else None,
    "refuse": lambda batch: rejected(batch, Reason.MALFORMED),
    "unknown": lambda batch: rejected(batch, Reason.UNKNOWN_SERIES),
    "partial": partial,
}
STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 12)),
    st.tuples(st.just("answer"), st.sampled_from(sorted(ANSWERS))),
    st.tuples(st.just("lose_replies"), st.sampled_from([2_500, 4_000, 1 << 20])),
    st.tuples(st.just("shrink"), st.sampled_from([2_500, 4_000])),
    st.tuples(st.sampled_from(["send", "lose", "lose", "wait", "read_late"]), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40), st.integers(1, 4))
@example(  # a copy that is read when its halves are stored, and nothing is settled
    [("answer", "hold"), ("put", 1), ("put", 1), ("put", 12), ("send", None), ("shrink", 2_500), ("lose", None)]
    + [("wait", None)] * 3
    + [("read_late", None)],
    1,
)
def test_every_point_ends_in_exactly_one_place(steps: list[tuple[str, Any]], streams: int) -> None:
    link = WireLink(DeliverySettings(compression="none", streams_max=streams), points_max=60)
    for action, value in steps:
        if action == "put":
            points = [Point(f"{place}".rjust(250, "m"), 1.0, MetricType.GAUGE, "1") for place in range(value)]
            link.delivery.put(batch_of(points, common_tags=(), timestamp_unix_ns=link.stats.points_offered + 1))
        elif action == "answer":
            link.books.answer = lambda batch, chosen=ANSWERS[value]: chosen(batch) if batch.epoch else None  # type: ignore[misc]
            link.answer()
        elif action == "send":
            link.send()
        elif action == "lose_replies":
            link.send()
            for stream in link.streams.values():
                stream.replies()
            link.disconnect()
            link.delivery.shrink_frames(value)
            link.connect()
        elif action == "shrink":
            link.delivery.shrink_frames(value)
        elif action == "read_late":
            link.read_late()
        elif action == "lose":
            link.disconnect()
            link.connect()
        else:
            link.advance(0.2)
        stats = link.stats
        placed = stats.points_acknowledged + stats.points_refused + stats.points_dropped + stats.points_pending
        assert placed == stats.points_offered
    link.books.answer = usual
    link.advance(5)
    link.read_late()
    assert link.stats.points_pending == 0, "with a collector that stores, everything ends"
    assert len(set(link.books.points)) == len(link.books.points), "and nothing is stored twice"
