"""A fresh directory with what is, or would be, committed, and the collector installed from it as a user installs it."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.repository import REPOSITORY, run, tracked_files

BUILD_SECS_MAX = 1_200


@dataclass(frozen=True)
class Installation:
    """What came of the image's steps."""

    source: Path
    """The fresh directory that it was built in."""
    wheel: Path
    prefix: Path

    @property
    def command(self) -> Path:
        return self.prefix / "bin" / "telemetry-collector"


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What the Dockerfile's first two stages do: a wheel from fresh sources, installed into an empty environment."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, source / name)
    wheels = tmp_path_factory.mktemp("wheels")
    tools = Path(sys.executable).parent
    run(
        source / "deploy/build-wheel.sh",
        wheels,
        cwd=source,
        timeout=BUILD_SECS_MAX,
        PATH=f"{tools}:{os.environ['PATH']}",
        # Dependencies that were built before need not be built again; the collector itself is.
        CARGO_TARGET_DIR=str(REPOSITORY / "target"),
    )
    (wheel,) = wheels.glob("*.whl")
    prefix = tmp_path_factory.mktemp("prefix") / "telemetry-collector"
    run(source / "deploy/install.sh", prefix, wheel, sys.executable, cwd=prefix.parent, timeout=BUILD_SECS_MAX)
    return Installation(source, wheel, prefix)
