"""A file system that forgets what was not synchronized, for code that changes directories through `os`.

While `recorded` is entered, every call that changes a name below a directory, and every fsync, is written down. `crash`
then tells what a power loss at any place of that record may leave. What is promised is what POSIX promises:

- a change of names happens whole or not at all, and survives when a directory it touches was synchronized after it;
- changes of the same name keep their order; all others may survive in any combination;
- a file's bytes survive when the file was synchronized; else it may have all of them, the first half, or none.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from telemetry_collector.store import exchange

Slot = tuple[int, str]
"""A directory and a name in it."""


@dataclass(frozen=True)
class Change:
    """Names that mean something else from here on; None is a name that is gone."""

    slots: Mapping[Slot, int | None]
    text: str


@dataclass(frozen=True)
class Sync:
    """A file or directory was synchronized."""

    inode: int
    content: bytes | None


@dataclass(frozen=True)
class Note:
    """Something that is durable at once, for the test to know."""

    value: int


class Killed(BaseException):
    """The process is gone; the machine, and what it has in memory of its files, is not."""


@dataclass
class Record:
    """The calls so far, and the names as they are now."""

    root: Path
    kill_at: int | None = None
    """With so many calls recorded, the next one is `Killed` instead, and everything after it, until this is None."""
    calls: list[Change | Sync | Note] = field(default_factory=list)
    directories: dict[int, dict[str, int]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    _inodes: int = 0

    def __post_init__(self) -> None:
        self._load(self.root)
        self._before = {inode: dict(names) for inode, names in self.directories.items()}
        self._stable = dict(self.contents)

    def note(self, value: int) -> None:
        """Remembers a number that no crash from here on forgets."""
        self.calls.append(Note(value))

    @property
    def noted(self) -> int:
        """The last number noted."""
        return _noted(self.calls)

    def crash(self, after: int, seed: int) -> tuple[dict[str, bytes | None], int]:
        """What a power loss after so many calls leaves, by path (None is a directory), and the last number noted.

        The seed decides what of the rest survives: 0 nothing, 1 everything, 2 removals alone, any other some of it.
        """
        calls, chance = self.calls[:after], random.Random(seed)
        forced = self._forced(calls)

        def survives(call: Change) -> bool:
            if seed == 2:
                return all(inode is None for inode in call.slots.values())
            return seed == 1 if seed < 2 else chance.random() < 0.5

        directories = {inode: dict(names) for inode, names in self._before.items()}
        dropped: set[Slot] = set()
        for index, call in enumerate(calls):
            if not isinstance(call, Change):
                continue
            if index not in forced and (dropped & call.slots.keys() or not survives(call)):
                dropped |= call.slots.keys()
                continue
            for (directory, name), inode in call.slots.items():
                names = directories.setdefault(directory, {})
                if inode is None:
                    names.pop(name, None)
                else:
                    names[name] = inode
        contents = dict(self._stable)
        for call in calls:
            if isinstance(call, Sync) and call.content is not None:
                contents[call.inode] = call.content
        whole = {call.inode: call.content for call in self.calls if isinstance(call, Sync) and call.content is not None}
        tree: dict[str, bytes | None] = {}

        def visit(inode: int, path: str) -> None:
            for name, below in sorted(directories.get(inode, {}).items()):
                here = f"{path}{name}"
                if below in self.directories:
                    tree[here] = None
                    visit(below, f"{here}/")
                elif below in contents:
                    tree[here] = contents[below]
                else:
                    content = whole.get(below, b"half a file")
                    tree[here] = content[: len(content) * (2 if seed == 1 else chance.randrange(3)) // 2]

        visit(0, "")
        return tree, _noted(calls)

    def _forced(self, calls: list[Change | Sync | Note]) -> set[int]:
        """Changes that were synchronized, and those that they build on."""
        forced: set[int] = set()
        synced: set[int] = set()
        slots: set[Slot] = set()
        for index in reversed(range(len(calls))):
            call = calls[index]
            if isinstance(call, Sync):
                synced.add(call.inode)
            elif isinstance(call, Change) and (
                slots & call.slots.keys() or any(directory in synced for directory, _ in call.slots)
            ):
                forced.add(index)
                slots |= call.slots.keys()
        return forced

    def live(self) -> None:
        """Raises `Killed` when its time has come."""
        if self.kill_at is not None and len(self.calls) >= self.kill_at:
            raise Killed

    # What the recorded calls say.

    def created(self, path: Path, *, directory: bool = False) -> None:
        inode = self._new()
        if directory:
            self.directories[inode] = {}
        self._change({self._slot(path): inode}, f"create {path}")

    def renamed(self, source: Path, target: Path) -> None:
        old, new = self._slot(source), self._slot(target)
        self._change({new: self._at(old), old: None}, f"rename {source} {target}")

    def exchanged(self, left: Path, right: Path) -> None:
        one, other = self._slot(left), self._slot(right)
        self._change({one: self._at(other), other: self._at(one)}, f"exchange {left} {right}")

    def linked(self, source: Path, target: Path) -> None:
        self._change({self._slot(target): self._at(self._slot(source))}, f"link {source} {target}")

    def removed(self, path: Path) -> None:
        self._change({self._slot(path): None}, f"remove {path}")

    def synced(self, path: Path) -> None:
        inode = 0 if path == self.root else self._at(self._slot(path))
        self.calls.append(Sync(inode, None if inode in self.directories else path.read_bytes()))

    def _change(self, slots: dict[Slot, int | None], text: str) -> None:
        self.calls.append(Change(slots, text))
        for (directory, name), inode in slots.items():
            if inode is None:
                del self.directories[directory][name]
            else:
                self.directories[directory][name] = inode

    def _slot(self, path: Path) -> Slot:
        inode = 0
        for name in path.relative_to(self.root).parts[:-1]:
            inode = self.directories[inode][name]
        return inode, path.name

    def _at(self, slot: Slot) -> int:
        return self.directories[slot[0]][slot[1]]

    def _new(self) -> int:
        self._inodes += 1
        return self._inodes

    def _load(self, directory: Path, inode: int = 0) -> None:
        names = self.directories.setdefault(inode, {})
        for path in sorted(directory.iterdir()):
            names[path.name] = below = self._new()
            if path.is_dir():
                self._load(path, below)
            else:
                self.contents[below] = path.read_bytes()


def _noted(calls: Sequence[Change | Sync | Note]) -> int:
    return max((call.value for call in calls if isinstance(call, Note)), default=0)


@contextmanager
def recorded(root: Path) -> Iterator[Record]:
    """Writes down what happens below a directory that exists."""
    record = Record(root)

    def path_of(path: Any, dir_fd: int | None = None) -> Path:
        above = Path(f"/proc/self/fd/{dir_fd}").readlink() if dir_fd is not None else Path.cwd()
        return above / Path(path)

    def tell(real: Callable[..., Any], say: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            record.live()
            result = real(*arguments, **options)
            say(*arguments, **options)
            return result

        return call

    def removed(path: Any, *, dir_fd: int | None = None) -> None:
        record.removed(path_of(path, dir_fd))

    def sync(real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            record.live()
            real(descriptor)
            record.synced(Path(f"/proc/self/fd/{descriptor}").readlink())

        return call

    def renameat2(source: Path, target: Path, flags: int) -> None:
        (record.exchanged if flags == 2 else record.renamed)(source, target)

    reading_or_making = Path.open

    def opened(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        make = tell(reading_or_making, lambda *_, **__: record.created(path))
        return (make if mode == "wb" else reading_or_making)(path, mode, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "mkdir", tell(os.mkdir, lambda path, *_, **__: record.created(Path(path), directory=True)))
        patch.setattr(os, "rename", tell(os.rename, lambda old, new: record.renamed(Path(old), Path(new))))
        patch.setattr(os, "link", tell(os.link, lambda old, new: record.linked(Path(old), Path(new))))
        patch.setattr(os, "unlink", tell(os.unlink, removed))
        patch.setattr(os, "rmdir", tell(os.rmdir, removed))
        patch.setattr(os, "fsync", sync(os.fsync))
        patch.setattr(exchange, "_renameat2", tell(exchange._renameat2, renameat2))
        patch.setattr(Path, "open", opened)
        yield record
