"""One stream of the sender's own encoder, read by the collector and by a reader that owes it nothing."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.door import NOW, Door, opened
from tests.support import dense
from tests.support.protobuf import pb

from telemetry_collector import _core
from telemetry_collector.model import Outcome

SERIES = 8
QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(tmp_path_factory.mktemp("references")) as door:
        yield door


steps = st.none() | st.integers(-500, 500).map(lambda step: step / 8) | st.floats(allow_nan=False, allow_infinity=False)
"""What a value does from one reading to the next: stays, moves a little, or is another."""


@st.composite
def readings(draw: st.DrawFn) -> list[list[tuple[int, float]]]:
    """Batches of one reading, or of several, of all series or of some."""
    values = [draw(st.floats(-1e9, 1e9)) for _ in range(SERIES)]
    batches = []
    for _ in range(draw(st.integers(1, 14))):
        some = sorted(draw(st.sets(st.integers(0, SERIES - 1), min_size=1)))
        batch = []
        for _ in range(draw(st.integers(1, 3))):
            for series in some:
                step = draw(steps)
                if step is not None:
                    moved = values[series] + step
                    values[series] = moved if math.isfinite(moved) else step
                batch.append((series, values[series]))
        batches.append(batch)
    return batches


def batch_of(points: list[tuple[int, float]]) -> _core.Batch:
    return _core.Batch(
        common_tags=[],
        series=[(f"m{place}", [], 2, "", False) for place in range(SERIES)],
        series_index=array("I", [series for series, _ in points]),
        timestamps_unix_ns=array("q", [NOW] * len(points)),
        values=array("d", [value for _, value in points]),
    )


def bits(values: list[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


@given(batches=readings())
@QUICK
def test_every_value_of_a_stream_is_what_was_sent(door: Door, batches: list[list[tuple[int, float]]]) -> None:
    encoder, stream, references = _core.FrameEncoder(form="dense", references=True), door.stream(), dense.References()
    for points in batches:
        frame = encoder.frame(batch_of(points), sequence=0, epoch=0)
        sent = [value for _, value in points]
        kept: list[tuple[int, int, int]] = []
        columns = pb.MetricBatch.FromString(frame[4:]).points
        read = [value for column in columns for _, _, value in dense.points(column, references, kept)]
        references.keep(kept)
        assert bits(read) == bits(sent)
        ack = stream.ask(frame[4:], NOW)
        assert (Outcome(ack.outcome), ack.accepted_points) == (Outcome.STORED, len(sent)), str(ack)
        assert bits([row["value"] for row in door.stored()]) == bits(sent)
