"""Batches of the reference data set as peers take them: InfluxDB line protocol, and OTLP's protobuf."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from telemetry_collector.bench.reference import Definition, Readings

RESOURCE_TAGS = ("node_id", "region", "zone")
"""What OTLP says once a batch, of the node; the others are said with each point."""


def lines(readings: Readings) -> bytes:
    """Line protocol with one field and timestamps in milliseconds, in the order of the readings."""
    heads = [_head(definition) for definition in readings.definitions]
    points = zip(readings.places, readings.timestamps_ms, readings.values, strict=True)
    return "".join(f"{heads[place]} value={value} {moment}\n" for place, moment, value in points).encode()


def _head(definition: Definition) -> str:
    name, tags, *_ = definition
    return ",".join((name, *(f"{key}={value}" for key, value in sorted(tags))))


def otlp(readings: Readings) -> bytes:
    """An ExportMetricsServiceRequest: one resource, and a gauge a name with all of its points."""
    resource = _attributes(1, (tag for tag in readings.definitions[0][1] if tag[0] in RESOURCE_TAGS))
    own = [_attributes(7, (tag for tag in tags if tag[0] not in RESOURCE_TAGS)) for _, tags, *_ in readings.definitions]
    gauges: dict[str, list[bytes]] = {}
    for place, moment, value in zip(readings.places, readings.timestamps_ms, readings.values, strict=True):
        # NumberDataPoint: time_unix_nano = 3, as_double = 4, attributes = 7.
        point = b"\x19" + struct.pack("<Q", moment * 1_000_000) + b"\x21" + struct.pack("<d", value) + own[place]
        gauges.setdefault(readings.definitions[place][0], []).append(_field(1, point))
    # Metric: name = 1, unit = 3, gauge = 5.
    metrics = (
        _field(1, name.encode()) + _field(3, b"1") + _field(5, b"".join(points)) for name, points in gauges.items()
    )
    scope = b"".join(_field(2, metric) for metric in metrics)
    return _field(1, _field(1, resource) + _field(2, scope))


def _attributes(number: int, tags: Iterable[tuple[str, str]]) -> bytes:
    """KeyValue: key = 1, value = 2; AnyValue: string_value = 1."""
    return b"".join(_field(number, _field(1, key.encode()) + _field(2, _field(1, text.encode()))) for key, text in tags)


def _field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def otlp_points(request: bytes) -> int:
    """Data points of gauges in a request, or in a MetricsData, which is the same bytes."""
    resources = _inside(request, 1)
    scopes = (scope for resource in resources for scope in _inside(resource, 2))
    gauges = (gauge for scope in scopes for metric in _inside(scope, 2) for gauge in _inside(metric, 5))
    return sum(1 for gauge in gauges for _ in _inside(gauge, 1))


def _inside(message: bytes, wanted: int) -> Iterator[bytes]:
    """The length-delimited fields of a number; messages on the way to a gauge's points have no other kinds."""
    place = 0
    while place < len(message):
        tag, place = _read_varint(message, place)
        if tag & 7 == 0:
            _, place = _read_varint(message, place)
            continue
        length, place = _read_varint(message, place)
        if tag == wanted << 3 | 2:
            yield message[place : place + length]
        place += length


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while message[place] > 0x7F:
        value |= (message[place] & 0x7F) << shift
        shift += 7
        place += 1
    return value | message[place] << shift, place + 1
