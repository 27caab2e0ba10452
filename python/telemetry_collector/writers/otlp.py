"""Writes to whatever takes OTLP over HTTP: an OpenTelemetry Collector, a vendor, another collector of ours.

How a point becomes a data point is in `rust/core/src/export/otlp.rs`. Points that the destination refuses in a
`partial_success` are counted as refused.
"""

from __future__ import annotations

from typing import ClassVar, Final, final

from telemetry_collector.component import Blocks, Requests, WriterContext
from telemetry_collector.config import Section
from telemetry_collector.writers.push import GzipPushConfig, PushWriter


class OtlpConfig(GzipPushConfig):
    """The section `otlp`."""


class _Otlp:
    headers: Final = {"Content-Type": "application/x-protobuf", "User-Agent": "telemetry-collector"}
    # Of points that are refused alone, the answer tells.
    searches: Final = False

    def requests(self, blocks: Blocks, bytes_max: int) -> Requests:
        return blocks.otlp(bytes_max)

    def refused(self, body: bytes) -> tuple[int, str]:
        """Of an ExportMetricsServiceResponse: what cannot be read says nothing, for the status has accepted it."""
        try:
            partial = _fields(_fields(body).get(1, b""))
            rejected, words = partial.get(1, 0), partial.get(2, b"")
        except (IndexError, TypeError):
            return 0, ""
        told = words.decode(errors="replace") if isinstance(words, bytes) else ""
        return (rejected, told) if isinstance(rejected, int) else (0, told)


def _fields(message: bytes | int) -> dict[int, bytes | int]:
    """The varints and length-delimited fields of a small message; TypeError or IndexError when it is none."""
    if not isinstance(message, bytes):
        raise TypeError("a message is bytes")
    found: dict[int, bytes | int] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            found[key >> 3], at = _varint(message, at)
        elif key & 7 == 2:
            length, at = _varint(message, at)
            found[key >> 3], at = message[at : at + length], at + length
        else:
            raise TypeError("a field of another kind")
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


@final
class OtlpWriter(PushWriter):
    """See the module."""

    Config: ClassVar[type[Section]] = OtlpConfig

    def __init__(self, config: OtlpConfig, context: WriterContext) -> None:
        super().__init__(config, context, _Otlp(), gzip=config.compresses)
