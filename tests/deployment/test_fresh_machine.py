"""A machine that lacks something is told all of it, before anything is built.

The machines are directories with a few programs that pretend.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.repository import REPOSITORY

GOOD_PYTHON = 'case "$1" in -V) echo Python 3.12.1;; *) exit 0;; esac'
OLD_PYTHON = 'case "$1" in -V) echo Python 3.9.2;; *) exit 1;; esac'
BARE_PYTHON = 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac'
RUSTC = "echo 'rustc {} (0123456789 2026-01-01)'"
GOOD = {"python3": GOOD_PYTHON, "cargo": "exit 0", "rustc": RUSTC.format("1.99.0"), "cc": "exit 0"}


def machine(directory: Path, programs: Mapping[str, str]) -> dict[str, str]:
    """An environment in which only these programs exist beside the shell's own."""
    for name in ("bash", "sh", "sed", "sort", "head", "cut", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (directory / name).symlink_to(found)
    for name, body in programs.items():
        (directory / name).write_text(f"#!{directory}/sh\n{body}\n")
        (directory / name).chmod(0o755)
    return {**os.environ, "PATH": str(directory)}


def preflight(directory: Path, programs: Mapping[str, str]) -> tuple[int, str]:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "tools/preflight", "python3"],
        cwd=REPOSITORY,
        env=machine(directory, programs),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_machine_with_everything_passes(tmp_path: Path) -> None:
    assert preflight(tmp_path, GOOD) == (0, "")


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        ({"python3": None}, "Python 3.11 or later: no python3 found"),
        ({"python3": OLD_PYTHON}, "Python 3.11 or later: python3 is Python 3.9.2"),
        ({"python3": BARE_PYTHON}, "comes without them (on Debian: apt-get install python3-venv)"),
        ({"cargo": None}, "no cargo found (rustup installs it)"),
        ({"rustc": RUSTC.format("1.63.0")}, "rustc is 1.63.0 (rustup update)"),
        ({"cc": None}, "a C compiler: no cc found (on Debian: apt-get install gcc libc6-dev)"),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, lacking: Mapping[str, str | None], told: str) -> None:
    programs = {name: body for name, body in {**GOOD, **lacking}.items() if body is not None}
    code, words = preflight(tmp_path, programs)
    assert code == 1
    assert told in words


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    code, words = preflight(tmp_path, {})
    assert code == 1
    assert words.count("\n  - ") == 3


def test_the_first_python_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    programs = {"python3": "exit 1", "python3.12": "exit 0", "python3.11": "exit 0"}
    done = subprocess.run(
        [REPOSITORY / "tools/find-python"], env=machine(tmp_path, programs), capture_output=True, text=True, check=True
    )
    assert done.stdout == "python3.12\n"


def test_missing_programs_of_the_tests_are_told_with_the_line_to_run(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    there = dict.fromkeys(("promtool", "shellcheck", "systemd-analyze", "valgrind"), "exit 0")
    programs = {**there, "id": "echo 1000"}
    done = subprocess.run(
        [bash, "tools/test-programs"],
        cwd=REPOSITORY,
        env=machine(tmp_path, programs),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "apt-get install --yes --no-install-recommends victoria-metrics\n" in done.stderr


def test_what_the_tests_clients_are_built_with_is_told_at_once(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    old_node = 'case "$1" in --version) echo v18.19.0;; *) exit 1;; esac'
    done = subprocess.run(
        [bash, "tools/clients", tmp_path / "clients"],
        cwd=REPOSITORY,
        env=machine(tmp_path, {"node": old_node, "npm": "exit 0"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert " or later: no go found" in done.stderr
    assert "Node 20 or later: node is v18.19.0" in done.stderr
