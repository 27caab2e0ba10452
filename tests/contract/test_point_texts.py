"""Names, tags and units: the points table's first two rows, byte by byte, in rows and in columns."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract import raw
from tests.contract.door import Door, Stream, batch, expect, expect_refused, expect_stored, metric
from tests.contract.raw import field

from telemetry_collector.model import Outcome, Reason

CONTROL = [*range(0x20), 0x7F]

# What UTF-8 does not allow, by the ways to break it.
NOT_UTF8 = {
    "a byte that never occurs": b"\xff",
    "another": b"\xc0",
    "a lonely continuation": b"\x80",
    "a sequence cut short": b"\xe2\x82",
    "a sequence broken by a letter": b"\xc3a",
    "an overlong slash": b"\xc0\xaf",
    "an overlong slash in three": b"\xe0\x80\xaf",
    "an overlong NUL": b"\xc0\x80",
    "a surrogate": b"\xed\xa0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
}

PLACES = ["name", "own key", "own value", "unit", "common key", "common value"]


def sent(form: str, place: str, text: bytes) -> Any:
    """A batch whose first point has this text in a place; a second one is good unless the common tags are bad."""
    name, unit, tags, common = b"m", b"", [], []
    match place:
        case "name":
            name = text
        case "unit":
            unit = text
        case "own key":
            tags = [raw.Tag(key=text, value=b"v")]
        case "own value":
            tags = [raw.Tag(key=b"k", value=text)]
        case "common key":
            common = [raw.Tag(key=text, value=b"v")]
        case "common value":
            common = [raw.Tag(key=b"k", value=text)]
    if form == "row":
        metrics = [raw.Metric(name=name, unit=unit, tags=tags, value=1), raw.Metric(name=b"good", value=1)]
        return raw.MetricBatch(common_tags=common, metrics=metrics)
    series = [
        raw.SeriesDefinition(id=1, name=name, unit=unit, tags=tags, type=2),
        raw.SeriesDefinition(id=2, name=b"good", type=2),
    ]
    points = [{"series_ids": [1, 2], "values": [1, 1]}]
    return raw.MetricBatch(common_tags=common, series=series, points=points)


def judged(door: Door, form: str, place: str, text: bytes) -> bool:
    """Whether a text is taken in a place; when it is not, for the right reason, and the good point beside it is."""
    ack = door.ask(sent(form, place, text))
    if ack.outcome == Outcome.STORED:
        expect_stored(ack, 2)
        return True
    reason = Reason.INVALID_NAME if place == "name" else Reason.INVALID_TAG
    if place.startswith("common"):
        expect_refused(ack, reason, 2)
    else:
        expect(ack, Outcome.PARTIAL, 1, 1, {reason: 1})
    return False


BYTES = {"name": 255, "own key": 128, "common key": 128, "own value": 1_024, "common value": 1_024, "unit": 63}


@pytest.mark.parametrize("form", ["row", "column"])
@pytest.mark.parametrize("place", PLACES)
def test_lengths_in_bytes(shared: Door, form: str, place: str) -> None:
    longest = BYTES[place]
    assert judged(shared, form, place, b"x" * longest)
    assert not judged(shared, form, place, b"x" * (longest + 1))
    assert judged(shared, form, place, b"x")
    # A unit may be empty, and a field that is empty is one that is absent.
    assert judged(shared, form, place, b"") == (place == "unit")
    # Bytes count, not characters.
    wide = "µ".encode() * (longest // 2)
    assert judged(shared, form, place, wide)
    assert not judged(shared, form, place, wide + "µ".encode())


@pytest.mark.parametrize("form", ["row", "column"])
@pytest.mark.parametrize("place", PLACES)
def test_no_control_character_at_any_position(shared: Door, form: str, place: str) -> None:
    for byte in CONTROL:
        assert not judged(shared, form, place, bytes([byte])), hex(byte)
    for length in (2, 3, 7, 8, 9, 16, 19):
        for position in range(length):
            byte = CONTROL[(length + position) % len(CONTROL)]
            text = bytearray(b"a" * length)
            text[position] = byte
            assert not judged(shared, form, place, bytes(text)), (hex(byte), position)
            text[position] = 0x7F
            assert not judged(shared, form, place, bytes(text)), position
    assert not judged(shared, form, place, "grüße\x7f".encode())
    assert not judged(shared, form, place, "\x1f…".encode())


@pytest.mark.parametrize("form", ["row", "column"])
@pytest.mark.parametrize("place", PLACES)
def test_everything_else_is_text(shared: Door, form: str, place: str) -> None:
    """Blanks, punctuation, U+0080 and beyond, characters that are none."""
    texts = [" ", "~", "\x80", "\x9f", "\xa0", "\ufffe", "\uffff", "\ud7ff", "\ue000", "\U0010ffff", "😀", "\u2028"]
    texts += ["a b,c=d\\", '"', "{}", "é", "e\u0301", "\ufeff"]
    for text in texts:
        assert judged(shared, form, place, text.encode()), repr(text)
    printable = "".join(map(chr, range(0x20, 0x7F)))
    for start in range(0, len(printable), 60):
        assert judged(shared, form, place, printable[start : start + 60].encode())


@pytest.mark.parametrize("form", ["row", "column"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_utf8_refuses_the_point_and_not_the_batch(shared: Door, form: str, place: str) -> None:
    for wrong in NOT_UTF8.values():
        for text in (wrong, b"a" + wrong, wrong + b"a", b"a" * 7 + wrong + b"b" * 9):
            assert not judged(shared, form, place, text), text


def test_a_text_that_is_not_utf8_says_so_in_valid_utf8(shared: Door) -> None:
    """protobuf's own decoder takes the answer, which it does only for UTF-8."""
    ack = shared.ask(sent("row", "name", b"cpu\xff\x01"))
    example = ack.rejections[0].example
    assert "cpu" in example
    assert "\x01" not in example


