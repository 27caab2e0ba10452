"""YAML → frozen, validated sections, or every mistake at once, with its key, value and what would be right."""

from telemetry_collector.config.agent import AgentConfig, load_agent
from telemetry_collector.config.api import Api
from telemetry_collector.config.collector import Config, load
from telemetry_collector.config.discovery import WRITERS, DiscoveredSections
from telemetry_collector.config.document import Document, load_document
from telemetry_collector.config.files import CertificateFile, KeyFile, RevocationFile
from telemetry_collector.config.quotas import Quota, Quotas
from telemetry_collector.config.section import (
    SOCKET_PATH_BYTES_MAX,
    Address,
    Port,
    PositiveInt,
    Seconds,
    Secret,
    Section,
    Text,
    Url,
    WebAddress,
    WholeSeconds,
    WriterSection,
)
from telemetry_collector.config.sections import (
    AgentObservability,
    AgentSecurity,
    Journal,
    Limits,
    Observability,
    Security,
    Server,
    Tls,
)
from telemetry_collector.config.show import to_yaml

__all__ = [
    "SOCKET_PATH_BYTES_MAX",
    "WRITERS",
    "Address",
    "AgentConfig",
    "AgentObservability",
    "AgentSecurity",
    "Api",
    "CertificateFile",
    "Config",
    "DiscoveredSections",
    "Document",
    "Journal",
    "KeyFile",
    "Limits",
    "Observability",
    "Port",
    "PositiveInt",
    "Quota",
    "Quotas",
    "RevocationFile",
    "Seconds",
    "Secret",
    "Section",
    "Security",
    "Server",
    "Text",
    "Tls",
    "Url",
    "WebAddress",
    "WholeSeconds",
    "WriterSection",
    "load",
    "load_agent",
    "load_document",
    "to_yaml",
]
