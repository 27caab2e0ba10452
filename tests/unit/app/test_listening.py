"""Which listener a configuration gets."""

import json

import pytest

from telemetry_collector import _core
from telemetry_collector.app.collector import Collector
from telemetry_collector.app.listening import require_transport
from telemetry_collector.config import WRITERS, Config, DiscoveredSections, load
from telemetry_collector.errors import ConfigError


def config(**server: object) -> Config:
    document = {"server": server, "console": {}}
    return load(json.dumps(document), DiscoveredSections(WRITERS), check_files=False)


def test_an_extension_without_quinn_is_told_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    require_transport(config(transport="quinn"))
    monkeypatch.delattr(_core, "QuicServer")
    require_transport(config(transport="aioquic"))
    with pytest.raises(ConfigError, match=r"server.transport = quinn: this build .* has no quinn"):
        require_transport(config(transport="quinn"))


def test_another_transport_needs_a_restart() -> None:
    collector = Collector(config())
    assert not collector.is_live("server.transport")
    assert not collector.is_live("server.threads")
    assert collector.is_live("server.max_connections")
    assert collector.is_live("server.max_connections_per_identity")
