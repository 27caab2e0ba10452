"""The two renames and the lock that the dataset rests on, on the real file system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry_collector.errors import ConfigError
from telemetry_collector.store.exchange import exchange, rename_new
from telemetry_collector.store.lock import DirectoryLock


def test_exchange_swaps_two_directories_with_all_they_hold(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
        (directory / f"of-{directory.name}").touch()
    exchange(one, other)
    assert os.listdir(one) == ["of-other"]
    assert os.listdir(other) == ["of-one"]


def test_exchange_needs_both(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        exchange(tmp_path / "one", tmp_path / "other")
    assert caught.value.filename == str(tmp_path / "one")
    assert caught.value.filename2 == str(tmp_path / "other")
    assert (tmp_path / "one").is_dir()


def test_rename_new_moves_a_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("text")
    rename_new(tmp_path / "one", tmp_path / "other")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("other", "text")]


def test_rename_new_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("one")
    (tmp_path / "other").write_text("other")
    with pytest.raises(FileExistsError):
        rename_new(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "other").read_text() == "other"


def test_names_need_not_be_text(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    (tmp_path / "one").touch()
    rename_new(tmp_path / "one", odd)
    assert odd.exists()


def test_a_second_process_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from telemetry_collector.store.lock import DirectoryLock;"
        "DirectoryLock(Path(sys.argv[1]), 'parquet.output_dir').acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"parquet.output_dir = {tmp_path}: is in use .*process {holder.pid}"):
            DirectoryLock(tmp_path, "parquet.output_dir").acquire()
        holder.kill()
    freed = DirectoryLock(tmp_path, "parquet.output_dir")
    freed.acquire()
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    freed.release()


def test_a_lock_may_be_taken_and_given_back_again_and_again(tmp_path: Path) -> None:
    lock, other = DirectoryLock(tmp_path, "key"), DirectoryLock(tmp_path, "key")
    lock.release()
    for holder in (lock, other, lock):
        holder.acquire()
        holder.acquire()
        holder.release()
        holder.release()
