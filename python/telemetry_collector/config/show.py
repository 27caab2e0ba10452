"""A configuration as the document that would give it, secrets masked."""

from collections.abc import Mapping
from typing import Any

import yaml

from telemetry_collector.config.section import Section


def to_yaml(sections: Mapping[str, Section]) -> str:
    """Every key of the sections with its value, as YAML; secrets are asterisks."""
    values = {name: _plain(section.model_dump(mode="json")) for name, section in sections.items()}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    """Durations like 300.0 as people write them: 300."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
