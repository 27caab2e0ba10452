"""The dense form of PointColumns, read as docs/wire-protocol.md describes it: an implementation that owes ours nothing.

Everything is done the plain way, with whole numbers without bounds; what is malformed raises DenseError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

POINTS_MAX = 1 << 20
DECIMAL_MAX = 22
RAW = 63
DISTANCE = 32
BINARY = 64
KEPT = 128


class DenseError(ValueError):
    """Malformed dense columns."""


class UnknownReference(LookupError):
    """Values are told by references that the stream does not have."""


@dataclass
class References:
    """What a stream was told of its series' values: scale and number by id."""

    version: int = 0
    by_id: dict[int, tuple[int, int]] = field(default_factory=dict)

    def keep(self, kept: list[tuple[int, int, int]]) -> None:
        """Takes what a batch keeps, once all of it is read."""
        self.by_id.update({one: (scale, number) for one, scale, number in kept})
        self.version += bool(kept)


class Bytes:
    """Reads from the front."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, size: int) -> bytes:
        if len(self.rest) < size:
            raise DenseError("truncated")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        number = 0
        for place in range(10):
            byte = self.byte()
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return number & (1 << 64) - 1
        raise DenseError("a varint of more than ten bytes")

    def sint64(self) -> int:
        number = self.varint()
        return number >> 1 ^ -(number & 1)


def is_dense(columns: Any) -> bool:
    """Whether any of the dense fields is set."""
    return bool(
        columns.dense_points or columns.series_runs or columns.time_runs or columns.value_heads or columns.value_bits
    )


def points(
    columns: Any, references: References | None = None, kept: list[tuple[int, int, int]] | None = None
) -> list[tuple[int, int, float]]:
    """Id, time (0: that of receipt) and value of each point, in order; adds what becomes a reference to `kept`."""
    if not stands_alone(columns):
        raise DenseError("beside plain columns")
    count = columns.dense_points
    if not 1 <= count <= POINTS_MAX:
        raise DenseError("points")
    ids = ids_of(columns)
    if count % len(ids) or not all(0 <= one < 1 << 32 for one in ids):
        raise DenseError("series")
    rounds = count // len(ids)
    times = list(times_of(columns.time_runs, count))
    if len(times) not in (1, rounds, count):
        raise DenseError("times")
    told = list(values_of(columns, ids, rounds, references or References(), kept if kept is not None else []))
    if None in told:
        raise UnknownReference
    values = [one for one in told if one is not None]
    return [
        (ids[place % len(ids)], times[place * len(times) // count], values[place % len(ids)][place // len(ids)])
        for place in range(count)
    ]


def has_references(columns: Any) -> bool:
    """Whether references are used or kept."""
    kept: list[tuple[int, int, int]] = []
    try:
        points(columns, References(columns.references), kept)
    except UnknownReference:
        return True
    return bool(kept)


def stands_alone(columns: Any) -> bool:
    """No plain field but one id stands beside the dense ones."""
    plain = (columns.base_timestamp_unix_ns, len(columns.timestamp_deltas_ns), len(columns.values))
    return plain == (0, 0, 0) and len(columns.series_ids) == 1


def ids_of(columns: Any) -> list[int]:
    """The ids of one round."""
    return list(runs(columns.series_ids[0], Bytes(columns.series_runs), columns.dense_points))


def runs(first: int, data: Bytes, most: int) -> Iterator[int]:
    """A number and those that follow it in equal steps."""
    number, step, told = first, 0, 1
    yield number
    while data.rest:
        step = fits(step + data.sint64())
        further = data.varint() + 1
        told += further
        if told > most + 1:
            raise DenseError("runs")
        for _ in range(further):
            number = fits(number + step)
            yield number


def times_of(data: bytes, most: int) -> Iterator[int]:
    if not data:
        yield 0
        return
    reader = Bytes(data)
    first = reader.sint64()
    for time in runs(first, reader, most):
        yield time or 1


class Bits:
    """Reads from the lowest one on."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")
        self.left = 8 * len(data)

    def take(self, width: int) -> int:
        if width > self.left:
            raise DenseError("truncated")
        taken = self._rest & (1 << width) - 1
        self._rest >>= width
        self.left -= width
        return taken

    def distance(self) -> int:
        if not self.take(1):
            return 0
        number = self.take(4 * (self.take(3) + 1))
        return number >> 1 ^ -(number & 1)


def values_of(
    columns: Any, ids: list[int], rounds: int, references: References, kept: list[tuple[int, int, int]]
) -> Iterator[list[float] | None]:
    """The values of each series, round by round; None where they are told by what is not there."""
    heads, bits = Bytes(columns.value_heads), Bits(columns.value_bits)
    agrees = columns.references == references.version
    rest = list(ids)
    while rest:
        code, group = heads.byte(), heads.varint()
        told = code % KEPT
        if not 1 <= group <= len(rest) or not (
            told <= DECIMAL_MAX or told in (RAW, DISTANCE) or BINARY <= told < 2 * BINARY
        ):
            raise DenseError("group")
        for one in rest[:group]:
            width = heads.byte() if rounds > 1 else 0
            if width > 64:
                raise DenseError("width")
            known = True
            if told == DISTANCE:
                known = agrees and one in references.by_id
                scale, number = references.by_id[one] if known else (0, 0)
                least = number + bits.distance()
            else:
                scale = told
                least = int.from_bytes(heads.take(8), "little") if scale == RAW else heads.sint64()
            values = [value(scale, least + bits.take(width)) for _ in range(rounds)]
            if code >= KEPT:
                known = known and agrees
                kept.append((one, scale, least))
            yield values if known else None
        del rest[:group]
    if heads.rest or bits.left >= 8:
        raise DenseError("bytes behind")


def value(scale: int, number: int) -> float:
    number &= (1 << 64) - 1
    if scale == RAW:
        found: float = struct.unpack("<d", number.to_bytes(8, "little"))[0]
        return found
    signed = float(number - (1 << 64) if number >> 63 else number)
    return signed / float(10**scale) if scale <= DECIMAL_MAX else signed * 2.0 ** (scale - BINARY - 32)


def fits(number: int) -> int:
    if not -(1 << 63) <= number < 1 << 63:
        raise DenseError("outside signed 64 bits")
    return number
