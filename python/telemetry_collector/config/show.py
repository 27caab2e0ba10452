"""A configuration as the document that would give it, secrets masked."""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from telemetry_collector.config.section import Section
from telemetry_collector.config.source import CORE_SCHEMA


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or our reader would take for something else than text."""


for _tag, _pattern, _first in CORE_SCHEMA:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def to_yaml(sections: Mapping[str, Section]) -> str:
    """Every key of the sections with its value, as YAML; secrets are asterisks."""
    values = {name: _plain(section.model_dump(mode="json")) for name, section in sections.items()}
    return dump(values)


def dump(values: Mapping[str, Any]) -> str:
    """Plain values as a document that is read back as the same."""
    return yaml.dump(_escaped(dict(values)), Dumper=_Dumper, sort_keys=False)


def _plain(value: Any) -> Any:
    """Durations like 300.0 as people write them: 300."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _inside(value, _plain)


def _escaped(value: Any) -> Any:
    """Text that would be read as a reference to a variable, written so that it is not."""
    return value.replace("${", "$${") if isinstance(value, str) else _inside(value, _escaped)


def _inside(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: change(item) for key, item in value.items()}
    return [change(item) for item in value] if isinstance(value, list) else value
