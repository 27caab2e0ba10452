"""What the texts tell a reader to type exists, and what they link to is there."""

import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest
from tests.support.repository import REPOSITORY, run, tracked_files

from telemetry_collector.agent import NodeAgentConfig
from telemetry_collector.app.agent import SECTIONS
from telemetry_collector.cli.main import COMMANDS
from telemetry_collector.config import WRITERS, DiscoveredSections, load, load_agent

TEXTS = [path for path in tracked_files() if path.suffix == ".md"]
TARGETS = set(re.findall(r"^([a-z-]+):(?!=)", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))

each_text = pytest.mark.parametrize("text", TEXTS, ids=str)


def commands(text: Path, program: str) -> set[str]:
    """The first words after `program` in code: indented lines and `…`."""
    content = (REPOSITORY / text).read_text()
    code = re.findall(r"^    .*$", content, flags=re.MULTILINE) + re.findall(r"`[^`\n]+`", content)
    return {word for line in code for word in re.findall(rf"(?:^    |`|bin/|&& ){program} ([a-z][\w-]*)", line)}


@each_text
def test_every_make_target_that_is_named_exists(text: Path) -> None:
    assert commands(text, "make") <= TARGETS


@each_text
def test_every_subcommand_that_is_named_exists(text: Path) -> None:
    assert commands(text, "telemetry-collector") <= set(COMMANDS)


@each_text
def test_every_link_to_a_file_leads_somewhere(text: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (REPOSITORY / text).read_text())
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (REPOSITORY / text).parent.joinpath(link).exists()] == []


@each_text
def test_every_link_within_a_text_leads_to_a_heading(text: Path) -> None:
    content = (REPOSITORY / text).read_text()
    headings = re.findall(r"^#+ (.+)$", content, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", content)) <= anchors


def test_readme_names_the_two_commands() -> None:
    assert {"run", "test"} <= commands(Path("README.md"), "make")


def test_installing_puts_the_command_that_the_texts_use_on_the_path() -> None:
    text = (REPOSITORY / "docs/operations.md").read_text()
    prefix = re.findall(r"^    deploy/install.sh (\S+) ", text, flags=re.MULTILINE)
    assert f"    ln -sf {prefix[0]}/bin/telemetry-collector /usr/local/bin/\n" in text


def test_the_configurations_in_the_texts_load() -> None:
    """README's collector and the agent of docs/operations.md."""
    environ = {"INFLUXDB_TOKEN": "secret"}
    loaded = load(yaml_block("README.md", "server:"), DiscoveredSections(WRITERS), environ=environ, check_files=False)
    assert set(loaded.writers) == {"parquet", "influxdb"}
    agent = load_agent(yaml_block("docs/operations.md", "agent:"), SECTIONS, environ={}, check_files=False)
    assert len(agent.section(NodeAgentConfig, "agent").collectors) == 2


def yaml_block(text: str, first_line: str) -> str:
    """The indented block of a text that begins with a line."""
    content = (REPOSITORY / text).read_text()
    found = re.search(rf"^    {first_line}\n(?:    .*\n)+", content, flags=re.MULTILINE)
    assert found is not None, f"{text} has no block that begins with {first_line}"
    return textwrap.dedent(found.group())


def test_make_alone_tells_every_target() -> None:
    told = run("make")
    for target in TARGETS:
        assert re.search(rf"^  make {target} +\S", told, flags=re.MULTILINE), f"make help does not tell {target}"


def test_continuous_integration_is_make_test() -> None:
    script = REPOSITORY / ".ci/run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^make test$", script.read_text(), flags=re.MULTILINE)


def test_a_step_tells_its_time_and_keeps_its_exit_status() -> None:
    good = subprocess.run(["tools/step", "a step", "true"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    bad = subprocess.run(
        ["tools/step", "a step", "sh", "-c", "exit 7"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (good.returncode, bad.returncode) == (0, 7)
    assert re.search(r"a step: ok, \d+\.\d s", good.stdout)
    assert "a step: FAILED with exit status 7" in bad.stdout
