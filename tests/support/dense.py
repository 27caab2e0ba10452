"""The dense form of PointColumns, read as docs/wire-protocol.md describes it: an implementation that owes ours nothing.

Everything is done the plain way, with whole numbers without bounds; what is malformed raises DenseError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

POINTS_MAX = 1 << 20
DECIMAL_MAX = 22
RAW = 63
BINARY = 64


class DenseError(ValueError):
    """Malformed dense columns."""


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


def points(columns: Any) -> list[tuple[int, int, float]]:
    """Id, time (0: that of receipt) and value of each point, in order."""
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
    values = list(values_of(columns, len(ids), rounds))
    return [
        (ids[place % len(ids)], times[place * len(times) // count], values[place % len(ids)][place // len(ids)])
        for place in range(count)
    ]


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


def values_of(columns: Any, series: int, rounds: int) -> Iterator[list[float]]:
    """The values of each series, round by round."""
    heads = Bytes(columns.value_heads)
    bits = int.from_bytes(columns.value_bits, "little")
    left = 8 * len(columns.value_bits)
    while series:
        scale, group = heads.byte(), heads.varint()
        if not 1 <= group <= series or not (scale <= DECIMAL_MAX or scale == RAW or BINARY <= scale < 2 * BINARY):
            raise DenseError("group")
        series -= group
        for _ in range(group):
            width = heads.byte() if rounds > 1 else 0
            least = int.from_bytes(heads.take(8), "little") if scale == RAW else heads.sint64()
            if width > 64 or width * rounds > left:
                raise DenseError("width")
            values = []
            for _ in range(rounds):
                values.append(value(scale, least + (bits & (1 << width) - 1)))
                bits, left = bits >> width, left - width
            yield values
    if heads.rest or left >= 8:
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
