"""Loading a document: a text and its sections' classes → validated sections, or every mistake at once.

Relative paths in a document are relative to the directory that the process was started in.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from telemetry_collector.config.files import CHECK_FILES
from telemetry_collector.config.mistakes import mistake, unknown_section, written_location
from telemetry_collector.config.section import Section
from telemetry_collector.config.source import DOCUMENT_BYTES_MAX, Tree, read_tree
from telemetry_collector.errors import ConfigError, Mistake

S = TypeVar("S", bound=Section)

_NUMBERS = {"int_type", "float_type", "bool_type", "int_from_float"}


@dataclass(frozen=True)
class Document:
    """The sections of a document: those it has, and the defaults of those that are always there."""

    sections: Mapping[str, Section]
    source: str
    """The file's path, or a word for where the text came from."""
    # Not shown: a text may have secrets.
    origin: str | Path = field(repr=False, compare=False)
    """What it was loaded from, and can be again: the text, or the file's path."""

    def section(self, cls: type[S], name: str) -> S:
        """The section called `name`, which was declared as `cls`."""
        found = self.sections[name]
        assert isinstance(found, cls), f"section {name} was declared as {type(found).__name__}, not {cls.__name__}"
        return found


def load_document(
    source: str | Path,
    always: Mapping[str, type[Section]],
    optional: Mapping[str, type[Section]],
    *,
    environ: Mapping[str, str] | None = None,
    check_files: bool = True,
) -> Document:
    """Loads a text, or the file at a path.

    Sections in `always` have their defaults when the document lacks them; those in `optional` are off unless it has
    them, an empty one (`console:`) counting as there. A class in `optional` is asked for only when its section is
    there. With `check_files` the certificate files are read.

    Raises ConfigError with every mistake: syntax, unknown and repeated keys, unset variables, wrong values, unreadable
    files.
    """
    text, name = _read(source)
    tree = read_tree(text, os.environ if environ is None else environ)
    mistakes = list(tree.mistakes)
    if mistakes and not tree.values:
        # Nothing could be read, so what the document lacks is no mistake of its own.
        raise ConfigError(_in_order(mistakes), name)
    sections: dict[str, Section] = {}
    for section in (*always, *(written for written in tree.values if written not in always)):
        if section not in always and section not in optional:
            mistakes.append(unknown_section(section, {*always, *optional}, tree.lines.get((section,))))
            continue
        try:
            declared = always[section] if section in always else optional[section]
        except ImportError as error:
            mistakes.append(_unloadable(section, error, tree))
            continue
        try:
            sections[section] = _validate(declared, tree.values.get(section), section, tree, check_files)
        except ValidationError as error:
            details = error.errors(include_url=False)
            mistakes.extend(
                mistake(detail, declared, section, tree)
                for detail in details
                if (section, *written_location(detail["loc"], section, tree)) not in tree.unresolved
                and not _follows(detail, details)
            )
    if mistakes:
        raise ConfigError(_in_order(mistakes), name)
    return Document(sections, name, source)


def _read(source: str | Path) -> tuple[str, str]:
    if isinstance(source, str):
        return source, "configuration"
    name = str(source)
    try:
        with source.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
        return data.decode("utf-8-sig"), name
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Mistake("", f"cannot be read: {reason}", "expected a YAML file")], name) from error
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}"
        raise ConfigError([Mistake("", problem, "expected a text file")], name) from error


def _validate(declared: type[S], written: Any, name: str, tree: Tree, check_files: bool) -> S:
    """Validates strictly. A value that came from a variable is text, unless its key wants a number or truth value."""
    values = {} if written is None else written
    if isinstance(values, dict):
        values = {**_default_paths(declared), **values}
    context = {CHECK_FILES: check_files}
    try:
        return declared.model_validate_json(_json(values), context=context)
    except ValidationError as error:
        typed = 0
        for detail in error.errors(include_url=False, include_context=False):
            location = written_location(detail["loc"], name, tree)
            if detail["type"] in _NUMBERS and (name, *location) in tree.substituted:
                _replace(values, location, tree.substituted[name, *location])
                typed += 1
        if not typed:
            raise
    return declared.model_validate_json(_json(values), context=context)


def _default_paths(declared: type[Section]) -> dict[str, str]:
    """Paths that go without saying, said: the files they name are checked like any other."""
    defaults = ((name, field.default) for name, field in declared.model_fields.items())
    return {name: str(default) for name, default in defaults if isinstance(default, Path)}


def _json(values: Any) -> str:
    """JSON is where strict validation takes lists for tuples and text for paths."""
    return json.dumps(values)


def _replace(values: Any, location: tuple[str | int, ...], value: Any) -> None:
    *parents, last = location
    for part in parents:
        values = values[part]
    values[last] = value


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """A list counts as too short for entries that are wrong; those are told, and that is enough."""
    location = detail["loc"]
    entries = (other["loc"] for other in details if len(other["loc"]) > len(location))
    return detail["type"] == "too_short" and any(entry[: len(location)] == location for entry in entries)


def _unloadable(section: str, error: ImportError, tree: Tree) -> Mistake:
    problem = f"has code that cannot be loaded: {error}"
    return Mistake(section, problem, "install what is missing, or remove the section", line=tree.lines.get((section,)))


def _in_order(mistakes: list[Mistake]) -> list[Mistake]:
    """In the order of the document; what is written nowhere in it comes last."""
    return sorted(mistakes, key=lambda found: (found.line is None, found.line))
