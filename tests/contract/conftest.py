"""Doors to knock at: one that tests share because they only look at answers, and others of their own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.contract.door import Door, Stream, opened


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """With the contract's defaults. Who uses it names epochs of its own, or none."""
    with opened(tmp_path_factory.mktemp("shared")) as door:
        yield door


@pytest.fixture
def stream(shared: Door) -> Stream:
    """A new stream of the shared door."""
    return shared.stream()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """One that nobody else has been at."""
    with opened(tmp_path / "journal") as door:
        yield door


Doors = Callable[..., Door]


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    """Opens doors with settings of their own, and closes them at the end of the test."""
    with ExitStack() as stack:
        count = iter(range(1_000))

        def make(**settings: Any) -> Door:
            context: AbstractContextManager[Door] = opened(tmp_path / f"journal-{next(count)}", **settings)
            return stack.enter_context(context)

        yield make