@pytest.mark.parametrize(
    "name", ["x" * 300, "µ" * 200, "é" * 128 + "\x01", "a" * 255 + "😀"], ids=["long", "wide", "odd", "split"]
)
def test_an_example_of_a_long_name_is_short_and_valid(shared: Door, name: str) -> None:
    ack = shared.ask(batch(metric(name)))
    expect_refused(ack, Reason.INVALID_NAME)
    assert len(ack.rejections[0].example.encode()) < 1_024


def named(count: int, prefix: str = "k") -> list[tuple[str, str]]:
    return [(f"{prefix}{number}", "v") for number in range(count)]


@pytest.mark.parametrize(
    ("own", "common", "good"),
    [
        (named(64), [], True),
        (named(65), [], False),
        ([], named(64), True),
        ([], named(65), False),
        (named(32), named(32, "c"), True),
        (named(33), named(32, "c"), False),
        (named(64), named(64), True),
        (named(64), named(40), True),
        (named(64), named(65), False),
        (named(65), named(1), False),
        ([*named(63), ("node_id", "node-1")], [], True),
        ([*named(64), ("node_id", "node-1")], [], False),
        (named(63), [("node_id", "node-1")], True),
        (named(64), [("node_id", "node-1")], False),
        (named(200), [], False),
    ],
)
def test_at_most_64_effective_tags(shared: Door, own: Any, common: Any, good: bool) -> None:
    """A common tag that a point's own overrides is none of its effective tags."""
    by_row = batch(metric(tags=own), common_tags=common)
    by_column = raw.MetricBatch.FromString(batch(common_tags=common).SerializeToString())
    tags = [raw.Tag(key=key.encode(), value=value.encode()) for key, value in own]
    by_column.series.add(id=1, name=b"m", tags=tags, type=2)
    by_column.points.add(series_ids=[1], values=[1])
    for message in (by_row, by_column):
        ack = shared.ask(message)
        if good:
            expect_stored(ack)
        else:
            expect_refused(ack, Reason.INVALID_TAG)


@pytest.mark.parametrize("second", ["v", "w"])
@pytest.mark.parametrize("key", ["a", "node_id", "z" * 128])
def test_a_key_twice_in_one_list(shared: Door, key: str, second: str) -> None:
    value = "node-1" if key == "node_id" else "v"
    second = value if second == "v" else second
    twice = [(key, value), ("m", "x"), (key, second)]
    for ack in (
        shared.ask(batch(metric(tags=twice), metric("good"))),
        shared.ask(sent_twice(twice)),
    ):
        if key == "node_id" and second != value:
            # One of the two speaks for another node, which is judged first.
            expect_refused(ack, Reason.IDENTITY_MISMATCH, 2)
        else:
            expect(ack, Outcome.PARTIAL, 1, 1, {Reason.INVALID_TAG: 1})
    if key != "node_id":
        expect_refused(shared.ask(batch(metric(), metric("other"), common_tags=twice)), Reason.INVALID_TAG, 2)


def sent_twice(tags: list[tuple[str, str]]) -> Any:
    series = [
        raw.SeriesDefinition(
            id=1, name=b"m", type=2, tags=[raw.Tag(key=key.encode(), value=value.encode()) for key, value in tags]
        ),
        raw.SeriesDefinition(id=2, name=b"good", type=2),
    ]
    return raw.MetricBatch(series=series, points=[{"series_ids": [1, 2], "values": [1, 1]}])


def test_the_same_key_in_both_lists_is_no_fault(door: Door) -> None:
    expect_stored(door.ask(batch(metric(tags={"zone": "own"}), metric("n"), common_tags={"zone": "common"})), 2)
    assert [row["zone"] for row in door.stored()] == ["own", "common"]


def test_a_bad_common_tag_refuses_every_point_even_where_it_is_overridden(shared: Door) -> None:
    bad = raw.Tag(key=b"k", value=b"\xff")
    own = raw.Tag(key=b"k", value=b"good")
    message = raw.MetricBatch(common_tags=[bad], metrics=[raw.Metric(name=b"m", tags=[own], value=1)])
    expect_refused(shared.ask(message), Reason.INVALID_TAG)


def test_each_reason_is_told_once_with_its_points_and_an_example(stream: Stream) -> None:
    wrong = [metric(""), metric("a\n"), metric("b", tags={"": "v"}), metric("c", value=float("nan"))]
    ack = stream.ask(batch(*wrong, metric("good")))
    expect(ack, Outcome.PARTIAL, 1, 4, {Reason.INVALID_NAME: 2, Reason.INVALID_TAG: 1, Reason.INVALID_VALUE: 1})
    examples = {rejection.reason: rejection.example for rejection in ack.rejections}
    assert examples[Reason.INVALID_TAG].startswith("b")
    assert examples[Reason.INVALID_VALUE].startswith("c")


def test_invalid_utf8_harms_no_heartbeat_and_no_name(stream: Stream) -> None:
    """The contract's difference to decoders that drop the whole message."""
    body = field(1, 7) + field(7, field(5, field(2, b"\xff")))
    expect_stored(stream.ask(body), 0)
