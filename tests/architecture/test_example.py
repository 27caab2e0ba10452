"""config.example.yaml and agent.example.yaml are the truth: they have every key, each with its default."""

import importlib
import re
import tomllib
from collections.abc import Mapping

import pytest
from tests.support.repository import REPOSITORY

from telemetry_collector.app.agent import SECTIONS as AGENTS_OWN_SECTIONS
from telemetry_collector.config import Section, load, load_agent
from telemetry_collector.config.agent import SECTIONS as AGENT_SECTIONS
from telemetry_collector.config.collector import SECTIONS
from telemetry_collector.config.source import read_tree

EXAMPLE = (REPOSITORY / "config.example.yaml").read_text()
AGENT_EXAMPLE = (REPOSITORY / "agent.example.yaml").read_text()
TOKEN = {"INFLUXDB_TOKEN": "t"}
OF_AGENT = {**AGENTS_OWN_SECTIONS, **AGENT_SECTIONS}


def writers() -> Mapping[str, type[Section]]:
    points = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]
    found = {}
    for name, target in points["telemetry_collector.writers"].items():
        module, _, attribute = target.partition(":")
        found[name] = getattr(importlib.import_module(module), attribute).Config
    return found


def with_everything_on() -> str:
    """The example with the sections that are commented out, whose lines have no space after the #, turned on."""
    blocks = EXAMPLE.split("\n\n")
    return "\n\n".join(
        re.sub(r"^#(?=\w|  )", "", block, flags=re.MULTILINE) if re.search(r"^#\w", block, re.MULTILINE) else block
        for block in blocks
    )


def test_the_example_is_the_defaults() -> None:
    example = load(EXAMPLE, writers(), environ={}, check_files=False)
    defaults = load("", {}, environ={}, check_files=False)
    for name in SECTIONS:
        assert example.sections[name] == defaults.sections[name]
    assert list(example.writers) == ["parquet"]


def test_every_writers_section_is_there_with_its_defaults() -> None:
    declared = writers()
    config = load(with_everything_on(), declared, environ=TOKEN, check_files=False)
    assert set(config.writers) == set(declared)
    for name, section in config.writers.items():
        for key, field in declared[name].model_fields.items():
            if not field.is_required():
                assert getattr(section, key) == field.get_default(call_default_factory=True), f"{name}.{key}"


@pytest.mark.parametrize("name", [*SECTIONS, *sorted(writers())])
def test_every_key_is_written_out(name: str) -> None:
    written = read_tree(with_everything_on(), TOKEN).values[name]
    declared = {**SECTIONS, **writers()}[name]
    assert set(written) == set(declared.model_fields)


def test_the_agents_example_is_the_defaults() -> None:
    example = load_agent(AGENT_EXAMPLE, AGENTS_OWN_SECTIONS, environ={}, check_files=False)
    defaults = load_agent("", AGENTS_OWN_SECTIONS, environ={}, check_files=False)
    for name in OF_AGENT:
        assert example.document.sections[name] == defaults.document.sections[name]


@pytest.mark.parametrize("name", OF_AGENT)
def test_every_key_of_an_agent_is_written_out(name: str) -> None:
    assert set(read_tree(AGENT_EXAMPLE, {}).values[name]) == set(OF_AGENT[name].model_fields)


def test_every_key_has_a_description_for_messages() -> None:
    bare = [
        f"{name}.{key}"
        for name, section in [*SECTIONS.items(), *writers().items(), *OF_AGENT.items()]
        for key, field in section.model_fields.items()
        if not field.description
    ]
    assert bare == []
