"""Compressed bodies: exactly what was declared, and nothing beside or inside that does not belong there."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from tests.contract.conftest import Doors
from tests.contract.door import (
    Door,
    Stream,
    batch,
    columns,
    definition,
    expect_malformed,
    expect_refused,
    expect_stored,
    metric,
    tags,
)
from tests.contract.raw import field, fixed64
from tests.support.protobuf import pb

from telemetry_collector.model import Reason

GZIP, ZSTD = pb.CompressedBody.GZIP, pb.CompressedBody.ZSTD
MIB = 1024 * 1024
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
INNER = batch(metric("a"), metric("b")).SerializeToString()


def zstd(data: bytes, level: int = 3) -> bytes:
    compressed: bytes = pa.Codec("zstd", compression_level=level).compress(data, asbytes=True)
    return compressed


Compress = Callable[[bytes], bytes]
ALGORITHMS: dict[int, Compress] = {GZIP: gzip.compress, ZSTD: zstd}
BOTH = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["gzip", "zstd"])


def outer(algorithm: int, body: bytes, size: int, **fields: Any) -> Any:
    """A batch that holds a compressed body of a declared size."""
    fields.setdefault("sequence", 7)
    compressed = pb.CompressedBody(algorithm=algorithm, uncompressed_size=size, body=body)
    return pb.MetricBatch(compressed=compressed, **fields)


def packed(algorithm: int, inner: bytes, **fields: Any) -> Any:
    return outer(algorithm, ALGORITHMS[algorithm](inner), len(inner), **fields)


def zstd_frame(
    content: bytes, *, window: int | None = None, size_bytes: int = 4, dictionary: bytes = b"", checksum: bytes = b""
) -> bytes:
    """A frame by hand: content in uncompressed blocks. Without a window byte it is a single segment."""
    flag = {0: 0, 1: 0, 2: 1, 4: 2, 8: 3}[size_bytes] << 6
    descriptor = (
        flag | (0x20 if window is None else 0) | (4 if checksum else 0) | {0: 0, 1: 1, 2: 2, 4: 3}[len(dictionary)]
    )
    size = {0: 0, 2: len(content) - 256}.get(size_bytes, len(content))
    out = ZSTD_MAGIC + bytes([descriptor]) + (b"" if window is None else bytes([window])) + dictionary
    out += size.to_bytes(size_bytes, "little")
    blocks = [content[start : start + 100_000] for start in range(0, len(content), 100_000)] or [b""]
    for place, block in enumerate(blocks):
        last = place == len(blocks) - 1
        out += (len(block) << 3 | last).to_bytes(3, "little") + block
    return out + checksum


@BOTH
def test_a_compressed_body_is_the_batch_it_holds(door: Door, algorithm: int) -> None:
    inner = batch(
        metric("row"),
        common_tags={"zone": "z"},
        series=[definition(1, "column")],
        points=[columns(1)],
        heartbeat={"worker_id": "node-1"},
    )
    stream = door.stream()
    named = {"sequence": 1, "epoch": 5, "oldest_unacknowledged": 1}
    expect_stored(stream.ask(packed(algorithm, inner.SerializeToString(), **named)), 2)
    rows = door.stored()
    assert [(row["name"], row["zone"], row["epoch"], row["sequence"]) for row in rows] == [
        ("row", "z", 5, 1), ("column", "z", 5, 1)
    ]  # fmt: skip
    assert door.core.stats()["heartbeats_taken"] == 1
    # Its definitions are the stream's.
    expect_stored(stream.ask(batch(points=[columns(1)])))


@BOTH
def test_a_body_may_hold_nothing(stream: Stream, algorithm: int) -> None:
    expect_stored(stream.ask(packed(algorithm, b"")), 0)


@BOTH
@pytest.mark.parametrize("off", [-len(INNER), -2, -1, 1, 2, 1_000, MIB])
def test_the_size_matches_exactly(stream: Stream, algorithm: int, off: int) -> None:
    message = outer(algorithm, ALGORITHMS[algorithm](INNER), len(INNER) + off)
    expect_malformed(stream.ask(message), 7)
    expect_stored(stream.ask(packed(algorithm, INNER)), 2)


def padded(size: int) -> bytes:
    """A batch of exactly so many bytes, nearly all of them in a field that nobody knows."""
    key = b"\xda\x06"
    for width in range(1, 6):
        content = size - len(key) - width
        body = field(107, bytes(content))
        if len(body) == size:
            return body
    raise AssertionError(size)


@BOTH
def test_at_most_16_mib(stream: Stream, algorithm: int) -> None:
    expect_stored(stream.ask(packed(algorithm, padded(16 * MIB))), 0)
    expect_malformed(stream.ask(packed(algorithm, padded(16 * MIB + 1))), 7)


@BOTH
def test_or_the_collectors_limit(doors: Doors, algorithm: int) -> None:
    stream = doors(inflated_bytes_max=5_000).stream()
    expect_stored(stream.ask(packed(algorithm, padded(5_000))), 0)
    expect_malformed(stream.ask(packed(algorithm, padded(5_001))), 7)
    expect_malformed(stream.ask(outer(algorithm, b"", 0xFFFFFFFF)), 7)


@BOTH
@pytest.mark.parametrize("declared", [0, 1, 1_000, 16 * MIB])
def test_a_bomb_is_not_what_it_declares(stream: Stream, algorithm: int, declared: int) -> None:
    bomb = ALGORITHMS[algorithm](bytes(64 * MIB))
    assert len(bomb) < 100_000
    expect_malformed(stream.ask(outer(algorithm, bomb, declared)), 7)


@BOTH
def test_a_body_that_is_cut_short_or_damaged(stream: Stream, algorithm: int) -> None:
    whole = ALGORITHMS[algorithm](INNER * 3)
    for end in range(len(whole)):
        expect_malformed(stream.ask(outer(algorithm, whole[:end], 3 * len(INNER))), 7)
    expect_malformed(stream.ask(outer(algorithm, b"\x00" + whole[1:], 3 * len(INNER))), 7)


def test_a_gzip_member_is_checked_to_its_end(stream: Stream) -> None:
    whole = gzip.compress(INNER)
    for place in range(-8, 0):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        expect_malformed(stream.ask(outer(GZIP, bytes(damaged), len(INNER))), 7)


@BOTH
def test_exactly_one_member_or_frame(stream: Stream, algorithm: int) -> None:
    whole = ALGORITHMS[algorithm](INNER)
    half = ALGORITHMS[algorithm](INNER[: len(INNER) // 2]) + ALGORITHMS[algorithm](INNER[len(INNER) // 2 :])
    for body, size in [
        (whole + whole, 2 * len(INNER)),
        (whole + whole, len(INNER)),
        (half, len(INNER)),
        (whole + ALGORITHMS[algorithm](b""), len(INNER)),
        (ALGORITHMS[algorithm](b"") + whole, len(INNER)),
        (whole + b"\x00", len(INNER)),
        (whole + b"trailing", len(INNER)),
        (b"\x00" + whole, len(INNER)),
        (b"", 0),
        (b"", len(INNER)),
        (INNER, len(INNER)),
    ]:
        expect_malformed(stream.ask(outer(algorithm, body, size)), 7)


def deflated(data: bytes, window_bits: int) -> bytes:
    compressor = zlib.compressobj(wbits=window_bits)
    return compressor.compress(data) + compressor.flush()


def test_gzip_is_not_zlib_and_not_bare_deflate(stream: Stream) -> None:
    expect_stored(stream.ask(outer(GZIP, deflated(INNER, 31), len(INNER))), 2)
    for bits in (15, -15):
        expect_malformed(stream.ask(outer(GZIP, deflated(INNER, bits), len(INNER))), 7)


def test_a_gzip_header_may_have_all_its_optional_parts(stream: Stream) -> None:
    plain = gzip.compress(INNER, mtime=0)
    header = plain[:3] + b"\x1e" + plain[4:10] + b"\x03\x00abc" + b"name\x00" + b"comment\x00"
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    expect_stored(stream.ask(outer(GZIP, header + plain[10:], len(INNER))), 2)


@pytest.mark.parametrize("algorithm", [0, 3, 99, -1])
def test_another_algorithm(stream: Stream, algorithm: int) -> None:
    for body in (INNER, gzip.compress(INNER), zstd(INNER)):
        message = outer(GZIP, body, len(INNER))
        message.compressed.algorithm = algorithm
        expect_malformed(stream.ask(message), 7)


def test_one_algorithm_is_not_the_other(stream: Stream) -> None:
    expect_malformed(stream.ask(outer(GZIP, zstd(INNER), len(INNER))), 7)
    expect_malformed(stream.ask(outer(ZSTD, gzip.compress(INNER), len(INNER))), 7)


def test_frames_of_every_shape_are_zstd(stream: Stream) -> None:
    for level in (1, 3, 19):
        expect_stored(stream.ask(outer(ZSTD, zstd(INNER, level), len(INNER))), 2)
    small = INNER
    medium = small + padded(300)
    shapes = [
        zstd_frame(small, size_bytes=1),
        zstd_frame(small, size_bytes=4),
        zstd_frame(small, size_bytes=8),
        zstd_frame(small, window=0, size_bytes=0),
        zstd_frame(small, window=0, size_bytes=8),
        zstd_frame(small, dictionary=b"\x00"),
    ]
    for shape in shapes:
        expect_stored(stream.ask(outer(ZSTD, shape, len(small))), 2)
    expect_stored(stream.ask(outer(ZSTD, zstd_frame(medium, size_bytes=2), len(medium))), 2)


# A window byte is an exponent over 10 in its upper five bits, and eighths in its lower three.
EXACTLY_8_MIB = 13 << 3


@pytest.mark.parametrize("window", [EXACTLY_8_MIB + 1, EXACTLY_8_MIB + 7, 14 << 3, 17 << 3, 21 << 3, 31 << 3, 0xFF])
def test_a_window_over_8_mib(stream: Stream, window: int) -> None:
    expect_malformed(stream.ask(outer(ZSTD, zstd_frame(INNER, window=window), len(INNER))), 7)
    expect_malformed(stream.ask(outer(ZSTD, zstd_frame(INNER, window=window, size_bytes=0), len(INNER))), 7)


def test_a_window_of_8_mib(stream: Stream) -> None:
    expect_stored(stream.ask(outer(ZSTD, zstd_frame(INNER, window=EXACTLY_8_MIB), len(INNER))), 2)


def test_the_window_of_a_single_segment_is_its_content(doors: Doors) -> None:
    stream = doors(frame_bytes_max=16 * MIB).stream()
    expect_stored(stream.ask(outer(ZSTD, zstd_frame(padded(8 * MIB)), 8 * MIB)), 0)
    expect_malformed(stream.ask(outer(ZSTD, zstd_frame(padded(8 * MIB + 1)), 8 * MIB + 1)), 7)
    # With a window of its own the same content is good.
    framed = zstd_frame(padded(8 * MIB + 1), window=EXACTLY_8_MIB)
    expect_stored(stream.ask(outer(ZSTD, framed, 8 * MIB + 1)), 0)


@pytest.mark.parametrize("dictionary", [b"\x01", b"\x01\x00", b"\x00\x00\x00\x80"])
def test_a_dictionary(stream: Stream, dictionary: bytes) -> None:
    expect_malformed(stream.ask(outer(ZSTD, zstd_frame(INNER, dictionary=dictionary), len(INNER))), 7)


@pytest.mark.parametrize("low", range(16))
def test_skippable_frames(stream: Stream, low: int) -> None:
    skippable = bytes([0x50 + low]) + b"\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"any"
    for body, size in [
        (skippable, 0),
        (skippable, 3),
        (skippable + zstd(INNER), len(INNER)),
        (zstd(INNER) + skippable, len(INNER)),
    ]:
        expect_malformed(stream.ask(outer(ZSTD, body, size)), 7)


def test_a_content_size_in_the_frame_that_is_wrong(stream: Stream) -> None:
    right = zstd_frame(INNER, size_bytes=8)
    for off in (1, -1):
        wrong = bytearray(right)
        wrong[5:13] = (len(INNER) + off).to_bytes(8, "little")
        for size in (len(INNER), len(INNER) + off):
            expect_malformed(stream.ask(outer(ZSTD, bytes(wrong), size)), 7)


def test_a_checksum_that_is_wrong(stream: Stream) -> None:
    expect_malformed(stream.ask(outer(ZSTD, zstd_frame(INNER, checksum=b"\x00\x01\x02\x03"), len(INNER))), 7)


@BOTH
def test_a_compressed_body_holds_no_other(stream: Stream, algorithm: int) -> None:
    inner = packed(algorithm, INNER, sequence=0).SerializeToString()
    expect_malformed(stream.ask(packed(algorithm, inner)), 7)
    empty = field(8, b"")
    expect_malformed(stream.ask(packed(algorithm, INNER + empty)), 7)


@BOTH
@pytest.mark.parametrize("name", [field(1, 7), fixed64(2, 7), field(9, 1), field(1, 7) + fixed64(2, 7) + field(9, 1)])
def test_the_name_stands_outside(stream: Stream, algorithm: int, name: bytes) -> None:
    for inner in (INNER + name, name + INNER, name):
        expect_malformed(stream.ask(packed(algorithm, inner)), 7)


BESIDE: dict[str, Any] = {
    "common_tags": tags({"zone": "z"}),
    "metrics": [metric()],
    "series": [definition(1)],
    "points": [pb.PointColumns()],
    "heartbeat": pb.Heartbeat(),
}


@BOTH
@pytest.mark.parametrize("beside", BESIDE)
def test_nothing_known_stands_beside_it(stream: Stream, algorithm: int, beside: str) -> None:
    expect_malformed(stream.ask(packed(algorithm, INNER, **{beside: BESIDE[beside]})), 7)
    # In whatever order.
    body = batch(sequence=7).SerializeToString() + pb.MetricBatch(**{beside: BESIDE[beside]}).SerializeToString()
    expect_malformed(stream.ask(body + packed(algorithm, INNER).SerializeToString()), 7)


@BOTH
def test_unknown_fields_may_stand_beside_it_and_inside(stream: Stream, algorithm: int) -> None:
    unknown = field(100, b"x") + fixed64(101, 1)
    body = unknown + packed(algorithm, unknown + INNER + unknown).SerializeToString() + unknown
    expect_stored(stream.ask(body), 2)


@BOTH
@pytest.mark.parametrize("inner", [b"\x22\x05\x0a", b"\x00\x01", b"text", field(6, field(4, bytes(8)))])
def test_what_is_inside_may_be_no_message(stream: Stream, algorithm: int, inner: bytes) -> None:
    expect_malformed(stream.ask(packed(algorithm, inner)), 7)


@BOTH
def test_definitions_inside_a_malformed_body_do_not_count(stream: Stream, algorithm: int) -> None:
    inner = batch(series=[definition(1)]).SerializeToString()
    expect_malformed(stream.ask(packed(algorithm, inner + b"\x22\x05")), 7)
    expect_malformed(stream.ask(outer(algorithm, ALGORITHMS[algorithm](inner), len(inner) + 1)), 7)
    expect_refused(stream.ask(batch(points=[columns(1)])), Reason.UNKNOWN_SERIES)


@BOTH
def test_after_a_bad_body_good_ones_are_read(stream: Stream, algorithm: int) -> None:
    """What decompressors keep between bodies does no harm."""
    whole = ALGORITHMS[algorithm](INNER)
    for bad in (whole[:-1], whole + b"x", b"junk"):
        expect_malformed(stream.ask(outer(algorithm, bad, len(INNER))), 7)
        expect_stored(stream.ask(packed(algorithm, INNER)), 2)


def test_a_body_in_two_parts_is_merged_as_protobuf_does(stream: Stream) -> None:
    body = gzip.compress(INNER)
    first = pb.MetricBatch(compressed=pb.CompressedBody(algorithm=GZIP, body=b"not this"))
    second = pb.MetricBatch(compressed=pb.CompressedBody(uncompressed_size=len(INNER), body=body))
    expect_stored(stream.ask(first.SerializeToString() + second.SerializeToString()), 2)
