"""The node agent's configuration: a document of its own, because agent and collector run on different machines."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from telemetry_collector.config.changes import keeping
from telemetry_collector.config.document import Document, load_document
from telemetry_collector.config.section import Section
from telemetry_collector.config.sections import AgentObservability, AgentSecurity

SECTIONS: Mapping[str, type[Section]] = {"security": AgentSecurity, "observability": AgentObservability}
"""The sections that every agent has beside its own."""

BUILT_IN = ""
"""The document of an agent without one: all by default."""

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class AgentConfig:
    """Everything a user decided about an agent, validated; nothing in it changes."""

    security: AgentSecurity
    observability: AgentObservability
    document: Document

    def section(self, cls: type[S], name: str) -> S:
        """One of the agent's own sections, which was declared as `cls`."""
        return self.document.section(cls, name)

    @property
    def source(self) -> str:
        """The document's path, or a word for where it came from."""
        return self.document.source

    @property
    def origin(self) -> str | Path:
        """What it was loaded from, and can be again: the document's text, or its path."""
        return self.document.origin

    @property
    def sections(self) -> Mapping[str, Section]:
        """All sections by name."""
        return self.document.sections

    def keeping(self, keys: Collection[str], old: "AgentConfig") -> "AgentConfig":
        """This one, but with the values that `old` has for these keys, written `agent.collectors`."""
        return _of(replace(self.document, sections=keeping(keys, old.sections, self.sections)))


def load_agent(
    source: str | Path,
    sections: Mapping[str, type[Section]],
    *,
    environ: Mapping[str, str] | None = None,
    check_files: bool = True,
) -> AgentConfig:
    """Loads an agent's configuration from a text, or from the file at a path.

    `sections` are the agent's own, by name; they are always there. ConfigError carries every mistake; see
    `load_document`.
    """
    document = load_document(source, {**sections, **SECTIONS}, {}, environ=environ, check_files=check_files)
    return _of(document)


def _of(document: Document) -> AgentConfig:
    return AgentConfig(
        security=document.section(AgentSecurity, "security"),
        observability=document.section(AgentObservability, "observability"),
        document=document,
    )
