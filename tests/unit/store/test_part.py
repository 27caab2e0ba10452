"""Names of parts and partitions: what is written is what is read back, and nothing else is taken for one."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_collector.store.part import PartName, hour_of, partition

positions = st.integers(0, 2**63 - 1)
ids = st.integers(0, 2**128 - 1).map("{:032x}".format)


@st.composite
def names(draw: st.DrawFn) -> PartName:
    start, end = sorted(draw(st.tuples(positions, positions).filter(lambda pair: pair[0] != pair[1])))
    return PartName(draw(ids), start, end)


@given(names())
def test_a_name_reads_back_as_itself(name: PartName) -> None:
    assert PartName.parse(str(name)) == name


@given(names(), names())
def test_names_of_one_journal_sort_as_text_in_the_journals_order(one: PartName, other: PartName) -> None:
    other = PartName(one.journal_id, other.start, other.end)
    assert (one < other) == (str(one) < str(other))


@given(names(), st.integers(1, 2**40))
def test_neighbours_join_to_the_range_of_both(name: PartName, more: int) -> None:
    end = min(name.end + more, 2**63 - 1)
    if end > name.end:
        joined = name.joined(PartName(name.journal_id, name.end, end))
        assert (joined.start, joined.end) == (name.start, end)


def test_ranges_that_do_not_touch_are_not_joined() -> None:
    name = PartName("a" * 32, 0, 10)
    with pytest.raises(ValueError, match="does not follow"):
        name.joined(PartName("a" * 32, 11, 20))
    with pytest.raises(ValueError, match="does not follow"):
        name.joined(PartName("b" * 32, 10, 20))


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5), (0, 2**63)])
def test_an_impossible_range_has_no_name(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="cannot cover"):
        PartName("a" * 32, start, end)


@given(st.text(max_size=80))
def test_other_names_are_no_parts(text: str) -> None:
    assert PartName.parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        f"{'a' * 32}-{5:016x}-{5:016x}.parquet",
        f"{'a' * 32}-{6:016x}-{5:016x}.parquet",
        f"{'a' * 32}-{0:016x}-{2**63:016x}.parquet",
        f"{'A' * 32}-{0:016x}-{5:016x}.parquet",
        f"{'a' * 32}-{0:016x}-{5:016x}.parquet.tmp",
        f"x{'a' * 32}-{0:016x}-{5:016x}.parquet",
    ],
)
def test_what_only_looks_like_a_part_is_none(text: str) -> None:
    assert PartName.parse(text) is None


@given(st.integers(0, 70_000_000))
def test_an_hours_directory_reads_back_as_the_hour(hour: int) -> None:
    assert hour_of(partition(hour)) == hour


def test_a_partition_is_named_by_date_and_hour_in_utc() -> None:
    assert partition(498_000 + 31) == PurePath("date=2026-10-25/hour=07")


@pytest.mark.parametrize("path", ["date=2026-02-31/hour=01", "date=2026-02-01/hour=24", "date=2026-02-01", "x/hour=01"])
def test_other_directories_are_no_partitions(path: str) -> None:
    assert hour_of(PurePath(path)) is None
