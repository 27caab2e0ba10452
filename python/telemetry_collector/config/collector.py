"""The collector's configuration."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from telemetry_collector.config.api import Api
from telemetry_collector.config.changes import keeping
from telemetry_collector.config.document import load_document
from telemetry_collector.config.grpc import Grpc
from telemetry_collector.config.query import QueryBounds
from telemetry_collector.config.quotas import Quotas
from telemetry_collector.config.receivers import Receivers
from telemetry_collector.config.scrape import Scrape
from telemetry_collector.config.section import Section
from telemetry_collector.config.sections import Journal, Limits, Observability, Security, Server
from telemetry_collector.config.signals import SignalSection

SECTIONS: Mapping[str, type[Section]] = {
    "server": Server,
    "security": Security,
    "receivers": Receivers,
    "scrape": Scrape,
    "grpc": Grpc,
    "query": QueryBounds,
    "limits": Limits,
    "quotas": Quotas,
    "journal": Journal,
    "traces": SignalSection,
    "logs": SignalSection,
    "api": Api,
    "observability": Observability,
}
"""The sections that are always there, by their names."""

BUILT_IN = "parquet: {}\n"
"""The document of a collector that has none: the one destination that needs nothing beside itself."""


@dataclass(frozen=True)
class Config:
    """Everything a user decided, validated; nothing in it changes."""

    server: Server
    security: Security
    receivers: Receivers
    scrape: Scrape
    grpc: Grpc
    query: QueryBounds
    limits: Limits
    quotas: Quotas
    journal: Journal
    traces: SignalSection
    logs: SignalSection
    api: Api
    observability: Observability
    writers: Mapping[str, Section]
    """The sections of the writers that are on, by name, in the order of the document."""
    source: str
    """The document's path, or a word for where it came from."""
    # Not shown: a text may have secrets.
    origin: str | Path = field(repr=False, compare=False)
    """What it was loaded from, and can be again: the document's text, or its path."""

    @property
    def sections(self) -> Mapping[str, Section]:
        """All sections by name, the writers' last."""
        return {**{name: getattr(self, name) for name in SECTIONS}, **self.writers}

    def keeping(self, keys: Collection[str], old: "Config") -> "Config":
        """This one, but with the values that `old` has for these keys, written `server.listen_addr`."""
        kept = keeping(keys, old.sections, self.sections)
        return replace(self, **{name: kept[name] for name in SECTIONS})  # type: ignore[arg-type]  # by their names


def load(
    source: str | Path,
    writers: Mapping[str, type[Section]],
    *,
    environ: Mapping[str, str] | None = None,
    check_files: bool = True,
) -> Config:
    """Loads the collector's configuration from a text, or from the file at a path.

    `writers` maps the names of the writers that exist to their sections' classes; a writer without a section in the
    document is off. The environment's `HTTP_PORT` comes before the document's port of the API. ConfigError carries
    every mistake; see `load_document`.
    """
    document = load_document(source, SECTIONS, writers, environ=environ, check_files=check_files)
    return Config(
        server=document.section(Server, "server"),
        security=document.section(Security, "security"),
        receivers=document.section(Receivers, "receivers"),
        scrape=document.section(Scrape, "scrape"),
        grpc=document.section(Grpc, "grpc"),
        query=document.section(QueryBounds, "query"),
        limits=document.section(Limits, "limits"),
        quotas=document.section(Quotas, "quotas"),
        journal=document.section(Journal, "journal"),
        traces=document.section(SignalSection, "traces"),
        logs=document.section(SignalSection, "logs"),
        api=document.section(Api, "api").of_environment(environ),
        observability=document.section(Observability, "observability"),
        writers={name: section for name, section in document.sections.items() if name not in SECTIONS},
        source=document.source,
        origin=document.origin,
    )
