"""What pydantic found → mistakes in the words of the document: the key, the value, and what would be right.

Secrets stay out. A value is shown only where its key is known and is no secret, and as it was written: `${TOKEN}`
rather than what the variable holds. An unknown key's value is not shown, for it may be a misspelt secret's.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from telemetry_collector.config.section import Section
from telemetry_collector.config.source import Path, Tree, dotted
from telemetry_collector.errors import Mistake

SHOWN_CHARS_MAX = 80
"""A longer value is cut where it is shown."""

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
}
_LIMITS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}
_PYTHON_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "keys with values",
}
_CREDENTIALS = re.compile(r"//[^/@\s]*@")


def mistake(error: ErrorDetails, section: type[Section], name: str, tree: Tree) -> Mistake:
    """One of pydantic's errors about the section called `name`, as a mistake."""
    kind = error["type"]
    location = error["loc"] if kind in ("missing", "extra_forbidden") else written_location(error["loc"], name, tree)
    path: Path = (name, *location)
    line = _line(path, tree)
    if kind == "extra_forbidden":
        return _unknown(path, _model_at(section, location[:-1]), line)
    field = _field_at(section, location)
    about = field.description if field and field.description else ""
    if kind == "missing":
        return Mistake(dotted(path), "is missing", f"expected {about or 'it to be given'}", line=line)
    value = None if _holds_secret(section, location) else _shown(path, tree)
    if kind == "value_error":
        problem, _, expected = str(error["ctx"]["error"]).partition("; ")
        if problem.startswith("expected "):
            problem, expected = "is not right", problem
        return Mistake(dotted(path), problem, expected, value, line)
    if kind in _KINDS:
        if path in tree.lines and value is None:
            problem = f"is {_kind_of(error['input'])}"
        else:
            problem = f"is not {_KINDS[kind]}"
        return Mistake(dotted(path), problem, _expected(_KINDS[kind], field, about), value, line)
    if kind == "literal_error":
        return Mistake(dotted(path), "is not one of the choices", f"expected {error['ctx']['expected']}", value, line)
    if kind in _LIMITS:
        problem = "is too small" if kind.startswith("greater") else "is too large"
        return Mistake(dotted(path), problem, _expected(_wanted(error), field, about), value, line)
    if kind in ("too_short", "string_too_short"):
        return Mistake(dotted(path), "is empty", f"expected {about or 'something'}", value, line)
    if kind in ("too_long", "string_too_long"):
        wanted = f"at most {error['ctx']['max_length']} {'characters' if kind == 'string_too_long' else 'entries'}"
        return Mistake(dotted(path), "is too long", _expected(wanted, None, about), value, line)
    return Mistake(dotted(path), "is not right", f"expected {about or _wanted(error)}", value, line)


def written_location(location: Path, name: str, tree: Tree) -> Path:
    """Where the document has what pydantic means, whose locations also tell a union's branch or that a key is meant."""
    while len(location) > 1 and (name, *location) not in tree.lines:
        location = location[:-1]
    return location


def unknown_section(name: str, known: Iterable[str], line: int | None) -> Mistake:
    """A section that nobody declared."""
    return Mistake(name, "is not a section", _suggestion(name, known), line=line)


def _unknown(path: Path, model: type[BaseModel] | None, line: int | None) -> Mistake:
    known = list(model.model_fields) if model else []
    owner = dotted(path[:-1])
    return Mistake(dotted(path), f"is not a key of {owner}", _suggestion(str(path[-1]), known), line=line)


def _suggestion(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known are {', '.join(known)}" if known else ""


def _wanted(error: ErrorDetails) -> str:
    """From pydantic's own words, `Input should be greater than 0`."""
    return error["msg"].removeprefix("Input should be ").removeprefix("Value should be ")[:200]


def _expected(wanted: str, field: FieldInfo | None, about: str) -> str:
    limits = _limits(field) if field else ""
    text = f"expected {limits or wanted}"
    return f"{text}: {about}" if about else text


def _limits(field: FieldInfo) -> str:
    """`a whole number from 1 to 65535`, from a field's constraints."""
    bounds = {
        name: _number(getattr(item, name))
        for item in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(item, name)
    }
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}" if "ge" in bounds else "up to {}", "lt": "below {}"}
    parts = [words[name].format(bounds[name]) for name in words if name in bounds]
    if not parts:
        return ""
    return " ".join(("a whole number" if _annotates(field.annotation, int) else "a number", *parts))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _annotates(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_annotates(part, wanted) for part in get_args(annotation))


def _kind_of(value: Any) -> str:
    return "empty" if value is None else _PYTHON_KINDS.get(type(value), "something else")


def _line(path: Path, tree: Tree) -> int | None:
    """The line of the value, or of the nearest thing around it that is written in the document."""
    for length in range(len(path), 0, -1):
        if path[:length] in tree.lines:
            return tree.lines[path[:length]]
    return None


def _shown(path: Path, tree: Tree) -> str | None:
    if path not in tree.written:
        return None
    text = _CREDENTIALS.sub("//***@", tree.written[path])
    text = text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
    return repr(text) if not text or text != text.strip() or not text.isprintable() else text


def _field_at(model: type[BaseModel], location: Path) -> FieldInfo | None:
    """The innermost field that a location names; items of lists belong to the list's field."""
    found: FieldInfo | None = None
    here: type[BaseModel] | None = model
    for part in location:
        if here is None or not isinstance(part, str) or part not in here.model_fields:
            continue
        found = here.model_fields[part]
        here = _model_in(found.annotation)
    return found


def _model_at(model: type[BaseModel], location: Path) -> type[BaseModel] | None:
    if not location:
        return model
    field = _field_at(model, location)
    return _model_in(field.annotation) if field else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _holds_secret(model: type[BaseModel], location: Path) -> bool:
    field = _field_at(model, location)
    if field is None:
        return _model_holds_secret(model)
    inner = _model_in(field.annotation)
    return (
        _annotates(field.annotation, SecretStr)
        or _annotates(field.annotation, SecretBytes)
        or (inner is not None and _model_holds_secret(inner))
    )


def _model_holds_secret(model: type[BaseModel]) -> bool:
    return any(_holds_secret(model, (name,)) for name in model.model_fields)
