"""References: what a stream was told of its series' values, and what is left when a batch that told it is lost."""

from __future__ import annotations

from typing import Any

from tests.contract.door import NOW, Door, definition, expect, expect_malformed, expect_refused, expect_stored
from tests.support.protobuf import pb

from telemetry_collector.model import Outcome, Reason

TENTHS = 1
KEPT = 128
DISTANCE = 32


def told(code: int, rest: bytes = b"", *, bits: bytes = b"", version: int = 0, number: int = 1, **fields: Any) -> Any:
    """A batch of one point of series 7."""
    heads = bytes([code, 1]) + rest
    columns = pb.PointColumns(series_ids=[7], dense_points=1, value_heads=heads, value_bits=bits, references=version)
    return pb.MetricBatch(sequence=number, epoch=9, points=[columns], **fields)


def kept(tenths: int, **fields: Any) -> Any:
    """A value in full, which becomes the reference."""
    return told(TENTHS | KEPT, bytes([tenths * 2]), **fields)


def away(tenths: int, *, code: int = DISTANCE, **fields: Any) -> Any:
    """A value a few tenths above the reference."""
    return told(code, bits=bytes([1 | tenths * 2 << 4] if tenths else [0]), **fields)


def values(door: Door) -> list[float]:
    return [row["value"] for row in door.stored()]


def unknown(ack: Any) -> None:
    expect_refused(ack, Reason.UNKNOWN_SERIES)


def test_values_are_distances_from_a_reference_until_there_is_another(door: Door) -> None:
    stream = door.stream()
    batches = [
        kept(21, number=1, series=[definition(7)]),
        away(0, number=2, version=1),
        away(3, number=3, version=1),
        away(2, code=DISTANCE | KEPT, number=4, version=1),
        away(1, number=5, version=2),
        told(TENTHS, bytes([50 * 2]), number=6),
        away(7, number=7, version=2),
    ]
    for ack in stream.ask_all(batches, NOW):
        expect(ack, Outcome.STORED, 1)
    assert values(door) == [2.1, 2.1, 2.4, 2.3, 2.4, 5.0, 3.0]


def test_another_version_is_unknown_and_nothing_is_kept_of_it(door: Door) -> None:
    stream = door.stream()
    unknown(stream.ask(away(1, number=1, series=[definition(7)]), NOW))
    unknown(stream.ask(away(1, number=1, version=1), NOW))
    expect_stored(stream.ask(kept(10, number=1), NOW), 1)
    unknown(stream.ask(kept(20, number=2), NOW))
    unknown(stream.ask(away(1, number=2, version=2), NOW))
    expect_stored(stream.ask(away(1, number=2, version=1), NOW), 1)
    assert values(door) == [1.0, 1.1]
    unknown(door.stream().ask(away(1, number=3, version=1, series=[definition(7)]), NOW))


def test_a_series_without_a_reference_is_unknown(door: Door) -> None:
    stream = door.stream()
    expect_stored(stream.ask(kept(10, number=1, series=[definition(7), definition(8, "other")]), NOW), 1)
    batch = away(1, number=2, version=1)
    batch.points[0].series_ids[:] = [8]
    unknown(stream.ask(batch, NOW))


def test_references_hold_whatever_becomes_of_their_batch_unless_it_is_malformed(door: Door) -> None:
    stream = door.stream()
    expect_stored(stream.ask(kept(10, number=1, series=[definition(7)]), NOW), 1)
    again = kept(20, number=1, version=1)
    expect(stream.ask(again, NOW), Outcome.DUPLICATE, 0)
    stranger = kept(30, number=2, version=2, common_tags=[pb.Tag(key="node_id", value="another")])
    expect_refused(stream.ask(stranger, NOW), Reason.IDENTITY_MISMATCH)
    broken = kept(40, number=2, version=3, series=[definition(7, "something else")])
    expect_malformed(stream.ask(broken, NOW), 2)
    expect_stored(stream.ask(away(1, number=2, version=3), NOW), 1)
    assert values(door) == [1.0, 3.1]


def test_a_batch_that_is_too_large_or_of_unknown_series_keeps_nothing(door: Door) -> None:
    stream = door.stream()
    large = kept(10, number=1, series=[definition(7)])
    large.points[0].dense_points = 5_000
    large.points[0].value_heads = bytes([TENTHS | KEPT, 1, 0, 20])
    expect_refused(stream.ask(large, NOW), Reason.BATCH_TOO_LARGE, 5_000)
    undefined = kept(10, number=1)
    undefined.points[0].series_ids[:] = [8]
    unknown(stream.ask(undefined, NOW))
    expect_stored(stream.ask(kept(10, number=1), NOW), 1)
    expect_stored(stream.ask(away(1, number=2, version=1), NOW), 1)
    assert values(door) == [1.0, 1.1]
