"""Batches as bytes, prepared before the measurement: sending one again takes a new name in front of the same body.

A *lane* is one stream of one connection with an epoch of its own. Its sequences count from 1 without a gap, and
sequence s carries its prepared batch (s - 1) mod their number: what a sequence holds need not be remembered.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from telemetry_collector._core import FrameEncoder
from telemetry_collector.bench.fingerprint import of_rows, of_texts
from telemetry_collector.bench.plan import STREAMS_MAX, Plan
from telemetry_collector.bench.reference import Definition, Fleet, Readings
from telemetry_collector.model import STANDARD_TAGS
from telemetry_collector.sender import MetricType
from telemetry_collector.sender.wire import FRAME_PREFIX_BYTES

_SEQUENCE_KEY: Final = b"\x08"
_EPOCH_KEY: Final = b"\x11"
_OLDEST_KEY: Final = b"\x48"


@dataclass(frozen=True, slots=True)
class Content:
    """What a batch's rows must have in common with what was sent."""

    points: int
    fingerprint: int
    """Of names, tags, times and values; see `fingerprint`."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch's body, without its length and name."""

    first: bytes
    """For the first time on its stream: with the definitions that the stream has not had."""
    again: bytes
    content: Content


@dataclass(frozen=True, slots=True)
class Lane:
    """One stream of one connection."""

    connection: int
    stream: int
    identity: str
    epoch: int
    batches: tuple[Prepared, ...]

    def prepared(self, sequence: int) -> Prepared:
        """The batch that this sequence carries."""
        return self.batches[(sequence - 1) % len(self.batches)]

    def frame(self, sequence: int, oldest_unacknowledged: int) -> bytes:
        """The whole frame of a sequence when it is sent for the first time."""
        prepared = self.prepared(sequence)
        return named(
            prepared.first if sequence <= len(self.batches) else prepared.again,
            sequence,
            self.epoch,
            oldest_unacknowledged,
        )


def named(body: bytes, sequence: int, epoch: int, oldest_unacknowledged: int) -> bytes:
    """A frame: the length, the batch's name as the first fields, then a body that has none."""
    head = b"".join(
        (
            *(_SEQUENCE_KEY, _varint(sequence)),
            *(_EPOCH_KEY, epoch.to_bytes(8, "little")),
            *(_OLDEST_KEY, _varint(oldest_unacknowledged)),
        )
    )
    return (len(head) + len(body)).to_bytes(FRAME_PREFIX_BYTES, "big") + head + body


def framed(body: bytes) -> bytes:
    """A frame without a name."""
    return len(body).to_bytes(FRAME_PREFIX_BYTES, "big") + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def prepare(
    plan: Plan,
    fleet: Fleet,
    identities: Sequence[str],
    progress: Callable[[int, int], object],
    streams_max: int = STREAMS_MAX,
) -> list[Lane]:
    """Encodes every batch of the plan for the connection and stream that sends it; connection i has `identities[i]`."""
    lanes = []
    for connection, identity in enumerate(identities):
        if plan.idle:
            lanes.append(Lane(connection, 0, identity, _new_epoch(), ()))
            continue
        numbers = list(_batches_of(plan, connection))
        streams = min(streams_max, len(numbers))
        for stream in range(streams):
            batches = tuple(_encode(plan, fleet, numbers[stream::streams]))
            lanes.append(Lane(connection, stream, identity, _new_epoch(), batches))
        progress(connection + 1, len(identities))
    return lanes


def _new_epoch() -> int:
    return secrets.randbits(63) | 1


def _batches_of(plan: Plan, connection: int) -> Iterator[int]:
    """The data set's batches that a connection sends: those of every node that it speaks for."""
    for of_node in range(plan.batches_of_agent):
        for node in range(connection, plan.agents, plan.connections_wanted):
            yield of_node * plan.agents + node


def _encode(plan: Plan, fleet: Fleet, numbers: Sequence[int]) -> Iterator[Prepared]:
    """A stream's batches in the order in which it sends them, by the one encoder that knows what it has defined."""
    encoder = FrameEncoder(form=plan.form, compression=plan.compression)
    made = [fleet.readings(number) for number in numbers]
    batches = [readings.batch() for readings in made]

    def encoded() -> list[bytes]:
        frames = (encoder.frame(batch, sequence=0, epoch=0) for batch in batches)
        return [frame[FRAME_PREFIX_BYTES:] for frame in frames]

    first, again = encoded(), encoded()
    for readings, body, repeated in zip(made, first, again, strict=True):
        yield Prepared(body, repeated, content_of(readings))


def content_of(readings: Readings) -> Content:
    """What must come back."""
    places = pa.array(readings.places, pa.uint32())
    rows = zip(*(_texts(definition) for definition in readings.definitions), strict=True)
    texts = [of_texts(column).take(places) for column in rows]
    moments = pc.multiply(pa.array(readings.timestamps_ms, pa.int64()), 1_000_000)
    numbers = of_rows(texts, moments, pa.array(readings.values, pa.float64()))
    return Content(len(readings.values), pc.sum(numbers).as_py())


def _texts(definition: Definition) -> list[str | None]:
    name, tags, kind, unit, _ = definition
    own = dict(tags)
    return [name, MetricType(kind).name.lower(), unit, *(own.get(key) for key in STANDARD_TAGS)]
