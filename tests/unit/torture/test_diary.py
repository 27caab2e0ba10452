"""What an agent writes down is what the audit reads, however the file grows."""

from pathlib import Path

import pytest

from telemetry_collector.model import Outcome
from telemetry_collector.torture.diary import Diary, DiaryReader


def test_a_reader_follows_a_diary(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    reader = DiaryReader(path)
    assert reader.read().answers == {}
    diary = Diary(path)
    diary.note("life", 0, 1.0)
    diary.note("answer", 2.5, 77, 1, int(Outcome.STORED), 10)
    assert reader.read().answers == {(77, 1): (Outcome.STORED, 10)}
    diary.note("answer", 3.5, 77, 2, int(Outcome.PARTIAL), 4)
    diary.note("dropped", "spool_full", 30)
    diary.note("pending", 3)
    account = reader.read()
    assert account.answers == {(77, 1): (Outcome.STORED, 10), (77, 2): (Outcome.PARTIAL, 4)}
    assert (account.answered_unix_secs, account.dropped["spool_full"], account.pending) == (3.5, 30, 3)
    diary.note("life", 1, 9.0)
    assert reader.read().pending is None, "what is pending in another life is not known yet"


def test_a_line_that_is_not_whole_yet_is_read_later(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    reader = DiaryReader(path)
    path.write_text("answer 1.0 5 1 1 10\nanswer 2.0 5")
    assert list(reader.read().answers) == [(5, 1)]
    with path.open("a") as file:
        file.write(" 2 1 10\n")
    assert list(reader.read().answers) == [(5, 1), (5, 2)]


def test_a_duplicate_takes_nothing_back_from_the_first_answer(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    diary = Diary(path)
    diary.note("answer", 1.0, 5, 1, int(Outcome.STORED), 10)
    diary.note("answer", 2.0, 5, 1, int(Outcome.DUPLICATE), 0)
    diary.note("answer", 2.0, 5, 2, int(Outcome.DUPLICATE), 0)
    assert DiaryReader(path).read().answers == {(5, 1): (Outcome.STORED, 10), (5, 2): (Outcome.DUPLICATE, 0)}


def test_a_line_that_no_diary_has_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    path.write_text("nonsense\n")
    with pytest.raises(ValueError, match="nonsense"):
        DiaryReader(path).read()
