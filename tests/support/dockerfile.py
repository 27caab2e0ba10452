"""The Dockerfile as its instructions."""

from pathlib import Path

from tests.support.repository import REPOSITORY, tracked_files

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """The Dockerfile's instructions in order, continuation lines joined, comments left out."""
    text = (REPOSITORY / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ").splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]


def copied_files() -> list[Path]:
    """The committed files that some stage copies from the repository: all that the image's steps have to work with."""
    sources = {
        Path(source)
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    return [path for path in tracked_files() if sources & {path, *path.parents}]
