"""The repository as a reader of it sees it, and commands run in it."""

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path = REPOSITORY, timeout: float = 60, **environment: str) -> str:
    """Standard output of a command that has to succeed; its standard error is part of the failure otherwise."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked_files() -> list[Path]:
    """Every file that is committed or would be, relative to the repository."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return [Path(name) for name in sorted(set(names)) if name and (REPOSITORY / name).is_file()]
