"""Documents beside the collector's, where documents are found, and sections that third parties declare."""

import textwrap
from pathlib import Path

import pytest
from pydantic import Field

from telemetry_collector.config import Address, DiscoveredSections, Section, load, load_agent
from telemetry_collector.config.search import find
from telemetry_collector.errors import ConfigError


class Agent(Section):
    collectors: tuple[Address, ...] = Field((Address("127.0.0.1", 5001),), min_length=1)
    interval_secs: float = 10


class Other(Section):
    size: int = 1


def test_an_agent_has_its_own_sections_and_the_common_ones() -> None:
    config = load_agent("agent: {collectors: ['a:1', '[::1]:2']}", {"agent": Agent}, check_files=False)
    assert config.section(Agent, "agent").collectors == (Address("a", 1), Address("::1", 2))
    assert config.security.tls_cert_path == Path("/etc/horizon/certs/node.pem")
    assert config.observability.metrics_port == 9092
    assert config.source == "configuration"


def test_an_agents_sections_are_always_there() -> None:
    assert load_agent("", {"agent": Agent}, check_files=False).section(Agent, "agent") == Agent()


def test_a_collectors_sections_are_none_of_an_agents() -> None:
    with pytest.raises(ConfigError, match="limits: is not a section; known are agent, observability, security"):
        load_agent("limits: {}", {"agent": Agent}, check_files=False)


def test_asking_for_a_section_as_what_it_is_not_is_a_defect() -> None:
    config = load_agent("", {"agent": Agent}, check_files=False)
    with pytest.raises(AssertionError, match="declared as Agent, not Other"):
        config.section(Other, "agent")


def test_a_mistake_inside_a_list_names_its_place() -> None:
    with pytest.raises(ConfigError, match=r"agent\.collectors\[1\] = b: is not right; expected host:port"):
        load_agent("agent: {collectors: ['a:1', b]}", {"agent": Agent}, check_files=False)


def test_a_document_that_is_named_is_taken_and_else_the_first_that_exists(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    assert find(None, (first, second)) is None
    second.touch()
    assert find(None, (first, second)) == second
    first.touch()
    assert find(None, (first, second)) == first
    assert find(Path("named.yaml"), (first, second)) == Path("named.yaml")


GROUP = "telemetry_collector.tests"


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with components that are right, wrong and missing."""
    (tmp_path / "acme_writers.py").write_text(
        textwrap.dedent(
            """
            from telemetry_collector.config import Section

            class Good:
                class Config(Section):
                    size: int = 7

            class Bare:
                pass

            class Wrong:
                Config = dict
            """
        )
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    names = {"good": "Good", "bare": "Bare", "wrong": "Wrong"}
    points = [f"{name} = acme_writers:{value}" for name, value in names.items()]
    points.append("missing = acme_nowhere:Writer")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(points) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("third_party")
class TestThirdParties:
    def test_a_writers_section_is_found_by_its_name(self) -> None:
        sections = DiscoveredSections(GROUP)
        assert set(sections) == {"good", "bare", "wrong", "missing"}
        assert len(sections) == 4
        config = load("good: {size: 9}", sections, check_files=False)
        assert config.writers["good"].model_dump() == {"size": 9}

    def test_a_misspelt_name_is_corrected_without_loading_anything(self) -> None:
        with pytest.raises(ConfigError, match="goood: is not a section; did you mean good"):
            load("goood: {}", DiscoveredSections(GROUP), check_files=False)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("missing", "No module named 'acme_nowhere'"),
            ("bare", "acme_writers:Bare is no component with a Config"),
            ("wrong", "acme_writers:Wrong.Config is no subclass of telemetry_collector.config.Section"),
        ],
    )
    def test_one_that_cannot_be_used_is_a_mistake_of_its_section(self, name: str, words: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load(f"{name}: {{}}", DiscoveredSections(GROUP), check_files=False)
        (mistake,) = caught.value.mistakes
        assert mistake.key == name
        assert words in mistake.problem
